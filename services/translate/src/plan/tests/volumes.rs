//! PersistentVolumeClaims and PersistentVolumes.

use super::*;
use crate::{Owner, fixture::patched, persistent_volume, persistent_volume_claim as claims};

fn claim() -> Value {
    json!({
        "metadata": {"name": "data", "namespace": "shop", "uid": "c1a1"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    })
}

fn host_claim(claim: &Value) -> Value {
    let mut host = claims::to_host(claim, &context()).unwrap();
    host["metadata"]["uid"] = "b05c".into();
    host["status"] = json!({"phase": "Pending"});
    host
}

fn bound(host: &Value) -> Value {
    let mut host = host.clone();
    host["spec"]["volumeName"] = "pv-1".into();
    host["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    host
}

fn host_volume() -> Value {
    json!({
        "metadata": {"name": "pv-1", "uid": "b05f"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/srv"},
            "claimRef": {"namespace": "team-a", "name": "data-x-shop-x-demo", "uid": "b05c"},
        },
        "status": {"phase": "Bound"},
    })
}

fn owner() -> Owner {
    Owner::of_virtual(&claim(), "PersistentVolumeClaim", &context()).unwrap()
}

fn volume() -> Value {
    let mut volume = persistent_volume::to_virtual(&host_volume(), &owner(), &context());
    volume["metadata"]["uid"] = "5a1f".into();
    volume
}

fn next(claim: Option<&Value>, host: Option<&Value>, volume: Option<&Value>) -> Action<Value> {
    let view = ClaimView {
        claim,
        host,
        volume,
        knowledge: Knowledge::Complete,
        was_deleted: false,
    };
    persistent_volume_claim(view, &context())
}

fn next_volume(
    host: Option<&Value>,
    claim: Option<&Owner>,
    volume: Option<&Value>,
) -> Action<Value> {
    let view = VolumeView {
        host,
        claim,
        volume,
        knowledge: Knowledge::Complete,
    };
    persistent_volume(view, &context())
}

fn patch(action: Action<Value>) -> Patch {
    let Action::PatchVirtual(patch) = action else {
        panic!("no patch: {action:?}")
    };
    patch
}

#[test]
fn a_claim_is_bound_after_its_volume_is_shown_and_then_says_so() {
    let found = claim();
    let Action::Create(_) = next(Some(&found), None, None) else {
        panic!("not made")
    };
    let host = host_claim(&found);
    assert_eq!(next(Some(&found), Some(&host), None), Action::Nothing);
    let host = bound(&host);
    // The size comes up, the phase not yet.
    let found = patched(&found, &patch(next(Some(&found), Some(&host), None)));
    assert_eq!(found["status"]["phase"], "Pending");
    assert_eq!(
        next(Some(&found), Some(&host), None),
        Action::Wait(Waiting::Volume)
    );
    let mut anothers = volume();
    anothers["spec"]["claimRef"]["uid"] = "another".into();
    assert_eq!(
        next(Some(&found), Some(&host), Some(&anothers)),
        Action::Wait(Waiting::Volume)
    );
    let volume = volume();
    let found = patched(
        &found,
        &patch(next(Some(&found), Some(&host), Some(&volume))),
    );
    assert_eq!(found["spec"]["volumeName"], "pv-1");
    let found = patched(
        &found,
        &patch(next(Some(&found), Some(&host), Some(&volume))),
    );
    assert_eq!(found["status"]["phase"], "Bound");
    assert_eq!(
        next(Some(&found), Some(&host), Some(&volume)),
        Action::Nothing
    );
}

#[test]
fn a_claim_that_names_a_volume_of_its_own_choice_is_refused_on_both_roads() {
    let mut named = claim();
    named["spec"]["volumeName"] = "a-neighbours".into();
    let host = host_claim(&named);
    for host in [None, Some(&host), Some(&bound(&host))] {
        let Action::Refuse(refusal) = next(Some(&named), host, None) else {
            panic!("not refused")
        };
        assert_eq!(refusal.field, "spec.volumeName");
        assert_eq!(refusal.reason, Reason::HostAccess);
    }
}

#[test]
fn data_go_only_when_the_virtual_claim_is_gone_for_certain() {
    let found = claim();
    let host = host_claim(&found);
    let going = deleting(&found, 0);
    assert_eq!(
        next(Some(&going), Some(&host), None),
        Action::Nothing,
        "pods or a finalizer may still need it"
    );
    assert_eq!(
        next(None, Some(&host), None),
        Action::DeleteHost(delete_of(&host, None, Cause::Orphan))
    );
    let partial = ClaimView {
        claim: None,
        host: Some(&host),
        volume: None,
        knowledge: Knowledge::Partial,
        was_deleted: false,
    };
    assert_eq!(
        persistent_volume_claim(partial, &context()),
        Action::Wait(Waiting::Lists)
    );
    let going = deleting(&host, 0);
    assert_eq!(
        next(None, Some(&going), None),
        Action::Wait(Waiting::Termination)
    );
}

#[test]
fn a_new_claim_of_an_old_name_never_gets_the_old_one_s_data() {
    let host = bound(&host_claim(&claim()));
    let mut new = claim();
    new["metadata"]["uid"] = "another".into();
    assert_eq!(
        next(Some(&new), Some(&host), None),
        Action::DeleteHost(delete_of(&host, None, Cause::Orphan))
    );
    assert_eq!(
        next(Some(&new), Some(&deleting(&host, 0)), None),
        Action::Wait(Waiting::Predecessor)
    );
}

#[test]
fn a_claim_that_the_host_deletes_is_deleted_and_one_that_it_lost_is_lost() {
    let found = claim();
    let host = host_claim(&found);
    assert_eq!(
        next(Some(&found), Some(&deleting(&host, 0)), None),
        Action::DeleteVirtual(delete_of(&found, None, Cause::HostDeletes))
    );
    let mut was_bound = found;
    was_bound["spec"]["volumeName"] = "pv-1".into();
    was_bound["status"] = json!({"phase": "Bound"});
    // Gone before anybody looked at it again: it does not matter how long the host took.
    let mut deleted = ClaimView {
        claim: Some(&was_bound),
        host: None,
        volume: None,
        knowledge: Knowledge::Complete,
        was_deleted: true,
    };
    assert_eq!(
        persistent_volume_claim(deleted, &context()),
        Action::DeleteVirtual(delete_of(&was_bound, None, Cause::HostDeletes))
    );
    deleted.knowledge = Knowledge::Partial;
    assert_eq!(
        persistent_volume_claim(deleted, &context()),
        Action::Wait(Waiting::Lists)
    );
    let lost = patched(&was_bound, &patch(next(Some(&was_bound), None, None)));
    assert_eq!(lost["status"]["phase"], "Lost");
    let Action::Refuse(refusal) = next(Some(&lost), None, None) else {
        panic!("nobody is told")
    };
    assert_eq!(refusal.reason, Reason::HostGone);
}

#[test]
fn a_claim_that_is_not_ours_is_left_alone() {
    let mut stranger = host_claim(&claim());
    stranger["metadata"]["annotations"] = json!({});
    assert_eq!(next(None, Some(&stranger), None), Action::Nothing);
    assert!(matches!(
        next(Some(&claim()), Some(&stranger), None),
        Action::Refuse(_)
    ));
}

#[test]
fn only_volumes_of_the_tenant_s_claims_are_shown() {
    let host = host_volume();
    assert_eq!(next_volume(Some(&host), None, None), Action::Nothing);
    let Action::Create(made) = next_volume(Some(&host), Some(&owner()), None) else {
        panic!("not shown")
    };
    assert_eq!(made["spec"]["claimRef"]["name"], "data");
    let partial = VolumeView {
        host: Some(&host),
        claim: Some(&owner()),
        volume: None,
        knowledge: Knowledge::Partial,
    };
    assert_eq!(
        persistent_volume(partial, &context()),
        Action::Wait(Waiting::Lists)
    );
}

#[test]
fn a_volume_follows_its_host_claim_when_that_is_handed_over_to_another_claim() {
    let host = host_volume();
    let mut volume = volume();
    volume["status"] = json!({"phase": "Bound"});
    let new = Owner {
        uid: "another".to_owned(),
        ..owner()
    };
    let released = patched(
        &volume,
        &patch(next_volume(Some(&host), Some(&new), Some(&volume))),
    );
    assert!(matches!(
        next_volume(Some(&host), Some(&new), Some(&released)),
        Action::DeleteVirtual(_)
    ));
    let Action::Create(made) = next_volume(Some(&host), Some(&new), None) else {
        panic!("not shown")
    };
    assert_eq!(made["spec"]["claimRef"]["uid"], "another");
}

#[test]
fn a_retained_volume_stays_released_as_long_as_the_host_keeps_it() {
    let mut host = host_volume();
    let volume = volume();
    host["status"]["phase"] = "Released".into();
    // The host claim is gone.
    let volume = patched(
        &volume,
        &patch(next_volume(Some(&host), None, Some(&volume))),
    );
    assert_eq!(volume["status"]["phase"], "Released");
    assert_eq!(
        next_volume(Some(&host), None, Some(&volume)),
        Action::Nothing
    );
    assert_eq!(
        next_volume(None, None, Some(&volume)),
        Action::DeleteVirtual(delete_of(&volume, None, Cause::HostGone))
    );
    // The host's administrator gave it to somebody else.
    host["spec"]["claimRef"]["uid"] = "another".into();
    assert_eq!(
        next_volume(Some(&host), None, Some(&volume)),
        Action::DeleteVirtual(delete_of(&volume, None, Cause::HostGone))
    );
}

#[test]
fn a_bound_volume_that_is_gone_is_released_before_it_is_deleted() {
    let mut volume = volume();
    volume["status"] = json!({"phase": "Bound"});
    let released = patched(&volume, &patch(next_volume(None, None, Some(&volume))));
    assert_eq!(released["status"]["phase"], "Released");
    assert!(matches!(
        next_volume(None, None, Some(&released)),
        Action::DeleteVirtual(_)
    ));
    // Also one that is kept by its protection while it says that it is bound.
    let going = deleting(&volume, 0);
    assert!(matches!(
        next_volume(None, None, Some(&going)),
        Action::PatchVirtual(_)
    ));
}

#[test]
fn a_tenant_s_own_volume_is_told_that_nobody_will_bind_it() {
    let own = json!({"metadata": {"name": "pv-1", "uid": "1"}});
    let Action::Refuse(refusal) = next_volume(None, None, Some(&own)) else {
        panic!("nobody is told")
    };
    assert_eq!(refusal.reason, Reason::NotSupported);
    // A host volume of its name that is not the tenant's is no reason to say more.
    assert_eq!(
        next_volume(Some(&host_volume()), None, Some(&own)),
        Action::Refuse(refusal)
    );
    let Action::Refuse(taken) = next_volume(Some(&host_volume()), Some(&owner()), Some(&own))
    else {
        panic!("not refused")
    };
    assert_eq!(taken.reason, Reason::NameTaken);
}
