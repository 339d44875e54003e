//! What is followed on the host for all tenants at once: translated objects, the host's own that are shown inside,
//! and events about translated objects.
//!
//! One watch per kind over all namespaces, split by namespace in process, because the host's API server pays for
//! each watch. Which kinds are followed, and how, stands in the table of kinds: secrets, for one, are not, because
//! nobody but us writes them, and the scan looks.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube::Api;
use kube::runtime::watcher;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::health::Gate;
use vcluster_resources::label::{self, Part};
use vcluster_translate::{at, endpoint_slice, policy};

use crate::engine::Engine;
use crate::hash::{HashMap, HashSet};
use crate::metrics::{Outcome, Told, Watched};
use crate::object::{Key, Kind, Object, Side, resource};
use crate::queue::{Lane, Ticket};
use crate::state::ListId;
use crate::tenant::Tenant;
use crate::watch::{Change, Labels, Selection, follow};

/// Translated objects.
const TRANSLATED: Selection = Selection {
    labels: Some(Labels::With(label::PART, Part::Workload.as_str())),
    fields: None,
};
/// The slices of `default/kubernetes`.
const API_SERVERS: Selection = Selection {
    labels: Some(Labels::With("kubernetes.io/service-name", "kubernetes")),
    fields: None,
};
/// Everything.
const ALL: Selection = Selection {
    labels: None,
    fields: None,
};

/// Follows the translated objects of a kind until the token is cancelled. The gate opens with the first complete
/// list, or when the host says that it does not serve the kind, and stays open: a watch that fails resumes where it
/// was, without a list that would open it again. The first list waits for the tenants that are on their way.
pub async fn translated(engine: Arc<Engine>, kind: Kind, gate: Gate, token: CancellationToken) {
    let arrivals = engine.arrivals();
    if token.run_until_cancelled(arrivals.all()).await.is_none() {
        return;
    }
    let api = api(&engine.host.own.watch, kind);
    let mut lists: HashMap<Ticket, ListId> = HashMap::default();
    let mut known = false;
    let sink = move |change| match change {
        Change::Begin => {
            let begin = |tenant: &Tenant| {
                let list = tenant.state().begin_list(Side::Host, kind);
                (tenant.ticket, list)
            };
            lists = engine.all().iter().map(|tenant| begin(tenant)).collect();
        }
        Change::Listed(object) => see(&engine, kind, object, Lane::List),
        Change::End => {
            for tenant in engine.all() {
                if let Some(list) = lists.remove(&tenant.ticket) {
                    tenant.end_list(Side::Host, kind, list);
                }
            }
            known = true;
            gate.open();
            engine.set_listed(kind, true);
        }
        Change::Applied(object) => see(&engine, kind, object, Lane::Live),
        Change::Deleted(object) => {
            for tenant in tenants_of(&engine, &object) {
                apart(&engine, &tenant, kind, &object, || {
                    tenant.miss_host(kind, &object);
                });
            }
        }
        Change::Unserved => {
            unserved(&engine, kind);
            for tenant in engine.all() {
                tenant.unserved(Side::Host, kind);
            }
            known = true;
            gate.open();
        }
        Change::Failed(error) => not_followed(&engine, kind, known, Some(&gate), &error),
    };
    follow(api, TRANSLATED, token, sink).await;
}

/// A watch that was known goes on where it was: the gate stays as it is.
fn not_followed(
    engine: &Engine,
    kind: Kind,
    known: bool,
    gate: Option<&Gate>,
    error: &watcher::Error,
) {
    tracing::warn!(%kind, %error, "host objects cannot be followed");
    engine.metrics.watch_failed(Watched::Host(kind));
    if let (false, Some(gate)) = (known, gate) {
        gate.close(format!(
            "host {} cannot be followed: {error}",
            kind.plural()
        ));
    }
}

fn see(engine: &Engine, kind: Kind, object: Object, lane: Lane) {
    let object = object.of_kind(kind);
    for tenant in tenants_of(engine, &object) {
        apart(engine, &tenant, kind, &object, || {
            tenant.see_host(kind, &object, lane);
        });
    }
}

fn unserved(engine: &Engine, kind: Kind) {
    if engine.set_unserved(kind) {
        tracing::warn!(%kind, "the host does not serve this kind: it is asked again every minute");
    }
    engine.metrics.unserved(Side::Host, kind);
}

