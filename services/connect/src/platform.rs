//! gRPC through the front door: to control, to sync, and to the gateway's own service.
//!
//! The caller is authenticated here and told on by identity headers over the gateway's own certificate; what it may
//! do is asked by whoever serves it. Credentials of virtual clusters are refused: they are good for their cluster only,
//! and one must not be turned into another. Errors are gRPC's own.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{Parts as UriParts, Scheme};
use http::{Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use tower::ServiceExt;
use vcluster_chassis::grpc::Stack;
use vcluster_chassis::identity::headers as identity_headers;
use vcluster_chassis::telemetry::propagation;

use crate::authenticate::{By, Caller, Presented};
use crate::body::Body;
use crate::gateway::{Gateway, refuse};
use crate::limits::Entered;
use crate::metrics::Class;
use crate::peer::Peer;
use crate::record::Record;
use crate::refusal::{self, Kind, Refusal};
use crate::relay::{self, Cut};
use crate::route::Service;
use crate::strip;
use crate::upstream::{Answer, Pool, Target};
use crate::vigil::Scope;

pub mod issue;

/// How long the head of an answer may take when the client sets no deadline of its own, which the service keeps.
const ANSWER: Duration = Duration::from_mins(5);
/// Connections to one service.
pub(crate) const CONNECTIONS: usize = 8;

/// The services behind the gateway, and its own.
#[derive(Debug)]
pub struct Platform {
    /// The control service.
    pub control: Remote,
    /// The sync service.
    pub sync: Remote,
    /// The gateway's own service, with health and reflection.
    pub own: Stack,
}

/// A service behind the gateway.
#[derive(Debug)]
pub struct Remote {
    /// Its name, for users.
    pub name: &'static str,
    /// Where it is.
    pub target: Arc<Target>,
    /// Connections to it.
    pub pool: Pool,
}

/// Serves one gRPC call.
pub(crate) async fn serve(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    service: Service,
    request: Request<Incoming>,
    mut record: Record,
) -> Response<Body> {
    let grpc = refusal::is_grpc(request.headers());
    if let Err(refusal) = check(&request, grpc) {
        return refuse(refusal, grpc, record);
    }
    let remote = match service {
        Service::Control => &gateway.platform.control,
        Service::Sync => &gateway.platform.sync,
        Service::Health => return own(gateway, None, request, record).await,
        Service::Connect => {
            let class = class(request.uri().path());
            return match admit(gateway, peer, &request, class, &mut record).await {
                Ok(admitted) => own(gateway, Some(admitted), request, record).await,
                Err(refusal) => refuse(refusal, grpc, record),
            };
        }
    };
    match forward(gateway, peer, remote, request, &mut record).await {
        Ok((response, entered, ended)) => {
            response.map(|body| relay::answer(body, ended, Cut::Grpc, record, Some(entered)))
        }
        Err(refusal) => refuse(refusal, grpc, record),
    }
}

/// gRPC is POST in HTTP/2 with a content type of its own.
fn check<B>(request: &Request<B>, grpc: bool) -> Result<(), Refusal> {
    if !grpc || request.method() != Method::POST || request.version() != Version::HTTP_2 {
        return Err(Refusal::new(
            Kind::Bad,
            "this is a gRPC method: call it by POST in HTTP/2 with content type application/grpc",
        ));
    }
    Ok(())
}

/// A caller that was let through, and its place among what one user may have under way.
struct Admitted {
    presented: Presented,
    caller: Caller,
    entered: Entered,
}

/// Whether a method's answer is one message or a stream without end. Nobody whose streams are all taken is kept from
/// renewing the credential that they need.
fn class(path: &str) -> Class {
    match path.rsplit_once('/') {
        Some((_, method)) if method.starts_with("Watch") => Class::Long,
        Some((service, _)) if service.starts_with("/grpc.reflection.") => Class::Long,
        Some(_) | None => Class::Short,
    }
}

async fn admit(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    request: &Request<Incoming>,
    class: Class,
    record: &mut Record,
) -> Result<Admitted, Refusal> {
    let (presented, caller) = identify(gateway, peer, request, record).await?;
    let entered = gateway.limits.enter(&caller.identity.user, class)?;
    Ok(Admitted {
        presented,
        caller,
        entered,
    })
}

async fn identify(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    request: &Request<Incoming>,
    record: &mut Record,
) -> Result<(Presented, Caller), Refusal> {
    let presented = Presented::read(peer, request.headers());
    let caller = gateway.authenticator.authenticate(&presented).await?;
    record.caller(&caller);
    match &caller.by {
        By::Certificate | By::Token => Ok((presented, caller)),
        By::Credential { cluster, .. } => Err(Refusal::new(
            Kind::Unauthenticated,
            format!(
                "the credential is good for virtual cluster {cluster} only: use your identity of the host cluster"
            ),
        )),
    }
}

/// Calls the gateway's own service, which knows the caller by an extension of the request. Health has none.
async fn own(
    gateway: &Gateway,
    admitted: Option<Admitted>,
    mut request: Request<Incoming>,
    mut record: Record,
) -> Response<Body> {
    request.extensions_mut().clear();
    let (ended, entered): (relay::Ended, _) = if let Some(admitted) = admitted {
        record.started(Class::Long);
        let identity = admitted.caller.identity.clone();
        request.extensions_mut().insert(identity);
        (
            watch_over(gateway, admitted.presented, admitted.caller),
            Some(admitted.entered),
        )
    } else {
        record.started(Class::Short);
        (Box::pin(std::future::pending()), None)
    };
    if let Err(error) = strip::request(request.headers_mut()) {
        return refuse(Refusal::new(Kind::Bad, error.to_string()), true, record);
    }
    let request =
        request.map(|body| tonic::body::Body::new(relay::request(body, record.received())));
    let Ok(response) = gateway.platform.own.clone().oneshot(request).await;
    record.answered(response.status());
    record.grpc(response.headers());
    response.map(|body| relay::answer(body, ended, Cut::Grpc, record, entered))
}

async fn forward(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    remote: &Remote,
    mut request: Request<Incoming>,
    record: &mut Record,
) -> Result<(Response<Answer>, Entered, relay::Ended), Refusal> {
    let Admitted {
        presented,
        caller,
        entered,
    } = admit(gateway, peer, &request, class(request.uri().path()), record).await?;
    record.started(Class::Long);
    let identity = identity_headers::encode(&caller.identity).map_err(|error| {
        Refusal::new(
            Kind::Forbidden,
            format!("the caller cannot be told on: {error}"),
        )
    })?;
    strip::request(request.headers_mut())
        .map_err(|error| Refusal::new(Kind::Bad, error.to_string()))?;
    let headers = request.headers_mut();
    headers.remove(header::HOST);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    for (name, value) in &identity {
        headers.append(name, value.clone());
    }
    propagation::inject(headers);
    *request.uri_mut() = uri(remote, request.uri())?;
    request.extensions_mut().clear();
    let request = request.map(|body| relay::request(body, record.received()));
    let response = remote.pool.send(request, ANSWER).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, service = remote.name, "service gave no answer");
        error.refusal(&format!("the {} service", remote.name), None)
    })?;
    let (mut head, body) = response.into_parts();
    strip::response(&mut head.headers);
    head.extensions.clear();
    record.answered(head.status);
    record.grpc(&head.headers);
    let ended = watch_over(gateway, presented, caller);
    Ok((Response::from_parts(head, body), entered, ended))
}

fn watch_over(gateway: &Gateway, presented: Presented, caller: Caller) -> relay::Ended {
    let vigil = gateway.vigil.clone();
    Box::pin(vigil.ended(presented, caller, Scope::Platform, true))
}

fn uri(remote: &Remote, asked: &Uri) -> Result<Uri, Refusal> {
    let mut parts = UriParts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = remote.target.authority().parse().ok();
    parts.path_and_query = asked.path_and_query().cloned();
    Uri::from_parts(parts)
        .map_err(|_malformed| Refusal::new(Kind::Bad, "the request target is malformed"))
}
