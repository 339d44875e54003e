//! Which virtual cluster, or service, a request is for.

use http::Request;
use proptest::prelude::*;

use super::*;

fn parts(target: &str, host: Option<&str>) -> Option<Parts> {
    let mut request = Request::builder().uri(target);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn by(target: &str) -> Route {
    route(&parts(target, Some("gateway.example")).unwrap(), None, None)
}

fn key(namespace: &str, name: &str) -> ClusterKey {
    ClusterKey::parse(namespace, name).unwrap()
}

fn reaches(target: &str) -> Option<(ClusterKey, String)> {
    match by(target) {
        Route::Cluster(found) => Some((found.cluster, found.rest.as_str().to_owned())),
        Route::Grpc(_) | Route::Health | Route::NotFound | Route::Bad(_) | Route::Misdirected => {
            None
        }
    }
}

#[test]
fn a_path_names_a_cluster_and_the_rest_is_kept_byte_for_byte() {
    for (target, rest) in [
        ("/clusters/team-a/demo", "/"),
        ("/clusters/team-a/demo/", "/"),
        ("/clusters/team-a/demo?watch=1", "/?watch=1"),
        ("/clusters/team-a/demo/?", "/?"),
        (
            "/clusters/team-a/demo/api/v1/pods?labelSelector=a%3Db&watch",
            "/api/v1/pods?labelSelector=a%3Db&watch",
        ),
        (
            "/clusters/team-a/demo/api/v1/namespaces/x/services/y/proxy/a%2Fb%3Fc",
            "/api/v1/namespaces/x/services/y/proxy/a%2Fb%3Fc",
        ),
        (
            "/clusters/team-a/demo/a//b/../c/./d;e=f\\g%00",
            "/a//b/../c/./d;e=f\\g%00",
        ),
        ("/clusters/team-a/demo//x", "//x"),
        (
            "/clusters/team-a/demo/../../team-b/other/x",
            "/../../team-b/other/x",
        ),
        ("/clusters/team-a/demo/%2e%2e/%2E./x", "/%2e%2e/%2E./x"),
        (
            "/clusters/team-a/demo/clusters/team-b/other",
            "/clusters/team-b/other",
        ),
    ] {
        assert_eq!(
            reaches(target),
            Some((key("team-a", "demo"), rest.to_owned())),
            "{target}"
        );
    }
}

/// Incident 19 of the research: every such path is refused, or reaches exactly the tenant of its raw first
/// segments; it never reaches the other one.
#[test]
fn no_spelling_of_a_path_reaches_another_tenant() {
    let (a, b) = ("team-a/demo", "team-b/other");
    let tricks = [
        "/clusters/A/../B/api",
        "/clusters/A/../../B/api",
        "/clusters/A/%2e%2e/B/api",
        "/clusters/A%2f..%2fB/api",
        "/clusters//A/api",
        "//clusters/A/api",
        "/clusters/./A/api",
        "/clusters/A//B/api",
        "/clusters\\A/api",
        "/clusters/A\\..\\B/api",
        "/clusters/A;/B/api",
        "/clusters;x/A/api",
        "/./clusters/A/api",
        "/../clusters/A/api",
        "/%63lusters/A/api",
        "/clusters%2fA/api",
        "/clusters/%74eam-a/demo/api",
        "/CLUSTERS/A/api",
        "/clusters/A#/../B/api",
        "/clusters/A/api#/clusters/B",
        "/x/../clusters/A/api",
        "/clusters/A%00/api",
        "/clusters/A%20/api",
        "/clusters/A/..;/B/api",
        "/clusters/A/.%2e/B/api",
        "/clusters/A/api?x=/clusters/B",
        "/clusters/.A/api",
        "/clusters/A./api",
        "/clusters/A:80/api",
        "/clusters/@A/api",
        "/clusters/..%2fB/A/api",
        "/clusters/TEAM-A/demo/api",
        "/clusters/team-a/DEMO/api",
    ];
    for trick in tricks {
        for (first, second) in [(a, b), (b, a)] {
            let target = trick.replace('A', first).replace('B', second);
            let Some(parts) = parts(&target, Some("gateway.example")) else {
                continue;
            };
            if let Route::Cluster(found) = route(&parts, None, None) {
                let raw: Vec<&str> = target.split('/').skip(2).take(2).collect();
                let named = raw[1].split(['?', '#']).next().unwrap();
                assert_eq!(found.cluster, key(raw[0], named), "{target}");
                let prefix = format!("/clusters/{}/{named}", raw[0]);
                let rest = target
                    .strip_prefix(&prefix)
                    .unwrap()
                    .split('#')
                    .next()
                    .unwrap();
                assert_eq!(
                    found.rest.as_str(),
                    if rest.is_empty() { "/" } else { rest },
                    "{target}"
                );
            }
        }
    }
}

#[test]
fn what_is_encoded_dotted_or_doubled_in_the_prefix_is_refused() {
    for target in [
        "//clusters/a/b",
        "/./clusters/a/b",
        "/../clusters/a/b",
        "/%63lusters/a/b",
        "/clusters//a/b",
        "/clusters/a//b",
        "/clusters/./a/b",
        "/clusters/a/../b",
        "/clusters/a%2Fb/c",
        "/clusters/%61/b",
        "/clusters/a/b%2e/c",
        "/clusters/a/b.c/d",
        "/clusters/a/b;v=1/d",
        "/clusters/A/b/c",
        "/clusters/a/a-x-b/c",
        "/clusters/a/1b/c",
        "/clusters/a",
        "/clusters/a/",
        "/clusters/",
    ] {
        assert!(
            matches!(by(target), Route::Bad(_)),
            "{target}: {:?}",
            by(target)
        );
    }
}

#[test]
fn grpc_goes_by_the_full_name_of_the_service() {
    for (target, expected) in [
        (
            "/vcluster.control.v1.ControlService/CreateVirtualCluster",
            Service::Control,
        ),
        ("/vcluster.sync.v1.SyncService/ListTenants", Service::Sync),
        (
            "/vcluster.connect.v1.ConnectService/IssueCredential",
            Service::Connect,
        ),
        ("/grpc.health.v1.Health/Check", Service::Health),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Service::Connect,
        ),
    ] {
        assert_eq!(by(target), Route::Grpc(expected), "{target}");
    }
    for target in [
        "/vcluster.controlx.v1.ControlService/Create",
        "/vcluster.control.v1.ControlService/",
        "/vcluster.control.v1.ControlService",
        "/vcluster.control.v1.ControlService/a/b",
        "/vcluster.control..v1/a",
        "/vcluster.control.v1.ControlService/a%2f",
        "/grpc.health.v2.Health/Check",
        "/",
        "/clusters",
        "/clustersx/a/b",
        "/metrics",
        "/api/v1/pods",
        "/favicon.ico",
    ] {
        assert_eq!(by(target), Route::NotFound, "{target}");
    }
}

