//! The listener over loopback, with real TLS.

use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vcluster_chassis::clock::{Clock, SystemClock};
use vcluster_chassis::metrics::Registry;
use vcluster_chassis::testing::{Authority, Issued};

use super::*;
use crate::reply;

const DEMO: &str = "vcluster://team-a/demo/1";

/// Says who asks, and what for.
#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn handle(
        self: Arc<Self>,
        caller: Arc<Caller>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        let text = format!("{} {}", caller.tenant, request.uri().path());
        Box::pin(async move { Response::new(reply::full(text)) })
    }
}

/// The front-proxy authorities of tenants.
struct Proxies(std::collections::HashMap<&'static str, Roots>);

impl FrontProxies for Proxies {
    fn vouch(
        self: Arc<Self>,
        tenant: TenantUri,
        certificates: PeerCertificates,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let roots = self.0.get(tenant.to_string().as_str());
        let now = SystemClock.now();
        let known =
            roots.is_some_and(|roots| roots.verify_client(certificates.chain(), now).is_ok());
        let answer = if known {
            Ok(())
        } else {
            Err(Refusal::new(reply::Kind::Forbidden, "nobody vouches"))
        };
        Box::pin(async move { answer })
    }
}

struct World {
    servers: Authority,
    tenants: Authority,
    _folder: tempfile::TempDir,
    address: SocketAddr,
    shutdown: Shutdown,
}

impl World {
    async fn new() -> Self {
        Self::serving(|server, listener| server.serve(Port::Kubelet, listener, Arc::new(Echo)))
            .await
    }

    async fn of_front_proxies(proxies: Proxies) -> Self {
        Self::serving(|server, listener| {
            let (port, handler) = (Port::ResourceMetrics, Arc::new(Echo));
            server.serve_front_proxies(port, listener, Arc::new(proxies), handler);
        })
        .await
    }

    async fn serving(serve: impl FnOnce(&Server, TcpListener)) -> Self {
        let (servers, tenants) = (Authority::new("platform"), Authority::new("tenants"));
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("tenant-ca.crt");
        std::fs::write(&authority, tenants.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let tls = tls::Metrics::register(&mut Registry::new("test", "0"));
        let server = Server {
            identity: servers.server(&["sync.test"]).identity().into(),
            authority,
            reloader: Reloader::new(&shutdown, &tls),
            tls,
            metrics: Metrics::default(),
            shutdown: shutdown.clone(),
        };
        serve(&server, listener);
        Self {
            servers,
            tenants,
            _folder: folder,
            address,
            shutdown,
        }
    }

    async fn connect(
        &self,
        client: Option<&Issued>,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let identity = client.map(|issued| issued.identity().into());
        let config = tls::client_config(self.servers.roots(), identity, &[alpn]);
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("sync.test").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    /// Asks over one connection of its own; the answer's code and text.
    async fn ask(
        &self,
        client: Option<&Issued>,
        alpn: &[u8],
    ) -> Result<(StatusCode, String), Box<dyn std::error::Error>> {
        let stream = TokioIo::new(self.connect(client, alpn).await?);
        let request = Request::get("https://team-b.test/containerLogs")
            .header("x-remote-user", "vcluster://team-b/demo/1");
        let response = if alpn == tls::ALPN_H2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            sender
                .send_request(request.body(Empty::<bytes::Bytes>::new())?)
                .await?
        } else {
            let (mut sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            let request = request.header("host", "team-b.test");
            sender
                .send_request(request.body(Empty::<bytes::Bytes>::new())?)
                .await?
        };
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((code, String::from_utf8(body.to_vec())?))
    }
}

#[tokio::test]
async fn the_certificate_alone_names_the_tenant_in_either_protocol() {
    let world = World::new().await;
    let demo = world.tenants.client_of("vcluster", &[DEMO]);
    for alpn in [tls::ALPN_H2, tls::ALPN_HTTP1] {
        let (code, text) = world.ask(Some(&demo), alpn).await.unwrap();
        assert_eq!(code, 200);
        assert_eq!(text, format!("{DEMO} /containerLogs"));
    }
}

#[tokio::test]
async fn who_shows_no_tenant_is_told_why_it_is_refused() {
    let world = World::new().await;
    let user = world.tenants.client("jane", &["system:masters"]);
    for (client, reason) in [
        (None, "no client certificate was shown"),
        (Some(&user), "bears 0 URIs"),
    ] {
        let (code, text) = world.ask(client, tls::ALPN_HTTP1).await.unwrap();
        assert_eq!(code, 403);
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_certificate() {
    let world = World::new().await;
    for authority in [&Authority::new("tenants"), &world.servers] {
        let forged = authority.client_of("vcluster", &[DEMO]);
        assert!(world.ask(Some(&forged), tls::ALPN_HTTP1).await.is_err());
    }
}

#[tokio::test]
async fn a_tenant_with_too_many_connections_keeps_nobody_else_out() {
    let world = World::new().await;
    let demo = world.tenants.client_of("vcluster", &[DEMO]);
    let mut held = Vec::new();
    for _ in 0..PER_TENANT {
        held.push(world.connect(Some(&demo), tls::ALPN_HTTP1).await.unwrap());
    }
    // The server has them all once it has answered on the last one.
    let (mut sender, connection) = http1::handshake(TokioIo::new(held.pop().unwrap()))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    assert!(world.ask(Some(&demo), tls::ALPN_HTTP1).await.is_err());
    let other = world
        .tenants
        .client_of("vcluster", &["vcluster://team-b/demo/2"]);
    assert!(world.ask(Some(&other), tls::ALPN_HTTP1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn service_waits_for_the_authority_to_appear() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = Authority::new("tenants");
    let shutdown = Shutdown::new();
    let tls = tls::Metrics::default();
    let server = Server {
        identity: tenants.server(&["sync.test"]).identity().into(),
        authority: folder.path().join("tenant-ca.crt"),
        reloader: Reloader::new(&shutdown, &tls),
        tls,
        metrics: Metrics::default(),
        shutdown,
    };
    let mut found = std::pin::pin!(server.authority(Port::Kubelet));
    assert!(
        tokio::time::timeout(MISSING * 3, found.as_mut())
            .await
            .is_err()
    );
    std::fs::write(&server.authority, tenants.pem()).unwrap();
    let found = tokio::time::timeout(MISSING * 2, found).await.unwrap();
    assert_eq!(found.current().certificates().len(), 1);
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections() {
    let world = World::new().await;
    let demo = world.tenants.client_of("vcluster", &[DEMO]);
    assert_eq!(world.ask(Some(&demo), tls::ALPN_H2).await.unwrap().0, 200);
    let _silent = world.connect(Some(&demo), tls::ALPN_H2).await.unwrap();
    let drained = world.shutdown.drained(Duration::from_secs(30)).await;
    assert_eq!(drained, Ok(()));
}

#[tokio::test]
async fn a_front_proxy_is_believed_only_where_its_own_tenant_s_authority_signed_its_certificate() {
    const OTHER: &str = "vcluster://team-b/demo/2";
    let (demo, other) = (Authority::new("demo"), Authority::new("other"));
    let roots = [(DEMO, demo.roots()), (OTHER, other.roots())];
    let world = World::of_front_proxies(Proxies(roots.into())).await;
    for alpn in [tls::ALPN_H2, tls::ALPN_HTTP1] {
        let own = demo.client_of("front-proxy-client", &[DEMO]);
        let (code, text) = world.ask(Some(&own), alpn).await.unwrap();
        assert_eq!(code, 200);
        assert_eq!(text, format!("{DEMO} /containerLogs"));
    }
    let forged = [
        other.client_of("front-proxy-client", &[DEMO]),
        demo.client_of("front-proxy-client", &[OTHER]),
        demo.client_of("front-proxy-client", &["vcluster://team-c/demo/3"]),
        demo.client_of("front-proxy-client", &[DEMO, OTHER]),
        demo.client("vcluster-connect", &[]),
        world.tenants.client_of("vcluster", &[DEMO]),
    ];
    for forged in &forged {
        assert!(world.ask(Some(forged), tls::ALPN_HTTP1).await.is_err());
    }
    assert!(world.ask(None, tls::ALPN_HTTP1).await.is_err());
}