/// Follows the host's own objects of a kind until the token is cancelled. The gate, if there is one, is as that
/// of [`translated`].
pub async fn mirrored(
    engine: Arc<Engine>,
    kind: Kind,
    prune: fn(&mut Value),
    gate: Option<Gate>,
    token: CancellationToken,
) {
    let api = api(&engine.host.own.watch, kind);
    let mut listed: HashSet<Arc<str>> = HashSet::default();
    let mut known = false;
    let set = |engine: &Engine, object: Object, lane| {
        let name = object.name().name;
        let mut object = object.of_kind(kind).into_json();
        prune(&mut object);
        engine.set_mirrored(kind, &name, Some(object), lane);
    };
    let sink = move |change| match change {
        Change::Begin => {
            engine.set_listed(kind, false);
            listed.clear();
        }
        Change::Listed(object) => {
            listed.insert(object.name().name);
            set(&engine, object, Lane::List);
        }
        Change::End => {
            let gone = engine
                .mirrored_names(kind)
                .into_iter()
                .filter(|name| !listed.contains(name));
            for name in gone {
                engine.set_mirrored(kind, &name, None, Lane::List);
            }
            known = true;
            gate.iter().for_each(Gate::open);
            engine.set_listed(kind, true);
        }
        Change::Applied(object) => set(&engine, object, Lane::Live),
        Change::Deleted(object) => {
            engine.set_mirrored(kind, &object.name().name, None, Lane::Live);
        }
        // What was known stays: that a server does not serve a kind says nothing of its objects.
        Change::Unserved => {
            unserved(&engine, kind);
            known = true;
            gate.iter().for_each(Gate::open);
        }
        Change::Failed(error) => not_followed(&engine, kind, known, gate.as_ref(), &error),
    };
    follow(api, ALL, token, sink).await;
}

/// Follows the addresses of the host's API servers until the token is cancelled: no tenant's Service may lead there.
pub async fn api_servers(engine: Arc<Engine>, token: CancellationToken) {
    let client = engine.host.own.watch.clone();
    let api = Api::namespaced_with(client, "default", &resource(Kind::EndpointSlice));
    let mut slices: HashMap<Arc<str>, BTreeSet<IpAddr>> = HashMap::default();
    let mut known = false;
    let sink = move |change| {
        match change {
            Change::Begin => {
                slices.clear();
                known = false;
            }
            Change::Listed(object) | Change::Applied(object) => {
                slices.insert(object.name().name, endpoint_slice::addresses(object.json()));
            }
            Change::End => known = true,
            Change::Deleted(object) => {
                slices.remove(&object.name().name);
            }
            Change::Unserved => {}
            Change::Failed(error) => {
                tracing::warn!(%error, "addresses of the host's API servers cannot be followed");
            }
        }
        if known {
            engine.set_api_servers(slices.values().flatten().copied().collect());
        }
    };
    follow(api, API_SERVERS, token, sink).await;
}

/// Follows the translated objects of a custom kind until the token is cancelled, for the tenants that follow it.
pub async fn custom(engine: Arc<Engine>, kind: Kind, token: CancellationToken) {
    let api = api(&engine.host.own.watch, kind);
    let sink = tenants_sink(Arc::clone(&engine), kind, |tenant, change| match change {
        One::Seen(object, lane) => drop(tenant.see_host(object.1, object.0, lane)),
        One::Gone(object) => tenant.miss_host(object.1, object.0),
    });
    follow(api, TRANSLATED, token, sink).await;
}

/// Follows the objects of a custom kind in all host namespaces until the token is cancelled, for the tenants that show
/// those of theirs inside.
pub async fn shown(engine: Arc<Engine>, kind: Kind, token: CancellationToken) {
    let api = api(&engine.host.own.watch, kind);
    let sink = tenants_sink(Arc::clone(&engine), kind, |tenant, change| match change {
        One::Seen(object, lane) => tenant.see_shown(object.1, object.0, lane),
        One::Gone(object) => tenant.miss_shown(object.1, object.0),
    });
    follow(api, ALL, token, sink).await;
}

