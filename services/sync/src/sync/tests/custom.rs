//! Custom resources, and what controllers of the host make for them.

use vcluster_resources::custom_resource::{CustomResource, compile};
use vcluster_translate::custom::{Identity, Kinds, Synced};

use super::*;

mod edited;

pub(super) fn kinds(world: &World, rule: Value, from_host: bool) -> (Kind, Kinds) {
    let rule: CustomResource = serde_json::from_value(rule).unwrap();
    let (mut rules, findings) = compile(&[rule]);
    assert_eq!(findings, []);
    let kind = world.engine.custom(&Identity {
        group: "cert-manager.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Certificate".to_owned(),
        plural: "certificates".to_owned(),
        is_namespaced: true,
        comes_from_host: from_host,
    });
    let kind = kind.unwrap();
    let synced = Synced {
        kind,
        rule: rules.remove(0),
        has_status: true,
        may_name_namespaces: false,
    };
    (Kind::Custom(kind), [synced].into_iter().collect())
}

pub(super) async fn world() -> (World, Kind) {
    let world = World::new().await;
    let rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
        "references": [{"path": "spec.secretName", "kind": "Secret", "made": "ByHost"}],
    });
    let (kind, kinds) = kinds(&world, rule, false);
    let world = world.with_custom(kinds);
    for side in [Side::Virtual, Side::Host] {
        let list = world.tenant.state().begin_list(side, kind);
        world.tenant.end_list(side, kind, list);
    }
    world.tenant.ensure_variables(&pod("any")).await.unwrap();
    world.apply(Kind::Namespace, json!({"metadata": {"name": "shop"}}));
    world.calls();
    (world, kind)
}

pub(super) fn certificate() -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": "shop", "name": "web"}, "spec": {"secretName": "tls"},
    })
}

const CERTIFICATES: &str = "/apis/cert-manager.io/v1/namespaces/team-a/certificates";
const SECRET: &str = "tls-x-shop-x-demo";

pub(super) fn issued(data: &str) -> Value {
    json!({
        "metadata": {"namespace": "team-a", "name": SECRET}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": data},
    })
}

