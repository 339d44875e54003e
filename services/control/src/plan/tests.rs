//! Properties of the planner, against a model of the host cluster that applies steps at once.

use proptest::prelude::*;

mod table;
mod world;

use world::{World, any_world, calm_world};

use super::*;
use crate::observed::{Contents, MadeFor, Seen};
use crate::pki::credential::Health;

/// Rounds in which anything must come to rest.
const ENOUGH: usize = 20;

/// Applies plans until there is nothing to do, and gives the last one.
fn settle(world: &mut World) -> Plan {
    for _ in 0..ENOUGH {
        let plan = world.plan();
        if plan.steps.is_empty() || world.is_gone() {
            return plan;
        }
        for step in &plan.steps {
            world.apply(step);
        }
    }
    panic!("does not come to rest: {:?}", world.plan().steps);
}

fn is_removal(step: &Step) -> bool {
    match step {
        Step::RemoveFinalizer
        | Step::DeleteRoots { .. }
        | Step::Delete { .. }
        | Step::DeletePod { .. }
        | Step::Survey
        | Step::DeleteNamespace { .. } => true,
        Step::AddFinalizer
        | Step::ClaimNamespace { .. }
        | Step::MintRoots
        | Step::AllocateAddress
        | Step::Apply { .. }
        | Step::Mint { .. } => false,
    }
}

/// The slot that a step writes or deletes, and the UID that it expects there.
fn target(step: &Step) -> Option<(Slot, Option<&str>)> {
    match step {
        Step::Apply { slot, over, .. } => Some((*slot, over.as_deref())),
        Step::Mint { credential, over } => Some((Slot::Secret(*credential), over.as_deref())),
        Step::Delete { slot, uid } => Some((*slot, Some(uid))),
        Step::AllocateAddress => Some((Slot::Service, None)),
        Step::AddFinalizer
        | Step::RemoveFinalizer
        | Step::ClaimNamespace { .. }
        | Step::MintRoots
        | Step::DeleteRoots { .. }
        | Step::DeletePod { .. }
        | Step::Survey
        | Step::DeleteNamespace { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_not_ours_is_never_touched_and_what_cannot_be_seen_is_left_alone(world in any_world()) {
        for step in world.plan().steps {
            let Some((slot, uid)) = target(&step) else { continue };
            match (world.observed.slot(slot), uid) {
                (Seen::Absent, None) => {}
                (Seen::Present(live), Some(uid)) => {
                    prop_assert_eq!(&live.uid, uid);
                    prop_assert_eq!(live.owner.as_deref(), Some(world.subject.uid()));
                }
                (seen, _) => prop_assert!(false, "{:?} over {:?}", step, seen),
            }
        }
    }

    #[test]
    fn deleting_wins_and_living_clusters_lose_nothing(world in any_world()) {
        for step in world.plan().steps {
            if world.is_deleting() {
                let sight = matches!(
                    &step,
                    Step::Apply { slot: Slot::TenantBinding, over: None, .. }
                );
                prop_assert!(is_removal(&step) || sight, "{:?}", step);
            } else {
                let unwanted = matches!(
                    &step,
                    Step::Delete { slot, .. } if !world.isolated && Slot::POLICIES.contains(slot)
                );
                prop_assert!(!is_removal(&step) || unwanted, "{:?}", step);
            }
        }
    }

    #[test]
    fn a_cluster_is_let_go_only_when_nothing_of_it_is_left(world in any_world()) {
        let plan = world.plan();
        if !plan.steps.contains(&Step::RemoveFinalizer) {
            return Ok(());
        }
        for step in &plan.steps {
            let last = matches!(
                step,
                Step::RemoveFinalizer | Step::Delete { slot: Slot::TenantBinding, .. }
            );
            prop_assert!(last, "{:?}", step);
        }
        prop_assert!(world.observed.roots.is_absent());
        let namespace = world.observed.namespace.present();
        let taken_along = namespace.is_none_or(|n| n.terminating);
        let left_to_collection =
            namespace.is_some_and(|n| !n.enabled) && world.observed.refused.is_some();
        if taken_along || left_to_collection {
            return Ok(());
        }
        for slot in Slot::ALL.into_iter().filter(|slot| *slot != Slot::TenantBinding) {
            let kept = slot == Slot::Claim && world.retains();
            match world.observed.slot(slot) {
                Seen::Absent => {}
                Seen::Present(live) => {
                    let ours = live.owner.as_deref() == Some(world.subject.uid());
                    prop_assert!(!ours || kept, "{slot:?} is left");
                }
                Seen::Unknown(_) => prop_assert!(kept, "{slot:?} is not seen"),
            }
        }
    }

    #[test]
    fn a_namespace_goes_only_if_it_was_made_for_this_cluster_and_is_empty(world in any_world()) {
        for step in world.plan().steps {
            let Step::DeleteNamespace { uid } = step else { continue };
            let namespace = world.observed.namespace.present().expect("it was seen");
            prop_assert_eq!(&uid, &namespace.uid);
            prop_assert_eq!(&world.observed.contents, &Some(Contents::Empty));
            let for_us = match namespace.made_for.as_ref().expect("it was made for somebody") {
                MadeFor::Uid(uid) => uid == world.subject.uid(),
                MadeFor::Name(name) => name == world.subject.name().as_str(),
            };
            prop_assert!(for_us);
        }
    }

    #[test]
    fn an_authority_is_never_replaced(world in any_world()) {
        for step in world.plan().steps {
            if step == Step::MintRoots {
                prop_assert!(world.has_no_past(), "{:?}", world.observed);
            }
            if let Step::Mint { credential, over: Some(_) } = step {
                let health = world.observed.health.get(&credential);
                let foreign = matches!(health, Some(Health::OtherAuthority { .. }));
                prop_assert!(!foreign);
            }
        }
    }

    #[test]
    fn living_clusters_come_to_rest_and_stay_there(world in calm_world(false)) {
        let mut world = world;
        settle(&mut world);
        let again = world.plan();
        prop_assert_eq!(again.steps, vec![]);
        world.store(again.status);
        prop_assert!(!differs(&world.cluster, &world.plan().status));
        prop_assert!(world.is_whole());
    }

    #[test]
    fn deleted_clusters_go_whatever_is_left_of_them(world in calm_world(true)) {
        let mut world = world;
        settle(&mut world);
        prop_assert!(world.is_gone());
        prop_assert!(world.observed.roots.is_absent());
    }

    #[test]
    fn planning_twice_gives_the_same(world in any_world()) {
        prop_assert_eq!(world.plan(), world.plan());
    }
}
