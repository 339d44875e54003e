//! Single states and what is said and done about them.

use vcluster_resources::cluster::Phase;
use vcluster_resources::condition::{self, Type};
use vcluster_resources::ownership::CONTROL_FINALIZER;

use super::world::World;
use super::*;
use crate::observed::{Doubt, RootsState, Sibling};

mod deletion;
mod doubt;
mod network;
mod patience;

/// A cluster that runs.
fn running() -> World {
    let mut world = World::new();
    settle(&mut world);
    world
}

/// What the host has in a slot in which something is.
#[track_caller]
fn body(world: &mut World, slot: Slot) -> &mut Value {
    let Some(Seen::Present(live)) = world.observed.objects.get_mut(&slot) else {
        panic!("it is there");
    };
    &mut live.body
}

/// Has the control plane's pod be ready no more.
fn fail(world: &mut World) {
    body(world, Slot::ControlPlane)["status"]["readyReplicas"] = 0.into();
}

/// Has a cluster be deleted, whose servers have stopped.
fn stop(world: &mut World) {
    world.delete();
    for slot in [Slot::ControlPlane, Slot::Dns] {
        world.observed.objects.insert(slot, Seen::Absent);
    }
}

/// Stores the status that is planned.
fn tell(world: &mut World) {
    let status = world.plan().status;
    world.store(status);
}

fn reason(plan: &Plan, type_: Type) -> &str {
    &condition::find(&plan.status.conditions, type_)
        .expect("it is said")
        .reason
}

#[test]
fn a_new_cluster_is_guarded_before_anything_is_made_for_it() {
    assert_eq!(World::new().plan().steps, [Step::AddFinalizer]);
}

#[test]
fn everything_that_waits_for_nothing_is_made_at_once() {
    let mut world = World::new();
    world.finalizer(CONTROL_FINALIZER);
    let names: Vec<_> = world.plan().steps.iter().map(Step::name).collect();
    assert_eq!(
        names,
        [
            "apply",
            "apply",
            "apply",
            "apply",
            "apply",
            "apply",
            "apply",
            "apply",
            "allocate_address",
            "mint_roots"
        ]
    );
}

#[test]
fn a_cluster_that_runs_is_ready_once_sync_says_so() {
    let mut world = running();
    let waiting = world.plan();
    assert_eq!(waiting.status.phase, Some(Phase::Pending));
    assert_eq!(waiting.status.message.as_deref(), Some("waits for sync"));
    world.store(waiting.status);
    world.sync_ready();
    let ready = world.plan();
    assert_eq!(ready.status.phase, Some(Phase::Ready));
    assert_eq!(ready.status.endpoint.as_deref(), Some("https://10.96.7.17"));
    assert_eq!(ready.status.version.as_deref(), Some("1.37.2"));
    assert_eq!(ready.notices.len(), 1);
    world.store(ready.status);
    assert_eq!(world.plan().notices, [], "it is told once");
}

#[test]
fn a_cluster_that_was_ready_and_fails_is_degraded() {
    let mut world = running();
    world.sync_ready();
    tell(&mut world);
    fail(&mut world);
    let plan = world.plan();
    assert_eq!(plan.status.phase, Some(Phase::Degraded));
    assert_eq!(plan.notices[0].reason, "Degraded");
}

#[test]
fn a_namespace_without_the_label_is_named_and_nothing_is_done() {
    let mut world = World::new();
    world.namespace().enabled = false;
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(reason(&plan, Type::Ready), "HostNamespaceNotEnabled");
    assert_eq!(plan.status.phase, Some(Phase::Failed));
    assert_eq!(plan.notices[0].reason, "HostNamespaceNotEnabled");
}

#[test]
fn the_older_cluster_of_a_namespace_stays_and_the_younger_is_told() {
    let mut world = World::new();
    let sibling = |older| Sibling {
        name: "first".to_owned(),
        uid: "sibling".to_owned(),
        older,
    };
    world.observed.siblings = Seen::Present(vec![sibling(true)]);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(reason(&plan, Type::Ready), "HostNamespaceOccupied");
    world.observed.siblings = Seen::Present(vec![sibling(false)]);
    assert_eq!(world.plan().steps, [Step::AddFinalizer]);
    // Whoever has begun stays, whatever the clocks say.
    let mut world = running();
    for siblings in [
        Seen::Present(vec![sibling(true)]),
        Seen::Unknown(Doubt::Failed("connection reset".to_owned())),
    ] {
        world.observed.siblings = siblings;
        assert_eq!(reason(&world.plan(), Type::ControlPlaneReady), "Available");
    }
}

#[test]
fn somebody_elses_object_is_named() {
    let mut world = World::new();
    world.put(Slot::Secret(Credential::Sync), None, false, Value::Null);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(reason(&plan, Type::Ready), "ObjectConflict");
    assert!(
        plan.status
            .message
            .unwrap()
            .contains("Secret vcluster-sync")
    );
}

#[test]
fn lost_roots_are_told_and_never_made_again() {
    let mut world = running();
    world.observed.roots = Seen::Absent;
    let plan = world.plan();
    assert!(!plan.steps.contains(&Step::MintRoots));
    assert_eq!(reason(&plan, Type::CertificatesReady), "AuthorityLost");
    assert_eq!(
        reason(&plan, Type::ControlPlaneReady),
        "Available",
        "what runs goes on running"
    );
    world.roots(RootsState::Damaged("ca.key is missing".to_owned()));
    assert!(
        world
            .plan()
            .status
            .message
            .unwrap()
            .contains("ca.key is missing")
    );
}

#[test]
fn roots_are_not_made_while_it_is_unknown_whether_there_were_some() {
    let mut world = World::new();
    world.finalizer(CONTROL_FINALIZER);
    world
        .observed
        .objects
        .insert(Slot::Claim, Seen::Unknown(Doubt::Forbidden));
    assert!(!world.plan().steps.contains(&Step::MintRoots));
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_host() {
    let mut world = World::new();
    world.finalizer(CONTROL_FINALIZER);
    world.observed.refused = Some("exceeded quota: pods".to_owned());
    let plan = world.plan();
    assert_eq!(reason(&plan, Type::Ready), "Refused");
    assert_eq!(plan.status.message.as_deref(), Some("exceeded quota: pods"));
}
