//! The whole gateway on loopback: real TLS, real HTTP/1.1 and HTTP/2, a virtual API server that tells exactly what
//! arrived, and a host API server that answers reviews.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vcluster_chassis::access::{Authorizer, CacheConfig, TokenReviewer};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::grpc;
use vcluster_chassis::health::Health;
use vcluster_chassis::metrics::Registry;
use vcluster_chassis::testing::{ApiServer, Authority, Call, Issued, ManualClock, json as answer};
use vcluster_chassis::tls::Live;
use vcluster_proto::FILE_DESCRIPTOR_SET;
use vcluster_proto::connect::v1::connect_service_server::ConnectServiceServer;

use crate::authenticate::Authenticator;
use crate::authorize::Access;
use crate::body::Body;
use crate::client_ca::ClientCa;
use crate::clusters::{Clusters, Place, State};
use crate::credential::{Credentials, Keys};
use crate::gateway::Gateway;
use crate::limits::{Limits, PerUser};
use crate::listener;
use crate::metrics::Metrics;
use crate::platform::issue::Issuer;
use crate::platform::{CONNECTIONS, Platform, Remote};
use crate::route::{ClusterKey, Domain};
use crate::upstream::{Pool, Target, Upstreams};
use crate::vigil::Vigil;

mod abuse;
mod client;
mod identity;
mod logs;
mod platform;
mod requests;
mod server;
mod streams;
mod upgrades;

use client::Client;
use server::{Seen, Server};

/// What a test may change before the gateway starts.
struct Options {
    listener: listener::Limits,
    per_user: PerUser,
    domain: Option<Domain>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listener: listener::Limits {
                connections: 100,
                per_source: 100,
                handshake: Duration::from_secs(5),
                header: Duration::from_secs(10),
                idle: Duration::from_mins(10),
                streams: 256,
            },
            per_user: PerUser {
                short: 100,
                long: 100,
            },
            domain: None,
        }
    }
}

/// Everything around a gateway.
struct World {
    host_ca: Authority,
    gateway_ca: Authority,
    address: std::net::SocketAddr,
    /// Virtual API servers of `team-a/demo` and `team-b/other`.
    demo: Server,
    other: Server,
    control: Server,
    clusters: Clusters,
    credentials: Credentials,
    clock: ManualClock,
    /// Rights on the host: user, `namespace/name`, verb.
    rights: Arc<Mutex<BTreeSet<(String, String, String)>>>,
    health: Health,
    shutdown: Shutdown,
}

fn demo() -> ClusterKey {
    ClusterKey::parse("team-a", "demo").unwrap()
}

