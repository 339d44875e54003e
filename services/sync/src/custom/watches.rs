//! Watches of custom kinds on the host: one per kind for all tenants that follow it, from the first to the last.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;
use vcluster_chassis::drain::Shutdown;
use vcluster_translate::custom::Custom;
use vcluster_translate::kind::Outside;

use crate::engine::Engine;
use crate::hash::HashMap;
use crate::host_watch;
use crate::object::Kind;

/// The watches that run.
#[derive(Debug, Default)]
pub struct Watches(Mutex<HashMap<Custom, Weak<Running>>>);

/// A part in a watch: it ends with the last one.
#[derive(Debug, Clone)]
pub struct Following {
    _running: Arc<Running>,
}

#[derive(Debug)]
struct Running(CancellationToken);

#[cfg(test)]
impl Following {
    #[expect(
        clippy::used_underscore_binding,
        reason = "otherwise it is held for its end only"
    )]
    fn token(&self) -> CancellationToken {
        self._running.0.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Watches {
    /// Takes part in the watch of a kind, which begins if nobody has it. It ends with the term at the latest.
    pub fn follow(
        &self,
        kind: Custom,
        engine: &Arc<Engine>,
        shutdown: &Shutdown,
        term: &CancellationToken,
    ) -> Following {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, watch| watch.strong_count() > 0);
        // One that somebody holds may have ended with its term.
        let running_now = running.get(&kind).and_then(Weak::upgrade);
        if let Some(running) = running_now.filter(|running| !running.0.is_cancelled()) {
            return Following { _running: running };
        }
        let token = term.child_token();
        begin(Kind::Custom(kind), engine, shutdown, &token);
        let new = Arc::new(Running(token));
        running.insert(kind, Arc::downgrade(&new));
        Following { _running: new }
    }
}

/// Begins to follow a kind. One kind's trouble is not the others'.
fn begin(kind: Kind, engine: &Arc<Engine>, shutdown: &Shutdown, token: &CancellationToken) {
    let (engine, token) = (Arc::clone(engine), token.clone());
    let name = format!("host {kind}");
    tracing::info!(%kind, "custom kind is followed on the host");
    match kind.description().outside {
        Outside::Translated => {
            let events = host_watch::events(Arc::clone(&engine), kind, token.clone());
            shutdown.spawn_contained(format!("host events about {kind}"), events);
            shutdown.spawn_contained(name, host_watch::custom(engine, kind, token));
        }
        Outside::Shown => {
            shutdown.spawn_contained(name, host_watch::shown(engine, kind, token));
        }
        Outside::Everything { prune } => {
            engine.forget_mirrored(kind);
            shutdown.spawn_contained(name, host_watch::mirrored(engine, kind, prune, None, token));
        }
        Outside::Scanned | Outside::Nothing => {}
    }
}

#[cfg(test)]
mod tests;
