//! Whether the host's API server has gone back to its own past, as one does whose store is restored.
//!
//! Then what is known of the host is not what is there, its watches go on at versions that come a second time, and
//! objects that ended live again under the same UIDs. Kubernetes' own advice is to restart every component; so this
//! process ends, and the next one begins with complete lists of both sides. Those decide: what the host lacks is made
//! again, what the virtual clusters do not know is removed, a claim that is gone is `Lost` and not deleted. A store
//! whose restorer raised its versions cannot be told from one that went on: `docs/operations.md` says what to do.

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::drain::Shutdown;
use vcluster_resources::VirtualCluster;

use crate::engine::Engine;

/// How often the host is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause before the host is asked again that seems to have gone back: several API servers may answer.
const AGAIN: Duration = Duration::from_secs(2);

/// Looks until the token is cancelled, or begins the shutdown once the host has gone back.
pub async fn watch(engine: Arc<Engine>, shutdown: Shutdown, token: CancellationToken) {
    let looked = async {
        let mut newest = 0;
        loop {
            newest = match version(&engine).await {
                Some(version) if version < newest && is_still_below(&engine, newest).await => {
                    tracing::error!(
                        version,
                        newest,
                        "the host's store went back: everything is taken up anew"
                    );
                    shutdown.begin("the host's store went back to an older state");
                    return;
                }
                Some(version) => newest.max(version),
                None => newest,
            };
            tokio::time::sleep(EVERY).await;
        }
    };
    token.run_until_cancelled(looked).await;
}

async fn is_still_below(engine: &Engine, newest: u64) -> bool {
    tokio::time::sleep(AGAIN).await;
    let version = version(engine).await;
    version.is_some_and(|version| version < newest)
}

/// The host's version now; nothing if it cannot be asked or gives no number.
async fn version(engine: &Engine) -> Option<u64> {
    let api: Api<VirtualCluster> = Api::all(engine.host.own.request.clone());
    let params = ListParams::default().limit(1);
    let list = tokio::time::timeout(DEADLINE, api.list_metadata(&params)).await;
    match list {
        Ok(Ok(list)) => list.metadata.resource_version?.parse().ok(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "version of the host cannot be read");
            None
        }
        Err(_elapsed) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;
    use vcluster_chassis::testing::json as answer;

    use super::*;
    use crate::testing::{World, status};

    /// Whether sync shuts down after the host gave these versions, and then the last one for ever.
    async fn ends(versions: &[Option<&'static str>]) -> bool {
        let world = World::unlisted();
        let (shutdown, token) = (Shutdown::new(), CancellationToken::new());
        let left: Mutex<Vec<_>> = Mutex::new(versions.iter().rev().copied().collect());
        let ended = token.clone();
        world.host.script(move |call| {
            assert_eq!(call.path, "/apis/vcluster.dev/v1alpha1/virtualclusters");
            let version = left.lock().unwrap().pop();
            let Some(version) = version else {
                ended.cancel();
                return Some(status(503, "ServiceUnavailable"));
            };
            Some(version.map_or_else(
                || status(503, "ServiceUnavailable"),
                |version| {
                    answer(
                        200,
                        json!({"metadata": {"resourceVersion": version}, "items": []}),
                    )
                },
            ))
        });
        watch(Arc::clone(&world.engine), shutdown.clone(), token).await;
        shutdown.token().is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_went_back_has_everything_taken_up_anew() {
        assert!(ends(&[Some("100"), None, Some("90"), Some("91")]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_goes_on_is_left_alone() {
        let (ahead, behind) = (Some("100"), Some("99"));
        assert!(!ends(&[ahead, behind, ahead, Some("120"), Some("opaque"), None]).await);
    }
}
