//! The check before the chart is removed: are there virtual clusters that would be left alone?

use anyhow::Context as _;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use vcluster_resources::VirtualCluster;

/// Clusters that the message names.
const NAMED: usize = 20;

/// Fails if there are virtual clusters, and says which and what to do.
pub async fn check(client: Client) -> anyhow::Result<()> {
    let api: Api<VirtualCluster> = Api::all(client);
    let clusters = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        // No such kind: so there are none.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error).context("virtual clusters cannot be listed"),
    };
    anyhow::ensure!(clusters.is_empty(), refusal(&clusters));
    tracing::info!("there are no virtual clusters");
    Ok(())
}

fn refusal(clusters: &[VirtualCluster]) -> String {
    let mut names: Vec<String> = clusters
        .iter()
        .take(NAMED)
        .map(|c| format!("{}/{}", c.namespace().unwrap_or_default(), c.name_any()))
        .collect();
    if clusters.len() > NAMED {
        names.push(format!("and {} more", clusters.len() - NAMED));
    }
    format!(
        "there are virtual clusters: {}. Delete them first, or uninstall with --no-hooks: they keep \
         running, unmanaged",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vcluster_chassis::testing::{ApiServer, json as answer};

    use super::*;

    fn server(code: u16, body: Value) -> Client {
        ApiServer::new(move |_| answer(code, body.clone())).client()
    }

    #[tokio::test]
    async fn living_clusters_are_named_and_the_way_out_is_told() {
        let cluster = json!({ "metadata": { "name": "demo", "namespace": "team-a" }, "spec": {} });
        let client = server(200, json!({ "metadata": {}, "items": [cluster] }));
        let told = check(client).await.unwrap_err().to_string();
        assert!(
            told.contains("team-a/demo") && told.contains("--no-hooks"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn none_or_no_such_kind_is_fine_and_doubt_is_not() {
        let none = server(200, json!({ "metadata": {}, "items": [] }));
        assert!(check(none).await.is_ok());
        let status = |code: u16| json!({ "kind": "Status", "code": code, "message": "" });
        assert!(check(server(404, status(404))).await.is_ok());
        assert!(check(server(403, status(403))).await.is_err());
    }
}
