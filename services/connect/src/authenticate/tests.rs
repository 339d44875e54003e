//! Who the caller is, from certificates, tokens and credentials.

use std::time::Duration;

use rcgen::KeyPair;
use secrecy::ExposeSecret;
use serde_json::json;
use vcluster_chassis::access::CacheConfig;
use vcluster_chassis::testing::{ApiServer, Authority, Issued, ManualClock, json as answer};

use super::*;
use crate::credential::Keys;

struct Fixture {
    authority: Authority,
    clock: ManualClock,
    credentials: Credentials,
    server: ApiServer,
    authenticator: Authenticator,
}

/// A host that knows the token `good`; `claimed` is one it describes but does not vouch for.
fn fixture() -> Fixture {
    let server = ApiServer::new(|call| {
        let user = json!({ "username": "robot", "groups": ["bots", "system:authenticated"] });
        let status = match call.body["spec"]["token"].as_str() {
            Some("good") => json!({ "authenticated": true, "user": user }),
            Some("claimed") => json!({ "authenticated": false, "user": user }),
            Some("silent") => json!({ "user": user }),
            Some("nobody") => json!({ "authenticated": true, "user": {} }),
            _ => json!({ "authenticated": false, "error": "unknown" }),
        };
        answer(
            201,
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status,
            }),
        )
    });
    let authority = Authority::new("host");
    let clock = ManualClock::at(Timestamp::now());
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let keys = Keys::from_pem(&pem.into()).unwrap();
    let credentials = Credentials::new(keys, Arc::new(clock.clone()));
    let authenticator = Authenticator::new(
        Live::from(ClientCa {
            generation: 1,
            roots: Some(authority.roots()),
        }),
        TokenReviewer::new(server.client(), Vec::new(), CacheConfig::TOKENS),
        credentials.clone(),
        Arc::new(clock.clone()),
    );
    Fixture {
        authority,
        clock,
        credentials,
        server,
        authenticator,
    }
}

fn presented(certificate: Option<&Issued>, authorization: &[&[u8]]) -> Presented {
    let chain = certificate
        .map(|issued| issued.identity().chain().to_vec())
        .unwrap_or_default();
    let peer = Arc::new(Peer::new("192.0.2.1".parse().unwrap(), None, chain));
    let mut headers = HeaderMap::new();
    for line in authorization {
        headers.append(
            "authorization",
            header::HeaderValue::from_bytes(line).unwrap(),
        );
    }
    Presented::read(&peer, &headers)
}

async fn refused(f: &Fixture, presented: &Presented) -> Refusal {
    let refusal = f.authenticator.authenticate(presented).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::Unauthenticated);
    refusal
}

#[tokio::test]
async fn a_certificate_of_the_host_names_the_caller() {
    let f = fixture();
    let jane = f.authority.client("jane", &["devs"]);
    let caller = f
        .authenticator
        .authenticate(&presented(Some(&jane), &[]))
        .await
        .unwrap();
    assert_eq!(
        caller.identity,
        Identity::user("jane")
            .group("devs")
            .group("system:authenticated")
    );
    assert_eq!(caller.by, By::Certificate);
}

#[tokio::test]
async fn a_token_of_the_host_names_the_caller() {
    let f = fixture();
    let caller = f
        .authenticator
        .authenticate(&presented(None, &[b"bearer good"]))
        .await
        .unwrap();
    assert_eq!(caller.identity.user, "robot");
    assert_eq!(caller.by, By::Token);
}

#[tokio::test]
async fn a_bad_certificate_says_so_and_a_token_beside_it_still_counts() {
    let f = fixture();
    let stranger = Authority::new("host").client("jane", &["system:masters"]);
    let refusal = refused(&f, &presented(Some(&stranger), &[])).await;
    assert!(
        refusal.message.contains("client certificate"),
        "{}",
        refusal.message
    );
    let caller = f
        .authenticator
        .authenticate(&presented(Some(&stranger), &[b"Bearer good"]))
        .await;
    assert_eq!(caller.unwrap().identity.user, "robot");
}

#[tokio::test]
async fn a_good_certificate_decides_before_a_token() {
    let f = fixture();
    let jane = f.authority.client("jane", &[]);
    for line in [&b"Bearer good"[..], b"Bearer wrong", b"Basic eDp5"] {
        let caller = f
            .authenticator
            .authenticate(&presented(Some(&jane), &[line]))
            .await
            .unwrap();
        assert_eq!(caller.identity.user, "jane");
    }
    assert!(f.server.calls().is_empty());
}

#[tokio::test]
async fn who_shows_nothing_is_told_what_to_send() {
    let f = fixture();
    let refusal = refused(&f, &presented(None, &[])).await;
    assert!(
        refusal.message.contains("Authorization: Bearer"),
        "{}",
        refusal.message
    );
}

#[tokio::test]
async fn malformed_bearers_are_refused_without_asking_the_host() {
    let f = fixture();
    let long = format!("Bearer {}", "x".repeat(64 << 10));
    for line in [
        &b""[..],
        b"Bearer",
        b"Bearer ",
        b"Bearer  \t ",
        b"Bearer two words",
        b"Bearer good\tgood",
        b"Basic eDp5",
        b"good",
        b"Bearer\xc2\xa0good",
        b"Bearer \xff",
        b"Bearer,good",
        long.as_bytes(),
    ] {
        refused(&f, &presented(None, &[line])).await;
    }
    refused(&f, &presented(None, &[b"Bearer good", b"Bearer good"])).await;
    assert!(f.server.calls().is_empty());
}

#[tokio::test]
async fn a_user_that_the_host_describes_but_does_not_vouch_for_is_refused() {
    let f = fixture();
    for line in [
        &b"Bearer claimed"[..],
        b"Bearer silent",
        b"Bearer nobody",
        b"Bearer unknown",
    ] {
        refused(&f, &presented(None, &[line])).await;
    }
}

#[tokio::test]
async fn our_own_credentials_are_never_shown_to_the_host() {
    let f = fixture();
    let cluster = ClusterKey::parse("team-a", "demo").unwrap();
    let jane = Identity::user("jane");
    let issued = f
        .credentials
        .issue(&jane, &cluster, Duration::from_mins(1))
        .unwrap();
    let line = format!("Bearer {}", issued.token.expose_secret());
    let caller = f
        .authenticator
        .authenticate(&presented(None, &[line.as_bytes()]))
        .await
        .unwrap();
    assert_eq!(caller.identity, jane);
    assert!(matches!(caller.by, By::Credential { cluster: found, .. } if found == cluster));
    f.clock.advance(Duration::from_mins(1));
    refused(&f, &presented(None, &[line.as_bytes()])).await;
    let forged = format!("{}x", &line[..line.len() - 8]);
    refused(&f, &presented(None, &[forged.as_bytes()])).await;
    assert!(f.server.calls().is_empty());
}

#[test]
fn tokens_are_not_shown() {
    let shown = format!("{:?}", presented(None, &[b"Bearer canary"]));
    assert!(!shown.contains("canary"), "{shown}");
}
