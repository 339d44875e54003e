//! The DNS server, the ranges of Services and the policies that bound pods.

use super::*;
use crate::address::Ranges;

#[test]
fn a_cluster_without_dns_is_not_ready_and_says_why() {
    let mut world = running();
    world.sync_ready();
    body(&mut world, Slot::Dns)["status"] = serde_json::json!({ "conditions": [{
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
    fail(&mut world);
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
        change(&mut body(&mut world, slot)["spec"]);
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
