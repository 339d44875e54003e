//! Claims, their volumes, and the pods that use them.

use super::*;

const CLAIMS: &str = "/api/v1/namespaces/team-a/persistentvolumeclaims";

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    })
}

fn pod_with_volume(volume: &Value) -> Value {
    let mut pod = pod("web");
    pod["spec"]["volumes"] = json!([volume]);
    pod
}

/// A host volume that is bound to the host claim of that UID.
fn volume(claim_uid: &str) -> Value {
    json!({
        "metadata": {"name": "pv-1", "uid": "h-pv"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/srv/team-a"},
            "claimRef": {"namespace": "team-a", "name": "data-x-shop-x-demo", "uid": claim_uid},
        },
        "status": {"phase": "Bound"},
    })
}

fn set_volume(world: &World, volume: Option<Value>) -> Key {
    let (kind, lane) = (Kind::PersistentVolume, Lane::Live);
    world.engine.set_mirrored(kind, "pv-1", volume, lane);
    Key::new(kind, "", "pv-1")
}

async fn listed() -> World {
    let world = World::new().await;
    world.engine.set_listed(Kind::PersistentVolume, true);
    world
}

/// A claim that the host has bound; its key and that of its volume.
async fn bound(world: &World) -> (Key, Key) {
    let key = world.apply(Kind::PersistentVolumeClaim, claim("data"));
    world.work(&key).await;
    let name = "data-x-shop-x-demo";
    world.change_host(key.kind, name, |claim| {
        claim["spec"]["volumeName"] = "pv-1".into();
        claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    });
    let uid = world.host.get(key.kind, "team-a", name).unwrap();
    let volume = set_volume(world, Some(volume(uid.uid())));
    world.work(&key).await;
    world.work(&volume).await;
    world.work(&key).await;
    (key, volume)
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_bound_after_its_volume_is_shown() {
    let world = listed().await;
    let (key, _) = bound(&world).await;
    let claim = "virtual PATCH /api/v1/namespaces/shop/persistentvolumeclaims/data";
    assert_eq!(
        world.writes(),
        [
            &format!("{claim}/status"),
            "virtual POST /api/v1/persistentvolumes",
            claim,
            &format!("{claim}/status"),
            &format!("host POST {CLAIMS}"),
        ]
    );
    let shown = world.virtual_.get(key.kind, "shop", "data").unwrap();
    assert_eq!(shown.json()["status"]["phase"], "Bound");
    assert_eq!(shown.json()["spec"]["volumeName"], "pv-1");
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.calls(), [""; 0], "and then nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_another_s_claim_is_not_shown() {
    let world = listed().await;
    let key = world.apply(Kind::PersistentVolumeClaim, claim("data"));
    world.work(&key).await;
    world.calls();
    // Of an earlier claim of that very name, or of the control plane's.
    let volume = set_volume(&world, Some(volume("another")));
    assert!(matches!(world.work(&volume).await, Next::Settled));
    assert_eq!(world.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn claim_and_volume_go_in_the_order_of_the_host() {
    let world = listed().await;
    let (key, volume_key) = bound(&world).await;
    world.writes();
    let gone = world.virtual_.lose(key.kind, "shop", "data");
    world.tenant.miss_virtual(key.kind, &gone);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [format!("host DELETE {CLAIMS}/data-x-shop-x-demo")]
    );
    // The host retains it.
    let mut released = volume("");
    let old = world
        .engine
        .mirrored(Kind::PersistentVolume, "pv-1")
        .unwrap();
    released["spec"]["claimRef"] = old["spec"]["claimRef"].clone();
    released["status"]["phase"] = "Released".into();
    set_volume(&world, Some(released));
    world.work(&volume_key).await;
    let volume = "virtual PATCH /api/v1/persistentvolumes/pv-1/status";
    assert_eq!(world.writes(), [volume]);
    // Until it does not.
    set_volume(&world, None);
    world.work(&volume_key).await;
    assert_eq!(
        world.writes(),
        ["virtual DELETE /api/v1/persistentvolumes/pv-1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_bound_claim_is_lost_only_when_the_host_says_that_its_claim_is_gone() {
    let world = listed().await;
    let (key, _) = bound(&world).await;
    world.writes();
    let list = world.tenant.state().begin_list(Side::Host, key.kind);
    world.tenant.end_list(Side::Host, key.kind, list);
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [""; 0],
        "it was missing from a list, and is there"
    );
    let gone = world.host.lose(key.kind, "team-a", "data-x-shop-x-demo");
    world.tenant.miss_host(key.kind, &gone);
    world.work(&key).await;
    let claim = "/api/v1/namespaces/shop/persistentvolumeclaims/data/status";
    assert_eq!(
        world.writes(),
        [
            &format!("virtual PATCH {claim}"),
            "virtual POST /api/v1/namespaces/shop/events",
        ]
    );
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [""; 0],
        "said once, and no new claim is made"
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_host_deletes_goes_however_fast_the_host_was() {
    let world = listed().await;
    let (key, _) = bound(&world).await;
    world.writes();
    let name = "data-x-shop-x-demo";
    world.change_host(key.kind, name, |claim| {
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    let gone = world.host.lose(key.kind, "team-a", name);
    world.tenant.miss_host(key.kind, &gone);
    world.work(&key).await;
    let claim = "/api/v1/namespaces/shop/persistentvolumeclaims/data";
    assert_eq!(
        world.writes(),
        [
            "virtual POST /api/v1/namespaces/shop/events",
            &format!("virtual DELETE {claim}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_its_claim_and_is_told_why_there_is_none() {
    let world = listed().await;
    world.host.script(|call| {
        let refused = call.method == "POST" && call.path == CLAIMS;
        refused.then(|| status(403, "Forbidden"))
    });
    let claim = world.apply(Kind::PersistentVolumeClaim, claim("data"));
    let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
    let pod = world.apply(Kind::Pod, pod_with_volume(&volume));
    assert!(matches!(world.work(&pod).await, Next::Until(_)));
    world.work(&claim).await;
    world.work(&pod).await;
    let events = "virtual POST /api/v1/namespaces/shop/events";
    assert_eq!(
        world.writes(),
        [
            events,
            events,
            "virtual PATCH /api/v1/namespaces/shop/pods/web/status",
            &format!("host POST {CLAIMS}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_volume_waits_for_a_claim_that_was_made_for_the_pod() {
    let world = listed().await;
    let volume = json!({"name": "cache", "ephemeral": {"volumeClaimTemplate": {}}});
    let key = world.apply(Kind::Pod, pod_with_volume(&volume));
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [""; 0], "its controller makes it");
    let mut made = claim("web-cache");
    let claim = world.apply(Kind::PersistentVolumeClaim, made.clone());
    world.work(&claim).await;
    world.writes();
    world.work(&key).await;
    assert!(
        !world.writes().contains(&HOST_PODS.to_owned()),
        "it is somebody else's"
    );
    let pod = world.virtual_.get(Kind::Pod, "shop", "web").unwrap();
    made["metadata"]["ownerReferences"] = json!([{"uid": pod.uid(), "controller": true}]);
    world.apply(Kind::PersistentVolumeClaim, made);
    world.work(&key).await;
    assert!(world.writes().contains(&HOST_PODS.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_s_own_volume_is_told_once_and_left_alone() {
    let world = listed().await;
    let own = json!({"metadata": {"name": "pv-1"}, "spec": {"capacity": {"storage": "1Gi"}}});
    let key = world.apply(Kind::PersistentVolume, own);
    world.work(&key).await;
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        ["virtual POST /api/v1/namespaces/default/events"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_snapshot_is_not_made_empty_on_a_host_without_snapshots() {
    let world = World::new().await;
    let mut of_snapshot = claim("data");
    of_snapshot["spec"]["dataSource"] = json!({
        "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday",
    });
    world.tenant.unserved(Side::Host, Kind::VolumeSnapshot);
    let key = world.apply(Kind::PersistentVolumeClaim, of_snapshot);
    world.work(&key).await;
    let writes = world.writes();
    assert!(
        writes
            .iter()
            .all(|write| write.starts_with("virtual POST") && write.ends_with("/events")),
        "{writes:?}"
    );
    let list = world
        .tenant
        .state()
        .begin_list(Side::Host, Kind::VolumeSnapshot);
    world
        .tenant
        .end_list(Side::Host, Kind::VolumeSnapshot, list);
    let other = world.apply(Kind::PersistentVolumeClaim, {
        let mut again = claim("again");
        again["spec"]["dataSource"] = json!({
            "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "monday",
        });
        again
    });
    world.work(&other).await;
    assert_eq!(world.writes(), [format!("host POST {CLAIMS}")]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_taken_once_told_and_deleted_with_the_virtual_one() {
    const SNAPSHOTS: &str = "/apis/snapshot.storage.k8s.io/v1/namespaces/team-a/volumesnapshots";
    const INSIDE: &str =
        "virtual PATCH /apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/monday";
    let world = World::new().await;
    let snapshot = json!({
        "metadata": {"namespace": "shop", "name": "monday"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    });
    let key = world.apply(Kind::VolumeSnapshot, snapshot);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("host POST {SNAPSHOTS}")]);
    let name = "monday-x-shop-x-demo";
    world.change_host(key.kind, name, |snapshot| {
        snapshot["spec"]["volumeSnapshotClassName"] = "csi".into();
        snapshot["status"] = json!({"readyToUse": true, "boundVolumeSnapshotContentName": "c"});
    });
    world.work(&key).await;
    assert_eq!(
        world.writes(),
        [INSIDE.to_owned(), format!("{INSIDE}/status")]
    );
    let inside = world.virtual_.get(key.kind, "shop", "monday").unwrap();
    assert_eq!(inside.json()["status"]["readyToUse"], true);
    assert_eq!(inside.json()["spec"]["volumeSnapshotClassName"], "csi");
    let gone = world.virtual_.lose(key.kind, "shop", "monday");
    world.tenant.miss_virtual(key.kind, &gone);
    world.work(&key).await;
    assert_eq!(world.writes(), [format!("host DELETE {SNAPSHOTS}/{name}")]);
}
