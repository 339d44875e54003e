//! A gateway with all three services in memory.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SanType};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tonic_types::{ErrorDetails, StatusExt as _};
use vcluster_client::proto::{
    connect::v1::{
        IssueCredentialRequest, IssueCredentialResponse,
        connect_service_server::{ConnectService, ConnectServiceServer},
    },
    control::v1::{
        Condition, CreateVirtualClusterRequest, CreateVirtualClusterResponse,
        DeleteVirtualClusterRequest, DeleteVirtualClusterResponse, EventType,
        GetVirtualClusterRequest, GetVirtualClusterResponse, ListVirtualClustersRequest,
        ListVirtualClustersResponse, Phase, UpdateVirtualClusterRequest,
        UpdateVirtualClusterResponse, VirtualCluster, VirtualClusterStatus,
        WatchVirtualClustersRequest, WatchVirtualClustersResponse,
        control_service_server::{ControlService, ControlServiceServer},
    },
    sync::v1::{
        ExplainRequest, ExplainResponse, GetTenantRequest, GetTenantResponse, ListTenantsRequest,
        ListTenantsResponse, ObjectState, ResyncRequest, ResyncResponse, TranslateNameRequest,
        TranslateNameResponse,
        sync_service_server::{SyncService, SyncServiceServer},
    },
};

/// A certificate authority, and what it signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA can be made"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Chain and key, good for loopback and for a client.
    pub(crate) fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).expect("it can be signed");
        (certificate.pem(), key.serialize_pem())
    }
}

/// What callers did, and how the services are to answer.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) clusters: BTreeMap<(String, String), VirtualCluster>,
    /// `authorization` of each call.
    pub(crate) tokens: Vec<Option<String>>,
    pub(crate) traceparents: Vec<String>,
    /// Calls that came with a client certificate.
    pub(crate) certificates: usize,
    pub(crate) request_ids: Vec<String>,
    pub(crate) credentials: usize,
    pub(crate) lists: usize,
    pub(crate) explained: Vec<ExplainRequest>,
    pub(crate) resynced: Vec<ResyncRequest>,
    /// Answer so many calls with UNAVAILABLE first.
    pub(crate) unavailable: usize,
    /// Answer lists of all namespaces with PERMISSION_DENIED.
    pub(crate) deny_listing: bool,
    /// Answer connects with PERMISSION_DENIED.
    pub(crate) deny_connecting: bool,
    /// Versions from which watches were asked to go on.
    pub(crate) resumed_from: Vec<String>,
    /// Scripts of the next watches; without one, a watch goes straight to ready.
    pub(crate) watches: Vec<Vec<Result<WatchVirtualClustersResponse, Status>>>,
}

#[derive(Clone, Default)]
pub(crate) struct Gateway {
    pub(crate) state: Arc<Mutex<State>>,
}

impl Gateway {
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics with it"))
    }

    /// Serves on a port of loopback and returns its address.
    pub(crate) async fn serve(&self, authority: &Authority, clients: &Authority) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let (chain, key) = authority.sign("gateway");
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(chain, key))
            .client_ca_root(Certificate::from_pem(clients.pem()))
            .client_auth_optional(true);
        let server = Server::builder()
            .tls_config(tls)
            .expect("the certificate is fine")
            .add_service(ControlServiceServer::new(self.clone()))
            .add_service(ConnectServiceServer::new(self.clone()))
            .add_service(SyncServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        format!("https://{address}")
    }

    fn note<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let has_certificate = request.peer_certs().is_some_and(|chain| !chain.is_empty());
        self.note_metadata(request.metadata(), has_certificate)
    }

    fn note_metadata(&self, metadata: &MetadataMap, has_certificate: bool) -> Result<(), Status> {
        let text = |key: &str| {
            metadata
                .get(key)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        self.with(|state| {
            state.tokens.push(text("authorization"));
            state.traceparents.extend(text("traceparent"));
            state.certificates += usize::from(has_certificate);
            if state.unavailable > 0 {
                state.unavailable -= 1;
                return Err(Status::unavailable("control is restarting"));
            }
            Ok(())
        })
    }

    pub(crate) fn add(&self, namespace: &str, name: &str) {
        let cluster = made(namespace, name);
        let ready = at_step(&cluster, STEPS);
        self.with(|s| {
            s.clusters
                .insert((namespace.to_owned(), name.to_owned()), ready)
        });
    }
}

