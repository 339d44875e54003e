//! `Resync`: has keys looked at again, in the lane of the scan.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::explain::{key, kind};
use super::refuse::{too_often, unavailable};
use super::request::{Asked, wrong};
use crate::object::{Key, Kind};
use crate::queue::Lane;
use crate::tenant::{Tenant, needs_looks};

/// The least time between two calls that name no object.
const PAUSE: Duration = Duration::from_mins(1);

/// Has what is asked for looked at; tells how many objects that is.
pub(super) fn of_tenant(tenant: &Tenant, asked: &Asked) -> Result<usize, Status> {
    if !tenant.is_ready() {
        return Err(unavailable(
            "the virtual cluster is being listed for the first time: all its objects are looked at then",
        ));
    }
    let wanted = match asked.kind.as_str() {
        "" => None,
        text => {
            let found = kind(tenant, text)?;
            let known = || tenant.context.kinds().map(Kind::as_str);
            let found = found.ok_or_else(|| {
                let known: Vec<_> = known().collect();
                wrong("kind", &format!("must be one of {}", known.join(", ")))
            })?;
            Some(found)
        }
    };
    if let (Some(kind), false) = (wanted, asked.name.is_empty()) {
        return one(tenant, key(kind, asked)?);
    }
    let mut last = tenant
        .resynced
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if last.is_some_and(|last| last.elapsed() < PAUSE) {
        return Err(too_often(
            "the objects of this virtual cluster were all looked at less than a minute ago: name a \
             single object, or try again later",
        ));
    }
    *last = Some(Instant::now());
    drop(last);
    Ok(many(tenant, wanted, &asked.namespace))
}

fn one(tenant: &Tenant, key: Key) -> Result<usize, Status> {
    if !tenant.questions.try_take() {
        return Err(too_often(
            "too many objects of this virtual cluster are asked about; try again in a second",
        ));
    }
    // What is known of it may be wrong: that is why somebody asks.
    tenant.doubt(&key);
    tenant.add(key, Lane::Scan);
    Ok(1)
}

fn many(tenant: &Tenant, kind: Option<Kind>, namespace: &str) -> usize {
    let state = tenant.state();
    let asked = |key: &&Key| {
        kind.is_none_or(|kind| key.kind == kind)
            && (namespace.is_empty() || *key.name.namespace == *namespace)
            && needs_looks(&state, key)
    };
    let keys: Vec<_> = state.all_keys().filter(asked).cloned().collect();
    drop(state);
    let count = keys.len();
    for key in keys {
        tenant.add(key, Lane::Scan);
    }
    count
}
