//! CustomResourceDefinitions of the host, read one by one and remembered: tenants share them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::custom::definition;

use crate::apply::with_causes;
use crate::deadline::{REQUEST, within};
use crate::hash::HashMap;

/// How long an answer is good. Every tenant asks about twice a minute.
const GOOD: Duration = Duration::from_secs(15);
/// Where they are.
pub(super) const COLLECTION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How long a failure is: whoever waited for the answer meanwhile does not ask once more.
const BAD: Duration = Duration::from_secs(1);

/// The definitions that were asked for lately. As many as the administrator allows.
#[derive(Debug, Default)]
pub struct Definitions(Mutex<HashMap<String, Slot>>);

/// What is known of one definition. Locked while it is read, which has a deadline: the others want the same answer.
type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

#[derive(Debug)]
struct Known {
    at: Instant,
    found: Result<Option<Arc<Value>>, String>,
}

impl Known {
    fn is_good(&self) -> bool {
        let good = if self.found.is_ok() { GOOD } else { BAD };
        self.at.elapsed() < good
    }
}

impl Definitions {
    /// The definition of that name, if the host has it.
    ///
    /// # Errors
    /// In a sentence: it cannot be found out.
    pub async fn get(&self, host: &Client, name: &str) -> Result<Option<Arc<Value>>, String> {
        let slot = Arc::clone(self.locked().entry(name.to_owned()).or_default());
        let mut known = slot.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.is_good()) {
            return known.found.clone();
        }
        let read = read(host, name).await;
        let read = read.map(|found| found.map(|host| Arc::new(definition::prune(&host))));
        // Who holds the old one goes on with it, as long as it says the same: they are large.
        let before = known.take().map(|known| known.found);
        let found = before.filter(|before| *before == read).unwrap_or(read);
        let at = Instant::now();
        let newest = known.insert(Known { at, found });
        newest.found.clone()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(host: &Client, name: &str) -> Result<Option<Value>, String> {
    let request = Request::get(format!("{COLLECTION}/{name}")).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    match within(REQUEST, host.request::<Value>(request)).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(with_causes(&error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vcluster_chassis::testing::{ApiServer, json as answer};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tenants_that_ask_at_the_same_time_read_it_once() {
        let server = ApiServer::new(|_call| answer(200, json!({"metadata": {"name": "a"}})));
        let (definitions, client) = (Definitions::default(), server.client());
        let all = (0..5).map(|_| definitions.get(&client, "gadgets.test.io"));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|found| matches!(found, Ok(Some(_)))));
        assert_eq!(server.calls().len(), 1);
        tokio::time::advance(GOOD).await;
        let again = definitions.get(&client, "gadgets.test.io").await.unwrap();
        assert_eq!(server.calls().len(), 2);
        let first = all[0].clone().unwrap();
        assert!(
            Arc::ptr_eq(&again.unwrap(), &first.unwrap()),
            "it says the same"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_a_failure_does_not_ask_at_once() {
        let server = ApiServer::new(|_call| answer(503, json!({"kind": "Status", "code": 503})));
        let (definitions, client) = (Definitions::default(), server.client());
        let all = (0..5).map(|_| definitions.get(&client, "gadgets.test.io"));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(server.calls().len(), 1);
        tokio::time::advance(BAD).await;
        assert!(definitions.get(&client, "gadgets.test.io").await.is_err());
        assert_eq!(server.calls().len(), 2);
    }
}