/// Steps to ready.
pub(crate) const STEPS: usize = 3;

pub(crate) fn made(namespace: &str, name: &str) -> VirtualCluster {
    VirtualCluster {
        name: name.to_owned(),
        host_namespace: namespace.to_owned(),
        uid: format!("uid-{namespace}-{name}"),
        create_time: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        ..VirtualCluster::default()
    }
}

/// The cluster after so many of its conditions came true.
pub(crate) fn at_step(cluster: &VirtualCluster, step: usize) -> VirtualCluster {
    let facts = [
        "CertificatesReady",
        "ControlPlaneReady",
        "SyncReady",
        "Ready",
    ];
    let is_true = |index: usize| index < step || (index == STEPS && step == STEPS);
    let conditions = facts.iter().enumerate().map(|(index, fact)| Condition {
        r#type: (*fact).to_owned(),
        status: if is_true(index) { "True" } else { "False" }.to_owned(),
        reason: "Scripted".to_owned(),
        ..Condition::default()
    });
    let ready = step == STEPS;
    VirtualCluster {
        status: Some(VirtualClusterStatus {
            phase: if ready { Phase::Ready } else { Phase::Pending }.into(),
            message: if ready {
                "ready".to_owned()
            } else {
                format!("waiting for {}", facts[step])
            },
            conditions: conditions.collect(),
            version: "1.37.2".to_owned(),
            endpoint: "https://10.96.0.17".to_owned(),
            ..VirtualClusterStatus::default()
        }),
        ..cluster.clone()
    }
}

pub(crate) fn event(
    kind: EventType,
    cluster: Option<VirtualCluster>,
    version: &str,
) -> WatchVirtualClustersResponse {
    WatchVirtualClustersResponse {
        r#type: kind.into(),
        virtual_cluster: cluster,
        resource_version: version.to_owned(),
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<WatchVirtualClustersResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ControlService for Gateway {
    type WatchVirtualClustersStream = Events;

    async fn create_virtual_cluster(
        &self,
        request: Request<CreateVirtualClusterRequest>,
    ) -> Result<Response<CreateVirtualClusterResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let wanted = request.virtual_cluster.unwrap_or_default();
        if wanted.name.contains("-x-") {
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation("virtual_cluster.name", "must not contain \"-x-\"");
            details.add_bad_request_violation("virtual_cluster.spec.version", "must be X.Y.Z");
            return Err(Status::with_error_details(
                tonic::Code::InvalidArgument,
                "the request has 2 violations",
                details,
            ));
        }
        let key = (wanted.host_namespace.clone(), wanted.name.clone());
        self.with(|state| {
            state.request_ids.push(request.request_id);
            if state.clusters.contains_key(&key) {
                return Err(Status::already_exists("the name is taken"));
            }
            let cluster = VirtualCluster {
                spec: wanted.spec,
                labels: wanted.labels,
                ..made(&key.0, &key.1)
            };
            if !request.validate_only {
                state.clusters.insert(key, at_step(&cluster, STEPS));
            }
            Ok(Response::new(CreateVirtualClusterResponse {
                virtual_cluster: Some(at_step(&cluster, 0)),
            }))
        })
    }

    async fn get_virtual_cluster(
        &self,
        request: Request<GetVirtualClusterRequest>,
    ) -> Result<Response<GetVirtualClusterResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let found = self.with(|s| {
            s.clusters
                .get(&(request.host_namespace, request.name))
                .cloned()
        });
        match found {
            Some(cluster) => Ok(Response::new(GetVirtualClusterResponse {
                virtual_cluster: Some(cluster),
            })),
            None => Err(Status::not_found("no such virtual cluster")),
        }
    }

    /// Pages of one, so that every listing has to follow them.
    async fn list_virtual_clusters(
        &self,
        request: Request<ListVirtualClustersRequest>,
    ) -> Result<Response<ListVirtualClustersResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let namespace = &request.host_namespace;
        let all: Vec<_> = self.with(|state| {
            state.lists += 1;
            if state.deny_listing && namespace.is_empty() {
                return Err(Status::permission_denied(
                    "user \"me\" may not list virtualclusters",
                ));
            }
            let seen = state.clusters.values();
            Ok(seen
                .filter(|c| namespace.is_empty() || c.host_namespace == *namespace)
                .cloned()
                .collect())
        })?;
        let page: usize = request.page_token.parse().unwrap_or(0);
        let next = if page + 1 < all.len() {
            (page + 1).to_string()
        } else {
            String::new()
        };
        Ok(Response::new(ListVirtualClustersResponse {
            virtual_clusters: all.into_iter().skip(page).take(1).collect(),
            next_page_token: next,
        }))
    }

    async fn watch_virtual_clusters(
        &self,
        request: Request<WatchVirtualClustersRequest>,
    ) -> Result<Response<Events>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let key = (request.host_namespace, request.name);
        let (script, found) = self.with(|state| {
            state.resumed_from.push(request.resource_version);
            let script = (!state.watches.is_empty()).then(|| state.watches.remove(0));
            (script, state.clusters.get(&key).cloned())
        });
        let events = script.unwrap_or_else(|| {
            let first = found
                .as_ref()
                .map(|c| event(EventType::Added, Some(at_step(c, 0)), "1"));
            let mut events: Vec<_> = first.into_iter().map(Ok).collect();
            events.push(Ok(event(EventType::Synced, None, "1")));
            for step in 1..=STEPS {
                let version = (step + 1).to_string();
                let next = found.as_ref().map(|c| at_step(c, step));
                events.extend(next.map(|c| Ok(event(EventType::Modified, Some(c), &version))));
            }
            events
        });
        // What ends a script is an error; otherwise the watch stays open.
        let ends = events.iter().any(Result::is_err);
        let events = tokio_stream::iter(events);
        if ends {
            return Ok(Response::new(Box::pin(events)));
        }
        let open = tokio_stream::StreamExt::chain(events, tokio_stream::pending());
        Ok(Response::new(Box::pin(open)))
    }

    async fn update_virtual_cluster(
        &self,
        _request: Request<UpdateVirtualClusterRequest>,
    ) -> Result<Response<UpdateVirtualClusterResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn delete_virtual_cluster(
        &self,
        request: Request<DeleteVirtualClusterRequest>,
    ) -> Result<Response<DeleteVirtualClusterResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let key = (request.host_namespace, request.name);
        let last = self.with(|state| {
            let last = state.clusters.remove(&key);
            let deleted = last
                .clone()
                .map(|c| Ok(event(EventType::Deleted, Some(c), "9")));
            state.watches.push(deleted.into_iter().collect());
            last
        });
        Ok(Response::new(DeleteVirtualClusterResponse {
            virtual_cluster: last,
        }))
    }
}

