//! Following one collection of an API server: lists in pages, then watches, for ever.
//!
//! kube's watcher does the protocol: bookmarks are asked for, a broken watch resumes where it was, 410 lists
//! this collection again and no other. Lists are consistent reads (no `resourceVersion`), because what is
//! missing from one has consequences. Here are the back-off, the deadline for silence, and the warning.

use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;
use vcluster_chassis::retry::Policy;

use crate::guard::{self, Guard};
use crate::object::Object;
use crate::pool;

/// Objects per page of a list.
const PAGE: u32 = 250;
/// By how much pages become shorter when one is too large: a page of the largest objects fits after three times.
const SHORTER: u32 = 4;
/// Delays after an error. A watch that cannot be had is asked for every few seconds, for ever.
const RETRY: Policy = Policy {
    base: Duration::from_millis(200),
    factor: 2.0,
    cap: Duration::from_secs(5),
};

/// When a server is asked again for a kind that it does not serve.
const UNSERVED: Duration = Duration::from_mins(1);

/// What has happened in the collection.
#[derive(Debug)]
pub enum Change {
    /// A complete list begins.
    Begin,
    /// The list holds this.
    Listed(Object),
    /// The list is complete.
    End,
    /// This was made or changed.
    Applied(Object),
    /// This is gone.
    Deleted(Object),
    /// The server does not serve this kind; it is asked again later.
    Unserved,
    /// The collection cannot be followed at the moment; it is tried again.
    Failed(watcher::Error),
}

/// Which of the collection's objects are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// By a label and its value.
    pub labels: Option<Labels>,
    /// By fields.
    pub fields: Option<String>,
}

/// A label by which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// Those that have it with this value.
    With(&'static str, &'static str),
    /// Those that do not.
    Without(&'static str, &'static str),
}

impl Labels {
    fn selector(self) -> String {
        match self {
            Self::With(label, value) => format!("{label}={value}"),
            Self::Without(label, value) => format!("{label}!={value}"),
        }
    }
}

/// Follows the collection until the token is cancelled.
pub async fn follow(
    api: Api<Object>,
    selection: Selection,
    token: CancellationToken,
    mut sink: impl FnMut(Change) + Send,
) {
    let mut config = watcher::Config::default().page_size(PAGE);
    config.label_selector = selection.labels.map(Labels::selector);
    config.field_selector = selection.fields;
    let mut events = watcher(api.clone(), config.clone()).boxed();
    let mut failures = 0;
    while let Some(Some(event)) = token.run_until_cancelled(events.next()).await {
        let change = match event {
            Ok(Event::Init) => Change::Begin,
            Ok(Event::InitApply(object)) => Change::Listed(object),
            Ok(Event::InitDone) => Change::End,
            Ok(Event::Apply(object)) => Change::Applied(object),
            Ok(Event::Delete(object)) => Change::Deleted(object),
            Err(error) if is_unserved(&error) => Change::Unserved,
            Err(error) => Change::Failed(error),
        };
        if matches!(change, Change::Unserved) {
            sink(change);
            let pause = tokio::time::sleep(UNSERVED);
            if token.run_until_cancelled(pause).await.is_none() {
                return;
            }
            // Whatever was followed before is no more: it begins with a list.
            events = watcher(api.clone(), config.clone()).boxed();
            continue;
        }
        let failed = matches!(change, Change::Failed(_));
        if failed && !guard::stands(Guard::WatchResumes) {
            events = watcher(api.clone(), config.clone()).boxed();
        }
        if let Change::Failed(watcher::Error::InitialListFailed(error)) = &change
            && is_too_large(error)
        {
            let page = config.page_size.unwrap_or(PAGE) / SHORTER;
            config = config.page_size(page.max(1));
            events = watcher(api.clone(), config.clone()).boxed();
        }
        // Every list begins with an event that says nothing about the server's health.
        let begins = matches!(change, Change::Begin);
        sink(change);
        if failed {
            let delay = RETRY.delay(failures);
            failures += 1;
            if token
                .run_until_cancelled(tokio::time::sleep(delay))
                .await
                .is_none()
            {
                return;
            }
        } else if !begins {
            failures = 0;
        }
    }
}

/// Whether the answer was larger than what is read.
fn is_too_large(error: &kube::Error) -> bool {
    let kube::Error::Service(cause) = error else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(pool::Error::TooLarge(_)))
}

/// Whether the server has no such collection. While it starts, an API server says 503 and not 404.
fn is_unserved(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) => cause,
        watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return false,
    };
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}
