//! The installation's authorities and credentials, made and renewed by one replica.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::Method;
use jiff::SignedDuration;
use serde_json::Value;
use vcluster_chassis::testing::{ApiServer, ManualClock, json as answer};

use super::*;

/// A tiny store of Secrets and ConfigMaps behind the API.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<String, Value>>>);

impl Store {
    fn server(&self) -> ApiServer {
        let store = self.clone();
        ApiServer::new(move |call| {
            let mut objects = store.0.lock().unwrap();
            let status = |code: u16, reason: &str| {
                answer(
                    code,
                    json!({ "kind": "Status", "code": code, "reason": reason, "message": "" }),
                )
            };
            match call.method {
                Method::GET => match objects.get(&call.path) {
                    Some(found) => answer(200, found),
                    None => status(404, "NotFound"),
                },
                Method::POST => {
                    let name = call.body["metadata"]["name"].as_str().unwrap();
                    let path = format!("{}/{name}", call.path);
                    if objects.contains_key(&path) {
                        return status(409, "AlreadyExists");
                    }
                    objects.insert(path, call.body.clone());
                    answer(201, &call.body)
                }
                _ => {
                    objects.insert(call.path.clone(), call.body.clone());
                    answer(200, &call.body)
                }
            }
        })
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let path = format!("/api/v1/namespaces/vcluster-system/secrets/{name}");
        change(self.0.lock().unwrap().get_mut(&path).unwrap());
    }