#[tonic::async_trait]
impl ConnectService for Gateway {
    async fn issue_credential(
        &self,
        request: Request<IssueCredentialRequest>,
    ) -> Result<Response<IssueCredentialResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        let number = self.with(|state| {
            if state.deny_connecting {
                return Err(Status::permission_denied("user \"me\" may not connect"));
            }
            state.credentials += 1;
            Ok(state.credentials)
        })?;
        let expires = std::time::UNIX_EPOCH.elapsed().unwrap_or_default() + Duration::from_mins(10);
        Ok(Response::new(IssueCredentialResponse {
            token: format!("issued-{number}"),
            expire_time: Some(prost_types::Timestamp {
                seconds: i64::try_from(expires.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            path: format!("/clusters/{}/{}", request.host_namespace, request.name),
        }))
    }
}

#[tonic::async_trait]
impl SyncService for Gateway {
    async fn list_tenants(
        &self,
        _request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_tenant(
        &self,
        _request: Request<GetTenantRequest>,
    ) -> Result<Response<GetTenantResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn translate_name(
        &self,
        _request: Request<TranslateNameRequest>,
    ) -> Result<Response<TranslateNameResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        self.note(&request)?;
        let request = request.into_inner();
        self.with(|state| state.explained.push(request.clone()));
        Ok(Response::new(ExplainResponse {
            kind: "Pod".to_owned(),
            namespace: request.namespace,
            object_name: request.object_name,
            state: ObjectState::Synced.into(),
            reason: "Synced".to_owned(),
            message: "both sides are as they should be".to_owned(),
            ..ExplainResponse::default()
        }))
    }

    async fn resync(
        &self,
        request: Request<ResyncRequest>,
    ) -> Result<Response<ResyncResponse>, Status> {
        self.note(&request)?;
        self.with(|state| state.resynced.push(request.into_inner()));
        Ok(Response::new(ResyncResponse { objects: 1 }))
    }
}
