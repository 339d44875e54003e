//! What ends a request that is under way although both its ends would go on.
//!
//! A watch or an exec outlives the check at its start by hours. So the caller is authenticated and authorized
//! again every [`RECHECK`]: an expired or revoked credential, a removed authority, a lost right each end the stream
//! within that time and the few seconds for which answers are kept. While the host cannot be asked, streams
//! go on for [`UNSURE`] and then end, too.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::clock::Clock;
use vcluster_chassis::identity::Identity;

use crate::authenticate::{Authenticator, By, Caller, Presented};
use crate::authorize::{Access, Grant};
use crate::refusal::{Kind, Refusal};
use crate::route::ClusterKey;

/// Time between two checks.
pub const RECHECK: Duration = Duration::from_secs(30);
/// How long a stream goes on while nobody can say whether it may.
pub const UNSURE: Duration = Duration::from_mins(5);

/// Why a stream is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The caller's credential is over.
    Expired,
    /// The caller is not who it was, or may no longer.
    Revoked,
    /// The host could not be asked for too long.
    Unsure,
    /// The gateway is being stopped.
    Draining,
}

impl End {
    /// One word for the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unsure => "unsure",
            Self::Draining => "draining",
        }
    }
}

/// What a stream was let through for.
#[derive(Debug, Clone)]
pub enum Scope {
    /// A virtual cluster, with that right.
    Cluster(ClusterKey, Grant),
    /// A service behind the gateway, which asks for rights itself.
    Platform,
}

/// Watches over streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vigil {
    authenticator: Authenticator,
    access: Access,
    clock: Arc<dyn Clock>,
    draining: CancellationToken,
    drain: Duration,
}

impl Vigil {
    /// Makes one that asks these; when `draining` is cancelled, streams that can be resumed are spread over
    /// the first half of `drain`.
    pub fn new(
        authenticator: Authenticator,
        access: Access,
        clock: Arc<dyn Clock>,
        draining: CancellationToken,
        drain: Duration,
    ) -> Self {
        Self {
            authenticator,
            access,
            clock,
            draining,
            drain,
        }
    }

    /// Waits until the stream must end. `resumable` ones also end when the gateway is being stopped, each at a
    /// moment of its own, so that their clients do not come back all at once.
    pub async fn ended(
        self,
        presented: Presented,
        caller: Caller,
        scope: Scope,
        resumable: bool,
    ) -> End {
        let draining = async {
            self.draining.cancelled().await;
            if !resumable {
                std::future::pending::<()>().await;
            }
            let moment = rand::rng().random_range(0.0..=0.5);
            tokio::time::sleep(self.drain.mul_f64(moment)).await;
        };
        tokio::select! {
            () = draining => End::Draining,
            end = self.lost(&presented, &caller, &scope) => end,
        }
    }

    async fn lost(&self, presented: &Presented, caller: &Caller, scope: &Scope) -> End {
        let mut sure = Instant::now();
        loop {
            let expires_at = match &caller.by {
                By::Credential { expires_at, .. } => Some(*expires_at),
                By::Certificate | By::Token => None,
            };
            let left = expires_at.map(|at| until(self.clock.now(), at));
            tokio::time::sleep(left.map_or(RECHECK, |left| left.min(RECHECK))).await;
            if expires_at.is_some_and(|at| self.clock.now() >= at) {
                return End::Expired;
            }
            match self.check(presented, &caller.identity, scope).await {
                Ok(true) => sure = Instant::now(),
                Ok(false) => return End::Revoked,
                Err(_refusal) if sure.elapsed() >= UNSURE => return End::Unsure,
                Err(_refusal) => {}
            }
        }
    }

    /// Whether the caller is who it was and may what it might; an error if that cannot be found out.
    async fn check(
        &self,
        presented: &Presented,
        identity: &Identity,
        scope: &Scope,
    ) -> Result<bool, Refusal> {
        let now = match self.authenticator.authenticate(presented).await {
            Ok(caller) => caller,
            Err(refusal) => return settled(refusal),
        };
        if now.identity != *identity {
            return Ok(false);
        }
        match scope {
            Scope::Platform => Ok(true),
            Scope::Cluster(cluster, had) => match self.access.grant(identity, cluster).await {
                Ok(Grant::Admin) => Ok(true),
                Ok(Grant::Connect) => Ok(*had == Grant::Connect),
                Err(refusal) => settled(refusal),
            },
        }
    }
}

/// A refusal that is about the caller is an answer; one that is not tells nothing.
fn settled(refusal: Refusal) -> Result<bool, Refusal> {
    match refusal.kind {
        Kind::Unauthenticated | Kind::Forbidden => Ok(false),
        Kind::Bad
        | Kind::NotFound
        | Kind::Misdirected
        | Kind::TooMany
        | Kind::BadGateway
        | Kind::Unavailable
        | Kind::Timeout
        | Kind::Internal => Err(refusal),
    }
}

/// Time left, at least a millisecond, so that a clock that stands still makes no busy loop.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now))
        .unwrap_or_default()
        .max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests;