    fn secret(&self, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/vcluster-system/secrets/{name}");
        self.0.lock().unwrap().get(&path).cloned()
    }
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn platform(store: &Store, at: Timestamp) -> Platform {
    vcluster_chassis::crypto::install();
    let gateway = Gateway {
        address: "https://gw.example.com".to_owned(),
        names: vec!["gw.example.com".to_owned()],
    };
    let clock = Arc::new(ManualClock::at(at));
    Platform::new(
        store.server().client(),
        "vcluster-system".to_owned(),
        gateway,
        clock,
    )
}

#[tokio::test]
async fn the_first_replica_makes_everything_and_the_second_changes_nothing() {
    let store = Store::default();
    let first = platform(&store, now()).ensure(false).await.unwrap();
    let made = store.0.lock().unwrap().clone();
    for name in [
        PLATFORM_CA_SECRET,
        TENANT_CA_SECRET,
        CONTROL_TLS_SECRET,
        SYNC_TLS_SECRET,
        CONNECT_TLS_SECRET,
        SIGNING_SECRET,
    ] {
        assert!(store.secret(name).is_some(), "{name}");
    }
    let second = platform(&store, now()).ensure(true).await.unwrap();
    assert_eq!(first.fingerprint, second.fingerprint);
    assert_eq!(*store.0.lock().unwrap(), made);
}

#[tokio::test]
async fn the_leader_renews_and_followers_do_not() {
    let store = Store::default();
    let first = platform(&store, now()).ensure(false).await.unwrap();
    let later = now() + SignedDuration::from_hours(300 * 24);
    let follower = platform(&store, later).ensure(false).await.unwrap();
    assert_eq!(follower.fingerprint, first.fingerprint);
    let ca = store.secret(PLATFORM_CA_SECRET);
    let signing = store.secret(SIGNING_SECRET);
    let leader = platform(&store, later).ensure(true).await.unwrap();
    assert_ne!(leader.fingerprint, first.fingerprint);
    assert_eq!(
        store.secret(PLATFORM_CA_SECRET),
        ca,
        "the authority is never replaced"
    );
    assert_eq!(
        store.secret(SIGNING_SECRET),
        signing,
        "nor is the signing key"
    );
}

#[tokio::test]
async fn a_damaged_authority_is_told_and_kept() {
    for damaged in [PLATFORM_CA_SECRET, TENANT_CA_SECRET] {
        let store = Store::default();
        platform(&store, now()).ensure(false).await.unwrap();
        store.change(damaged, |secret| {
            secret["data"]["tls.key"] = "Z2FyYmFnZQ==".into();
        });
        let before = store.secret(damaged);
        let result = platform(&store, now()).ensure(true).await;
        assert!(
            matches!(result, Err(Error::Authority { secret, .. }) if secret == damaged),
            "{result:?}"
        );
        assert_eq!(store.secret(damaged), before);
    }
}

#[tokio::test]
async fn sync_is_told_by_whom_virtual_api_servers_are_vouched_for() {
    let store = Store::default();
    let keys = platform(&store, now()).ensure(false).await.unwrap();
    let sync =
        || Material::of(serde_json::from_value(store.secret(SYNC_TLS_SECRET).unwrap()).unwrap());
    assert_eq!(
        sync().text(TENANT_CA_CERT),
        Some(keys.shared.tenants.certificate())
    );
    assert_eq!(sync().text(CA_CERT), Some(keys.shared.sync.as_str()));
    // An installation from before there was such an authority.
    store.change(SYNC_TLS_SECRET, |secret| {
        secret["data"]
            .as_object_mut()
            .unwrap()
            .remove(TENANT_CA_CERT);
    });
    platform(&store, now()).ensure(false).await.unwrap();
    assert_eq!(
        sync().text(TENANT_CA_CERT),
        None,
        "a follower renews nothing"
    );
    platform(&store, now()).ensure(true).await.unwrap();
    assert_eq!(
        sync().text(TENANT_CA_CERT),
        Some(keys.shared.tenants.certificate())
    );
}

#[tokio::test]
async fn an_authority_is_replaced_by_one_that_vouches_for_the_old_one_too() {
    let store = Store::default();
    let old = platform(&store, now()).ensure(true).await.unwrap();
    let fresh = Authority::mint("another", now()).unwrap();
    let bundle = format!(
        "{}{}",
        fresh.certificate(),
        old.shared.tenants.certificate()
    );
    store.change(TENANT_CA_SECRET, |secret| {
        let mut material = Material::default();
        material.insert(TLS_CERT, bundle.as_str());
        material.insert(TLS_KEY, fresh.key().expose_secret());
        secret["data"] = serde_json::to_value(material.expose()).unwrap();
    });
    let keys = platform(&store, now()).ensure(true).await.unwrap();
    assert_eq!(keys.shared.tenants.certificate(), bundle);
    let sync =
        Material::of(serde_json::from_value(store.secret(SYNC_TLS_SECRET).unwrap()).unwrap());
    assert_eq!(sync.text(TENANT_CA_CERT), Some(bundle.as_str()));
    let leaf = Leaf::client("x", None);
    let issued = keys.shared.tenants.issue(&leaf, now()).unwrap();
    let key = issued.key.expose_secret();
    let by = |authority| inspect::leaf(&issued.certificate, key, authority, &leaf, now());
    assert_eq!(by(fresh.certificate()), Ok(()), "the first one signs");
}

#[tokio::test]
async fn an_identity_of_another_authority_that_sync_shows_is_trusted_by_virtual_api_servers() {
    let store = Store::default();
    let before = platform(&store, now()).ensure(true).await.unwrap();
    store.change(SYNC_TLS_SECRET, |secret| {
        secret["metadata"]["labels"] = json!({});
        secret["data"]["ca.crt"] = "dGhlaXJz".into();
    });
    let keys = platform(&store, now()).ensure(true).await.unwrap();
    assert_eq!(keys.shared.sync, format!("{}theirs", before.shared.sync));
}

#[tokio::test]
async fn a_certificate_that_somebody_else_put_there_is_used_and_not_touched() {
    let store = Store::default();
    platform(&store, now()).ensure(false).await.unwrap();
    let path = "/api/v1/namespaces/vcluster-system/secrets/vcluster-connect-tls";
    store.0.lock().unwrap().get_mut(path).unwrap()["metadata"]["labels"] = json!({});
    let before = store.secret(CONNECT_TLS_SECRET);
    let later = now() + SignedDuration::from_hours(300 * 24);
    platform(&store, later).ensure(true).await.unwrap();
    assert_eq!(store.secret(CONNECT_TLS_SECRET), before);
}
