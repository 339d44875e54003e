//! Every reason that an object may have, from the facts alone.

use serde_json::json;
use vcluster_translate::Refusal;
use vcluster_translate::plan::Waiting;
use vcluster_translate::refusal::Reason;

use super::*;
use crate::testing::context;

struct Case {
    kind: Kind,
    context: Context,
    object: Option<Value>,
    tenant: State,
    namespace: Namespace,
    hold: Option<Hold>,
    on_host: bool,
    settled: bool,
    place: Option<Place>,
    used: bool,
}

/// An object that is there inside, in a tenant that is served.
fn case(kind: Kind) -> Case {
    Case {
        kind,
        context: context(),
        object: Some(json!({"metadata": {"namespace": "shop", "name": "web"}})),
        tenant: State::Synced,
        namespace: Namespace::There,
        hold: None,
        on_host: false,
        settled: false,
        place: None,
        used: false,
    }
}

impl Case {
    fn answer(&self) -> Answer {
        explain(&Facts {
            kind: self.kind,
            name: "web",
            context: &self.context,
            tenant: (self.tenant, "as it says".to_owned()),
            inside: self.object.as_ref().map_or(Inside::Absent, Inside::There),
            namespace: self.namespace,
            hold: self.hold.clone(),
            place: self.place,
            on_host: self.on_host,
            settled: self.settled,
            used: self.used,
        })
    }

    fn is(&self, standing: Standing, reason: &str) {
        let answer = self.answer();
        assert_eq!((answer.standing, answer.reason), (standing, reason));
        assert!(!answer.message.is_empty());
    }
}

#[test]
fn what_is_as_it_should_be_is_synced() {
    let pod = Case {
        on_host: true,
        settled: true,
        ..case(Kind::Pod)
    };
    pod.is(Standing::Synced, "Synced");
    let changed = Case {
        settled: false,
        ..pod
    };
    changed.is(Standing::Waiting, "Queued");
    let node = json!({"metadata": {
        "name": "web", "labels": {"vcluster.dev/managed": "true"},
        "annotations": {"vcluster.dev/cluster-uid": context().cluster_uid},
    }});
    let mut node = Case {
        object: Some(node),
        settled: true,
        ..case(Kind::Node)
    };
    node.is(Standing::Synced, "Synced");
    node.place = Some(Place {
        waits_since: Some(tokio::time::Instant::now()),
        in_work: false,
        timer: None,
        failures: 0,
    });
    node.is(Standing::Waiting, "Queued");
    node.place = None;
    node.settled = false;
    node.is(Standing::Waiting, "Queued");
}

#[test]
fn a_tenant_that_is_not_served_explains_all_its_objects() {
    for (tenant, standing, reason) in [
        (State::Frozen, Standing::Frozen, "TenantFrozen"),
        (State::Starting, Standing::Waiting, "TenantStarting"),
        (State::Draining, Standing::Waiting, "TenantDraining"),
    ] {
        let held = Case {
            tenant,
            hold: Some(Hold::waiting(&Waiting::Volume)),
            ..case(Kind::Pod)
        };
        held.is(standing, reason);
        assert_eq!(held.answer().message, "as it says");
    }
}

#[test]
fn who_refuses_and_which_field_is_told() {
    let refusal = |reason| Refusal {
        reason,
        field: "spec.hostNetwork".to_owned(),
        message: "must not be true".to_owned(),
    };
    for (reason, by, field) in [
        (Reason::HostAccess, By::Translation, "spec.hostNetwork"),
        (Reason::NotSynced, By::Policy, "spec.hostNetwork"),
        (Reason::NotOnHost, By::Host, "spec.hostNetwork"),
        (Reason::HostRefused, By::Host, ""),
    ] {
        let held = Case {
            hold: Some(Hold::refusal(&refusal(reason))),
            ..case(Kind::Pod)
        };
        held.is(Standing::Refused, reason.as_str());
        let answer = held.answer();
        assert_eq!((answer.by, answer.field.as_str()), (Some(by), field));
        assert_eq!(answer.message, "must not be true");
    }
}