#[tokio::test(start_paused = true)]
async fn a_custom_object_is_made_followed_and_removed_like_any_other() {
    let (world, kind) = world().await;
    let key = world.apply(kind, certificate());
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host POST /apis/cert-manager.io/v1/namespaces/team-a/certificates"]
    );
    world.change_host(kind, "web-x-shop-x-demo", |host| {
        host["status"] = json!({"ready": true});
    });
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual PATCH /apis/cert-manager.io/v1/namespaces/shop/certificates/web/status"]
    );
    world.work(&key).await;
    assert_eq!(world.writes(), [""; 0], "nothing has changed");
    let gone = world.virtual_.lose(kind, "shop", "web");
    world.tenant.miss_virtual(kind, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host DELETE /apis/cert-manager.io/v1/namespaces/team-a/certificates/web-x-shop-x-demo"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_secret_that_the_host_made_comes_up_and_a_pod_may_use_it() {
    let (world, kind) = world().await;
    let key = world.apply(kind, certificate());
    world.work(&key).await;
    let secret = Key::new(Kind::Secret, "shop", "tls");
    assert!(
        matches!(world.work(&secret).await, Next::Until(_)),
        "it is not made yet"
    );
    world.writes();
    world.host.put(Kind::Secret, issued("YQ=="));
    world.work(&secret).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/secrets"]
    );
    world.work(&secret).await;
    assert_eq!(world.writes(), [""; 0], "it is as it should be");
    // The pod names the same host Secret, which is nobody's translation.
    let mut user = pod("user");
    user["spec"]["volumes"] = json!([{"name": "tls", "secret": {"secretName": "tls"}}]);
    let user = world.apply(Kind::Pod, user);
    world.work(&user).await;
    assert!(world.knows(Side::Host, &user));
    // Renewed: told by the object's status.
    world.host.change(Kind::Secret, "team-a", SECRET, |secret| {
        secret["data"]["tls.crt"] = "Yg==".into();
    });
    world.work(&secret).await;
    let copy = world.virtual_.get(Kind::Secret, "shop", "tls").unwrap();
    assert_eq!(copy.json()["data"]["tls.crt"], "Yg==");
    assert!(
        world
            .host
            .take_calls()
            .iter()
            .all(|call| !call.contains("secrets") || call.starts_with("GET"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_the_tenant_made_himself_is_told_of_and_left_alone() {
    let (world, kind) = world().await;
    world.apply(kind, certificate());
    let own = world.apply(
        Kind::Secret,
        json!({"metadata": {"namespace": "shop", "name": "tls"}, "data": {}}),
    );
    world.host.put(Kind::Secret, issued("YQ=="));
    world.work(&own).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/events"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_used_stays_on_the_host_while_the_rule_cannot_be_followed() {
    let world = World::new().await;
    let rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
        "references": [{"path": "spec.secretName", "kind": "Secret"}],
    });
    let (kind, followed) = kinds(&world, rule, false);
    let world = world.with_custom(followed);
    for side in [Side::Virtual, Side::Host] {
        let list = world.tenant.state().begin_list(side, kind);
        world.tenant.end_list(side, kind, list);
    }
    let secret = json!({"metadata": {"namespace": "shop", "name": "tls", "uid": "s"}, "data": {"a": "YQ=="}});
    let key = world.apply(Kind::Secret, secret.clone());
    world.apply(kind, certificate());
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["host POST /api/v1/namespaces/team-a/secrets"]
    );
    // The process starts anew, and cannot read the definition.
    let world = world.with_custom(Kinds::default().partial());
    world.apply(Kind::Secret, secret);
    let there = world.host.get(Kind::Secret, "team-a", SECRET).unwrap();
    world.tenant.see_host(Kind::Secret, &there, Lane::List);
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.writes(), [""; 0], "nobody knows who uses it");
    // What the tenant deletes goes all the same.
    let gone = world.virtual_.lose(Kind::Secret, "shop", "tls");
    world.tenant.miss_virtual(Kind::Secret, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [format!(
            "host DELETE /api/v1/namespaces/team-a/secrets/{SECRET}"
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_the_tenant_s_own_makes_room_for_the_host_s() {
    let (world, kind) = world().await;
    let secret = json!({"metadata": {"namespace": "shop", "name": "tls"}, "data": {"a": "YQ=="}});
    let key = world.apply(Kind::Secret, secret);
    let mut user = pod("user");
    user["spec"]["volumes"] = json!([{"name": "tls", "secret": {"secretName": "tls"}}]);
    world.apply(Kind::Pod, user);
    world.work(&key).await;
    world.apply(kind, certificate());
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/events",
            "host POST /api/v1/namespaces/team-a/secrets"
        ]
    );
    // As the Event says.
    let gone = world.virtual_.lose(Kind::Secret, "shop", "tls");
    world.tenant.miss_virtual(Kind::Secret, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [format!(
            "host DELETE /api/v1/namespaces/team-a/secrets/{SECRET}"
        )]
    );
    world.host.put(Kind::Secret, issued("YQ=="));
    world.tenant.add(key.clone(), Lane::Live);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/shop/secrets"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_never_made_is_asked_for_less_and_less() {
    let (world, kind) = world().await;
    world.apply(kind, certificate());
    let secret = Key::new(Kind::Secret, "shop", "tls");
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let Next::Until(at) = world.work(&secret).await else {
            panic!("not waited for")
        };
        pauses.push(at.duration_since(Instant::now()).as_secs());
        tokio::time::sleep_until(at).await;
    }
    assert_eq!(pauses, [10, 10, 20, 40]);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_writes_in_another_way_is_written_once_and_not_again() {
    let (world, kind) = world().await;
    world.host.admit(|object| {
        let spec = &mut object["spec"];
        if let Some(text) = spec["duration"].as_str().filter(|text| text.ends_with('h')) {
            spec["duration"] = format!("{text}0m0s").into();
        }
    });
    let mut long = certificate();
    long["spec"]["duration"] = "2160h".into();
    let key = world.apply(kind, long.clone());
    assert!(matches!(world.work(&key).await, Next::Settled));
    let (made, name) = (CERTIFICATES, "web-x-shop-x-demo");
    let patched = format!("host PATCH {made}/{name}");
    let told = "virtual POST /api/v1/namespaces/shop/events".to_owned();
    assert_eq!(
        world.writes(),
        [told.clone(), format!("host POST {made}"), patched.clone()]
    );
    // Neither an event that changes nothing, nor time, nor a scan, nor a restart has it written again.
    for _ in 0..3 {
        world.pass(Duration::from_mins(2)).await;
        world.tenant.doubt(&key);
        assert!(matches!(world.work(&key).await, Next::Settled));
    }
    let world = world.anew();
    for side in [Side::Virtual, Side::Host] {
        let list = world.tenant.state().begin_list(side, kind);
        world.tenant.end_list(side, kind, list);
    }
    world.tenant.doubt(&key);
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.writes(), [""; 0]);
    // What somebody changes by hand is put right.
    world.change_host(kind, name, |host| {
        host["spec"]["duration"] = "1h0m0s".into();
    });
    assert!(matches!(world.work(&key).await, Next::Settled));
    let host = world.host.get(kind, "team-a", name).unwrap();
    assert_eq!(host.json()["spec"]["duration"], "2160h0m0s");
    assert_eq!(world.writes(), [patched.as_str()]);
    // And what is changed inside goes down.
    let changed = world.virtual_.change(kind, "shop", "web", |inside| {
        inside["spec"]["duration"] = "100h".into();
    });
    world.tenant.see_virtual(kind, &changed, Lane::Live);
    assert!(matches!(world.work(&key).await, Next::Settled));
    let host = world.host.get(kind, "team-a", name).unwrap();
    assert_eq!(host.json()["spec"]["duration"], "100h0m0s");
    assert_eq!(world.writes(), [told, patched.clone(), patched]);
}