#[test]
fn load_balancers_have_a_path_of_their_own() {
    for target in ["/healthz", "/livez", "/readyz", "/readyz?verbose"] {
        assert_eq!(by(target), Route::Health, "{target}");
    }
}

#[test]
fn targets_that_are_no_paths_are_refused() {
    for target in ["*", "gateway.example:443"] {
        assert!(matches!(by(target), Route::Bad(_)), "{target}");
    }
}

fn hosted(host: &str, sni: Option<&str>, target: &str) -> Route {
    let domain = Domain::parse("vc.example.org.").unwrap();
    route(&parts(target, Some(host)).unwrap(), sni, Some(&domain))
}

#[test]
fn a_host_names_a_cluster_and_the_whole_path_is_the_clusters() {
    for host in [
        "demo.team-a.vc.example.org",
        "DEMO.team-a.VC.example.org:8443",
        "demo.team-a.vc.example.org.",
    ] {
        for target in [
            "/api/v1/pods?x=%2F",
            "/clusters/team-b/other",
            "/healthz",
            "//x",
        ] {
            let found = hosted(host, None, target);
            let Route::Cluster(found) = found else {
                panic!("{host}{target}: {found:?}")
            };
            assert_eq!(found.cluster, key("team-a", "demo"));
            assert_eq!((found.rest.as_str(), found.prefix.as_str()), (target, ""));
        }
    }
}

#[test]
fn hosts_under_the_domain_that_name_no_cluster_are_refused() {
    for host in [
        "demo.vc.example.org",
        "a.demo.team-a.vc.example.org",
        "de_mo.team-a.vc.example.org",
        "-.a.vc.example.org",
        "..vc.example.org",
    ] {
        assert!(
            matches!(hosted(host, None, "/api"), Route::Bad(_)),
            "{host}"
        );
    }
}

#[test]
fn other_hosts_are_the_gateway() {
    for host in [
        "gateway.example",
        "vc.example.org",
        "10.0.0.1:8443",
        "[::1]:8443",
        "evilvc.example.org",
    ] {
        assert_eq!(hosted(host, None, "/healthz"), Route::Health, "{host}");
    }
}

#[test]
fn a_connection_that_was_opened_for_one_cluster_serves_no_other_host() {
    let demo = "demo.team-a.vc.example.org";
    for host in ["other.team-b.vc.example.org", "gateway.example"] {
        assert_eq!(
            hosted(host, Some(demo), "/clusters/team-b/other/api"),
            Route::Misdirected,
            "{host}"
        );
    }
    for sni in [
        None,
        Some(demo),
        Some("gateway.example"),
        Some("DEMO.team-a.vc.example.org"),
    ] {
        assert!(
            matches!(hosted(demo, sni, "/api"), Route::Cluster(_)),
            "{sni:?}"
        );
    }
}

#[test]
fn contradicting_hosts_are_refused() {
    let domain = Domain::parse("vc.example.org").unwrap();
    let two = Request::builder()
        .uri("/api")
        .header("host", "a")
        .header("host", "b");
    let other = Request::builder()
        .uri("https://a.example/api")
        .header("host", "b.example");
    let user = Request::builder()
        .uri("/api")
        .header("host", "x@demo.team-a.vc.example.org");
    for request in [two, other, user] {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert!(matches!(route(&parts, None, Some(&domain)), Route::Bad(_)));
    }
}

proptest! {
    #[test]
    fn a_cluster_is_reached_by_its_raw_prefix_only(tail in "[ -~]{0,40}") {
        let target = format!("/clusters/team-a/{tail}");
        if let Some(parts) = parts(&target, None)
            && let Route::Cluster(found) = route(&parts, None, None)
        {
            let prefix = found.cluster.path();
            let raw = parts.uri.path_and_query().unwrap().as_str();
            let rest = raw.strip_prefix(&prefix).unwrap();
            prop_assert!(rest.is_empty() || rest.starts_with(['/', '?']));
            let expected = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
            prop_assert_eq!(found.rest.as_str(), expected);
        }
    }
}
