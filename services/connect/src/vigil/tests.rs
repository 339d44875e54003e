//! When a stream is ended because its user lost the right to it.

use std::sync::Mutex;

use http::HeaderMap;
use rcgen::KeyPair;
use serde_json::json;
use vcluster_chassis::access::{Authorizer, CacheConfig, TokenReviewer};
use vcluster_chassis::testing::{ApiServer, ManualClock, json as answer};
use vcluster_chassis::tls::Live;

use super::*;
use crate::client_ca::ClientCa;
use crate::credential::{Credentials, Keys};
use crate::peer::Peer;

/// What the host says of the one token and its owner.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact that changes alone"
)]
struct Host {
    known: bool,
    group: &'static str,
    connect: bool,
    admin: bool,
    up: bool,
}

struct Fixture {
    host: Arc<Mutex<Host>>,
    draining: CancellationToken,
    vigil: Vigil,
    presented: Presented,
}

fn fixture() -> Fixture {
    vcluster_chassis::crypto::install();
    let good = Host {
        known: true,
        group: "devs",
        connect: true,
        admin: true,
        up: true,
    };
    let host = Arc::new(Mutex::new(good));
    let says = Arc::clone(&host);
    let server = ApiServer::new(move |call| {
        let host = *says.lock().unwrap();
        if !host.up {
            return answer(
                503,
                json!({ "kind": "Status", "code": 503, "message": "away" }),
            );
        }
        let (kind, status) = if call.path.ends_with("tokenreviews") {
            let user = json!({ "username": "jane", "groups": [host.group] });
            (
                "TokenReview",
                json!({ "authenticated": host.known, "user": user }),
            )
        } else {
            let verb = call.body["spec"]["resourceAttributes"]["verb"].as_str();
            let allowed = if verb == Some("admin") {
                host.admin
            } else {
                host.connect
            };
            ("SubjectAccessReview", json!({ "allowed": allowed }))
        };
        let group = if kind == "TokenReview" {
            "authentication"
        } else {
            "authorization"
        };
        let version = format!("{group}.k8s.io/v1");
        answer(
            201,
            json!({ "apiVersion": version, "kind": kind, "spec": {}, "status": status }),
        )
    });
    let clock = Arc::new(ManualClock::default());
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let keys = Keys::from_pem(&pem.into()).unwrap();
    let credentials = Credentials::new(keys, Arc::<ManualClock>::clone(&clock));
    let authenticator = Authenticator::new(
        Live::from(ClientCa::default()),
        TokenReviewer::new(server.client(), Vec::new(), CacheConfig::TOKENS),
        credentials,
        Arc::<ManualClock>::clone(&clock),
    );
    let access = Access::new(Authorizer::new(server.client()));
    let draining = CancellationToken::new();
    let drain = Duration::from_secs(20);
    let vigil = Vigil::new(authenticator, access, clock, draining.clone(), drain);
    let peer = Arc::new(Peer::new("192.0.2.1".parse().unwrap(), None, Vec::new()));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer token".parse().unwrap());
    Fixture {
        host,
        draining,
        vigil,
        presented: Presented::read(&peer, &headers),
    }
}

impl Fixture {
    fn change(&self, change: impl FnOnce(&mut Host)) {
        change(&mut self.host.lock().unwrap());
    }

    async fn stream(&self, resumable: bool) -> End {
        let caller = self
            .vigil
            .authenticator
            .authenticate(&self.presented)
            .await
            .unwrap();
        let cluster = ClusterKey::parse("team-a", "demo").unwrap();
        let scope = Scope::Cluster(cluster, Grant::Admin);
        let vigil = self.vigil.clone();
        vigil
            .ended(self.presented.clone(), caller, scope, resumable)
            .await
    }

    /// How a stream ends after a change, and how long after.
    async fn after(&self, change: impl FnOnce(&mut Host)) -> (End, Duration) {
        let mut stream = Box::pin(self.stream(false));
        let long = tokio::time::timeout(Duration::from_hours(1), stream.as_mut()).await;
        assert!(long.is_err(), "nothing has changed for an hour");
        let changed = Instant::now();
        self.change(change);
        (stream.await, changed.elapsed())
    }
}

/// The longest that a change goes unnoticed: the pause and the longest life of a cached answer.
const BOUND: Duration = Duration::from_secs(30 + 30 + 10);

#[tokio::test(start_paused = true)]
async fn a_stream_ends_soon_after_the_caller_has_lost_what_it_was_let_through_for() {
    let changes: [fn(&mut Host); 4] = [
        |host| host.known = false,
        |host| host.group = "others",
        |host| host.connect = false,
        |host| host.admin = false,
    ];
    for change in changes {
        let (end, after) = fixture().after(change).await;
        assert_eq!(end, End::Revoked);
        assert!(after <= BOUND, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_host_is_away_streams_go_on_for_minutes_only() {
    let (end, after) = fixture().after(|host| host.up = false).await;
    assert_eq!(end, End::Unsure);
    assert!(
        after + RECHECK >= UNSURE && after <= UNSURE + BOUND,
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_what_can_be_resumed_at_moments_of_its_own() {
    let f = fixture();
    f.draining.cancel();
    let begun = Instant::now();
    assert_eq!(f.stream(true).await, End::Draining);
    assert!(begun.elapsed() <= Duration::from_secs(10));
    let exec = tokio::time::timeout(Duration::from_hours(1), f.stream(false)).await;
    assert!(
        exec.is_err(),
        "what cannot be resumed is left to the drain's own end"
    );
}