fn other() -> ClusterKey {
    ClusterKey::parse("team-b", "other").unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        vcluster_chassis::crypto::install();
        logs::capture();
        let (host_ca, gateway_ca) = (Authority::new("host"), Authority::new("platform"));
        let front = Authority::new("front-proxy");
        let cluster_ca = Authority::new("cluster");
        let demo_server = Server::start(&cluster_ca, &front).await;
        let other_server = Server::start(&cluster_ca, &front).await;
        let control = Server::start(&gateway_ca, &gateway_ca).await;
        let rights = Arc::new(Mutex::new(BTreeSet::new()));
        let gateway_client = front.client("vcluster-connect", &[]);
        let host = host(Arc::clone(&rights), cluster_ca.pem(), gateway_client);
        // At a whole second, as credentials count in seconds.
        let now = jiff::Timestamp::now().as_second();
        let clock = ManualClock::at(jiff::Timestamp::from_second(now).unwrap());
        let shutdown = Shutdown::new();
        let health = Health::new(&shutdown);
        let keys = Keys::from_pem(&KeyPair::generate().unwrap().serialize_pem().into()).unwrap();
        let credentials = Credentials::new(keys, Arc::new(clock.clone()));
        let clusters = Clusters::default();
        for (key, server) in [(demo(), &demo_server), (other(), &other_server)] {
            clusters.set(&key, Some(State::At(place(&key, server.address))));
        }
        let gateway = Parts {
            options: &options,
            host: &host,
            host_ca: &host_ca,
            gateway_ca: &gateway_ca,
            control: &control,
            credentials: &credentials,
            clusters: &clusters,
            clock: &clock,
            health: &health,
            shutdown: &shutdown,
        }
        .gateway();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = gateway_ca.server(&["gateway.test", "demo.team-a.vc.test", "127.0.0.1"]);
        let config = listener::config(Live::from(serving.identity()));
        listener::serve(
            listener,
            config,
            options.listener,
            Arc::new(gateway),
            &shutdown,
        );
        let this = Self {
            host_ca,
            gateway_ca,
            address,
            demo: demo_server,
            other: other_server,
            control,
            clusters,
            credentials,
            clock,
            rights,
            health,
            shutdown,
        };
        this.allow("jane", &demo(), "connect");
        this
    }

    fn allow(&self, user: &str, cluster: &ClusterKey, verb: &str) {
        let right = (user.to_owned(), cluster.to_string(), verb.to_owned());
        self.rights.lock().unwrap().insert(right);
    }

    fn certificate(&self, user: &str, groups: &[&str]) -> Issued {
        self.host_ca.client(user, groups)
    }

    async fn h1(&self, certificate: Option<&Issued>) -> Client {
        Client::http1(self, certificate).await
    }

    async fn h2(&self, certificate: Option<&Issued>) -> Client {
        Client::http2(self, certificate).await
    }

    async fn jane(&self) -> Client {
        self.h2(Some(&self.certificate("jane", &["devs"]))).await
    }

    /// Nothing has reached either virtual API server.
    fn nothing_arrived(&self) {
        for server in [&self.demo, &self.other] {
            let seen: Vec<_> = server
                .seen()
                .iter()
                .map(|seen| seen.target.clone())
                .collect();
            assert!(seen.is_empty(), "{seen:?}");
        }
    }
}

fn place(key: &ClusterKey, address: std::net::SocketAddr) -> Place {
    Place {
        uid: format!("uid-of-{}", key.name),
        address,
        waits_for: None,
    }
}

struct Parts<'a> {
    options: &'a Options,
    host: &'a ApiServer,
    host_ca: &'a Authority,
    gateway_ca: &'a Authority,
    control: &'a Server,
    credentials: &'a Credentials,
    clusters: &'a Clusters,
    clock: &'a ManualClock,
    health: &'a Health,
    shutdown: &'a Shutdown,
}

