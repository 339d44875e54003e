//! A custom object that is edited inside, to whose host object a controller has added something.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_edit_takes_away_what_was_sent_and_leaves_what_a_controller_of_the_host_added() {
    let (world, kind) = world().await;
    let mut object = certificate();
    object["spec"]["size"] = json!({"storage": "1Gi", "copies": 2});
    let key = world.apply(kind, object);
    world.work(&key).await;
    let name = "web-x-shop-x-demo";
    world.change_host(kind, name, |host| {
        host["spec"]["resourceRef"] = json!({"name": "db-1"});
        host["spec"]["size"]["granted"] = "1Gi".into();
    });
    world.work(&key).await;
    world.writes();
    let changed = world.virtual_.change(kind, "shop", "web", |inside| {
        inside["spec"]["size"] = json!({"storage": "2Gi"});
    });
    world.tenant.see_virtual(kind, &changed, Lane::Live);
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(
        world.writes(),
        [format!("host PATCH {CERTIFICATES}/{name}")]
    );
    let host = world.host.get(kind, "team-a", name).unwrap();
    let spec = &host.json()["spec"];
    assert_eq!(spec["resourceRef"], json!({"name": "db-1"}));
    assert_eq!(spec["size"], json!({"storage": "2Gi", "granted": "1Gi"}));
    // Nor does a scan, or the end of the minute in which the same is not written twice, have it written again.
    for _ in 0..2 {
        world.pass(Duration::from_mins(2)).await;
        world.tenant.doubt(&key);
        assert!(matches!(world.work(&key).await, Next::Settled));
    }
    assert_eq!(world.writes(), [""; 0]);
}
