//! Why objects are as they are, and having them looked at again.

use std::time::Duration;

use wire::{ObjectState, RefusedBy};

use super::*;
use crate::sync::Next;
use crate::testing::{pod_with_config, status};

fn ask(kind: &str, namespace: &str, name: &str) -> Request<wire::ExplainRequest> {
    let asked = wire::ExplainRequest {
        host_namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        object_name: name.to_owned(),
    };
    by("alice", asked)
}

async fn answer(
    service: &Service,
    kind: &str,
    namespace: &str,
    name: &str,
) -> wire::ExplainResponse {
    let answer = service.explain(ask(kind, namespace, name)).await;
    answer.unwrap().into_inner()
}

fn refuse_pods(world: &World) {
    world.host.script(|call| {
        let pods = call.method == "POST" && call.path.ends_with("/pods");
        pods.then(|| status(403, "exceeded quota"))
    });
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_the_host_is_synced_under_its_host_name() {
    let world = World::new().await;
    let service = service(&world);
    let key = world.apply(Kind::Pod, pod("web"));
    let waiting = answer(&service, "pod", "shop", "web").await;
    assert_eq!(waiting.state(), ObjectState::Waiting);
    assert_eq!(
        (waiting.reason.as_str(), waiting.on_host),
        ("Queued", false)
    );
    world.work(&key).await;
    let synced = answer(&service, "po", "shop", "web").await;
    assert_eq!(synced.state(), ObjectState::Synced);
    assert_eq!(synced.kind, "Pod");
    assert_eq!(synced.host_object_namespace, "team-a");
    assert_eq!(synced.host_object_name, "web-x-shop-x-demo");
    assert!(synced.on_host && synced.since.is_none());
    let unknown = answer(&service, "pods", "shop", "other").await;
    assert_eq!(unknown.state(), ObjectState::Unknown);
}

#[tokio::test(start_paused = true)]
async fn what_the_host_refuses_is_told_with_its_words_and_times_until_it_is_taken() {
    let world = World::new().await;
    let service = service(&world);
    refuse_pods(&world);
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.pass(Duration::from_secs(30)).await;
    let refused = answer(&service, "Pod", "shop", "web").await;
    assert_eq!(refused.state(), ObjectState::Refused);
    assert_eq!(refused.refused_by(), RefusedBy::Host);
    assert_eq!(refused.reason, "HostRefused");
    assert!(
        refused.message.contains("exceeded quota"),
        "{}",
        refused.message
    );
    let elapsed = refused.read_time.unwrap().seconds - refused.since.unwrap().seconds;
    assert_eq!(elapsed, 30);
    world.host.script(|_call| None);
    world.work(&key).await;
    let synced = answer(&service, "Pod", "shop", "web").await;
    assert_eq!(synced.state(), ObjectState::Synced);
    assert_eq!(world.tenant.holds.of(&key), None);
}

#[tokio::test(start_paused = true)]
async fn the_host_s_words_name_what_is_inside() {
    let world = World::new().await;
    let service = service(&world);
    world.host.script(|call| {
        let message = "pods \"web-x-shop-x-demo\" is forbidden: exceeded quota";
        let status =
            json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message});
        (call.method == "POST" && call.path.ends_with("/pods"))
            .then(|| vcluster_chassis::testing::json(403, status))
    });
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    let refused = answer(&service, "Pod", "shop", "web").await;
    assert_eq!(refused.message, "pods \"web\" is forbidden: exceeded quota");
    let event = world
        .virtual_
        .bodies()
        .into_iter()
        .find(|body| body["kind"] == "Event");
    let told = event.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(told.contains(&refused.message), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_sync_has_no_room_for_is_not_the_host_s_fault() {
    let world = World::new().await;
    let service = service(&world);
    for n in 0..8 {
        let ports: Vec<_> = (1..=1000).map(|port| json!({"port": port})).collect();
        let many = json!({
            "metadata": {"namespace": "shop", "name": format!("s{n}")},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.5.6", "ports": ports},
        });
        world.apply(Kind::Service, many);
    }
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    let refused = answer(&service, "Pod", "shop", "web").await;
    assert_eq!(refused.refused_by(), RefusedBy::Translation);
    assert_eq!(
        (refused.reason.as_str(), refused.field.as_str()),
        ("NotSupported", "spec.enableServiceLinks")
    );
    assert!(
        refused.message.contains("too many Services"),
        "{}",
        refused.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_a_configmap_names_it() {
    let world = World::new().await;
    let service = service(&world);
    let map = json!({"metadata": {"namespace": "shop", "name": "config"}, "data": {}});
    world.apply(Kind::ConfigMap, map);
    let unused = answer(&service, "cm", "shop", "config").await;
    assert_eq!(
        (unused.state(), unused.reason.as_str()),
        (ObjectState::NotSynced, "NotUsed")
    );
    let key = world.apply(Kind::Pod, pod_with_config("web", "config"));
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    let waiting = answer(&service, "pod", "shop", "web").await;
    assert_eq!(waiting.state(), ObjectState::Waiting);
    assert_eq!(waiting.reason, "References");
    assert!(
        waiting.message.contains("ConfigMap shop/config"),
        "{}",
        waiting.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_cannot_be_reached_or_is_not_served_explains_its_objects() {
    let world = World::new().await;
    let service = service(&world);
    let id = Id {
        name: "other".to_owned(),
        ..world.tenant.id.clone()
    };
    let waits = "its control plane is not up yet";
    world.engine.standing().say(&id, State::Starting, waits);
    let mut asked = ask("pod", "shop", "web");
    asked.get_mut().name = "other".to_owned();
    let unserved = service.explain(asked).await.unwrap().into_inner();
    assert_eq!(unserved.state(), ObjectState::Waiting);
    assert_eq!(
        (unserved.reason.as_str(), unserved.message.as_str()),
        ("TenantNotServed", waits)
    );
    world.apply(Kind::Pod, pod("web"));
    let (link, client) = (
        &world.tenant.link,
        world.tenant.clients.virtual_.request.clone(),
    );
    world
        .virtual_
        .script(|_call| Some(status(503, "ServiceUnavailable")));
    let confirm = || -> futures::future::BoxFuture<'static, bool> { unreachable!() };
    let token = world.tenant.token.child_token();
    let mut reach = link.subscribe();
    link.suspect();
    tokio::select! {
        biased;
        () = link.watch(client, token, confirm, || {}) => {}
        down = reach.changed() => down.unwrap(),
    }
    world.calls();
    let frozen = answer(&service, "pod", "shop", "web").await;
    assert_eq!(frozen.state(), ObjectState::Frozen);
    assert_eq!(
        world.calls(),
        [""; 0],
        "a server that does not answer is not asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_wrong_is_told_by_field_and_one_that_is_not_allowed_is_refused() {
    let world = World::new().await;
    let service = service(&world);
    let wrong = service.explain(ask("pod", "", "web")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(
        wrong.message().starts_with("namespace: must not be empty"),
        "{}",
        wrong.message()
    );
    let wrong = service
        .explain(ask("pod/web", "shop", "web"))
        .await
        .unwrap_err();
    assert!(
        wrong.message().starts_with("kind: must be"),
        "{}",
        wrong.message()
    );
    let unsynced = answer(&service, "deployment", "shop", "web").await;
    assert_eq!(unsynced.reason, "KindNotSynced");
    let other = by("mallory", ask("pod", "shop", "web").into_inner());
    let refused = service.explain(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_resynced_is_read_anew_and_all_of_them_once_a_minute() {
    let world = World::new().await;
    let service = service(&world);
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.calls();
    let resync = |name: &str| {
        let asked = wire::ResyncRequest {
            host_namespace: "team-a".to_owned(),
            name: "demo".to_owned(),
            kind: if name.is_empty() { "" } else { "pod" }.to_owned(),
            namespace: "shop".to_owned(),
            object_name: name.to_owned(),
        };
        service.resync(by("alice", asked))
    };
    let one = resync("web").await.unwrap().into_inner();
    assert_eq!(one.objects, 1);
    let place = world.engine.work.place(world.tenant.ticket, &key).unwrap();
    assert!(place.waits_since.is_some());
    world.work(&key).await;
    let calls = world.calls();
    assert_eq!(
        calls.len(),
        2,
        "both sides are read and nothing is written: {calls:?}"
    );
    assert_eq!(resync("").await.unwrap().into_inner().objects, 1);
    let again = resync("").await.unwrap_err();
    assert_eq!(again.code(), Code::ResourceExhausted);
    world.pass(Duration::from_mins(1)).await;
    assert_eq!(resync("").await.unwrap().into_inner().objects, 1);
    let unknown = wire::ResyncRequest {
        kind: "job".to_owned(),
        object_name: "web".to_owned(),
        ..one_tenant()
    };
    let wrong = service.resync(by("alice", unknown)).await.unwrap_err();
    assert!(
        wrong.message().starts_with("kind: must be one of"),
        "{}",
        wrong.message()
    );
}

fn one_tenant() -> wire::ResyncRequest {
    wire::ResyncRequest {
        host_namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
        ..wire::ResyncRequest::default()
    }
}
