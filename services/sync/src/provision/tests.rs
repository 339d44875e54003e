//! What is kept inside a virtual cluster, against a small API server.

use serde_json::{Value, json};

use super::*;
use crate::testing::World;

fn all() -> Vec<Kept> {
    let world = World::unlisted();
    wanted(
        &world.tenant.context,
        &["10.96.0.0/12".to_owned(), "fd00::/108".to_owned()],
    )
}

#[tokio::test]
async fn every_object_bears_the_label_by_which_it_is_guarded() {
    let all = all();
    let names: Vec<_> = all
        .iter()
        .map(|kept| kept.object["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "host-10-96-0-0-12",
            "host-fd00---108",
            "system:coredns",
            "system:coredns",
            "kube-dns",
            "vcluster-metrics",
            "system:vcluster:metrics-reader"
        ]
    );
    for kept in &all {
        assert_eq!(kept.object["metadata"]["labels"][MANAGED], MANAGED_VALUE);
    }
}

#[tokio::test]
async fn what_is_there_is_left_and_what_differs_is_put_right() {
    let all = all();
    let (range, service) = (&all[0], &all[4]);
    assert_eq!(step(service, None), Step::Create);
    let mut found = service.object.clone();
    found["metadata"]["uid"] = "1".into();
    found["spec"]["sessionAffinity"] = "None".into();
    assert_eq!(
        step(service, Some(&found)),
        Step::Nothing,
        "the API server's defaults are not ours"
    );
    found["spec"]["ports"] = json!([]);
    assert!(matches!(step(service, Some(&found)), Step::Patch(_)));
    found["spec"]["clusterIP"] = "10.96.0.99".into();
    assert_eq!(step(service, Some(&found)), Step::Replace);
    found["metadata"]["labels"] = json!({});
    assert_eq!(
        step(service, Some(&found)),
        Step::Foreign,
        "nothing of the tenant's is touched"
    );
    let mut found = range.object.clone();
    assert_eq!(step(range, Some(&found)), Step::Wait);
    found["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(step(range, Some(&found)), Step::Nothing);
}

#[tokio::test(start_paused = true)]
async fn the_tenant_waits_until_everything_is_there_and_ready() {
    use vcluster_chassis::testing::json as answer;
    let world = World::new().await;
    world.tenant.note(About::Provision, Some("the first look"));
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (set, objects) = (
        Arc::clone(&ready),
        std::sync::Mutex::new(std::collections::BTreeMap::new()),
    );
    world.virtual_.script(move |call| {
        let mut objects = objects.lock().unwrap();
        let name = call.body.pointer("/metadata/name").and_then(Value::as_str);
        let path = match name {
            Some(name) if call.method == "POST" => format!("{}/{name}", call.path),
            _ => call.path.clone(),
        };
        if call.method == "POST" {
            objects.insert(path.clone(), call.body.clone());
        }
        let mut found: Value = match objects.get(&path) {
            Some(found) => Value::clone(found),
            None => return Some(crate::testing::status(404, "NotFound")),
        };
        if ready.load(std::sync::atomic::Ordering::Relaxed) {
            found["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        }
        Some(answer(200, found))
    });
    let wanted = wanted(&world.tenant.context, &["10.96.0.0/12".to_owned()]);
    let task = tokio::spawn(keep(
        Arc::clone(&world.tenant),
        wanted,
        Duration::from_mins(5),
    ));
    let missing = |text: &'static str| {
        let tenant = Arc::clone(&world.tenant);
        async move {
            while !tenant
                .noted(About::Provision)
                .unwrap_or_default()
                .contains(text)
            {
                tenant.changed().await;
            }
        }
    };
    missing("ServiceCIDR \"host-10-96-0-0-12\" is not ready").await;
    set.store(true, std::sync::atomic::Ordering::Relaxed);
    while world.tenant.noted(About::Provision).is_some() {
        world.tenant.changed().await;
    }
    world.tenant.token.cancel();
    task.await.unwrap();
}
