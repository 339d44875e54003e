//! Keeps the installation's keys fresh while the service runs.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use vcluster_chassis::lease::Leadership;
use vcluster_chassis::tls::{Identity, Live, Publisher, Roots};

use super::{Error, Keys, Platform};
use crate::pki::Shared;

/// How often the keys are looked at. Certificates live a year; this is for people who replace one.
const PERIOD: Duration = Duration::from_mins(1);
/// How soon it is tried again while the service has none.
const RETRY: Duration = Duration::from_secs(1);

/// This service's keys as its listener uses them.
#[derive(Debug)]
pub struct Following {
    /// What it shows.
    pub identity: Live<Identity>,
    /// Whose client certificates it takes.
    pub roots: Live<Roots>,
    /// What virtual clusters need of the installation.
    pub shared: Live<Arc<Shared>>,
    identities: Publisher<Identity>,
    trusted: Publisher<Roots>,
    sharing: Publisher<Arc<Shared>>,
    fingerprint: String,
}

/// Waits until there are keys. The API server may not be up yet, and another replica may be busy
/// making them; what went wrong is told each time.
pub async fn begin(platform: &Platform, mut told: impl FnMut(&Error)) -> Following {
    loop {
        match platform.ensure(false).await {
            Ok(Keys {
                identity,
                roots,
                shared,
                fingerprint,
            }) => {
                let (identities, identity) = Live::channel(identity);
                let (trusted, roots) = Live::channel(roots);
                let (sharing, shared) = Live::channel(shared);
                return Following {
                    identity,
                    roots,
                    shared,
                    identities,
                    trusted,
                    sharing,
                    fingerprint,
                };
            }
            Err(error) => told(&error),
        }
        tokio::time::sleep(jitter(RETRY)).await;
    }
}

impl Following {
    /// Looks again and again, and renews while this process leads.
    #[expect(clippy::infinite_loop, reason = "ends by being dropped")]
    pub async fn run(mut self, platform: Platform, leadership: Leadership) {
        loop {
            match platform.ensure(leadership.is_leader()).await {
                Ok(keys) => self.publish(keys),
                Err(error) => tracing::warn!(
                    %error,
                    cause = std::error::Error::source(&error).map(ToString::to_string),
                    "keys cannot be looked at"
                ),
            }
            tokio::time::sleep(jitter(PERIOD)).await;
        }
    }
}

impl Following {
    fn publish(&mut self, keys: Keys) {
        // Whoever reads it compares; nobody is woken.
        self.sharing.publish(keys.shared);
        if keys.fingerprint != self.fingerprint {
            tracing::info!("this service's certificate has changed");
            self.fingerprint = keys.fingerprint;
            self.identities.publish(keys.identity);
            self.trusted.publish(keys.roots);
        }
    }
}

/// Between four and six fifths, so that replicas do not keep step.
fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.8..=1.2))
}
