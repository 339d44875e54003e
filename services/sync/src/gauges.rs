//! Gauges that nobody sets when they change: read from the engine every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::metrics::State;
use crate::tenant::{Id, Tenant};
use crate::tenants::status;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Shows them until the token is cancelled.
pub async fn show(engine: Arc<Engine>, token: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        engine.metrics.queue(engine.work.total());
        let all = engine.all();
        for (state, count) in tenants(&engine, &all) {
            engine.metrics.tenants(state, count);
        }
        let count = |is: &dyn Fn(&Tenant) -> bool| all.iter().filter(|tenant| is(tenant)).count();
        let open = count(&|tenant| tenant.gate.view().openings > 0);
        let throttled = count(&Tenant::is_throttled);
        engine.metrics.passage(engine.gate.view(), open, throttled);
    }
}

/// How many tenants are in each state.
fn tenants(engine: &Engine, all: &[Arc<Tenant>]) -> [(State, usize); 4] {
    let states: Vec<_> = all.iter().map(|tenant| status::state(tenant).0).collect();
    let count = |state| states.iter().filter(|found| **found == state).count();
    // One whose store was lost is not taken up again.
    let is_out = |id: &Id| !all.iter().any(|tenant| tenant.id == *id);
    let lost = engine.standing().frozen().filter(|id| is_out(id)).count();
    [
        (State::Starting, count(State::Starting)),
        (State::Synced, count(State::Synced)),
        (State::Frozen, count(State::Frozen) + lost),
        (State::Draining, count(State::Draining) + engine.draining()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_tenant_whose_store_was_lost_counts_as_frozen_until_it_is_worked_for() {
        let world = World::new().await;
        let frozen = || tenants(&world.engine, &world.engine.all())[2];
        let lost = Id {
            name: "other".to_owned(),
            uid: "other".to_owned(),
            ..world.tenant.id.clone()
        };
        world.engine.standing().say(&lost, State::Frozen, "another");
        // Said before it came back.
        world
            .engine
            .standing()
            .say(&world.tenant.id, State::Frozen, "another");
        assert_eq!(frozen(), (State::Frozen, 1));
        world.engine.standing().forget(&lost);
        assert_eq!(frozen(), (State::Frozen, 0));
    }
}
