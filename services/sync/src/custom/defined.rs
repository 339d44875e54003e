//! Kinds of the table that a CustomResourceDefinition defines, such as volume snapshots: followed inside where the host
//! has them, with its definition copied.
//!
//! A host without them is the usual case: it is asked once a minute, and nothing waits for it. A definition that the
//! tenant installed himself is used and left as it is. Of a kind that the policy turns off none is made.

use std::sync::Arc;
use std::time::Duration;

use vcluster_translate::custom::definition;
use vcluster_translate::policy;

use super::copy::{self, Error, RETRY, SOON};
use crate::engine::Engine;
use crate::object::{Kind, Side};
use crate::queue::Lane;
use crate::tenant::ingest::VirtualSink;
use crate::tenant::{Tenant, follow};
use crate::watch::Change;

/// How often a host without the definition is asked for it, and the copy compared with it.
const AGAIN: Duration = Duration::from_mins(1);

/// How the definition is there.
enum There {
    /// The host has none.
    Lacking,
    /// It is, as far as it can be.
    Settled,
    /// In a moment.
    Soon,
}

/// Follows a kind until the tenant's token is cancelled.
pub async fn kind(engine: Arc<Engine>, tenant: Arc<Tenant>, kind: Kind) {
    let token = tenant.token.clone();
    let followed = async {
        wait_until_served(&engine, &tenant, kind).await;
        let sink = sink(&engine, &tenant, kind);
        tokio::join!(
            follow::inside(&tenant, kind, sink),
            keep(&engine, &tenant, kind)
        );
    };
    token.run_until_cancelled(followed).await;
}

/// Returns once the virtual API server serves the kind. It counts as listed before, as nothing of it can be there.
async fn wait_until_served(engine: &Engine, tenant: &Tenant, kind: Kind) {
    let mut failures = 0;
    loop {
        match copy::is_served(tenant, kind).await {
            Ok(true) => return,
            Ok(false) => {
                tenant.unserved(Side::Virtual, kind);
                let pause = match define(engine, tenant, kind).await {
                    There::Lacking => AGAIN,
                    There::Settled if failures > SOON => AGAIN,
                    There::Settled | There::Soon => RETRY.delay(failures).max(RETRY.base),
                };
                tokio::time::sleep(pause).await;
            }
            // The link to the virtual cluster is watched by others.
            Err(_) => tokio::time::sleep(RETRY.delay(failures).max(RETRY.base)).await,
        }
        failures += 1;
    }
}

/// Does one step towards the copy of the host's definition.
async fn define(engine: &Engine, tenant: &Tenant, kind: Kind) -> There {
    let Some(name) = kind
        .definition()
        .filter(|_| !policy::is_off(kind, &tenant.context))
    else {
        return There::Lacking;
    };
    let host = match engine
        .definitions
        .get(&engine.host.own.request, &name)
        .await
    {
        Ok(Some(host)) => host,
        Ok(None) => return There::Lacking,
        Err(error) => {
            tracing::debug!(%kind, error, "the host's definition cannot be read");
            return There::Soon;
        }
    };
    let learnt = match definition::of_kind(&host, kind) {
        Ok(learnt) => learnt,
        Err(error) => {
            tracing::debug!(%kind, %error, "the host's definition does not fit");
            return There::Lacking;
        }
    };
    match copy::ensure(tenant, &learnt).await {
        Ok(_) => There::Settled,
        Err(Error::Wait) => There::Soon,
        Err(error @ (Error::Unfit | Error::Request(_))) => {
            tracing::info!(tenant = %tenant.id, %kind, %error, "not defined inside");
            There::Lacking
        }
    }
}

/// Keeps the copy as the host's definition is.
async fn keep(engine: &Engine, tenant: &Tenant, kind: Kind) {
    let sleep = |pause| tenant.token.run_until_cancelled(tokio::time::sleep(pause));
    let mut pause = Duration::ZERO;
    while sleep(pause).await.is_some() {
        pause = match define(engine, tenant, kind).await {
            There::Soon => RETRY.cap,
            There::Settled | There::Lacking => AGAIN,
        };
    }
}

/// Takes what the watch says. What is shown of the host was passed over while the kind was not served.
fn sink(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    kind: Kind,
) -> impl FnMut(Change) + Send + use<> {
    let (engine, tenant) = (Arc::clone(engine), Arc::clone(tenant));
    let mut sink = VirtualSink::new(Arc::clone(&tenant), kind);
    move |change| {
        let is_end = matches!(change, Change::End);
        sink.take(change);
        if is_end && kind.is_mirrored() && tenant.is_ready() {
            engine.show_all(&tenant, Lane::List);
        }
    }
}

#[cfg(test)]
mod tests;
