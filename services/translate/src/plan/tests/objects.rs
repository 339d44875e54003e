//! ConfigMaps, Secrets, token Secrets and nodes.

use super::*;
use crate::fixture::patched;

fn config_map() -> Value {
    json!({
        "metadata": {"name": "settings", "namespace": "shop", "uid": "5e77", "labels": {"a": "b"}},
        "data": {"k": "v"},
    })
}

fn next(
    map: Option<&Value>,
    host: Option<&Value>,
    in_use: bool,
    knowledge: Knowledge,
) -> Action<Value> {
    next_of(Kind::ConfigMap, map, host, in_use, knowledge)
}

fn next_of(
    kind: Kind,
    object: Option<&Value>,
    host: Option<&Value>,
    needed: bool,
    knowledge: Knowledge,
) -> Action<Value> {
    let Translation::ToHost(rules) = &kind.description().translation else {
        panic!("{kind} goes to the host")
    };
    let view = View {
        object,
        host,
        needed,
        knowledge,
    };
    to_host(kind, rules, view, &context())
}

fn host_map(object: &Value) -> Value {
    let mut host = crate::config_map::to_host(object, &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    host
}

#[test]
fn a_used_object_is_made_followed_and_no_more_written_than_needed() {
    let object = config_map();
    assert_eq!(
        next(Some(&object), None, true, Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    let Action::Create(_) = next(Some(&object), None, true, Knowledge::Complete) else {
        panic!("not made")
    };
    let host = host_map(&object);
    assert_eq!(
        next(Some(&object), Some(&host), true, Knowledge::Complete),
        Action::Nothing
    );
    let mut changed = object.clone();
    changed["data"] = json!({"new": "x"});
    let Action::PatchHost(patch) = next(Some(&changed), Some(&host), true, Knowledge::Partial)
    else {
        panic!("not patched")
    };
    let host = patched(&host, &patch);
    assert_eq!(host["data"], json!({"new": "x"}));
    assert_eq!(
        next(Some(&changed), Some(&host), true, Knowledge::Complete),
        Action::Nothing
    );
}

#[test]
fn absent_and_empty_data_are_the_same() {
    let mut object = config_map();
    let mut host = host_map(&object);
    object["data"] = Value::Null;
    object["immutable"] = false.into();
    host["data"] = json!({});
    assert_eq!(
        next(Some(&object), Some(&host), true, Knowledge::Complete),
        Action::Nothing
    );
}

#[test]
fn an_unused_or_orphaned_object_goes_only_on_certain_knowledge() {
    let object = config_map();
    let host = host_map(&object);
    for (object, cause) in [(Some(&object), Cause::Unused), (None, Cause::Orphan)] {
        assert_eq!(
            next(object, Some(&host), false, Knowledge::Partial),
            Action::Wait(Waiting::Lists)
        );
        assert_eq!(
            next(object, Some(&host), false, Knowledge::Complete),
            Action::DeleteHost(delete_of(&host, None, cause))
        );
        assert_eq!(
            next(object, None, false, Knowledge::Complete),
            Action::Nothing
        );
    }
    // Still wanted by pods, but gone inside: a pod that names it must not start with it.
    assert_eq!(
        next(None, Some(&host), true, Knowledge::Complete),
        Action::DeleteHost(delete_of(&host, None, Cause::Orphan))
    );
}

#[test]
fn a_new_object_of_an_old_name_takes_the_host_object_over() {
    let old = host_map(&config_map());
    let mut new = config_map();
    new["metadata"]["uid"] = "another".into();
    let Action::PatchHost(patch) = next(Some(&new), Some(&old), true, Knowledge::Complete) else {
        panic!("not patched")
    };
    let host = patched(&old, &patch);
    assert_eq!(
        host["metadata"]["annotations"]["vcluster.dev/uid"],
        "another"
    );
    assert_eq!(
        next(Some(&new), Some(&host), true, Knowledge::Complete),
        Action::Nothing
    );
}

#[test]
fn an_immutable_object_is_replaced() {
    let mut old = config_map();
    old["immutable"] = true.into();
    let host = host_map(&old);
    assert_eq!(
        next(Some(&old), Some(&host), true, Knowledge::Complete),
        Action::Nothing
    );
    let mut new = config_map();
    new["metadata"]["uid"] = "another".into();
    assert_eq!(
        next(Some(&new), Some(&host), true, Knowledge::Complete),
        Action::DeleteHost(delete_of(&host, None, Cause::Replace))
    );
}

#[test]
fn a_secret_of_another_type_is_replaced() {
    let secret = |type_: &str| json!({"metadata": {"name": "s", "namespace": "shop", "uid": "5ec"}, "type": type_});
    let mut host = crate::secret::to_host(&secret("Opaque"), &context()).unwrap();
    host["metadata"]["uid"] = "b057".into();
    let next = |type_: &str| {
        let secret = secret(type_);
        next_of(
            Kind::Secret,
            Some(&secret),
            Some(&host),
            true,
            Knowledge::Complete,
        )
    };
    assert_eq!(
        next("kubernetes.io/tls"),
        Action::DeleteHost(delete_of(&host, None, Cause::Replace))
    );
    // On the host a token Secret is an opaque one.
    assert_eq!(next("kubernetes.io/service-account-token"), Action::Nothing);
}

#[test]
fn an_object_that_is_not_ours_is_left_alone() {
    let object = config_map();
    let mut stranger = host_map(&object);
    stranger["metadata"]["annotations"] = json!({});
    assert_eq!(
        next(None, Some(&stranger), false, Knowledge::Complete),
        Action::Nothing
    );
    assert!(matches!(
        next(Some(&object), Some(&stranger), true, Knowledge::Complete),
        Action::Refuse(_)
    ));
}

#[test]
fn tokens_live_as_long_as_their_pod() {
    let pod = pod();
    let tokens = [("t.0".to_owned(), "secret".to_owned())].into();
    let mut secret =
        crate::secret::of_tokens(&pod, &tokens, "2026-01-01T00:00:00Z", &context()).unwrap();
    secret["metadata"]["uid"] = "b057".into();
    assert_eq!(
        crate::secret::renew_at(&secret),
        Some("2026-01-01T00:00:00Z")
    );
    let next = |pod, knowledge| token_secret(pod, &secret, knowledge, &context());
    let mut other = pod.clone();
    other["metadata"]["uid"] = "another".into();
    let gone = Some(delete_of(&secret, None, Cause::Orphan));
    assert_eq!(next(Some(&pod), Knowledge::Complete), None);
    assert_eq!(next(None, Knowledge::Partial), None);
    assert_eq!(next(None, Knowledge::Complete), gone);
    assert_eq!(next(Some(&other), Knowledge::Complete), gone);
}

#[test]
fn a_token_secret_is_never_taken_for_a_translated_one() {
    let pod = pod();
    let mut secret =
        crate::secret::of_tokens(&pod, &[].into(), "2026-01-01T00:00:00Z", &context()).unwrap();
    secret["metadata"]["uid"] = "b057".into();
    let action = next_of(
        Kind::Secret,
        None,
        Some(&secret),
        false,
        Knowledge::Complete,
    );
    assert_eq!(action, Action::Nothing);
    assert_eq!(
        complete(None, Some(&secret)),
        Action::DeleteHost(delete_of(&secret, None, Cause::Orphan))
    );
}

#[test]
fn nodes_of_the_host_come_and_go_and_the_tenant_s_stay() {
    let host = json!({
        "metadata": {"name": "n1", "uid": "b057", "labels": {"zone": "a"}},
        "status": {"capacity": {"cpu": "2"}},
    });
    let next_if = |host: Option<&Value>, found: Option<&Value>, knowledge| {
        node(host, found, knowledge, &context())
    };
    let next = |host, found| next_if(host, found, Knowledge::Complete);
    let Action::Create(mut node) = next(Some(&host), None) else {
        panic!("not made")
    };
    node["metadata"]["uid"] = "5a1e".into();
    node["status"] = json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}});
    let Action::PatchVirtual(patch) = next(Some(&host), Some(&node)) else {
        panic!("no status")
    };
    let node = patched(&node, &patch);
    assert_eq!(next(Some(&host), Some(&node)), Action::Nothing);
    assert_eq!(
        next(None, Some(&node)),
        Action::DeleteVirtual(delete_of(&node, None, Cause::HostGone))
    );
    assert_eq!(
        next_if(None, Some(&node), Knowledge::Partial),
        Action::Wait(Waiting::Lists)
    );
    let own = json!({"metadata": {"name": "n1", "uid": "1"}});
    assert_eq!(next(None, Some(&own)), Action::Nothing);
    assert!(matches!(next(Some(&host), Some(&own)), Action::Refuse(_)));
}
