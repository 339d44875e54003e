//! What becomes of Secrets that controllers of the host make.

use super::*;
use crate::{
    fixture::context,
    plan::{Action, Cause, Knowledge, MadeView, made_by_host},
};

fn host() -> Value {
    json!({
        "metadata": {"namespace": "team-a", "name": "tls-x-shop-x-demo", "uid": "h",
            "labels": {"controller.cert-manager.io/fao": "true"}},
        "type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="},
    })
}

fn see(object: Option<&Value>, host: Option<&Value>, is_named: bool) -> Action<Value> {
    let view = MadeView {
        name: ("shop", "tls"),
        object,
        host,
        is_named,
        knowledge: Knowledge::Complete,
    };
    made_by_host(Kind::Secret, view, &context())
}

fn copied() -> Value {
    let mut copy = copy(Kind::Secret, "shop", "tls", &host(), &context()).unwrap();
    copy["metadata"]["uid"] = "v".into();
    copy
}

#[test]
fn it_comes_up_and_follows_the_host_s() {
    assert_eq!(see(None, None, true), Action::Nothing);
    let Action::Create(made) = see(None, Some(&host()), true) else {
        panic!("not made")
    };
    assert_eq!(made["data"], host()["data"]);
    assert_eq!(made["metadata"].get("labels"), None);
    assert_eq!(see(Some(&copied()), Some(&host()), true), Action::Nothing);
    let mut renewed = host();
    renewed["data"] = json!({"tls.crt": "Yg==", "ca.crt": "Yw=="});
    let Action::PatchVirtual(patch) = see(Some(&copied()), Some(&renewed), true) else {
        panic!("not patched")
    };
    assert_eq!(patch.body["data"], renewed["data"]);
    renewed["type"] = "Opaque".into();
    assert!(matches!(
        see(Some(&copied()), Some(&renewed), true),
        Action::DeleteVirtual(_)
    ));
}

#[test]
fn it_stays_when_nothing_names_it_any_more_and_goes_with_the_host_s() {
    assert_eq!(
        see(None, Some(&host()), false),
        Action::Nothing,
        "it is not made again"
    );
    assert_eq!(see(Some(&copied()), Some(&host()), false), Action::Nothing);
    let Action::DeleteVirtual(delete) = see(Some(&copied()), None, true) else {
        panic!("not deleted")
    };
    assert_eq!((delete.uid.as_str(), delete.cause), ("v", Cause::HostGone));
}

#[test]
fn what_the_tenant_made_or_another_tenant_s_or_a_token_is_left_alone() {
    let own = json!({"metadata": {"namespace": "shop", "name": "tls", "uid": "v"}});
    assert!(matches!(
        see(Some(&own), Some(&host()), true),
        Action::Refuse(_)
    ));
    assert!(matches!(see(Some(&own), None, true), Action::Refuse(_)));
    let mut token = host();
    token["type"] = "bootstrap.kubernetes.io/token".into();
    assert!(matches!(see(None, Some(&token), true), Action::Refuse(_)));
}

#[test]
fn nothing_is_concluded_while_not_everything_is_known() {
    for (object, host) in [(None, Some(host())), (Some(copied()), None)] {
        let view = MadeView {
            name: ("shop", "tls"),
            object: object.as_ref(),
            host: host.as_ref(),
            is_named: true,
            knowledge: Knowledge::Partial,
        };
        assert!(matches!(
            made_by_host(Kind::Secret, view, &context()),
            Action::Wait(_)
        ));
    }
}

#[test]
fn a_translation_of_what_the_tenant_had_made_himself_makes_room_for_the_host_s() {
    let own = json!({
        "metadata": {"namespace": "shop", "name": "tls", "uid": "v"}, "type": "Opaque", "data": {},
    });
    let mut ours = secret::to_host(&own, &context()).unwrap();
    ours["metadata"]["uid"] = "h".into();
    assert!(matches!(
        see(Some(&own), Some(&ours), true),
        Action::Refuse(_)
    ));
    let Action::DeleteHost(delete) = see(None, Some(&ours), true) else {
        panic!("not deleted")
    };
    assert_eq!((delete.uid.as_str(), delete.cause), ("h", Cause::Orphan));
    let view = MadeView {
        name: ("shop", "tls"),
        object: None,
        host: Some(&ours),
        is_named: true,
        knowledge: Knowledge::Partial,
    };
    let action = made_by_host(Kind::Secret, view, &context());
    assert!(matches!(action, Action::Wait(_)));
}
