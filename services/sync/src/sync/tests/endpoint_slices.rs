//! EndpointSlices, which lead to own pods only as long as these have their addresses.

use super::*;

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/team-a/endpointslices";

fn slice(addresses: &[&str]) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": addresses}],
        "ports": [{"port": 5432}],
    })
}

fn endpoints(world: &World) -> Value {
    let slice = world
        .host
        .get(Kind::EndpointSlice, "team-a", "db-1-x-shop-x-demo");
    slice.unwrap().json()["endpoints"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_slice_leads_to_an_own_pod_until_the_pod_is_gone() {
    let world = World::new().await;
    let pod_key = world.apply(Kind::Pod, pod("db-0"));
    world.work(&pod_key).await;
    world.change_host(Kind::Pod, "db-0-x-shop-x-demo", |pod| {
        pod["status"] = json!({"phase": "Running", "podIPs": [{"ip": "10.244.0.7"}]});
    });
    world.work(&pod_key).await;
    world.writes();
    let key = world.apply(Kind::EndpointSlice, slice(&["10.244.0.7"]));
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(world.writes(), [format!("host POST {SLICES}")]);
    assert_eq!(endpoints(&world), json!([{"addresses": ["10.244.0.7"]}]));
    let gone = world.host.lose(Kind::Pod, "team-a", "db-0-x-shop-x-demo");
    world.tenant.miss_host(Kind::Pod, &gone);
    // Its end is not certain before it was looked for.
    world.work(&pod_key).await;
    world.writes();
    assert!(matches!(world.work(&key).await, Next::Settled));
    assert_eq!(
        world.writes(),
        // Those of the virtual side are told first, whenever they were made.
        [
            "virtual POST /api/v1/namespaces/shop/events".to_owned(),
            format!("host PATCH {SLICES}/db-1-x-shop-x-demo"),
        ]
    );
    assert_eq!(endpoints(&world), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_is_served_until_a_node_of_the_host_bears_it() {
    let world = World::new().await;
    let node = |ip: &str| {
        json!({
            "metadata": {"name": "node-1"},
            "spec": {"podCIDRs": ["10.244.0.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
        })
    };
    let set = |ip: &str| {
        let node = Some(node(ip));
        world
            .engine
            .set_mirrored(Kind::Node, "node-1", node, Lane::Live);
    };
    set("192.0.2.1");
    let key = world.apply(Kind::EndpointSlice, slice(&["192.0.2.9"]));
    world.work(&key).await;
    assert_eq!(endpoints(&world), json!([{"addresses": ["192.0.2.9"]}]));
    set("192.0.2.9");
    world.work(&key).await;
    assert_eq!(endpoints(&world), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_before_the_host_s_api_servers_are_known() {
    let world = World::new().await;
    world.engine.reset();
    let key = world.apply(Kind::EndpointSlice, slice(&["192.0.2.9"]));
    assert!(matches!(world.work(&key).await, Next::Until(_)));
    assert_eq!(world.writes(), [""; 0]);
}
