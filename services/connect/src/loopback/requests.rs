//! Requests through the real listener: what reaches a virtual API server, byte for byte.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::client::get;
use super::server::plain;
use super::*;

#[tokio::test]
async fn the_path_within_a_cluster_arrives_byte_for_byte_at_the_right_tenant() {
    let world = World::new().await;
    world.allow("jane", &other(), "connect");
    let jane = world.certificate("jane", &[]);
    let rests = [
        "/api/v1/namespaces/x/services/y/proxy/a%2Fb%3Fc",
        "/api?labelSelector=a%3Db,c!=d&watch=false",
        "//double//slashes",
        "/a/../b/./c/%2e%2e/d",
        "/clusters/team-b/other/x",
        "/a;b=c",
    ];
    for mut client in [world.h1(Some(&jane)).await, world.h2(Some(&jane)).await] {
        for rest in rests {
            for prefix in ["/clusters/team-a/demo", "/clusters/team-b/other"] {
                assert_eq!(client.get(&format!("{prefix}{rest}")).await.status(), 200);
            }
        }
    }
    for server in [&world.demo, &world.other] {
        let targets: Vec<_> = server.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(targets, [rests, rests].concat());
    }
}

#[tokio::test]
async fn a_host_of_its_own_leads_to_a_cluster_and_a_connection_for_it_to_no_other() {
    let domain = Some(Domain::parse("vc.test").unwrap());
    let world = World::with(Options {
        domain,
        ..Options::default()
    })
    .await;
    let jane = world.certificate("jane", &[]);
    let name = "demo.team-a.vc.test";
    let stream = world
        .tls(Some(&jane), vcluster_chassis::tls::ALPN_H2, name)
        .await;
    let mut client = Client::over(stream).await;
    let response = client
        .get("https://demo.team-a.vc.test/clusters/x?a=%2F")
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(world.demo.only().target, "/clusters/x?a=%2F");
    for elsewhere in [
        "https://other.team-b.vc.test/api",
        "https://gateway.test/clusters/team-a/demo/api",
    ] {
        let response = client.get(elsewhere).await;
        assert_eq!(status(response).await.code, 421, "{elsewhere}");
    }
    assert_eq!(world.demo.seen().len(), 1);
}

#[tokio::test]
async fn who_leaves_the_path_out_is_told_how_kubectl_proxy_keeps_it() {
    let world = World::new().await;
    let mut client = world.jane().await;
    let found = status(client.get("/api/v1/pods").await).await;
    assert_eq!(found.code, 404);
    assert!(
        found.message.contains("--append-server-path"),
        "{}",
        found.message
    );
    world.nothing_arrived();
}

#[tokio::test]
async fn clusters_that_cannot_be_reached_say_why_and_nothing_of_the_inside() {
    let world = World::new().await;
    let mut client = world.jane().await;
    let closed = "127.0.0.1:1".parse().unwrap();
    let mut waiting = place(&demo(), closed);
    waiting.waits_for = Some("waiting for the control plane".to_owned());
    for (state, code, words) in [
        (
            None,
            404,
            "there is no virtual cluster \"demo\" in host namespace \"team-a\"",
        ),
        (
            Some(State::NotReady("waiting for certificates".to_owned())),
            503,
            "waiting for certificates",
        ),
        (Some(State::Deleting), 503, "is being deleted"),
        (Some(State::Broken), 503, "no usable address"),
        (
            Some(State::At(waiting)),
            503,
            "cannot be reached now (waiting for the control plane)",
        ),
    ] {
        world.clusters.set(&demo(), state);
        let found = status(client.get("/clusters/team-a/demo/api").await).await;
        assert_eq!(found.code, code, "{}", found.message);
        assert!(found.message.contains(words), "{}", found.message);
        assert!(!found.message.contains("127.0.0.1"), "{}", found.message);
    }
    world.nothing_arrived();
}

