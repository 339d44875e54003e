//! The dev cluster's own equipment: what the scenarios rely on does what it is there for.

use integration_tests::{Host, eventually};

#[test]
fn the_host_cluster_measures_its_nodes_and_pods() {
    let host = Host::get();
    for what in ["nodes", "pods -n kube-system"] {
        eventually("there are measurements", || {
            let top = host.kubectl(&format!("top {what} --no-headers")).run();
            if top.succeeded() && top.stdout.lines().count() > 0 {
                Ok(())
            } else {
                Err(top.to_string())
            }
        });
    }
}
