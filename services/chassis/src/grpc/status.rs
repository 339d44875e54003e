//! `grpc.health.v1`, fed from the process' own readiness.

use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::drain::Shutdown;
use crate::health::Health;

/// A client that watches health is told at once; this only bounds how long a missed change lasts.
const REFRESH: Duration = Duration::from_secs(30);

/// Makes the health service; every service, and the server as a whole, is as ready as the process.
pub(super) fn health(
    services: &[&'static str],
    health: &Health,
    shutdown: &Shutdown,
) -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    let mut names = services.to_vec();
    // The empty name stands for the whole server (grpc.health.v1).
    names.push("");
    let follow = follow(reporter.clone(), names, health.clone(), shutdown.clone());
    shutdown.spawn("grpc health", follow);
    HealthServer::new(HealthService::from_health_reporter(reporter))
}

async fn follow(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    health: Health,
    shutdown: Shutdown,
) {
    let begun = shutdown.token();
    let mut gates = health.subscribe();
    loop {
        let status = if health.is_ready() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in &names {
            reporter.set_service_status(name, status).await;
        }
        if begun.is_cancelled() {
            return;
        }
        tokio::select! {
            _ = gates.changed() => {}
            () = begun.cancelled() => {}
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}
