//! One tenant's trouble beside another's work: a server that is dead, one that answers late, one that fails, and a flood.

use std::time::Duration;

use futures::future::pending;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use vcluster_resources::condition::Reason;

use super::*;
use crate::object::{Key, Kind, Side};
use crate::queue::{Depth, Lane};
use crate::tenants::status;
use crate::testing::{World, pod};

/// What a virtual API server does with every request.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// It takes it and never answers.
    Dead,
    /// It answers so late.
    Slow(Duration),
    /// It says that it cannot.
    Fails,
}

fn client(trouble: Trouble) -> Client {
    let service = service_fn(move |_request: Request<Body>| async move {
        let status = match trouble {
            Trouble::Dead => pending().await,
            Trouble::Slow(late) => {
                tokio::time::sleep(late).await;
                200
            }
            Trouble::Fails => 503,
        };
        let body = json!({"kind": "Status", "code": status, "metadata": {}}).to_string();
        let answer = Response::builder().status(status);
        answer.body(Body::from(body.into_bytes()))
    });
    Client::new(service, "default")
}

/// A tenant with so many keys each of which must be read inside.
fn troubled(world: &World, name: &str, trouble: Trouble, keys: usize) -> Arc<Tenant> {
    let tenant = world.beside_with(name, client(trouble));
    for number in 0..keys {
        let key = Key::new(Kind::Pod, "shop", &format!("{name}-{number}"));
        tenant.doubt(&key);
        tenant.add(key, Lane::Live);
    }
    tenant
}

fn begin(world: &World) -> (JoinHandle<()>, CancellationToken) {
    let end = CancellationToken::new();
    let work = tokio::spawn(Arc::clone(&world.engine).work(end.clone()));
    (work, end)
}

/// Waits, in simulated time, until something is so; tells how long it took.
async fn until(is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < Duration::from_mins(5), "it never is");
    }
    begun.elapsed()
}

/// A pod goes down and its status comes up. Tells the requests about it, and how long it all took.
async fn there_and_back(world: &World, name: &str) -> (Vec<String>, Duration) {
    world.calls();
    let begun = Instant::now();
    let on_host = format!("{name}-x-shop-x-demo");
    world.apply(Kind::Pod, pod(name));
    until(|| world.host.get(Kind::Pod, "team-a", &on_host).is_some()).await;
    world.change_host(Kind::Pod, &on_host, |pod| {
        pod["status"] = json!({"phase": "Running"});
    });
    let runs = |world: &World| {
        let pod = world.virtual_.get(Kind::Pod, "shop", name);
        pod.is_some_and(|pod| pod.json()["status"]["phase"] == "Running")
    };
    until(|| runs(world)).await;
    let took = begun.elapsed();
    let mut calls = world.calls();
    calls.retain(|call| call.contains(name) || call.contains("POST"));
    (calls, took)
}

