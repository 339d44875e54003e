//! The host cluster's authority of client certificates, followed as aggregated API servers do.
//!
//! It stands in the ConfigMap `kube-system/extension-apiserver-authentication`. A bundle that cannot be read
//! never replaces a good one: that is logged as an error and counted, and the old one stays. Until the first
//! good bundle has come the gate `client-ca` is closed and no certificate is accepted.

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Gate;
use vcluster_chassis::tls::{Live, Publisher, Roots};

use crate::metrics::{Bundle, Metrics};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
const KEY: &str = "client-ca-file";

/// The authority of this moment.
#[derive(Debug, Clone, Default)]
pub struct ClientCa {
    /// Grows with each change, so that verdicts under an older one can be told apart.
    pub generation: u64,
    /// Who is trusted; nobody before the first bundle.
    pub roots: Option<Roots>,
}

/// Follows the ConfigMap in a tracked task.
pub fn follow(
    client: kube::Client,
    gate: Gate,
    metrics: Metrics,
    shutdown: &Shutdown,
) -> Live<ClientCa> {
    let (publisher, live) = Live::channel(ClientCa::default());
    let token = shutdown.token();
    let mut follower = Follower {
        publisher,
        current: ClientCa::default(),
        gate,
        metrics,
    };
    follower
        .gate
        .close("the host cluster's client CA was not read yet");
    shutdown.spawn("client ca", async move {
        token.run_until_cancelled(follower.run(client)).await;
    });
    live
}

struct Follower {
    publisher: Publisher<ClientCa>,
    current: ClientCa,
    gate: Gate,
    metrics: Metrics,
}

impl Follower {
    async fn run(&mut self, client: kube::Client) {
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watcher(api, config).default_backoff().applied_objects();
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(map) => {
                    let pem = map.data.unwrap_or_default().remove(KEY);
                    self.replace(pem.as_deref());
                }
                Err(error) => {
                    tracing::warn!(%error, "the host cluster's client CA cannot be followed");
                }
            }
        }
    }

    /// Takes a bundle, if it is a good one.
    fn replace(&mut self, pem: Option<&str>) {
        let roots = pem.map(|pem| Roots::from_pem(pem.as_bytes()));
        match roots {
            Some(Ok(roots)) => {
                self.current = ClientCa {
                    generation: self.current.generation + 1,
                    roots: Some(roots),
                };
                self.publisher.publish(self.current.clone());
                self.metrics.client_ca(Bundle::Loaded);
                self.gate.open();
                tracing::info!("the host cluster's client CA was loaded");
            }
            Some(Err(error)) => {
                self.metrics.client_ca(Bundle::Broken);
                tracing::error!(%error, "the host cluster's client CA is broken, the old one is kept");
            }
            None => {
                self.metrics.client_ca(Bundle::Broken);
                tracing::error!(
                    "configmap {NAMESPACE}/{NAME} has no key {KEY}: client certificates are not accepted \
                     before it has, or the old authority is kept"
                );
                // A host without a client CA is a working one; its users have tokens.
                if self.current.roots.is_none() {
                    self.gate.open();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::health::Health;
    use vcluster_chassis::testing::Authority;

    use super::*;

    fn follower() -> (Follower, Live<ClientCa>, Health) {
        let health = Health::new(&Shutdown::new());
        let (publisher, live) = Live::channel(ClientCa::default());
        let gate = health.gate("client-ca");
        let metrics = Metrics::default();
        (
            Follower {
                publisher,
                current: ClientCa::default(),
                gate,
                metrics,
            },
            live,
            health,
        )
    }

    #[test]
    fn a_broken_bundle_never_replaces_a_good_one() {
        let (mut follower, live, health) = follower();
        let good = Authority::new("host").pem();
        follower.replace(Some(&good));
        assert!(health.is_ready());
        let half = &good[..good.len() / 2];
        for broken in [
            Some("rubbish"),
            Some(half),
            Some(""),
            Some(&format!("{good}{half}")),
            None,
        ] {
            follower.replace(broken);
            assert_eq!(live.current().generation, 1, "{broken:?}");
            assert!(live.current().roots.is_some());
            assert!(health.is_ready());
        }
        follower.replace(Some(&Authority::new("next").pem()));
        assert_eq!(live.current().generation, 2);
    }

    #[test]
    fn nobody_is_trusted_before_the_first_good_bundle() {
        let (mut follower, live, health) = follower();
        follower.replace(Some("rubbish"));
        assert!(live.current().roots.is_none());
        assert!(!health.is_ready());
    }
}