#[tokio::test]
async fn an_api_server_that_hangs_up_is_away_and_one_that_speaks_no_tls_is_not_trusted() {
    let world = World::new().await;
    let mut client = world.jane().await;
    for (said, code, words) in [
        (&b""[..], 503, "cannot be reached now"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            502,
            "do not trust or understand",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = place(&demo(), listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(said).await.unwrap();
            // What the gateway says is read, so that the end is an end and no reset.
            stream.shutdown().await.unwrap();
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        });
        world.clusters.set(&demo(), Some(State::At(there)));
        let found = status(client.get("/clusters/team-a/demo/api").await).await;
        assert_eq!(found.code, code, "{}", found.message);
        assert!(found.message.contains(words), "{}", found.message);
        drop(serving.await.unwrap());
    }
    world.nothing_arrived();
}

#[tokio::test]
async fn another_cluster_of_the_same_name_is_not_reached_with_the_credential_of_the_one_before() {
    let world = World::new().await;
    let mut client = world.jane().await;
    assert_eq!(client.get("/clusters/team-a/demo/api").await.status(), 200);
    let mut reborn = place(&demo(), world.other.address);
    reborn.uid = "another".to_owned();
    world.clusters.set(&demo(), Some(State::At(reborn)));
    let refused = status(client.get("/clusters/team-a/demo/api").await).await;
    assert_eq!(refused.code, 503);
    assert!(
        refused.message.contains("no credential"),
        "{}",
        refused.message
    );
    assert!(world.other.seen().is_empty());
}

