//! What somebody changes back whenever it is written, by an event: a controller of the host's or inside.

use vcluster_translate::service::RESERVED_UNTIL;

use super::*;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/ingresses";

fn ingress(host: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"rules": [{"host": host}]},
    })
}

/// Five minutes in which `fight` has its turn ten times a second, and sync after it; the writes that begin so.
async fn fought(world: &World, key: &Key, write: &str, fight: impl Fn(&World)) -> usize {
    let mut written = 0;
    for _ in 0..3000 {
        fight(world);
        world.work(key).await;
        let writes = world.writes();
        written += writes.iter().filter(|call| call.starts_with(write)).count();
        world.pass(Duration::from_millis(100)).await;
    }
    written
}

fn host_rule(world: &World) -> String {
    let host = world
        .host
        .get(Kind::Ingress, "team-a", "web-x-shop-x-demo")
        .unwrap();
    host.json()["spec"]["rules"][0]["host"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn undo(world: &World) {
    world.change_host(Kind::Ingress, "web-x-shop-x-demo", |host| {
        host["spec"]["rules"][0]["host"] = "mine.example.com".into();
    });
}

#[tokio::test(start_paused = true)]
async fn what_a_controller_of_the_host_changes_back_is_written_once_a_minute_and_told() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    world.work(&key).await;
    world.calls();
    let turn = std::cell::Cell::new(0);
    let patches = fought(&world, &key, "host PATCH", |world| {
        if host_rule(world) == "a.example.com" {
            undo(world);
            // It says so in the status, which comes up each time.
            turn.set(turn.get() + 1);
            let address = format!("192.0.2.{}", turn.get());
            world.change_host(Kind::Ingress, "web-x-shop-x-demo", |host| {
                host["status"]["loadBalancer"] = json!({"ingress": [{"ip": address}]});
            });
        }
    })
    .await;
    assert!((5..=6).contains(&patches), "{patches} in five minutes");
    let inside = world.virtual_.get(Kind::Ingress, "shop", "web").unwrap();
    let address = format!("192.0.2.{}", turn.get());
    assert_eq!(
        inside.json()["status"]["loadBalancer"]["ingress"][0]["ip"],
        address.as_str()
    );
    let counted = world.scraped("not_kept_total");
    assert!(
        counted
            .iter()
            .any(|line| line.contains("Ingress") || line.contains("ingress")),
        "{counted:?}"
    );
    let bodies = world.virtual_.bodies();
    let told = bodies.iter().find(|body| body["reason"] == "HostRefused");
    let message = told.unwrap()["message"].as_str().unwrap();
    assert!(message.contains("changes it back"), "{message}");
    // What is changed inside goes down at once.
    let changed = world.virtual_.change(Kind::Ingress, "shop", "web", |web| {
        web["spec"]["rules"][0]["host"] = "b.example.com".into();
    });
    world
        .tenant
        .see_virtual(Kind::Ingress, &changed, Lane::Live);
    world.work(&key).await;
    assert_eq!(host_rule(&world), "b.example.com");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_undoes_once_is_put_right_within_a_minute() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    world.work(&key).await;
    undo(&world);
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(
        host_rule(&world),
        "a.example.com",
        "at once, for the first time"
    );
    world.pass(Duration::from_secs(20)).await;
    undo(&world);
    world.writes();
    let Next::Until(at) = world.work(&key).await else {
        panic!("not held")
    };
    let held = at.duration_since(Instant::now());
    assert_eq!(
        held,
        Duration::from_secs(40),
        "a minute after it was written"
    );
    world.pass(held).await;
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(host_rule(&world), "a.example.com");
    let patch = format!("host PATCH {INGRESSES}/web-x-shop-x-demo");
    assert!(world.writes().contains(&patch));
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_and_fro_is_followed_at_once() {
    let world = World::new().await;
    let key = world.apply(Kind::Ingress, ingress("a.example.com"));
    world.work(&key).await;
    for host in ["b", "a", "b", "a", "b"] {
        let changed = world.virtual_.change(Kind::Ingress, "shop", "web", |web| {
            web["spec"]["rules"][0]["host"] = format!("{host}.example.com").into();
        });
        world
            .tenant
            .see_virtual(Kind::Ingress, &changed, Lane::Live);
        assert!(matches!(world.work(&key).await, Next::Settled));
        assert_eq!(host_rule(&world), format!("{host}.example.com"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_s_answer_was_accepted_of_is_not_fought_over_either() {
    let (world, kind) = custom::world().await;
    let name = "web-x-shop-x-demo";
    world.host.admit(|object| {
        if let Some(text) = object["spec"]["duration"]
            .as_str()
            .filter(|text| text.ends_with('h'))
        {
            object["spec"]["duration"] = format!("{text}0m0s").into();
        }
    });
    let mut long = custom::certificate();
    long["spec"]["duration"] = "2160h".into();
    let key = world.apply(kind, long);
    world.work(&key).await;
    world.calls();
    let patches = fought(&world, &key, "host PATCH", |world| {
        let host = world.host.get(kind, "team-a", name).unwrap();
        if host.json()["spec"]["duration"] != "1h0m0s" {
            world.change_host(kind, name, |host| {
                host["spec"]["duration"] = "1h0m0s".into();
            });
        }
    })
    .await;
    assert!(
        patches <= 12,
        "{patches}: what is written, and that it is accepted"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_controller_inside_changes_of_a_shown_object_is_put_back_once_a_minute() {
    let world = World::new().await;
    let rule = json!({
        "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "FromHost",
        "namespace": "shop",
    });
    let (kind, kinds) = custom::kinds(&world, rule, true);
    let world = world.with_custom(kinds);
    for side in [Side::Virtual, Side::Host] {
        let list = world.tenant.state().begin_list(side, kind);
        world.tenant.end_list(side, kind, list);
    }
    world.apply(Kind::Namespace, json!({"metadata": {"name": "shop"}}));
    let shared = world.host.put(
        kind,
        json!({"metadata": {"namespace": "team-a", "name": "web"}, "spec": {"secretName": "tls"}}),
    );
    world.tenant.see_shown(kind, &shared, Lane::Live);
    let key = Key::new(kind, "shop", "web");
    world.work(&key).await;
    assert!(world.knows(Side::Virtual, &key));
    world.calls();
    let patches = fought(&world, &key, "virtual PATCH", |world| {
        let inside = world.virtual_.get(kind, "shop", "web").unwrap();
        if inside.json()["metadata"]["labels"]["mine"].is_null() {
            let changed = world.virtual_.change(kind, "shop", "web", |inside| {
                inside["metadata"]["labels"]["mine"] = "x".into();
            });
            world.tenant.see_virtual(kind, &changed, Lane::Live);
        }
    })
    .await;
    assert!((5..=6).contains(&patches), "{patches} in five minutes");
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_inside_changes_of_a_secret_of_the_host_s_is_put_back_once_a_minute() {
    let (world, kind) = custom::world().await;
    let key = world.apply(kind, custom::certificate());
    world.work(&key).await;
    world.host.put(Kind::Secret, custom::issued("YQ=="));
    world.virtual_.admit(|object| {
        if object.get("data").is_some() {
            object["data"]["added"] = "eA==".into();
        }
    });
    let secret = Key::new(Kind::Secret, "shop", "tls");
    world.work(&secret).await;
    world.calls();
    let patches = fought(&world, &secret, "virtual PATCH", |_world| {}).await;
    assert!((4..=6).contains(&patches), "{patches} in five minutes");
}

#[tokio::test(start_paused = true)]
async fn what_the_webhook_reserved_a_second_time_is_taken_over_at_once() {
    let world = World::new().await;
    let key = world.apply(
        Kind::Service,
        json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]},
        }),
    );
    world.work(&key).await;
    for _ in 0..3 {
        world.change_host(Kind::Service, "web-x-shop-x-demo", |host| {
            host["metadata"]["annotations"][RESERVED_UNTIL] = "2100-01-01T00:00:00Z".into();
        });
        world.calls();
        world.work(&key).await;
        let patch = "host PATCH /api/v1/namespaces/team-a/services/web-x-shop-x-demo";
        assert_eq!(world.writes(), [patch]);
        world.pass(Duration::from_secs(5)).await;
    }
}