impl Parts<'_> {
    fn gateway(&self) -> Gateway {
        let clock = Arc::new(self.clock.clone());
        let access = Access::new(Authorizer::new(self.host.client()));
        let ca = ClientCa {
            generation: 1,
            roots: Some(self.host_ca.roots()),
        };
        let authenticator = Authenticator::new(
            Live::from(ca),
            TokenReviewer::new(self.host.client(), Vec::new(), CacheConfig::TOKENS),
            self.credentials.clone(),
            Arc::<ManualClock>::clone(&clock),
        );
        let metrics = Metrics::default();
        let drain = Duration::from_millis(100);
        let issuer = Issuer::new(access.clone(), self.credentials.clone());
        let own = grpc::Server::new(
            grpc::Options::default(),
            &grpc::Metrics::register(&mut Registry::new("test", "0")),
            self.health,
        )
        .add(ConnectServiceServer::new(issuer), FILE_DESCRIPTOR_SET)
        .into_stack(self.shutdown)
        .unwrap();
        Gateway {
            domain: self.options.domain.clone(),
            authenticator: authenticator.clone(),
            access: access.clone(),
            clusters: self.clusters.clone(),
            upstreams: Upstreams::new(
                self.host.client(),
                self.clusters.clone(),
                metrics.clone(),
                self.shutdown,
            ),
            platform: Platform {
                control: self.remote(),
                sync: self.remote(),
                own,
            },
            limits: Limits::new(self.options.per_user),
            vigil: Vigil::new(authenticator, access, clock, self.shutdown.token(), drain),
            metrics,
            health: self.health.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn remote(&self) -> Remote {
        let identity = self.gateway_ca.client("vcluster-connect", &[]).identity();
        let roots = self.gateway_ca.roots();
        let port = self.control.address.port();
        let target = Target::new("127.0.0.1", port, &roots.into(), &identity.into()).unwrap();
        let target = Arc::new(target);
        let pool = Pool::new(Arc::clone(&target), CONNECTIONS, Metrics::default());
        Remote {
            name: "control",
            target,
            pool,
        }
    }
}

/// A host API server: `token-of-NAME` is NAME's token.
fn host(
    rights: Arc<Mutex<BTreeSet<(String, String, String)>>>,
    ca: String,
    gateway: Issued,
) -> ApiServer {
    ApiServer::new(move |call| {
        if call.path.ends_with("/tokenreviews") {
            return token_review(call);
        }
        if call.path.ends_with("/subjectaccessreviews") {
            return access_review(call, &rights.lock().unwrap());
        }
        let cluster = match call.path.as_str() {
            "/api/v1/namespaces/team-a/secrets/vcluster-gateway" => "demo",
            "/api/v1/namespaces/team-b/secrets/vcluster-gateway" => "other",
            _ => {
                return answer(
                    404,
                    json!({ "kind": "Status", "code": 404, "reason": "NotFound" }),
                );
            }
        };
        answer(200, secret(cluster, &ca, &gateway))
    })
}

fn secret(cluster: &str, ca: &str, gateway: &Issued) -> Value {
    use base64::Engine;
    let encode = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "vcluster-gateway",
            "annotations": { "vcluster.dev/cluster-uid": format!("uid-of-{cluster}") },
        },
        "data": {
            "ca.crt": encode(ca),
            "tls.crt": encode(&gateway.certificate),
            "tls.key": encode(&gateway.key),
        },
    })
}

fn token_review(call: &Call) -> Response<String> {
    let token = call.body["spec"]["token"].as_str().unwrap_or_default();
    let status = match token.strip_prefix("token-of-") {
        Some(name) => {
            let (name, group) = name.split_once('+').unwrap_or((name, "devs"));
            let groups = [group, "system:masters", "system:authenticated"];
            json!({ "authenticated": true, "user": { "username": name, "uid": "7", "groups": groups } })
        }
        None => json!({ "authenticated": false }),
    };
    let kind = ("authentication.k8s.io/v1", "TokenReview");
    answer(
        201,
        json!({ "apiVersion": kind.0, "kind": kind.1, "spec": {}, "status": status }),
    )
}

fn access_review(call: &Call, rights: &BTreeSet<(String, String, String)>) -> Response<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let asked = &call.body["spec"]["resourceAttributes"];
    let object = format!("{}/{}", text(&asked["namespace"]), text(&asked["name"]));
    let right = (
        text(&call.body["spec"]["user"]),
        object,
        text(&asked["verb"]),
    );
    let ours = asked["group"] == "vcluster.dev" && asked["resource"] == "virtualclusters";
    let allowed = ours && rights.contains(&right);
    let kind = ("authorization.k8s.io/v1", "SubjectAccessReview");
    let status = json!({ "allowed": allowed });
    answer(
        201,
        json!({ "apiVersion": kind.0, "kind": kind.1, "spec": {}, "status": status }),
    )
}

/// The `Status` of a refusal.
async fn status(response: Response<Incoming>) -> kube::core::Status {
    let code = response.status();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: kube::core::Status = serde_json::from_slice(&body).unwrap();
    assert_eq!(status.code, code.as_u16());
    assert!(!status.reason.is_empty());
    status
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
