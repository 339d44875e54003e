//! CustomResourceDefinitions of the host, read one by one and remembered for a moment: tenants share them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::apply::with_causes;
use crate::hash::HashMap;

/// How long an answer is good. Every tenant asks about twice a minute.
const GOOD: Duration = Duration::from_secs(15);
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Where they are.
pub(super) const COLLECTION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The definitions that were asked for lately. As many as the administrator allows.
#[derive(Debug, Default)]
pub struct Definitions(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    at: Instant,
    found: Option<Arc<Value>>,
}

impl Definitions {
    /// The definition of that name, if the host has it.
    ///
    /// # Errors
    /// In a sentence: it cannot be found out.
    pub async fn get(&self, host: &Client, name: &str) -> Result<Option<Arc<Value>>, String> {
        if let Some(known) = self.locked().get(name)
            && known.at.elapsed() < GOOD
        {
            return Ok(known.found.clone());
        }
        let found = read(host, name).await?.map(Arc::new);
        let known = Known {
            at: Instant::now(),
            found: found.clone(),
        };
        self.locked().insert(name.to_owned(), known);
        Ok(found)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(host: &Client, name: &str) -> Result<Option<Value>, String> {
    let request = Request::get(format!("{COLLECTION}/{name}")).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    match tokio::time::timeout(DEADLINE, host.request::<Value>(request)).await {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(with_causes(&error)),
        Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
    }
}
