//! Calls about tenants that another replica serves: it is asked, and its answer is the caller's.
//!
//! The call goes on over this service's certificate, which lets it say who calls as the gateway does; the other replica asks the host again whether the caller may. A call is passed on once.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use vcluster_chassis::grpc::caller;
use vcluster_chassis::identity::{self, headers};
use vcluster_chassis::tls::{self, Identity, Live, PeerCertificates, Roots};
use vcluster_proto::sync::v1::sync_service_client::SyncServiceClient;
use vcluster_resources::layout::SYNC_SERVICE;

use super::refuse::unavailable;

/// Marks a call that was passed on.
const PASSED_ON: &str = "x-vcluster-passed-on";
/// W3C trace context.
const TRACE: &str = "traceparent";
/// How long TCP and TLS may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take, which may cost the other replica two requests.
const ANSWER: Duration = Duration::from_secs(10);
/// Replicas whose connections are kept.
const KEPT: usize = 16;

/// The other replicas' gRPC API.
pub struct Elsewhere {
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    channels: Mutex<HashMap<SocketAddr, Channel>>,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Elsewhere {
    /// Makes it; every replica has a certificate of that name.
    pub fn new(
        name: &str,
        roots: Live<Roots>,
        identity: Live<Identity>,
    ) -> Result<Self, rustls_pki_types::InvalidDnsNameError> {
        Ok(Self {
            name: ServerName::try_from(name.to_owned())?,
            tls: tls::client_config(roots, Some(identity), &[tls::ALPN_H2]),
            channels: Mutex::default(),
        })
    }

    /// Asks the replica at that address.
    pub(super) async fn ask<M, A, F, Asked>(
        &self,
        address: SocketAddr,
        request: Request<M>,
        call: F,
    ) -> Result<Response<A>, Status>
    where
        F: FnOnce(SyncServiceClient<Channel>, Request<M>) -> Asked,
        Asked: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let mut request = request;
        let metadata = request.metadata_mut();
        metadata.insert(PASSED_ON, MetadataValue::from_static("true"));
        request.set_timeout(ANSWER);
        let client = SyncServiceClient::new(self.channel(address));
        let answer = tokio::time::timeout(ANSWER, call(client, request)).await;
        answer.unwrap_or_else(|_elapsed| {
            Err(unavailable(
                "the replica of sync that serves the virtual cluster does not answer; try again",
            ))
        })
    }

    fn channel(&self, address: SocketAddr) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() >= KEPT && !channels.contains_key(&address) {
            // Those that are gone come never back under their address; those that are there connect anew.
            channels.clear();
        }
        let channel = channels
            .entry(address)
            .or_insert_with(|| self.connect(address));
        channel.clone()
    }

    fn connect(&self, address: SocketAddr) -> Channel {
        let (name, tls) = (self.name.clone(), Arc::clone(&self.tls));
        let connector = tower::service_fn(move |_: http::Uri| {
            let (name, tls) = (name.clone(), Arc::clone(&tls));
            async move {
                let dial = async {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    TlsConnector::from(tls).connect(name, stream).await
                };
                let stream = tokio::time::timeout(CONNECT, dial).await;
                let stream =
                    stream.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        // The connector does TLS; tonic must not.
        Endpoint::from_static("http://vcluster-sync").connect_with_connector_lazy(connector)
    }
}

/// Whether another replica has passed the call on. The mark counts only from one that shows this service's certificate.
pub(super) fn is_passed_on<T>(request: &Request<T>) -> bool {
    let peer = request.extensions().get::<PeerCertificates>();
    let peer = peer.and_then(PeerCertificates::leaf);
    let is_replica = peer
        .and_then(|leaf| identity::certificate(leaf).ok())
        .is_some_and(|peer| peer.user == SYNC_SERVICE);
    is_replica && request.metadata().contains_key(PASSED_ON)
}

/// The same request again, for another replica: its message, and who calls.
pub(super) fn again<M: Clone>(request: &Request<M>) -> Result<Request<M>, Status> {
    let headers = headers::encode(caller::of(request)?)
        .map_err(|error| unavailable(&format!("the call cannot be passed on: {error}")))?;
    let mut again = Request::new(request.get_ref().clone());
    *again.metadata_mut() = MetadataMap::from_headers(headers);
    if let Some(trace) = request.metadata().get(TRACE) {
        again.metadata_mut().insert(TRACE, trace.clone());
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::testing::Authority;

    use super::*;

    #[test]
    fn only_another_replica_is_believed_that_it_passed_a_call_on() {
        vcluster_chassis::crypto::install();
        let authority = Authority::new("platform");
        let own = authority.client(SYNC_SERVICE, &[]).identity();
        let asked = |chain: Option<Identity>, is_marked: bool| {
            let mut request = Request::new(());
            if is_marked {
                let mark = MetadataValue::from_static("true");
                request.metadata_mut().insert(PASSED_ON, mark);
            }
            if let Some(identity) = chain {
                let peer = PeerCertificates::new(None, identity.chain().to_vec());
                request.extensions_mut().insert(peer);
            }
            is_passed_on(&request)
        };
        let gateway = authority.client("vcluster-connect", &[]).identity();
        assert!(asked(Some(own.clone()), true));
        assert!(!asked(Some(own), false));
        assert!(!asked(Some(gateway), true));
        assert!(!asked(None, true));
    }
}
