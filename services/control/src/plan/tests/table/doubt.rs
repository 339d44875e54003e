//! What is said and done where something could not be seen.

use super::*;

/// A running cluster, told of and ready.
fn ready() -> World {
    let mut world = running();
    world.sync_ready();
    let ready = world.plan();
    assert_eq!(ready.status.phase, Some(Phase::Ready));
    world.store(ready.status);
    world
}

/// Doubts of a running cluster: each is enough for it not to be judged.
fn doubts() -> Vec<World> {
    let failed = || Doubt::Failed("connection reset".to_owned());
    let slots = [
        Slot::Service,
        Slot::ControlPlane,
        Slot::Dns,
        Slot::Secret(Credential::Sync),
    ];
    let mut worlds: Vec<World> = slots
        .into_iter()
        .map(|slot| {
            let mut world = ready();
            world.observed.objects.insert(slot, Seen::Unknown(failed()));
            world
        })
        .collect();
    let around: [fn(&mut Observed, Doubt); 2] = [
        |seen, doubt| seen.namespace = Seen::Unknown(doubt),
        |seen, doubt| seen.roots = Seen::Unknown(doubt),
    ];
    for doubt in around {
        let mut world = ready();
        doubt(&mut world.observed, failed());
        worlds.push(world);
    }
    worlds
}

#[test]
fn a_doubt_that_has_just_begun_says_nothing_new_and_is_cleared_up_with_patience() {
    for world in doubts() {
        let plan = world.plan();
        assert_eq!(plan.steps, []);
        assert!(!differs(&world.cluster, &plan.status), "{:?}", plan.status);
        assert_eq!(plan.notices, []);
        assert_eq!(plan.again, Again::BackOff);
    }
}

#[test]
fn an_account_that_could_not_be_seen_is_looked_at_soon_though_no_condition_tells_of_it() {
    let mut world = ready();
    let doubt = Seen::Unknown(Doubt::Failed("connection reset".to_owned()));
    world.observed.objects.insert(Slot::TenantAccount, doubt);
    world.failing_for = DOUBT;
    let plan = world.plan();
    assert_eq!(plan.again, Again::BackOff);
    assert!(!differs(&world.cluster, &plan.status));
    assert!(
        world
            .observed
            .doubts()
            .contains("TenantAccount: connection reset")
    );
}

#[test]
fn a_doubt_that_lasts_is_told_and_changes_no_phase() {
    for mut world in doubts() {
        world.failing_for = DOUBT;
        let plan = world.plan();
        let summary = condition::find(&plan.status.conditions, Type::Ready).expect("it is said");
        assert_eq!(summary.status, "Unknown");
        assert_eq!(summary.reason, "Unreachable");
        assert_eq!(plan.status.phase, Some(Phase::Ready));
        assert_eq!(plan.notices, []);
        assert_eq!(plan.again, Again::BackOff);
    }
}

#[test]
fn a_doubt_hides_no_failure_that_is_seen_for_long() {
    let mut world = ready();
    world
        .observed
        .objects
        .insert(Slot::Dns, Seen::Unknown(Doubt::Forbidden));
    world.roots(RootsState::Damaged("ca.key is missing".to_owned()));
    assert!(!differs(&world.cluster, &world.plan().status));
    world.failing_for = DOUBT;
    assert_eq!(world.plan().status.phase, Some(Phase::Degraded));
}

#[test]
fn a_deletion_that_cannot_see_waits_with_back_off_and_says_so_once_that_lasts() {
    let mut world = running();
    world.delete();
    tell(&mut world);
    world.observed.namespace = Seen::Unknown(Doubt::Failed("timeout".to_owned()));
    let plan = world.plan();
    assert_eq!(plan.again, Again::BackOff);
    assert!(!differs(&world.cluster, &plan.status));
    world.failing_for = DOUBT;
    let told = world.plan().status.message;
    assert_eq!(
        told.as_deref(),
        Some("the host namespace cannot be seen: timeout")
    );
}
