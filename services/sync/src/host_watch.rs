//! What is followed on the host for all tenants at once: translated pods, nodes, and events about pods.
//!
//! One watch per kind over all namespaces, split by namespace in process, because the host's API server pays for
//! each watch. Configmaps and secrets are not followed: nobody but us writes them, and the scan looks.

use std::collections::HashMap;
use std::sync::Arc;

use kube::Api;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::health::Gate;
use vcluster_resources::label::{self, Part};

use crate::engine::Engine;
use crate::metrics::{Told, Watched};
use crate::object::{Key, Kind, Object, Side};
use crate::queue::{Lane, Ticket};
use crate::state::ListId;
use crate::watch::{Change, Selection, follow};

/// Translated pods.
const WORKLOAD: Selection = Selection {
    labels: Some((label::PART, Part::Workload.as_str())),
    fields: None,
};
/// Events about pods.
const ABOUT_PODS: Selection = Selection {
    labels: None,
    fields: Some("involvedObject.kind=Pod"),
};
/// Everything.
const ALL: Selection = Selection {
    labels: None,
    fields: None,
};

/// Follows the host's pods until the token is cancelled. The gate opens with the first complete list, and stays
/// open: a watch that fails resumes where it was, without a list that would open it again.
pub async fn pods(engine: Arc<Engine>, gate: Gate, token: CancellationToken) {
    let api = api(&engine.host.own.watch, Kind::Pod);
    let mut lists: HashMap<Ticket, ListId> = HashMap::new();
    let mut known = false;
    let sink = move |change| match change {
        Change::Begin => {
            let begin = |tenant: &crate::tenant::Tenant| {
                (
                    tenant.ticket,
                    tenant.state().begin_list(Side::Host, Kind::Pod),
                )
            };
            lists = engine.all().iter().map(|tenant| begin(tenant)).collect();
        }
        Change::Listed(object) => see_pod(&engine, object, Lane::List),
        Change::End => {
            for tenant in engine.all() {
                if let Some(list) = lists.remove(&tenant.ticket) {
                    tenant.end_list(Side::Host, Kind::Pod, list);
                }
            }
            known = true;
            gate.open();
            engine.set_pods_listed();
        }
        Change::Applied(object) => see_pod(&engine, object, Lane::Live),
        Change::Deleted(object) => {
            for tenant in tenants_of(&engine, &object) {
                tenant.miss_host(Kind::Pod, &object);
            }
        }
        Change::Failed(error) => {
            tracing::warn!(%error, "host pods cannot be followed");
            engine.metrics.watch_failed(Watched::HostPods);
            if !known {
                gate.close(format!("host pods cannot be followed: {error}"));
            }
        }
    };
    follow(api, WORKLOAD, token, sink).await;
}

fn see_pod(engine: &Engine, object: Object, lane: Lane) {
    let object = object.of_kind(Kind::Pod);
    for tenant in tenants_of(engine, &object) {
        tenant.see_host(Kind::Pod, &object, lane);
    }
}

/// Follows the host's nodes until the token is cancelled.
pub async fn nodes(engine: Arc<Engine>, token: CancellationToken) {
    let api = api(&engine.host.own.watch, Kind::Node);
    let mut listed: Vec<Arc<str>> = Vec::new();
    let sink = move |change| match change {
        Change::Begin => {
            engine.set_nodes_listed(false);
            listed.clear();
        }
        Change::Listed(object) => {
            listed.push(object.name().name);
            set_node(&engine, object, Lane::List);
        }
        Change::End => {
            let gone = engine
                .node_names()
                .into_iter()
                .filter(|name| !listed.contains(name));
            for name in gone {
                engine.set_node(&name, None, Lane::List);
            }
            engine.set_nodes_listed(true);
        }
        Change::Applied(object) => set_node(&engine, object, Lane::Live),
        Change::Deleted(object) => engine.set_node(&object.name().name, None, Lane::Live),
        Change::Failed(error) => {
            tracing::warn!(%error, "host nodes cannot be followed");
            engine.metrics.watch_failed(Watched::HostNodes);
        }
    };
    follow(api, ALL, token, sink).await;
}

fn set_node(engine: &Engine, object: Object, lane: Lane) {
    let name = object.name().name;
    let mut node = object.of_kind(Kind::Node).into_json();
    // Names and sizes of everything that a node has ever run: large, and never shown.
    if let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("images");
    }
    engine.set_node(&name, Some(node), lane);
}

/// Follows the host's events about pods until the token is cancelled. Those that a list shows have been told
/// before, or are old: a restart tells nothing again.
pub async fn events(engine: Arc<Engine>, token: CancellationToken) {
    let api = api(&engine.host.own.watch, Kind::Event);
    let sink = move |change| match change {
        Change::Applied(object) => {
            for tenant in engine.in_namespace(object_namespace(&object)) {
                let about = object
                    .json()
                    .pointer("/involvedObject/name")
                    .and_then(Value::as_str);
                let known = about.is_some_and(|pod| tenant.state().pod_by_host_name(pod).is_some());
                if !known || !tenant.is_ready() {
                    continue;
                }
                if !tenant.events.try_take() {
                    engine.metrics.event(Told::Dropped);
                    continue;
                }
                let key = Key {
                    kind: Kind::Event,
                    name: object.name(),
                };
                tenant.state().bodies.put(Side::Host, &key, object.json());
                tenant.add(key, Lane::Live);
            }
        }
        Change::Failed(error) => {
            tracing::warn!(%error, "host events cannot be followed");
            engine.metrics.watch_failed(Watched::HostEvents);
        }
        Change::Begin | Change::Listed(_) | Change::End | Change::Deleted(_) => {}
    };
    follow(api, ABOUT_PODS, token, sink).await;
}

fn tenants_of(engine: &Engine, object: &Object) -> Vec<Arc<crate::tenant::Tenant>> {
    engine.in_namespace(object_namespace(object))
}

fn object_namespace(object: &Object) -> &str {
    object
        .json()
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn api(client: &kube::Client, kind: Kind) -> Api<Object> {
    Api::all_with(client.clone(), &kind.resource())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

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
        pods(Arc::clone(&world.engine), health.gate("host-pods"), token).await;
        assert_eq!(lists.load(Ordering::Relaxed), 1, "it was not listed again");
        assert!(health.is_ready());
    }
}