#[test]
fn what_has_no_other_side_says_why() {
    case(Kind::Secret).is(Standing::NotSynced, "NotUsed");
    case(Kind::Namespace).is(Standing::NotSynced, "OnlyRead");
    case(Kind::Event).is(Standing::NotSynced, "OnlyTold");
    let mut class = case(Kind::StorageClass);
    class.is(Standing::NotSynced, "OwnObject");
    let way = "spec.sync.toHost.storageclasses (enabled: true)";
    assert!(class.answer().message.contains(way));
    let asked = json!({"toHost": {"storageclasses": {"enabled": true}}});
    class.context.policy = serde_json::from_value(asked).unwrap();
    class.is(Standing::NotSynced, "OwnObject");
    assert!(!class.answer().message.contains(way));
    case(Kind::IngressClass).is(Standing::NotSynced, "OwnObject");
    let external =
        json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"type": "ExternalName"}});
    let service = Case {
        object: Some(external),
        ..case(Kind::Service)
    };
    service.is(Standing::NotSynced, "NotNeeded");
    let mut ended =
        json!({"metadata": {"namespace": "shop", "name": "web"}, "status": {"phase": "Succeeded"}});
    let mut pod = case(Kind::Pod);
    pod.object = Some(ended.clone());
    pod.is(Standing::NotSynced, "Finished");
    ended["status"] = json!({});
    ended["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod.object = Some(ended);
    pod.is(Standing::NotSynced, "BeingDeleted");
    let going = Case {
        namespace: Namespace::Terminating,
        ..case(Kind::Pod)
    };
    going.is(Standing::NotSynced, "NamespaceTerminating");
}

#[test]
fn what_a_mapping_shows_names_the_hosts() {
    let mut shown = json!({"metadata": {
        "namespace": "shop", "name": "web", "labels": {"vcluster.dev/managed": "true"},
        "annotations": {"vcluster.dev/cluster-uid": context().cluster_uid},
    }});
    let mut config = Case {
        object: Some(shown.clone()),
        ..case(Kind::ConfigMap)
    };
    config.is(Standing::NotSynced, "MadeBySync");
    shown["metadata"]["annotations"]["vcluster.dev/mapped-from"] = "team-a/shared-config".into();
    config.object = Some(shown);
    config.is(Standing::NotSynced, "Mapped");
    assert_eq!(
        config.answer().message,
        "it is shown from the host's team-a/shared-config by a mapping of spec.sync.fromHost.configmaps"
    );
}

#[test]
fn what_the_policy_keeps_inside_is_told_before_it_was_ever_worked_on() {
    let mut pod = case(Kind::Pod);
    pod.context.policy =
        serde_json::from_value(json!({"toHost": {"pods": {"enabled": false}}})).unwrap();
    pod.is(Standing::Refused, "NotSynced");
    assert_eq!(pod.answer().by, Some(By::Policy));
}

#[test]
fn what_is_not_inside_is_unknown_or_on_its_way_out() {
    let mut gone = case(Kind::Pod);
    gone.object = None;
    // Nothing that was said of an object that is gone holds any more.
    gone.hold = Some(Hold::waiting(&Waiting::Volume));
    gone.is(Standing::Unknown, "NotFound");
    gone.on_host = true;
    gone.is(Standing::Waiting, "Volume");
    gone.hold = None;
    gone.is(Standing::Waiting, "BeingRemoved");
    let mut class = case(Kind::StorageClass);
    class.object = None;
    class.is(Standing::Unknown, "NotFound");
    class.on_host = true;
    class.is(Standing::NotSynced, "NotShown");
}

#[test]
fn a_kind_that_nobody_syncs_is_answered_with_those_that_are() {
    let invented = unknown_kind("foo", Some(false), &context());
    assert_eq!(
        (invented.standing, invented.reason),
        (Standing::Unknown, "NoSuchKind")
    );
    assert!(invented.message.contains("kubectl api-resources"));
    let answer = unknown_kind("deployment", Some(true), &context());
    assert_eq!(answer.standing, Standing::NotSynced);
    assert!(answer.message.contains("Pod"), "{}", answer.message);
    assert!(!answer.message.contains("Namespace"), "{}", answer.message);
}
