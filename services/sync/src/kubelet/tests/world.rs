//! A host, a virtual API server and sync between them, over loopback with real TLS.
//!
//! The host remembers every request as it came, headers and all: what it does not see was not sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::testing::{Authority, Issued, ManualClock};
use vcluster_chassis::tls::{self, ClientAuth, Reloader};
use vcluster_resources::label::{
    CLUSTER_UID, VIRTUAL_KIND, VIRTUAL_NAME, VIRTUAL_NAMESPACE, VIRTUAL_UID,
};
use vcluster_resources::layout::{CA_CERT, SYNC_SECRET, TLS_CERT, TLS_KEY};

use crate::engine::Engine;
use crate::kubelet::Kubelet;
use crate::metrics::{Metrics, Port};
use crate::peer;
use crate::resource_metrics::reading::Readings;
use crate::server::Host;
use crate::testing::{engine_config, in_an_hour};

const TENANT: &str = "vcluster://team-a/demo/c1";
/// Name of the host pod of `shop/web`.
pub(super) const HOST_POD: &str = "web-x-shop-x-demo";
/// The token that the host gives for the tenant's ServiceAccount.
pub(super) const TOKEN: &str = "tenant-token";

/// A request as the host saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

impl Seen {
    /// Its headers by name; several lines of one name are joined.
    pub(super) fn headers(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            all.entry(name.to_string())
                .and_modify(|line| *line = format!("{line},{value}"))
                .or_insert(value);
        }
        all
    }
}

/// What one side answers, by path; what is not there is not found.
#[derive(Debug, Clone)]
struct Said {
    code: u16,
    body: String,
}

#[derive(Debug, Default)]
struct Side {
    said: Mutex<BTreeMap<String, Said>>,
    seen: Mutex<Vec<Seen>>,
}

impl Side {
    fn says(&self, path: &str, code: u16, body: impl Into<String>) {
        let body = body.into();
        locked(&self.said).insert(path.to_owned(), Said { code, body });
    }

    /// Answers as said; an upgrade that is said to be `101` ends in an echo.
    fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let seen = Seen {
            method: request.method().clone(),
            target: request
                .uri()
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
        };
        locked(&self.seen).push(seen);
        let said = locked(&self.said).get(request.uri().path()).cloned();
        let Said { code, body } = said.unwrap_or_else(|| Said {
            code: 404,
            body:
                json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not there"})
                    .to_string(),
        });
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        if code == 101 {
            for name in ["upgrade", "connection", "sec-websocket-protocol"] {
                if let Some(value) = request.headers().get(name) {
                    response.headers_mut().insert(name, value.clone());
                }
            }
            let secret = "the host's own";
            response
                .headers_mut()
                .insert("set-cookie", secret.parse().unwrap());
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
        response
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a side with TLS, in whichever protocol the client chose.
async fn serve(side: Arc<Side>, identity: Issued) -> SocketAddr {
    let alpn = [tls::ALPN_H2, tls::ALPN_HTTP1];
    let config = tls::server_config(identity.identity(), ClientAuth::None, &alpn);
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, side) = (acceptor.clone(), Arc::clone(&side));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let side = service_fn(move |request| {
                    let response = side.answer(request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(
                    server
                        .serve_connection_with_upgrades(TokioIo::new(stream), side)
                        .await,
                );
            });
        }
    });
    address
}

/// All of it.
pub(super) struct World {
    host: Arc<Side>,
    inside: Arc<Side>,
    platform: Authority,
    api_server: Issued,
    sync: SocketAddr,
    _folder: tempfile::TempDir,
}

impl World {
    /// The tenant has one pod, `shop/web`, which is on the host.
    pub(super) async fn new() -> Self {
        let (platform, tenants) = (Authority::new("platform"), Authority::new("tenants"));
        let (of_host, of_demo) = (Authority::new("host"), Authority::new("demo"));
        let (host, inside) = (Arc::new(Side::default()), Arc::new(Side::default()));
        let local = ["127.0.0.1"];
        let demo_at = serve(Arc::clone(&inside), of_demo.server(&local)).await;
        let host_at = serve(Arc::clone(&host), of_host.server(&local)).await;

        let clock = ManualClock::default();
        say_of_tenant(&host, &of_demo, demo_at, &clock);
        let mut config = kube::Config::new(format!("https://{host_at}").parse().unwrap());
        let root = CertificateDer::from_pem_slice(of_host.pem().as_bytes()).unwrap();
        config.root_cert = Some(vec![root.to_vec()]);
        let engine = Arc::new(Engine::new(
            engine_config(),
            Host::new(&config).unwrap(),
            Arc::new(clock),
            Metrics::default(),
            "vcluster-sync.vcluster-system.svc".to_owned(),
        ));

        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("tenant-ca.crt");
        std::fs::write(&authority, tenants.pem()).unwrap();
        let shutdown = Shutdown::new();
        let metrics = tls::Metrics::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sync = listener.local_addr().unwrap();
        let server = peer::Server {
            identity: platform.server(&["sync.test"]).identity().into(),
            authority,
            reloader: Reloader::new(&shutdown, &metrics),
            tls: metrics,
            metrics: Metrics::default(),
            shutdown: shutdown.clone(),
        };
        server.serve(
            Port::Kubelet,
            listener,
            Arc::new(Kubelet::new(engine, Arc::new(Readings::new()), &shutdown)),
        );
        let world = Self {
            host,
            inside,
            platform,
            api_server: tenants.client_of("kube-apiserver-kubelet-client", &[TENANT]),
            sync,
            _folder: folder,
        };
        world.pod_inside("v1");
        world.pod_on_host(&host_pod());
        world
    }

