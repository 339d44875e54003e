//! One custom kind of one tenant, from its definition inside to the watch of its objects.

use std::sync::Arc;
use std::time::Duration;

use vcluster_translate::custom::definition::Learnt;

use super::copy::{self, Error, RETRY, SOON, There};
use super::watches::Following;
use crate::engine::Engine;
use crate::object::Kind;
use crate::queue::Lane;
use crate::scan::{self, Purpose};
use crate::tenant::ingest::VirtualSink;
use crate::tenant::{About, Subject, Tenant, follow};

/// How often the definition inside is compared with what it should be.
const AGAIN: Duration = Duration::from_mins(5);

/// Follows a kind until the tenant's token is cancelled: its definition, its objects on the host, its objects inside.
/// Whatever is missing is told and waited for, and keeps no other kind waiting.
pub async fn kind(
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    kind: Kind,
    learnt: Learnt,
    following: Following,
) {
    let token = tenant.token.clone();
    let followed = async {
        define(&tenant, kind, &learnt).await;
        list(&engine, &tenant, kind).await;
        if kind.is_mirrored() {
            engine.show_all(&tenant, Lane::List);
        }
        let mut sink = VirtualSink::new(Arc::clone(&tenant), kind);
        let watched = follow::inside(&tenant, kind, move |change| sink.take(change));
        tokio::join!(watched, keep(&tenant, kind, &learnt));
    };
    token.run_until_cancelled(followed).await;
    drop(following);
}

/// Returns once the definition is there and served.
async fn define(tenant: &Tenant, kind: Kind, learnt: &Learnt) {
    let mut failures = 0;
    loop {
        let there = match copy::ensure(tenant, learnt).await {
            Ok(there) => copy::is_served(tenant, kind)
                .await
                .map(|is_served| is_served.then_some(there)),
            Err(error) => Err(error),
        };
        match there.and_then(|there| there.ok_or(Error::Wait)) {
            Ok(there) => return say(tenant, kind, there),
            Err(error) => {
                // A definition takes a moment to be served: that is no trouble yet.
                if !matches!(error, Error::Wait) || failures > SOON {
                    tenant.note(
                        About::Custom(kind, Subject::Definition),
                        Some(&error.to_string()),
                    );
                }
                tokio::time::sleep(RETRY.delay(failures).max(RETRY.base)).await;
                failures += 1;
            }
        }
    }
}

fn say(tenant: &Tenant, kind: Kind, there: There) {
    let own = "the virtual cluster has a definition of its own, which is used and left as it is";
    let remark = (there == There::Own).then(|| own.to_owned());
    tenant.note(About::Custom(kind, Subject::Remark), remark.as_deref());
    tenant.note(About::Custom(kind, Subject::Definition), None);
}

/// Keeps the definition as the host's is.
async fn keep(tenant: &Tenant, kind: Kind, learnt: &Learnt) {
    let pause = || tenant.token.run_until_cancelled(tokio::time::sleep(AGAIN));
    while pause().await.is_some() {
        match copy::ensure(tenant, learnt).await {
            Ok(there) => say(tenant, kind, there),
            Err(Error::Wait) => {}
            Err(error) => tenant.note(
                About::Custom(kind, Subject::Definition),
                Some(&error.to_string()),
            ),
        }
    }
}

/// Returns once the host's side has been listed.
async fn list(engine: &Engine, tenant: &Tenant, kind: Kind) {
    let mut failures = 0;
    if kind.is_mirrored() {
        return;
    }
    while let Err(error) = scan::list_host(engine, tenant, kind, Purpose::First).await {
        let text = format!("its objects on the host cannot be listed: {error}");
        tenant.note(About::Custom(kind, Subject::Host), Some(&text));
        tokio::time::sleep(RETRY.delay(failures).max(RETRY.base)).await;
        failures += 1;
    }
    tenant.note(About::Custom(kind, Subject::Host), None);
}