/// An object of a kind, as a watch tells of it.
enum One<'a> {
    Seen((&'a Object, Kind), Lane),
    Gone((&'a Object, Kind)),
}

/// Tells of each object whom it concerns: the tenants of its namespace that follow the kind.
fn tenants_sink(
    engine: Arc<Engine>,
    kind: Kind,
    tell: fn(&Tenant, One<'_>),
) -> impl FnMut(Change) + Send {
    let mut lists: HashMap<Ticket, ListId> = HashMap::default();
    let each = move |engine: &Engine, object: &Object| -> Vec<Arc<Tenant>> {
        let mut tenants = tenants_of(engine, object);
        tenants.retain(|tenant| tenant.follows(kind));
        tenants
    };
    move |change| match change {
        Change::Begin => {
            let following = engine
                .all()
                .into_iter()
                .filter(|tenant| tenant.follows(kind));
            // What a tenant has listed itself stays good until this list is complete.
            let begin = |tenant: Arc<Tenant>| {
                let list = tenant.state().begin_check(Side::Host, kind)?;
                Some((tenant.ticket, list))
            };
            lists = following.filter_map(begin).collect();
        }
        Change::Listed(object) => {
            let object = object.of_kind(kind);
            for tenant in each(&engine, &object) {
                apart(&engine, &tenant, kind, &object, || {
                    tell(&tenant, One::Seen((&object, kind), Lane::List));
                });
            }
        }
        Change::End => {
            for tenant in engine.all() {
                if let Some(list) = lists.remove(&tenant.ticket) {
                    tenant.end_list(Side::Host, kind, list);
                }
            }
        }
        Change::Applied(object) => {
            let object = object.of_kind(kind);
            for tenant in each(&engine, &object) {
                apart(&engine, &tenant, kind, &object, || {
                    tell(&tenant, One::Seen((&object, kind), Lane::Live));
                });
            }
        }
        Change::Deleted(object) => {
            let object = object.of_kind(kind);
            for tenant in each(&engine, &object) {
                apart(&engine, &tenant, kind, &object, || {
                    tell(&tenant, One::Gone((&object, kind)));
                });
            }
        }
        Change::Unserved => {
            unserved(&engine, kind);
            for tenant in engine
                .all()
                .into_iter()
                .filter(|tenant| tenant.follows(kind))
            {
                tenant.unserved(Side::Host, kind);
            }
        }
        Change::Failed(error) => {
            tracing::warn!(%kind, %error, "host objects cannot be followed");
            engine.metrics.watch_failed(Watched::Host(kind));
        }
    }
}

/// Follows the host's events about translated objects of a kind until the token is cancelled. Those that a list shows have been told
/// before, or are old: a restart tells nothing again.
pub async fn events(engine: Arc<Engine>, about: Kind, token: CancellationToken) {
    let api = api(&engine.host.own.watch, Kind::Event);
    let sink = move |change| match change {
        Change::Applied(object) => {
            for tenant in tenants_of(&engine, &object) {
                apart(&engine, &tenant, Kind::Event, &object, || {
                    tell_event(&engine, &tenant, about, &object);
                });
            }
        }
        Change::Failed(error) => {
            tracing::warn!(%error, "host events cannot be followed");
            engine.metrics.watch_failed(Watched::Host(Kind::Event));
        }
        Change::Begin | Change::Listed(_) | Change::End | Change::Deleted(_) | Change::Unserved => {
        }
    };
    let selection = Selection {
        labels: None,
        fields: Some(format!(
            "involvedObject.kind={}",
            about.description().api.kind
        )),
    };
    follow(api, selection, token, sink).await;
}

fn tell_event(engine: &Engine, tenant: &Tenant, about: Kind, object: &Object) {
    let name = object
        .json()
        .pointer("/involvedObject/name")
        .and_then(Value::as_str);
    let known = name.is_some_and(|name| tenant.state().by_host_name(about, name).is_some());
    let is_told = policy::shows(Kind::Event, object.json(), &tenant.context);
    if !known || !is_told || !tenant.is_ready() {
        return;
    }
    if !tenant.events.try_take() {
        engine.metrics.event(Told::Dropped);
        return;
    }
    let key = Key {
        kind: Kind::Event,
        name: object.name(),
    };
    tenant.state().bodies.put(Side::Host, &key, object.shared());
    tenant.add(key, Lane::Live);
}

/// Tells one tenant of one object. A panic about it is the trouble of that object of that tenant: the watch is everybody's.
fn apart(engine: &Engine, tenant: &Tenant, kind: Kind, object: &Object, tell: impl FnOnce()) {
    // Locks outlive a panic, and what it left half done is read anew.
    if catch_unwind(AssertUnwindSafe(tell)).is_ok() {
        return;
    }
    tracing::error!(tenant = %tenant.id, %kind, "taking note of a host object panicked");
    let now = Instant::now();
    engine.metrics.worked(kind, Outcome::Panicked, now, now);
    if let Ok(Some(key)) = catch_unwind(AssertUnwindSafe(|| tenant.host_key(kind, object))) {
        tenant.state().doubt(Side::Host, &key);
        tenant.add(key, Lane::Live);
    }
}

fn tenants_of(engine: &Engine, object: &Object) -> Vec<Arc<Tenant>> {
    engine.in_namespace(object_namespace(object))
}

fn object_namespace(object: &Object) -> &str {
    at(object.json(), "/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn api(client: &kube::Client, kind: Kind) -> Api<Object> {
    Api::all_with(client.clone(), &resource(kind))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::json;
    use vcluster_chassis::drain::Shutdown;
    use vcluster_chassis::health::Health;

    use super::*;
    use crate::testing::{World, fail_first_watch};

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_and_resumes_without_a_list_leaves_sync_ready() {
        let world = World::unlisted();
        let health = Health::new(&Shutdown::new());
        let token = CancellationToken::new();
        let lists = fail_first_watch(&world.host, &token);
        let engine = Arc::clone(&world.engine);
        translated(engine, Kind::Pod, health.gate("pods"), token).await;
        assert_eq!(lists.load(Ordering::Relaxed), 1, "it was not listed again");
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_makes_a_tenant_s_state_panic_is_read_and_the_watch_goes_on() {
        let world = World::new().await;
        let (engine, tenant) = (&world.engine, &world.tenant);
        let key = world.apply(Kind::Pod, crate::testing::pod("web"));
        world.work(&key).await;
        let host = world.host.get(Kind::Pod, "team-a", "web-x-shop-x-demo");
        let host = host.unwrap();
        assert!(!tenant.state().entry(&key).host.doubted);
        apart(engine, tenant, Kind::Pod, &host, || panic!("in a test"));
        assert!(tenant.state().entry(&key).host.doubted);
        apart(engine, tenant, Kind::Event, &host, || panic!("in a test"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_of_a_secret_is_told_inside_and_the_secret_not_kept_in_memory() {
        let world = World::new().await;
        let mut pod = crate::testing::pod("web");
        pod["spec"]["volumes"] = json!([{"name": "login", "secret": {"secretName": "login"}}]);
        world.apply(Kind::Pod, pod);
        let secret =
            json!({"metadata": {"namespace": "shop", "name": "login"}, "data": {"a": "Yg=="}});
        let secret = world.apply(Kind::Secret, secret);
        world.work(&secret).await;
        let host_name = "login-x-shop-x-demo";
        let about = world.host.get(Kind::Secret, "team-a", host_name).unwrap();
        let event = json!({
            "metadata": {"namespace": "team-a", "name": "login.1"},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Secret", "namespace": "team-a",
                "name": host_name, "uid": about.uid(),
            },
            "message": format!("{host_name} is odd"), "type": "Warning",
        });
        let event = world.host.put(Kind::Event, event);
        world.calls();
        tell_event(&world.engine, &world.tenant, Kind::Secret, &event);
        world
            .work(&Key {
                kind: Kind::Event,
                name: event.name(),
            })
            .await;
        assert_eq!(
            world.writes(),
            ["virtual POST /api/v1/namespaces/shop/events"]
        );
        let told = world.virtual_.bodies().pop().unwrap();
        assert_eq!(told["involvedObject"]["name"], "login");
        assert_eq!(told["message"], "login is odd");
        let state = world.tenant.state();
        assert!(state.bodies.get(Side::Virtual, &secret).is_none());
        assert!(state.bodies.get(Side::Host, &secret).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_the_host_does_not_serve_is_asked_for_again_and_keeps_nothing_waiting() {
        let world = World::unlisted();
        let health = Health::new(&Shutdown::new());
        let token = CancellationToken::new();
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (counted, ended) = (Arc::clone(&asked), token.clone());
        world.host.script(move |_call| {
            if counted.fetch_add(1, Ordering::Relaxed) == 1 {
                ended.cancel();
            }
            Some(crate::testing::status(404, "NotFound"))
        });
        let engine = Arc::clone(&world.engine);
        translated(engine, Kind::Pod, health.gate("pods"), token).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(health.is_ready());
        let unlisted = world.tenant.unlisted();
        assert!(!unlisted.contains(&(Side::Host, Kind::Pod)));
    }
}
