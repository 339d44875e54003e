//! When watches of custom kinds begin and end.

use vcluster_translate::custom::Identity;

use super::*;
use crate::testing::World;

pub(crate) fn identity(plural: &str) -> Identity {
    Identity {
        group: "test.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Gadget".to_owned(),
        plural: plural.to_owned(),
        is_namespaced: true,
        comes_from_host: false,
    }
}

#[tokio::test(start_paused = true)]
async fn one_watch_serves_all_who_follow_a_kind_and_ends_with_the_last() {
    let world = World::unlisted();
    let engine = &world.engine;
    let (shutdown, term) = (Shutdown::new(), CancellationToken::new());
    let kind = engine.custom(&identity("gadgets")).unwrap();
    let follow = || engine.watches.follow(kind, engine, &shutdown, &term);
    let (first, second) = (follow(), follow());
    let token = first.token();
    drop(first);
    assert!(!token.is_cancelled(), "somebody follows it still");
    drop(second);
    assert!(token.is_cancelled());
    let third = follow();
    assert!(!third.token().is_cancelled());
    term.cancel();
    assert!(third.token().is_cancelled(), "it ends with the term");
    let term = CancellationToken::new();
    let next = engine.watches.follow(kind, engine, &shutdown, &term);
    assert!(!next.token().is_cancelled(), "a new term follows anew");
    drop(third);
    assert!(!next.token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_process_knows_only_so_many_kinds() {
    let world = World::unlisted();
    let known = (0..400).filter(|n| world.engine.custom(&identity(&format!("k{n}"))).is_some());
    assert_eq!(known.count(), 256);
    assert!(
        world.engine.custom(&identity("k3")).is_some(),
        "it is known already"
    );
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_kind_that_a_tenant_does_not_follow_are_not_its_business() {
    let world = World::new().await;
    let kind = Kind::Custom(world.engine.custom(&identity("gadgets")).unwrap());
    assert!(!world.tenant.follows(kind) && world.tenant.follows(Kind::Pod));
    let object = world.host.put(
        kind,
        serde_json::json!({"metadata": {"namespace": "team-a", "name": "a"}}),
    );
    assert!(
        !world
            .tenant
            .see_host(kind, &object, crate::queue::Lane::Live)
    );
    world
        .tenant
        .see_shown(kind, &object, crate::queue::Lane::Live);
    assert_eq!(world.tenant.state().count(kind), 0);
}
