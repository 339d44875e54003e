//! A tenant in the engine.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::tenant::Tenant;

/// A tenant's stay in the engine; when it ends, however it ends, nothing finds the tenant any more.
pub(super) struct Stay {
    engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
}

impl Stay {
    /// Takes it in.
    pub(super) fn begin(engine: &Arc<Engine>, tenant: Arc<Tenant>) -> Self {
        engine.enter(&tenant);
        tracing::info!(tenant = %tenant.id, "tenant is taken up");
        Self {
            engine: Arc::clone(engine),
            tenant,
        }
    }
}

/// A task without which a stay is not whole. Its panic ends the stay, which begins anew; and it goes on from here, to be
/// logged.
pub(super) async fn vital(stay: CancellationToken, task: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        stay.cancel();
        resume_unwind(panic);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.tenant.token.cancel();
        self.engine.leave(&self.tenant);
        tracing::info!(tenant = %self.tenant.id, "tenant is let go");
    }
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::drain::Shutdown;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_stay_and_nothing_else() {
        let (shutdown, stay) = (Shutdown::new(), CancellationToken::new());
        shutdown.spawn_contained("well", vital(stay.clone(), async {}));
        tokio::task::yield_now().await;
        assert!(!stay.is_cancelled());
        shutdown.spawn_contained("ill", vital(stay.clone(), async { panic!("in a test") }));
        stay.cancelled().await;
        assert!(!shutdown.has_begun());
    }
}
