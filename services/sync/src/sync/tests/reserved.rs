//! Host Services that are reserved for a virtual one: left alone while a request may be under way, and removed after.

use vcluster_chassis::clock::Clock;
use vcluster_translate::service::admission::{Decision, Review, decide, reserved};

use super::*;
use crate::object::time;

const DELETE: &str = "host DELETE /api/v1/namespaces/team-a/services/web-x-shop-x-demo";

/// Has the host Service of `shop/web` reserved, as the webhook does, for so long. Nobody stores the virtual one.
fn reserve(world: &World, last: Duration) -> Key {
    let object = json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": Review::UID},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
    });
    let review = Review {
        object: &object,
        old: None,
        dry_run: false,
    };
    let Decision::Reserve(host) = decide(review, &world.tenant.context) else {
        panic!("it is to be reserved")
    };
    let mut host = reserved(host, &time(world.clock.now() + last));
    host["metadata"]["namespace"] = "team-a".into();
    host["spec"]["clusterIP"] = "10.96.5.6".into();
    let made = world.host.put(Kind::Service, host);
    assert!(world.tenant.see_host(Kind::Service, &made, Lane::Live));
    Key::new(Kind::Service, "shop", "web")
}

#[tokio::test(start_paused = true)]
async fn a_reservation_for_nobody_stays_for_its_time_and_goes_then() {
    let world = World::new().await;
    let key = reserve(&world, Duration::from_secs(75));
    for _ in 0..2 {
        assert!(matches!(world.work(&key).await, Next::Until(_)));
        assert_eq!(world.writes(), [""; 0], "it may be stored yet");
        world.pass(Duration::from_secs(37)).await;
    }
    let Next::Until(at) = world.work(&key).await else {
        panic!("it is looked at again")
    };
    assert_eq!(world.writes(), [""; 0]);
    world.pass(at - Instant::now()).await;
    world.work(&key).await;
    assert_eq!(world.writes(), [DELETE]);
    assert!(
        world
            .host
            .get(Kind::Service, "team-a", "web-x-shop-x-demo")
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_reservation_by_a_clock_that_is_wrong_keeps_no_address() {
    let world = World::new().await;
    let key = reserve(&world, Duration::from_hours(6));
    world.work(&key).await;
    assert_eq!(world.writes(), [DELETE]);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_whose_end_cannot_be_read_keeps_no_address() {
    let world = World::new().await;
    let key = reserve(&world, Duration::from_secs(75));
    world.change_host(Kind::Service, "web-x-shop-x-demo", |host| {
        host["metadata"]["annotations"]["vcluster.dev/reserved-until"] = "soon".into();
    });
    world.work(&key).await;
    assert_eq!(world.writes(), [DELETE]);
}
