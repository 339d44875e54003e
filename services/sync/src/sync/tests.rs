//! Work on keys between two API servers in memory.

use std::time::Duration;

use serde_json::{Value, json};
use vcluster_chassis::testing::json as answer;

use super::*;
use crate::queue::Lane;
use crate::testing::{World, in_an_hour, pod, pod_with_config, pod_with_token, status};

const HOST_PODS: &str = "host POST /api/v1/namespaces/team-a/pods";

mod custom;
mod described;
mod endpoint_slices;
mod knowledge;
mod pods;
mod policy;
mod reserved;
mod rest;
mod right;
mod store;
mod tokens;
mod used;
mod volumes;

fn running(pod: &mut Value) {
    pod["spec"]["nodeName"] = "node-1".into();
    pod["status"] = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]});
}

async fn with_node(world: &World) {
    let node = json!({"metadata": {"name": "node-1"}, "status": {"capacity": {"cpu": "1"}}});
    let (kind, lane) = (Kind::Node, Lane::Live);
    world.engine.set_mirrored(kind, "node-1", Some(node), lane);
    world.work(&Key::new(Kind::Node, "", "node-1")).await;
    world.calls();
}

async fn running_pod(world: &World) -> Key {
    with_node(world).await;
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    world.change_host(Kind::Pod, "web-x-shop-x-demo", running);
    world.work(&key).await;
    world.calls();
    key
}
