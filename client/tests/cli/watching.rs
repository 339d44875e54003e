//! The library's watch, when the stream breaks.

use tonic::Status;
use vcluster_client::{
    Client, Event, Gateway as Target, Scope, proto::control::v1::EventType, retry::Policy,
    tls::Trust,
};

use super::{
    gateway::{at_step, event, made},
    world::World,
};

fn client(world: &World) -> Client {
    let gateway = Target {
        address: world.address.parse().unwrap(),
        trust: Trust::Roots(world.authority.pem().into_bytes()),
    };
    let quick = Policy {
        first: std::time::Duration::from_millis(1),
        most: std::time::Duration::from_millis(1),
    };
    Client::builder(gateway).retry(quick).build().unwrap()
}

#[tokio::test]
async fn a_broken_watch_goes_on_from_where_it_was() {
    let world = World::new().await;
    let cluster = at_step(&made("a", "demo"), 0);
    let later = at_step(&cluster, 1);
    world.gateway.with(|state| {
        state.watches = vec![
            vec![
                Ok(event(EventType::Added, Some(cluster.clone()), "5")),
                Ok(event(EventType::Synced, None, "7")),
                Ok(event(EventType::Bookmark, None, "8")),
                Err(Status::unavailable("going away")),
            ],
            vec![Ok(event(EventType::Modified, Some(later.clone()), "9"))],
        ];
    });
    let mut watch = client(&world).watch(Scope::default());
    assert_eq!(watch.next().await.unwrap(), Event::Added(cluster));
    assert_eq!(watch.next().await.unwrap(), Event::Synced);
    assert_eq!(watch.next().await.unwrap(), Event::Modified(later));
    world
        .gateway
        .with(|state| assert_eq!(state.resumed_from, ["", "8"]));
}

#[tokio::test]
async fn a_watch_whose_place_is_lost_begins_again_and_says_so() {
    let world = World::new().await;
    let cluster = at_step(&made("a", "demo"), 0);
    let added = || Ok(event(EventType::Added, Some(cluster.clone()), "5"));
    world.gateway.with(|state| {
        state.watches = vec![
            vec![
                added(),
                Ok(event(EventType::Synced, None, "7")),
                Err(Status::unavailable("going away")),
            ],
            vec![Err(Status::out_of_range("too old"))],
            vec![added(), Ok(event(EventType::Synced, None, "99"))],
        ];
    });
    let mut watch = client(&world).watch(Scope::default());
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(watch.next().await.unwrap());
    }
    let (one, all) = (Event::Added(cluster.clone()), Event::Synced);
    assert_eq!(
        events,
        [one.clone(), all.clone(), Event::Restarted, one, all]
    );
    world
        .gateway
        .with(|state| assert_eq!(state.resumed_from, ["", "7", ""]));
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_never_resumed_within() {
    let world = World::new().await;
    let cluster = at_step(&made("a", "demo"), 0);
    let added = || Ok(event(EventType::Added, Some(cluster.clone()), "5"));
    world.gateway.with(|state| {
        state.watches = vec![
            vec![added(), Err(Status::unavailable("going away"))],
            vec![added(), Ok(event(EventType::Synced, None, "7"))],
        ];
    });
    let mut watch = client(&world).watch(Scope::default());
    assert_eq!(watch.next().await.unwrap(), Event::Added(cluster.clone()));
    assert_eq!(watch.next().await.unwrap(), Event::Restarted);
    assert_eq!(watch.next().await.unwrap(), Event::Added(cluster));
    world
        .gateway
        .with(|state| assert_eq!(state.resumed_from, ["", ""]));
}

#[tokio::test]
async fn a_watch_that_is_denied_says_so_at_once() {
    let world = World::new().await;
    world.gateway.with(|state| {
        state.watches = vec![vec![Err(Status::permission_denied("no"))]];
    });
    let error = client(&world)
        .watch(Scope::default())
        .next()
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::PermissionDenied);
}
