//! Keeps the installation's keys fresh while the service runs.

use std::time::Duration;

use rand::Rng as _;
use vcluster_chassis::lease::Leadership;
use vcluster_chassis::tls::{Identity, Live, Publisher, Roots};

use super::{Error, Keys, Platform};

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
    identities: Publisher<Identity>,
    trusted: Publisher<Roots>,
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
                fingerprint,
            }) => {
                let (identities, identity) = Live::channel(identity);
                let (trusted, roots) = Live::channel(roots);
                return Following {
                    identity,
                    roots,
                    identities,
                    trusted,
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
                Ok(keys) if keys.fingerprint != self.fingerprint => {
                    tracing::info!("this service's certificate has changed");
                    self.fingerprint = keys.fingerprint;
                    self.identities.publish(keys.identity);
                    self.trusted.publish(keys.roots);
                }
                Ok(_) => {}
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

/// Between four and six fifths, so that replicas do not keep step.
fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.8..=1.2))
}
