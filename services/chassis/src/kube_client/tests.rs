//! Clients against real sockets.

use std::convert::Infallible;

use http::Response;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tokio::net::TcpListener;

use super::*;
use crate::drain::Shutdown;
use crate::testing::Authority;
use crate::tls::{self, AcceptOptions, ClientAuth, Live};

/// An API server on loopback that knows one namespace and wants a client certificate.
struct Served {
    url: Uri,
    servers: Authority,
    clients: Authority,
    _shutdown: Shutdown,
}

async fn serve(name: &str, silent: bool) -> Served {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let auth = ClientAuth::Required(clients.roots().into());
    let config = tls::server_config(servers.server(&[name]).identity(), auth, &[tls::ALPN_HTTP1]);
    let shutdown = Shutdown::new();
    let metrics = tls::Metrics::default();
    let mut incoming = tls::accept(
        listener,
        config,
        AcceptOptions::default(),
        &metrics,
        &shutdown,
    );
    shutdown.spawn("api server", async move {
        while let Some(stream) = incoming.next().await {
            tokio::spawn(answer(stream, silent));
        }
    });
    Served {
        url,
        servers,
        clients,
        _shutdown: shutdown,
    }
}

async fn answer(stream: tls::Stream, silent: bool) {
    let service =
        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| async move {
            if silent {
                std::future::pending::<()>().await;
            }
            let agent = request.headers()[USER_AGENT].to_str().unwrap_or_default();
            let body = serde_json::json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "default", "annotations": {"agent": agent}},
            });
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from(
                body.to_string(),
            ))))
        });
    let http = hyper::server::conn::http1::Builder::new();
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}

impl Served {
    fn target(&self) -> Target {
        let identity = self.clients.client("system:sync", &[]).identity();
        let tls = tls::client_config(
            self.servers.roots(),
            Some(Live::from(identity)),
            &[tls::ALPN_H2],
        );
        Target::new(self.url.clone(), tls, "vcluster-test/1")
    }
}

async fn get(client: Client) -> Result<Namespace, kube::Error> {
    Api::all(client).get("default").await
}

#[tokio::test]
async fn an_address_with_certificates_is_enough() {
    let served = serve("127.0.0.1", false).await;
    let namespace = get(from_tls(served.target()).unwrap()).await.unwrap();
    assert_eq!(
        namespace.metadata.annotations.unwrap()["agent"],
        "vcluster-test/1"
    );
}

#[tokio::test]
async fn the_server_name_may_differ_from_the_address() {
    let served = serve("kubernetes.default.svc", false).await;
    assert!(get(from_tls(served.target()).unwrap()).await.is_err());
    let target = served.target().server_name("kubernetes.default.svc");
    assert!(get(from_tls(target).unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let served = serve("127.0.0.1", true).await;
    let mut target = served.target();
    target.timeouts.response = Duration::from_millis(50);
    let error = get(from_tls(target).unwrap()).await.unwrap_err();
    assert_eq!(
        crate::retry::verdict(&error),
        crate::retry::Verdict::Retry,
        "{error:?}"
    );
}

#[tokio::test]
async fn a_kubeconfig_is_used_with_the_context_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "one",
        "clusters": [{"name": "c1", "cluster": {"server": "https://one.example"}},
                     {"name": "c2", "cluster": {"server": "https://two.example"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "one", "context": {"cluster": "c1", "user": "u"}},
                     {"name": "two", "context": {"cluster": "c2", "user": "u"}}]}"#;
    std::fs::write(&path, text).unwrap();
    for (context, host) in [(None, "one.example"), (Some("two"), "two.example")] {
        let args = KubeArgs {
            kubeconfig: Some(path.clone()),
            kube_context: context.map(str::to_owned),
        };
        let config = config(&args).await.unwrap();
        assert_eq!(config.cluster_url.host(), Some(host));
    }
}

#[test]
fn hidden_retries_are_off() {
    let config = configure(
        Config::new(Uri::from_static("https://x")),
        "agent",
        Timeouts::default(),
    );
    assert!(!config.unwrap().default_retry);
}

#[tokio::test]
async fn outside_of_a_pod_a_kubeconfig_is_asked_for() {
    let error = connect(&KubeArgs::default(), "agent").await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "neither --kubeconfig nor a pod's service account is there"
    );
}
