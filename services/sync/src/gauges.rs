//! Gauges that nobody sets when they change: read from the engine every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::metrics::State;
use crate::tenant::Tenant;
use crate::tenants::status;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Shows them until the token is cancelled.
pub async fn show(engine: Arc<Engine>, token: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        engine.metrics.queue(engine.work.total());
        let all = engine.all();
        let count = |is: &dyn Fn(&Tenant) -> bool| all.iter().filter(|tenant| is(tenant)).count();
        let open = count(&|tenant| tenant.gate.view().openings > 0);
        let throttled = count(&Tenant::is_throttled);
        engine.metrics.passage(engine.gate.view(), open, throttled);
        let states: Vec<_> = all.iter().map(|tenant| status::state(tenant).0).collect();
        for state in [
            State::Starting,
            State::Synced,
            State::Frozen,
            State::Draining,
        ] {
            let count = states.iter().filter(|found| **found == state).count();
            engine.metrics.tenants(
                state,
                count + usize::from(state == State::Draining) * engine.draining(),
            );
        }
    }
}
