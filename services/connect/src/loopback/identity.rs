//! Who callers are, by certificate, token or credential, and what forgers achieve: nothing.

use secrecy::ExposeSecret;

use super::client::get;
use super::*;

const API: &str = "/clusters/team-a/demo/api/v1/namespaces";

/// Names of headers that arrived, but for those of the connection itself.
fn names(seen: &Seen) -> Vec<String> {
    let mut names: Vec<_> = seen.headers.keys().map(ToString::to_string).collect();
    names.retain(|name| !["host", "content-length"].contains(&name.as_str()));
    names.sort();
    names
}

const FORGED: [(&str, &str); 22] = [
    ("Connection", "close, X-Remote-User"),
    ("X-Remote-User", "system:admin"),
    ("X-Remote-Group", "system:masters"),
    ("x-remote-group", "system:nodes"),
    ("X-Remote-Uid", "0"),
    ("X-Remote-Extra-Scopes", "all"),
    ("X_Remote_User", "system:admin"),
    ("X-Remote_Group", "system:masters"),
    ("Cookie", "session=canary"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1"),
    ("Via", "1.1 evil"),
    ("Proxy-Authorization", "Basic Y2FuYXJ5"),
    ("Proxy-Connection", "keep-alive"),
    ("Keep-Alive", "timeout=5"),
    ("Connection", "X-Remote-Group"),
    ("Connection", "x-remote-uid ,, X-FORWARDED-FOR"),
    ("TE", "trailers"),
    ("Accept", "application/json"),
    ("Impersonate-User", "joe"),
];

#[tokio::test]
async fn exactly_the_callers_identity_arrives_whatever_a_client_sends() {
    let world = World::new().await;
    let jane = world.certificate("jane", &["devs"]);
    let mut client = world.h1(Some(&jane)).await;
    let response = client.send(get(API, &FORGED)).await;
    assert_eq!(response.status(), 200);
    let seen = world.demo.only();
    assert_eq!(
        names(&seen),
        [
            "accept",
            "impersonate-user",
            "x-forwarded-for",
            "x-remote-group",
            "x-remote-user"
        ]
    );
    assert_eq!(seen.all("x-remote-user"), ["jane"]);
    assert_eq!(seen.all("x-remote-group"), ["devs", "system:authenticated"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("impersonate-user"), ["joe"]);
    assert_eq!(seen.version, http::Version::HTTP_2);
}

#[tokio::test]
async fn a_token_is_spent_at_the_gateway_and_its_rights_of_the_host_stay_there() {
    let world = World::new().await;
    world.allow("system:serviceaccount:team-a:robot", &demo(), "connect");
    let mut client = world.h2(None).await;
    let bearer = [(
        "authorization",
        "Bearer token-of-system:serviceaccount:team-a:robot",
    )];
    assert_eq!(client.send(get(API, &bearer)).await.status(), 200);
    let seen = world.demo.only();
    assert!(!seen.headers.contains_key("authorization"));
    assert_eq!(
        seen.all("x-remote-user"),
        ["host:system:serviceaccount:team-a:robot"]
    );
    assert_eq!(seen.all("x-remote-group"), ["devs", "system:authenticated"]);
    assert_eq!(seen.all("x-remote-uid"), ["7"]);
}

#[tokio::test]
async fn who_may_admin_is_a_master_inside() {
    let world = World::new().await;
    world.allow("jane", &demo(), "admin");
    assert_eq!(world.jane().await.get(API).await.status(), 200);
    let groups = world.demo.only().all("x-remote-group");
    assert_eq!(groups, ["devs", "system:authenticated", "system:masters"]);
}

#[tokio::test]
async fn without_credentials_nothing_is_reached_and_nothing_is_told() {
    let world = World::new().await;
    let stranger = Authority::new("host").client("jane", &["system:masters"]);
    for certificate in [None, Some(&stranger)] {
        let mut client = world.h2(certificate).await;
        for target in [
            API,
            "/clusters/team-a/absent/api",
            "/clusters/nowhere/demo/livez",
            "/clusters/team-a/demo/.well-known/openid-configuration",
        ] {
            let mut headers = FORGED.to_vec();
            // These cannot be sent in HTTP/2.
            headers.retain(|(name, _)| {
                !["Connection", "Proxy-Connection", "Keep-Alive"].contains(name)
            });
            let response = client.send(get(target, &headers)).await;
            assert_eq!(response.status(), 401, "{target}");
            assert!(
                status(response)
                    .await
                    .message
                    .contains("Authorization: Bearer")
            );
        }
        for target in ["/metrics", "/debug/pprof", "/", "/api/v1/pods"] {
            assert_eq!(
                client
                    .send(get(target, &[("x-remote-user", "a")]))
                    .await
                    .status(),
                404,
                "{target}"
            );
        }
    }
    world.nothing_arrived();
}

#[tokio::test]
async fn who_may_not_connect_is_told_what_to_ask_for_and_not_whether_the_cluster_is_there() {
    let world = World::new().await;
    let mut client = world.jane().await;
    let there = status(client.get("/clusters/team-b/other/api").await).await;
    assert_eq!(there.code, 403);
    assert_eq!(
        there.message,
        "user \"jane\" cannot connect to virtual cluster \"other\" in host namespace \"team-b\": ask for verb \
         connect on virtualclusters.vcluster.dev"
    );
    let absent = status(client.get("/clusters/team-b/absent/api").await).await;
    assert_eq!(absent.message.replace("absent", "other"), there.message);
    world.nothing_arrived();
}

#[tokio::test]
async fn a_credential_is_good_for_its_cluster_only() {
    let world = World::new().await;
    world.allow("jane", &other(), "connect");
    let jane = vcluster_chassis::identity::Identity::user("jane").group("devs");
    let issued = world
        .credentials
        .issue(&jane, &demo(), Duration::from_mins(1))
        .unwrap();
    let bearer = format!("Bearer {}", issued.token.expose_secret());
    let bearer = [("authorization", bearer.as_str())];
    let mut client = world.h2(None).await;
    assert_eq!(client.send(get(API, &bearer)).await.status(), 200);
    assert_eq!(
        client
            .send(get("/clusters/team-b/other/api", &bearer))
            .await
            .status(),
        401
    );
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(client.send(get(API, &bearer)).await.status(), 401);
    assert_eq!(world.demo.seen().len(), 1);
    assert!(world.other.seen().is_empty());
}

#[tokio::test]
async fn the_same_user_with_other_groups_is_another_question() {
    let world = World::new().await;
    let mut client = world.h2(None).await;
    for token in ["Bearer token-of-jane+first", "Bearer token-of-jane+second"] {
        assert_eq!(
            client
                .send(get(API, &[("authorization", token)]))
                .await
                .status(),
            200
        );
    }
    let groups: Vec<_> = world
        .demo
        .seen()
        .iter()
        .map(|seen| seen.all("x-remote-group"))
        .collect();
    assert_eq!(
        groups,
        [
            ["first", "system:authenticated"],
            ["second", "system:authenticated"]
        ]
    );
}

#[tokio::test]
async fn impersonation_that_is_taken_back_is_refused() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    let mut client = world.h1(Some(&jane)).await;
    let headers = [
        ("Connection", "Impersonate-User"),
        ("Impersonate-User", "joe"),
    ];
    assert_eq!(client.send(get(API, &headers)).await.status(), 400);
    world.nothing_arrived();
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    let roots = world.gateway_ca.roots();
    let mut store = rustls::RootCertStore::empty();
    for root in roots.certificates() {
        store.add(root.clone()).unwrap();
    }
    let issued = jane.identity();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(store)
        .with_client_cert_resolver(Arc::new(Shows(issued.certified_key())));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for _ in 0..2 {
        let tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let name = "gateway.test".try_into().unwrap();
        let stream = connector.connect(name, tcp).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
    }
}

#[derive(Debug)]
struct Shows(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shows {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