    /// Has a subresource of the host pod answered so.
    pub(super) fn host_says(&self, subresource: &str, code: u16, body: &str) {
        self.host
            .says(&format!("{}/{subresource}", host_pod_path()), code, body);
    }

    /// Has any path of the host answered so.
    pub(super) fn host_says_at(&self, path: &str, code: u16, body: &Value) {
        self.host.says(path, code, body.to_string());
    }

    /// Has any path of the virtual API server answered so.
    pub(super) fn inside_says_at(&self, path: &str, body: &Value) {
        self.inside.says(path, 200, body.to_string());
    }

    /// Puts the pod `shop/web` of this UID into the virtual cluster.
    pub(super) fn pod_inside(&self, uid: &str) {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": uid},
            "spec": {"containers": [{"name": "main"}]},
        });
        self.inside_says_at("/api/v1/namespaces/shop/pods/web", &pod);
    }

    /// Puts the host pod of `shop/web` onto the host.
    pub(super) fn pod_on_host(&self, pod: &Value) {
        self.host.says(&host_pod_path(), 200, pod.to_string());
    }

    /// What the host has seen of this beginning since the last look, which ends with it.
    pub(super) fn seen(&self, beginning: &str) -> Vec<Seen> {
        let all = std::mem::take(&mut *locked(&self.host.seen));
        let of = |seen: &Seen| seen.target.starts_with(beginning);
        all.into_iter().filter(of).collect()
    }

    /// Opens a connection as the tenant's API server.
    pub(super) async fn connect(&self) -> http1::SendRequest<Empty<Bytes>> {
        let identity = Some(self.api_server.identity().into());
        let config = tls::client_config(self.platform.roots(), identity, &[tls::ALPN_HTTP1]);
        let stream = TcpStream::connect(self.sync).await.unwrap();
        let name = ServerName::try_from("sync.test").unwrap();
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    /// Asks over a connection of its own.
    pub(super) async fn ask(&self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    /// As [`Self::ask`], by GET; the answer as a whole.
    pub(super) async fn get(&self, target: &str) -> (u16, String) {
        whole(self.ask(request(&Method::GET, target)).await).await
    }
}

/// An answer as a whole.
pub(super) async fn whole(response: Response<Incoming>) -> (u16, String) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// A request that says of itself all that a client could wish the host to believe.
pub(super) fn request(method: &Method, target: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .version(Version::HTTP_11)
        .header("host", "kubernetes.default.svc")
        .header("authorization", "Bearer of-the-caller")
        .header("cookie", "session=of-the-caller")
        .header("impersonate-user", "system:admin")
        .header("impersonate-group", "system:masters")
        .header("impersonate-uid", "0")
        .header("impersonate-extra-scopes", "all")
        .header("x-remote-user", "system:admin")
        .header("x-remote-group", "system:masters")
        .header("x-forwarded-for", "10.0.0.1")
        .header("user-agent", "of-the-caller")
        .header("x-anything", "of-the-caller")
        .body(Empty::new())
        .unwrap()
}

/// The host pod of `shop/web`, whose UID inside is `v1`.
pub(super) fn host_pod() -> Value {
    json!({
        "metadata": {
            "name": HOST_POD, "namespace": "team-a", "uid": "h1",
            "annotations": {
                CLUSTER_UID: "c1", VIRTUAL_KIND: "Pod", VIRTUAL_NAMESPACE: "shop",
                VIRTUAL_NAME: "web", VIRTUAL_UID: "v1",
            },
        },
        "spec": {"containers": [{"name": "main"}, {"name": "injected"}]},
    })
}

/// Where it is.
pub(super) fn host_pod_path() -> String {
    format!("/api/v1/namespaces/team-a/pods/{HOST_POD}")
}

/// What sync asks the host about a tenant, before it acts for it.
fn say_of_tenant(host: &Side, authority: &Authority, address: SocketAddr, clock: &ManualClock) {
    let cluster = json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"name": "demo", "namespace": "team-a", "uid": "c1"}, "spec": {},
        "status": {
            "endpoint": format!("https://{address}"), "dnsAddress": "10.96.0.53",
            "serviceCIDRs": ["10.96.0.0/12"],
        },
    });
    let path = "/apis/vcluster.dev/v1alpha1/namespaces/team-a/virtualclusters/demo";
    host.says(path, 200, cluster.to_string());
    let sync = authority.client("system:vcluster:sync", &[]);
    let encoded = |pem: String| base64::prelude::BASE64_STANDARD.encode(pem);
    let secret = json!({
        "metadata": {"name": SYNC_SECRET, "namespace": "team-a"},
        "data": {
            CA_CERT: encoded(authority.pem()), TLS_CERT: encoded(sync.certificate),
            TLS_KEY: encoded(sync.key),
        },
    });
    let path = format!("/api/v1/namespaces/team-a/secrets/{SYNC_SECRET}");
    host.says(&path, 200, secret.to_string());
    let token = json!({
        "metadata": {}, "spec": {"audiences": []},
        "status": {"token": TOKEN, "expirationTimestamp": in_an_hour(clock).to_string()},
    });
    let path = "/api/v1/namespaces/team-a/serviceaccounts/vcluster-sync/token";
    host.says(path, 201, token.to_string());
}