#[tokio::test]
async fn a_refused_gateway_is_not_the_callers_fault_but_a_workloads_answer_is_its_own() {
    let world = World::new().await;
    world.demo.answers(|_| async { plain(401, "go away") });
    let mut client = world.jane().await;
    let refused = status(client.get("/clusters/team-a/demo/api/v1/pods").await).await;
    assert_eq!(refused.code, 502);
    let proxied = "/clusters/team-a/demo/api/v1/namespaces/a/services/b/proxy/x";
    let response = client.get(proxied).await;
    assert_eq!(response.status(), 401);
    assert_eq!(text(response).await, "go away");
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_never_followed() {
    let world = World::new().await;
    world.demo.answers(|_| async {
        let mut response = plain(302, "");
        let elsewhere = "http://169.254.169.254/latest".parse().unwrap();
        response.headers_mut().insert("location", elsewhere);
        response
    });
    let response = world.jane().await.get("/clusters/team-a/demo/api").await;
    assert_eq!(response.status(), 302);
    assert_eq!(
        response.headers()["location"],
        "http://169.254.169.254/latest"
    );
    world.demo.only();
}

#[tokio::test]
async fn answers_do_not_speak_for_the_origin_and_keep_the_rest() {
    let world = World::new().await;
    world.demo.answers(|_| async {
        let mut response = plain(201, "made");
        for (name, value) in [
            ("set-cookie", "a=b"),
            ("alt-svc", "h2=\"evil:443\""),
            ("audit-id", "1"),
            ("warning", "299 - \"old\""),
            ("content-type", "application/json"),
            ("x-kubernetes-pf-flowschema-uid", "u"),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    });
    let response = world.jane().await.get("/clusters/team-a/demo/api").await;
    assert_eq!(response.status(), 201);
    for gone in ["set-cookie", "alt-svc"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    for kept in [
        "audit-id",
        "warning",
        "content-type",
        "x-kubernetes-pf-flowschema-uid",
    ] {
        assert!(response.headers().contains_key(kept), "{kept}");
    }
    assert_eq!(text(response).await, "made");
}

#[tokio::test]
async fn bodies_pass_both_ways_in_both_protocols() {
    let world = World::new().await;
    world.demo.answers(|request| async {
        let echoed = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(crate::body::full(echoed))
    });
    let jane = world.certificate("jane", &[]);
    for mut client in [world.h1(Some(&jane)).await, world.h2(Some(&jane)).await] {
        for size in [0, 1, 100_000, 3_000_000] {
            let sent = "x".repeat(size);
            let mut request = get("/clusters/team-a/demo/api", &[]);
            *request.method_mut() = http::Method::POST;
            *request.body_mut() = crate::body::full(sent.clone());
            assert!(
                text(client.send(request).await).await == sent,
                "{size} bytes"
            );
        }
    }
}

#[tokio::test]
async fn connections_to_an_api_server_are_shared_by_users() {
    let world = World::new().await;
    for user in ["jane", "joe", "jim"] {
        world.allow(user, &demo(), "connect");
        let certificate = world.certificate(user, &[]);
        let mut client = world.h2(Some(&certificate)).await;
        assert_eq!(client.get("/clusters/team-a/demo/api").await.status(), 200);
    }
    let seen = world.demo.seen();
    assert!(
        seen.iter()
            .all(|request| request.connection == seen[0].connection)
    );
    let users: Vec<_> = seen
        .iter()
        .flat_map(|request| request.all("x-remote-user"))
        .collect();
    assert_eq!(users, ["jane", "joe", "jim"]);
}

#[tokio::test]
async fn a_user_with_too_many_requests_is_told_to_retry_and_others_are_not() {
    let per_user = PerUser { short: 1, long: 1 };
    let world = World::with(Options {
        per_user,
        ..Options::default()
    })
    .await;
    world.allow("joe", &demo(), "connect");
    world
        .demo
        .answers(|_| async { Response::new(server_pending()) });
    let mut jane = world.jane().await;
    let under_way = jane.get("/clusters/team-a/demo/api").await;
    let response = jane.get("/clusters/team-a/demo/api").await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(status(response).await.code, 429);
    let joe = world.certificate("joe", &[]);
    let response = world
        .h2(Some(&joe))
        .await
        .get("/clusters/team-a/demo/api")
        .await;
    assert_eq!(response.status(), 200);
    drop(under_way);
}

/// A body that never has anything.
fn server_pending() -> Body {
    use http_body_util::StreamBody;
    StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, crate::body::BoxError>,
    >())
    .boxed_unsync()
}

#[tokio::test]
async fn load_balancers_learn_whether_the_gateway_is_ready_without_credentials() {
    let world = World::new().await;
    let mut client = world.h1(None).await;
    assert_eq!(client.get("/readyz").await.status(), 200);
    let gate = world.health.gate("routes");
    let response = client.get("/readyz").await;
    assert_eq!(response.status(), 503);
    assert_eq!(text(response).await, "not ready\n");
    gate.open();
    assert_eq!(client.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn a_traces_context_is_passed_on() {
    let world = World::new().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = get("/clusters/team-a/demo/api", &[("traceparent", parent)]);
    assert_eq!(world.jane().await.send(request).await.status(), 200);
    let arrived = world.demo.only().all("traceparent");
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0][..35], parent[..35]);
}

#[tokio::test]
async fn kubectl_is_told_in_plain_text_why_it_may_not_see_what_kinds_there_are() {
    let world = World::new().await;
    let mut client = world.jane().await;
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let request = get(
        "/clusters/team-b/other/api?timeout=32s",
        &[("accept", accept)],
    );
    let response = client.send(request).await;
    assert_eq!(response.status(), 403);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert!(
        text(response)
            .await
            .starts_with("user \"jane\" cannot connect to virtual cluster")
    );
}

#[tokio::test]
async fn callers_that_wait_for_a_connection_share_its_failure() {
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let (authority, closed) = (Authority::new("a"), 1);
    let identity = authority.client("vcluster-connect", &[]).identity();
    let target = Target::new(
        "127.0.0.1",
        closed,
        &authority.roots().into(),
        &identity.into(),
    );
    let pool = Pool::new(Arc::new(target.unwrap()), 4, metrics);
    let sends = (0..10).map(|_| pool.send(get("https://x/", &[]), Duration::from_mins(1)));
    let results = futures::future::join_all(sends).await;
    assert!(results.iter().all(Result::is_err));
    let text = registry.encode();
    assert!(
        text.contains("connect_upstream_dials_total{result=\"Failed\"} 1\n"),
        "{text}"
    );
}
