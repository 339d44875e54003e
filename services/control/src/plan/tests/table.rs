//! Single states and what is said and done about them.

use vcluster_resources::cluster::Phase;
use vcluster_resources::condition::{self, Type};
use vcluster_resources::ownership::{CONTROL_FINALIZER, SYNC_FINALIZER};

use super::world::World;
use super::*;
use crate::address::Ranges;
use crate::observed::{Doubt, Live, RootsState, Sibling};

/// A cluster that runs.
fn running() -> World {
    let mut world = World::new();
    settle(&mut world);
    world
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
    let ready = world.plan();
    world.store(ready.status);
    let Some(Seen::Present(Live { body, .. })) =
        world.observed.objects.get_mut(&Slot::ControlPlane)
    else {
        panic!("it runs");
    };
    body["status"]["readyReplicas"] = 0.into();
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
    world.delete();
    for slot in [Slot::ControlPlane, Slot::Dns, Slot::TenantBinding] {
        world.observed.objects.insert(slot, Seen::Absent);
    }
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

#[test]
fn a_cluster_without_dns_is_not_ready_and_says_why() {
    let mut world = running();
    world.sync_ready();
    let Some(Seen::Present(Live { body, .. })) = world.observed.objects.get_mut(&Slot::Dns) else {
        panic!("it runs");
    };
    body["status"] = serde_json::json!({ "conditions": [{
        "type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods",
    }] });
    let plan = world.plan();
    assert_eq!(reason(&plan, Type::DnsReady), "Progressing");
    assert_eq!(reason(&plan, Type::Ready), "Progressing");
    let told = "waits for the DNS server: exceeded quota: pods";
    assert_eq!(plan.status.message.as_deref(), Some(told));
}

#[test]
fn the_dns_server_is_made_once_the_api_server_runs_and_stays_when_it_does_not() {
    let mut world = running();
    let Some(Seen::Present(Live { body, .. })) =
        world.observed.objects.get_mut(&Slot::ControlPlane)
    else {
        panic!("it runs");
    };
    body["status"]["readyReplicas"] = 0.into();
    assert_eq!(reason(&world.plan(), Type::DnsReady), "Available");
    world.observed.objects.insert(Slot::Dns, Seen::Absent);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(reason(&plan, Type::DnsReady), "Waiting");
}

#[test]
fn the_second_range_of_services_comes_and_goes_with_the_host_s_and_stays_while_that_is_unknown() {
    let second = "fd96::/112".parse().unwrap();
    let default = ["10.96.0.0/16".parse().unwrap(), second];
    let wanted = |world: &World| {
        let steps = world.plan().steps;
        steps.iter().find_map(|step| {
            let Step::Apply {
                slot: Slot::ControlPlane,
                body,
                ..
            } = step
            else {
                return None;
            };
            Some(crate::distro::k8s::second_range(body))
        })
    };
    let mut world = running();
    assert_eq!(
        wanted(&world),
        None,
        "nothing restarts a cluster of one family"
    );
    world.observed.ranges = Seen::Present(Ranges::new(&default, Vec::new()));
    assert_eq!(wanted(&world), Some(Some(second)));
    for step in world.plan().steps {
        world.apply(&step);
    }
    assert_eq!(wanted(&world), None);
    assert_eq!(
        world.plan().status.service_cidrs,
        ["10.96.0.0/16", "fd96::/112"]
    );
    for unseen in [Seen::Absent, Seen::Unknown(Doubt::Forbidden)] {
        world.observed.ranges = unseen;
        assert_eq!(wanted(&world), None);
    }
    world.observed.ranges = Seen::Present(Ranges::new(&default[..1], Vec::new()));
    assert_eq!(wanted(&world), Some(None));
}

#[test]
fn pods_are_made_only_after_the_policies_that_bound_them() {
    for doubt in [Seen::Absent, Seen::Unknown(Doubt::Forbidden)] {
        let mut world = running();
        for slot in [Slot::ControlPlanePolicy, Slot::ControlPlane] {
            world.observed.objects.insert(slot, doubt.clone());
        }
        world
            .observed
            .objects
            .insert(Slot::ControlPlane, Seen::Absent);
        let makes = |plan: &Plan| {
            let slots = plan.steps.iter().filter_map(|step| Some(target(step)?.0));
            slots.collect::<Vec<_>>()
        };
        let plan = world.plan();
        assert!(
            !makes(&plan).contains(&Slot::ControlPlane),
            "{:?}",
            plan.steps
        );
        assert!(plan.status.message.unwrap().contains("olicy") || doubt == Seen::Absent);
        // One that runs is not stopped for it.
        world = running();
        world
            .observed
            .objects
            .insert(Slot::ControlPlanePolicy, doubt.clone());
        assert_eq!(reason(&world.plan(), Type::ControlPlaneReady), "Available");
        // Nor is anything waited for where there are to be none.
        world.isolated = false;
        world
            .observed
            .objects
            .insert(Slot::ControlPlane, Seen::Absent);
        assert_eq!(makes(&world.plan()), [Slot::DnsPolicy, Slot::ControlPlane]);
    }
}

#[test]
fn a_policy_that_lets_out_more_than_is_wanted_is_put_right() {
    let open = |spec: &mut Value| spec["egress"][1]["ports"][0]["endPort"] = 65535.into();
    let shut = |spec: &mut Value| spec["egress"] = serde_json::json!([{}]);
    let inward = |spec: &mut Value| {
        spec["egress"][0]["to"][0]["namespaceSelector"] = serde_json::json!({});
    };
    for change in [open, shut, inward] {
        let mut world = running();
        let slot = Slot::ControlPlanePolicy;
        let Some(Seen::Present(live)) = world.observed.objects.get_mut(&slot) else {
            panic!("it is there");
        };
        change(&mut live.body["spec"]);
        let steps = world.plan().steps;
        assert!(
            matches!(&steps[..], [Step::Apply { slot: found, over: Some(_), .. }] if *found == slot),
            "{steps:?}"
        );
        settle(&mut world);
    }
}

#[test]
fn policies_go_when_they_are_switched_off_and_somebody_else_s_of_their_name_stays() {
    let mut world = running();
    world.isolated = false;
    world.put(Slot::DnsPolicy, None, false, Value::Null);
    let plan = world.plan();
    assert!(
        matches!(
            plan.steps.as_slice(),
            [Step::Delete {
                slot: Slot::ControlPlanePolicy,
                ..
            }]
        ),
        "{:?}",
        plan.steps
    );
    assert_eq!(reason(&plan, Type::ControlPlaneReady), "Available");
    world.isolated = true;
    assert_eq!(reason(&world.plan(), Type::Ready), "ObjectConflict");
}

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
fn what_a_young_binding_hides_is_looked_at_at_once_and_what_an_old_one_hides_with_back_off() {
    let mut world = running();
    let hidden = Slot::Secret(Credential::Sync);
    world
        .observed
        .objects
        .insert(hidden, Seen::Unknown(Doubt::Forbidden));
    for deleting in [false, true] {
        if deleting {
            world.delete();
            for slot in [Slot::ControlPlane, Slot::Dns] {
                world.observed.objects.insert(slot, Seen::Absent);
            }
        }
        for (seconds, wanted) in [
            (0, Again::After(Duration::from_millis(50))),
            (9, Again::After(Duration::from_millis(50))),
            (11, Again::BackOff),
            (-3600, Again::BackOff),
        ] {
            let Some(Seen::Present(binding)) = world.observed.objects.get_mut(&Slot::TenantBinding)
            else {
                panic!("it is bound");
            };
            let made = world.now - jiff::SignedDuration::from_secs(seconds);
            binding.body["metadata"]["creationTimestamp"] = made.to_string().into();
            assert_eq!(
                world.plan().again,
                wanted,
                "{seconds} s, deleting: {deleting}"
            );
        }
    }
}

#[test]
fn the_words_about_a_pod_that_does_not_start_are_renewed_ever_more_seldom() {
    let mut world = running();
    let Some(Seen::Present(Live { body, .. })) =
        world.observed.objects.get_mut(&Slot::ControlPlane)
    else {
        panic!("it runs");
    };
    body["status"]["readyReplicas"] = 0.into();
    let status = world.plan().status;
    world.store(status);
    for (minutes, seconds) in [(0, 3), (1, 6), (5, 30), (10, 60), (600, 60)] {
        world.now = world::now() + jiff::SignedDuration::from_mins(minutes);
        let wanted = Again::After(Duration::from_secs(seconds));
        assert_eq!(world.plan().again, wanted, "{minutes} minutes");
    }
}

#[test]
fn a_pod_that_does_not_stop_is_looked_at_ever_more_seldom() {
    let mut world = running();
    world.delete();
    for slot in [Slot::ControlPlane, Slot::Dns] {
        world.observed.objects.insert(slot, Seen::Absent);
    }
    world.observed.pods = Seen::Present(vec![crate::observed::Pod {
        name: "demo-0".to_owned(),
        uid: "pod".to_owned(),
        deleting: true,
        waits: None,
    }]);
    for (seconds, millis) in [(0, 500), (10, 500), (60, 3000), (86_400, 15_000)] {
        world.now = world::now() + jiff::SignedDuration::from_secs(seconds);
        let wanted = Again::After(Duration::from_millis(millis));
        assert_eq!(world.plan().again, wanted, "{seconds} s");
    }
}

#[test]
fn a_deletion_that_cannot_see_waits_with_back_off_and_says_so_once_that_lasts() {
    let mut world = running();
    world.delete();
    let status = world.plan().status;
    world.store(status);
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
