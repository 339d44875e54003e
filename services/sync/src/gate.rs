//! The way to one API server: how many requests may be under way, whose goes next, and whether any goes at all.
//!
//! The host's is shared by all tenants; each virtual API server has one of its own. Promises:
//! - no more requests are under way than [`crate::limit`] has found the server to bear, and those that wait go by
//!   [`crate::turns`], one tenant's after the other's, by weight;
//! - of what all tenants share, a part is kept free for those who come rested, so that a single request does not wait
//!   behind the long ones of others;
//! - a request that takes longer than [`STRAGGLES`] gives its place up: what holds it is no want of capacity, and one
//!   tenant's hanging requests must not take the places of all;
//! - while [`crate::breaker`] is open nothing goes, and nobody waits: those in line are sent away.
//!
//! It sends nothing itself. A pass that is dropped has given its place back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vcluster_chassis::chance;

use crate::breaker::{Breaker, Change, Leave};
use crate::limit::{self, Bounds, Limit};
use crate::queue::Ticket;

mod class;
mod line;
#[cfg(test)]
mod tests;
mod trouble;

pub use class::Class;
use line::Line;
use trouble::Trouble;

/// How long a request counts as one under way.
pub const STRAGGLES: Duration = Duration::from_secs(1);
/// Which part of a shared limit is kept free for those who come rested: one of so many.
const KEPT: usize = 4;

/// Whose a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All tenants'.
    All,
    /// One tenant's.
    One,
}

/// Nothing goes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its API server fails or does not answer in time; it is asked again in a while")]
pub struct Shut {
    /// When to ask again.
    pub after: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was answered.
    Answered,
    /// It was answered that this is too much, or that the server is in trouble; or not at all.
    Failed,
    /// It says nothing of the server: it never left, or was refused on the way.
    Unknown,
}

/// What a gate looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// How many requests may be under way.
    pub limit: usize,
    /// How many are.
    pub under_way: usize,
    /// How many wait.
    pub waiting: usize,
    /// How often in a row its breaker has opened; 0 while requests go.
    pub openings: u32,
}

/// The gate. See the module.
pub struct Gate {
    sharing: Sharing,
    state: Mutex<State>,
}

struct State {
    limit: Limit<Class>,
    breaker: Breaker<Ticket>,
    trouble: Trouble<Ticket>,
    line: Line<Waiting>,
}

/// One who waits.
struct Waiting {
    given: oneshot::Sender<Pass>,
    leave: Leave,
}

/// The right to one request, until dropped.
pub struct Pass {
    gate: Arc<Gate>,
    whose: Ticket,
    leave: Leave,
    begun: Instant,
    /// How many others were under way when it was given.
    beside: usize,
    /// Others waited when it was given.
    pressed: bool,
    has_place: bool,
    ended: bool,
}

/// Who goes next.
struct Next {
    whose: Ticket,
    waiting: Waiting,
    beside: usize,
    pressed: bool,
}

impl Gate {
    /// Makes one whose breaker is closed.
    pub fn new(bounds: Bounds, sharing: Sharing) -> Self {
        Self {
            sharing,
            state: Mutex::new(State {
                limit: Limit::new(bounds),
                breaker: Breaker::new(sharing == Sharing::All),
                trouble: Trouble::default(),
                line: Line::default(),
            }),
        }
    }

    /// Waits for the right to one request. Cancel safe.
    pub async fn enter(self: &Arc<Self>, whose: Ticket, weight: u32) -> Result<Pass, Shut> {
        let (given, pass) = oneshot::channel();
        {
            let mut state = self.locked();
            let leave = state.breaker.ask(Instant::now());
            let leave = leave.map_err(|after| Shut { after })?;
            state.line.join(whose, weight, Waiting { given, leave });
        }
        self.give();
        // The breaker has opened meanwhile.
        pass.await.map_err(|_sent_away| Shut {
            after: self.locked().breaker.left(Instant::now()),
        })
    }

    /// What it looks like.
    pub fn view(&self) -> View {
        let state = self.locked();
        View {
            limit: state.limit.get(),
            under_way: state.line.under_way(),
            waiting: state.line.waiting(),
            openings: state.breaker.openings(),
        }
    }

    /// Forgets that requests failed: the server is known to work again.
    pub fn reopen(&self) {
        self.locked().breaker.succeeded();
    }

    /// Gives as many passes as may be.
    fn give(self: &Arc<Self>) {
        while let Some(next) = self.next() {
            let pass = Pass {
                gate: Arc::clone(self),
                whose: next.whose,
                leave: next.waiting.leave,
                begun: Instant::now(),
                beside: next.beside,
                pressed: next.pressed,
                has_place: true,
                ended: false,
            };
            if let Err(mut pass) = next.waiting.given.send(pass) {
                // Nobody waits any more. Its place is this loop's to give: to drop it would begin another one.
                pass.has_place = false;
                self.locked().line.left(next.whose);
            }
        }
    }

    fn next(&self) -> Option<Next> {
        let mut state = self.locked();
        let limit = state.limit.get();
        let kept = match self.sharing {
            Sharing::All => limit / KEPT,
            Sharing::One => 0,
        };
        let beside = state.line.under_way();
        let (whose, waiting) = if beside + kept < limit {
            state.line.next()?
        } else if beside < state.limit.otherwise() {
            state.line.next_fresh()?
        } else {
            return None;
        };
        Some(Next {
            whose,
            waiting,
            beside,
            pressed: state.line.waiting() > 0 || beside + 1 + kept >= limit,
        })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Gives the place up, because the request takes so long. It is under way still.
    pub fn give_up_place(&mut self) {
        if std::mem::take(&mut self.has_place) {
            self.gate.locked().line.left(self.whose);
            self.gate.give();
        }
    }

    /// Says how the request ended; without a class it says nothing of how busy the server is. Tells what that changes.
    pub fn ended(mut self, how: Ended, class: Option<Class>) -> Option<Change> {
        let now = Instant::now();
        self.ended = true;
        let mut state = self.gate.locked();
        let change = match how {
            Ended::Answered => {
                if let Some(class) = class {
                    let done = limit::Answer::Done {
                        class,
                        took: now - self.begun,
                        beside: self.beside,
                        pressed: self.pressed,
                    };
                    state.limit.answered(done, now);
                }
                state.trouble.none(now);
                state.breaker.succeeded()
            }
            Ended::Failed => {
                let is_everybodys = state.trouble.of(self.whose, now);
                if is_everybodys || self.gate.sharing == Sharing::One {
                    state.limit.answered(limit::Answer::TooMuch, now);
                }
                let leave = self.leave;
                state.breaker.failed(leave, self.whose, now, chance::draw())
            }
            Ended::Unknown => {
                state.breaker.unknown(self.leave, now);
                None
            }
        };
        let sent_away = match change {
            Some(Change::Opened(_)) => state.line.send_away(),
            Some(Change::Closed) | None => Vec::new(),
        };
        drop(state);
        drop(sent_away);
        change
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.gate.locked();
            state.breaker.unknown(self.leave, Instant::now());
        }
        self.give_up_place();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("view", &self.view()).finish()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("whose", &self.whose)
            .finish_non_exhaustive()
    }
}
