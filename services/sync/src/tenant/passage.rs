//! How a tenant's requests get through the gates of the two servers, and what becomes of its keys when they do not.

use std::future::Future;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::Tenant;
use crate::apply::{DEADLINE, Failure};
use crate::breaker::Change;
use crate::gate::{Class, Ended, Gate, Pass, STRAGGLES};
use crate::object::Side;
use crate::tenant_token;

/// Openings in a row of a breaker after which it is said that a server does not do its work: one alone may be a restart.
const SAID: u32 = 2;

impl Tenant {
    /// Waits for the right to a request.
    pub(crate) async fn pass(&self, side: Side) -> Result<Pass, Failure> {
        if let Some(quiet) = self.quiet(side) {
            return Err(Failure::Later {
                message: format!("{} asks to be left alone for {quiet:.0?}", name(side)),
                after: Some(quiet),
                reached: true,
            });
        }
        let gate = self.gate_to(side);
        let begun = Instant::now();
        let passed = timeout(DEADLINE, gate.enter(self.ticket, self.weight)).await;
        self.metrics.waited(side, begun);
        match passed {
            Ok(Ok(pass)) => Ok(pass),
            Ok(Err(shut)) => Err(Failure::Later {
                message: format!("{}: {shut}", name(side)),
                after: Some(shut.after),
                reached: true,
            }),
            Err(_elapsed) => Err(Failure::Later {
                message: format!("{} has had no room for the request", name(side)),
                after: None,
                reached: true,
            }),
        }
    }

    /// Sends a request that is not the tenant's account's in the tenant's turn.
    pub(crate) async fn in_turn<T>(
        &self,
        side: Side,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Result<T, kube::Error>, Failure> {
        let pass = self.pass(side).await?;
        let answer = self.timed(pass, side, None, request).await;
        answer.map_err(|_elapsed| Failure::Later {
            message: format!("no answer within {DEADLINE:?}"),
            after: None,
            reached: false,
        })
    }

    /// How long a server has asked to be left alone, from now.
    pub(crate) fn quiet(&self, side: Side) -> Option<Duration> {
        match side {
            Side::Virtual => self.bill.virtual_.quiet(),
            Side::Host => self.bill.host.quiet(),
        }
    }

    /// Waits for the answer, no longer than [`DEADLINE`], and tells the gate how that went.
    pub(crate) async fn timed<T>(
        &self,
        mut pass: Pass,
        side: Side,
        class: Option<Class>,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Result<T, kube::Error>, Elapsed> {
        let mut request = std::pin::pin!(timeout(DEADLINE, request));
        let answer = match timeout(STRAGGLES, &mut request).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                pass.give_up_place();
                request.await
            }
        };
        if let Some(change) = pass.ended(how(&answer), class) {
            self.passage_changed(side, change);
        }
        answer
    }

    /// Whether its API server has failed for a while, though it can be reached.
    pub fn is_unresponsive(&self) -> bool {
        self.gate.view().openings >= SAID
    }

    /// Whether its writes have had to wait for their allowance for a while.
    pub fn is_throttled(&self) -> bool {
        self.host_writes.is_short() || self.virtual_writes.is_short()
    }

    /// Its API server is known to work again: nothing is held back.
    pub fn reopen(&self) {
        self.gate.reopen();
        self.work.resume(self.ticket);
    }

    fn gate_to(&self, side: Side) -> &std::sync::Arc<Gate> {
        match side {
            Side::Virtual => &self.gate,
            Side::Host => &self.host_gate,
        }
    }

    fn passage_changed(&self, side: Side, change: Change) {
        match (side, change) {
            (Side::Virtual, Change::Opened(until)) => {
                self.metrics.opened(side);
                self.work.pause(self.ticket, until);
                let pause = until.saturating_duration_since(Instant::now());
                tracing::warn!(tenant = %self.id, ?pause, "virtual API server fails or does not answer in time: its keys wait");
            }
            (Side::Virtual, Change::Closed) => {
                self.work.resume(self.ticket);
                tracing::info!(tenant = %self.id, "virtual API server does its work again");
            }
            (Side::Host, Change::Opened(until)) => {
                self.metrics.opened(side);
                let pause = until.saturating_duration_since(Instant::now());
                tracing::warn!(
                    ?pause,
                    "host fails or does not answer in time: it is left alone"
                );
            }
            (Side::Host, Change::Closed) => tracing::info!("host does its work again"),
        }
        if side == Side::Virtual {
            self.notify();
        }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Virtual => "the virtual cluster",
        Side::Host => "the host cluster",
    }
}

/// What an answer, or its absence, says of the server.
fn how<T>(answer: &Result<Result<T, kube::Error>, Elapsed>) -> Ended {
    match answer {
        Ok(Ok(_)) => Ended::Answered,
        Ok(Err(kube::Error::Api(status))) => {
            // A webhook that fails is no trouble of the server's that calls it.
            let is_webhook = status.message.contains("webhook");
            match status.code {
                429 | 502..=504 => Ended::Failed,
                500 if !is_webhook => Ended::Failed,
                0..=428 | 430..=501 | 505.. => Ended::Answered,
            }
        }
        // It did not get that far: a token was not to be had.
        Ok(Err(error)) if tenant_token::Error::of(error).is_some() => Ended::Unknown,
        Ok(Err(_)) | Err(_) => Ended::Failed,
    }
}
