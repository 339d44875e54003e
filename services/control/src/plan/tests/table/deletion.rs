//! What goes with a cluster that is being deleted, and in which order.

use vcluster_resources::ownership::SYNC_FINALIZER;

use super::*;

#[test]
fn sync_goes_before_the_control_plane_does() {
    let mut world = running();
    world.finalizer(SYNC_FINALIZER);
    world.delete();
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.status.phase, Some(Phase::Deleting));
}

#[test]
fn the_control_plane_stops_before_its_keys_and_data_go() {
    let mut world = running();
    world.delete();
    let plan = world.plan();
    assert!(
        matches!(
            plan.steps.as_slice(),
            [
                Step::Delete {
                    slot: Slot::ControlPlane,
                    ..
                },
                Step::Delete {
                    slot: Slot::Dns,
                    ..
                }
            ]
        ),
        "{:?}",
        plan.steps
    );
}

#[test]
fn a_namespace_that_is_being_deleted_takes_everything_along() {
    let mut world = running();
    world.finalizer(SYNC_FINALIZER);
    world.delete();
    world.namespace().terminating = true;
    let plan = world.plan();
    assert!(
        matches!(plan.steps.as_slice(), [Step::DeleteRoots { .. }]),
        "{:?}",
        plan.steps
    );
    world.observed.roots = Seen::Absent;
    assert_eq!(world.plan().steps, [Step::RemoveFinalizer]);
}

#[test]
fn a_namespace_that_was_made_for_the_cluster_goes_if_it_is_empty_and_else_stays() {
    for crowded in [false, true] {
        let mut world = running();
        world.crowded = crowded;
        world.namespace().made_for = Some(MadeFor::Name("demo".to_owned()));
        world.delete();
        let last = (0..ENOUGH).find_map(|_| {
            let plan = world.plan();
            plan.steps.iter().for_each(|step| world.apply(step));
            world.is_gone().then_some(plan)
        });
        let kept = last.expect("it goes").last_words;
        assert_eq!(world.namespace().terminating, !crowded);
        assert_eq!(
            kept.is_some_and(|n| n.reason == "HostNamespaceKept"),
            crowded
        );
    }
}

#[test]
fn a_lost_binding_is_made_again_to_see_what_must_be_removed() {
    let mut world = running();
    stop(&mut world);
    let binding = Slot::TenantBinding;
    world.observed.objects.insert(binding, Seen::Absent);
    let hidden = Slot::Secret(Credential::Sync);
    world
        .observed
        .objects
        .insert(hidden, Seen::Unknown(Doubt::Forbidden));
    let plan = world.plan();
    assert!(
        matches!(
            plan.steps.as_slice(),
            [Step::Apply {
                slot: Slot::TenantBinding,
                over: None,
                ..
            }]
        ),
        "{:?}",
        plan.steps
    );
}

#[test]
fn a_namespace_that_lost_its_label_does_not_hold_a_deletion_up() {
    let mut world = running();
    world.delete();
    world.namespace().enabled = false;
    assert!(!world.plan().steps.is_empty(), "it is tried");
    world.observed.refused = Some("not in this namespace".to_owned());
    assert!(matches!(
        world.plan().steps.as_slice(),
        [Step::DeleteRoots { .. }]
    ));
}