#[tokio::test(start_paused = true)]
async fn dead_slow_and_failing_api_servers_cost_the_others_nothing() {
    let alone = World::new().await;
    let (work, end) = begin(&alone);
    let (steps, _) = there_and_back(&alone, "web").await;
    end.cancel();
    work.await.unwrap();

    for trouble in [
        Trouble::Dead,
        Trouble::Slow(Duration::from_secs(30)),
        Trouble::Fails,
    ] {
        let world = World::new().await;
        // More keys than may be in work at once, all of which hang.
        let troubled: Vec<_> = (0..40)
            .map(|number| troubled(&world, &format!("ill-{number}"), trouble, 100))
            .collect();
        let (work, end) = begin(&world);
        let has_begun = |ill: &Arc<Tenant>| world.engine.work.depth(ill.ticket).queued < 100;
        until(|| troubled.iter().all(has_begun)).await;
        let (beside, took) = there_and_back(&world, "web").await;
        assert_eq!(beside, steps, "{trouble:?}");
        assert!(took < Duration::from_millis(100), "{trouble:?}: {took:?}");
        drop(troubled);
        end.cancel();
        work.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_nothing_in_time_is_left_alone_and_its_keys_hold_nothing() {
    let world = World::new().await;
    let ill = troubled(&world, "ill", Trouble::Dead, 100);
    let (work, end) = begin(&world);
    until(|| ill.is_unresponsive()).await;
    until(|| world.engine.work.depth(ill.ticket).in_flight == 0).await;
    let said = status::observe(&ill);
    assert_eq!(said.reason, Reason::Unresponsive, "{said:?}");
    let depth = world.engine.work.depth(ill.ticket);
    assert!(depth.queued + depth.retrying >= 95, "they wait: {depth:?}");
    end.cancel();
    work.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_works_again_is_found_out_by_one_probe() {
    let world = World::new().await;
    let failing = std::sync::atomic::AtomicBool::new(true);
    world.virtual_.script(move |call| {
        let fails = failing.load(Ordering::Relaxed);
        if call.query.contains("now-works") {
            failing.store(false, Ordering::Relaxed);
        }
        (fails && call.path.contains("/pods/"))
            .then(|| crate::testing::status(503, "ServiceUnavailable"))
    });
    let tenant = &world.tenant;
    for number in 0..100 {
        let key = Key::new(Kind::Pod, "shop", &format!("web-{number}"));
        tenant.doubt(&key);
        tenant.add(key, Lane::Live);
    }
    let (work, end) = begin(&world);
    until(|| tenant.is_unresponsive()).await;
    let asked = world.calls().len();
    assert!(asked < 20, "{asked} requests to a server that fails");
    let request = Request::get("/?now-works").body(Vec::new()).unwrap();
    drop(tenant.clients.virtual_.request.request_text(request).await);
    until(|| !tenant.is_unresponsive()).await;
    let idle = Depth::default();
    until(|| world.engine.work.depth(tenant.ticket) == idle).await;
    assert_eq!(status::observe(tenant).reason, Reason::Available);
    end.cancel();
    work.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_for_all_is_left_alone_and_no_tenant_is_blamed() {
    let world = World::new().await;
    let other = world.beside("other");
    world
        .host
        .script(|_call| Some(crate::testing::status(429, "TooManyRequests")));
    for tenant in [&world.tenant, &other] {
        for number in 0..20 {
            let key = Key::new(Kind::Pod, "shop", &format!("{}-{number}", tenant.id.name));
            let fails = tenant.read(Side::Host, Kind::Pod, &key.name).await;
            assert!(fails.is_err());
        }
    }
    let asked = world.host.take_calls().len();
    assert!(
        (20..=21).contains(&asked),
        "one tenant's failures do not count: {asked}"
    );
    assert!(world.engine.gate.view().openings > 0);
    assert!(!world.tenant.is_unresponsive() && !other.is_unresponsive());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_ten_thousand_events_costs_the_others_nothing_in_either_direction() {
    let alone = World::new().await;
    let (work, end) = begin(&alone);
    let (steps, _) = there_and_back(&alone, "web").await;
    end.cancel();
    work.await.unwrap();

    let world = World::new().await;
    let flooding = world.beside_with("flooding", world.virtual_.client());
    for number in 0..10_000 {
        let stored = world
            .virtual_
            .put(Kind::Pod, pod(&format!("flood-{number}")));
        flooding.see_virtual(Kind::Pod, &stored, Lane::Live);
    }
    let (work, end) = begin(&world);
    let (beside, took) = there_and_back(&world, "web").await;
    let own = |calls: Vec<String>| -> Vec<_> {
        let is_flood = |call: &String| call.contains("flood") || call.ends_with("/pods");
        calls.into_iter().filter(|call| !is_flood(call)).collect()
    };
    assert_eq!(own(beside), own(steps));
    assert!(took < Duration::from_millis(100), "{took:?}");
    let left = world.engine.work.depth(flooding.ticket).queued;
    assert!(left > 5_000, "the flood is not over: {left}");
    end.cancel();
    work.abort();
}
