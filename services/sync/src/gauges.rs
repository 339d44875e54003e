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
        look(&engine);
    }
}

fn look(engine: &Engine) {
    engine.metrics.queue(engine.work.total());
    let all = engine.all();
    for (state, count) in tenants(engine, &all) {
        engine.metrics.tenants(state, count);
    }
    let count = |is: &dyn Fn(&Tenant) -> bool| all.iter().filter(|tenant| is(tenant)).count();
    let open = count(&|tenant| tenant.gate.view().openings > 0);
    let throttled = count(&Tenant::is_throttled);
    engine.metrics.passage(engine.gate.view(), open, throttled);
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
    use serde_json::json;
    use vcluster_resources::condition::{Reason, Status};

    use super::*;
    use crate::object::{Kind, Side};
    use crate::testing::{World, engine_config, status as status_of};

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_writes_more_than_its_allowance_is_told_so_and_counted() {
        let world = World::new().await;
        let seen = |prefix: &str| gauges(&world, prefix);
        let said = || {
            let said = status::observe(&world.tenant);
            (said.status, said.reason)
        };
        let make = async |name: &str| {
            let object = json!({"metadata": {"namespace": "team-a", "name": name}});
            let made = world.tenant.create(Side::Host, Kind::ConfigMap, &object);
            made.await.unwrap();
        };
        make("first").await;
        assert_eq!(seen("throttled"), ["throttled_tenants 0"]);
        assert_eq!(said(), (Status::True, Reason::Available));
        let limits = engine_config().tenant;
        // A quarter of a minute's worth beyond what it may have at once.
        for _ in 0..limits.writes_burst + 15 * limits.writes_per_second {
            world.tenant.host_writes.take().await;
        }
        make("second").await;
        assert_eq!(
            seen("throttled"),
            ["throttled_tenants 1", "throttled_total{side=\"host\"} 1"]
        );
        assert_eq!(said(), (Status::True, Reason::Throttled), "it is served");
        world.pass(Duration::from_mins(1)).await;
        make("third").await;
        assert_eq!(
            seen("throttled"),
            ["throttled_tenants 0", "throttled_total{side=\"host\"} 1"]
        );
        assert_eq!(said(), (Status::True, Reason::Available));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_fails_shows_as_left_alone_until_it_works_again() {
        let world = World::new().await;
        let server = &world.virtual_;
        server.script(|_call| Some(status_of(503, "ServiceUnavailable")));
        let object = json!({"metadata": {"namespace": "shop", "name": "any"}});
        let make = async || {
            let made = world.tenant.create(Side::Virtual, Kind::ConfigMap, &object);
            tokio::time::timeout(Duration::from_secs(1), made).await
        };
        let open = |is_open: u8| {
            [
                "breakers_open{side=\"host\"} 0".to_owned(),
                format!("breakers_open{{side=\"virtual\"}} {is_open}"),
            ]
        };
        assert_eq!(gauges(&world, "breakers_open"), open(0));
        for _ in 0..100 {
            assert!(!matches!(make().await, Ok(Ok(_))));
        }
        assert_eq!(gauges(&world, "breakers_open"), open(1));
        let opened = gauges(&world, "breaker_opened_total");
        assert_eq!(opened, ["breaker_opened_total{side=\"virtual\"} 1"]);
        server.script(|_call| None);
        world.tenant.reopen();
        make().await.unwrap().unwrap();
        assert_eq!(gauges(&world, "breakers_open"), open(0));
    }

    /// Those that begin so, as they are shown now.
    fn gauges(world: &World, prefix: &str) -> Vec<String> {
        look(&world.engine);
        let mut shown = world.scraped(prefix);
        shown.sort();
        shown
    }

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
