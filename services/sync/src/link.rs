//! Whether a virtual API server can be reached.
//!
//! A failed watch or request makes the link *suspect*; it is then asked at once, and again until it answers.
//! While it is down the tenant is frozen: what cannot be seen is not acted on, in either direction. The link
//! decides by answers only, never by silence of a watch. A server that answers after a suspicion may have been
//! restarted: whoever holds the link makes sure that it is as it was before it counts as up.

use std::time::Duration;

use futures::future::BoxFuture;
use http::Request;
use kube::Client;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::guard::{self, Guard};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a server that does not answer is asked.
const AGAIN: Duration = Duration::from_secs(2);
/// The least time between two suspicions.
const SUSPICION: Duration = Duration::from_millis(500);
/// How often one is asked of which nothing bad is known.
const IDLE: Duration = Duration::from_secs(30);

/// The state of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Why, for people.
        reason: String,
    },
}

/// The link to one virtual API server.
#[derive(Debug)]
pub struct Link {
    reach: watch::Sender<Reach>,
    suspect: Notify,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            reach: watch::Sender::new(Reach::Up),
            suspect: Notify::new(),
        }
    }
}

impl Link {
    /// Says that something failed; the server is asked at once.
    pub fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        *self.reach.borrow() == Reach::Up
    }

    /// Its state.
    pub fn reach(&self) -> Reach {
        self.reach.borrow().clone()
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    /// Asks whenever there is a reason to, until the token is cancelled. `confirm` is awaited each time the server
    /// answers after a suspicion: it counts as up only if that says so; `thawed` is called each time it was down and is up again.
    pub async fn watch(
        &self,
        client: Client,
        token: CancellationToken,
        confirm: impl Fn() -> BoxFuture<'static, bool> + Send,
        thawed: impl Fn() + Send,
    ) {
        let mut asked = None;
        while let Some(suspect) = token.run_until_cancelled(self.reason_to_ask(asked)).await {
            let mut reach = ask(&client).await;
            asked = Some(Instant::now());
            let must_confirm =
                suspect && reach == Reach::Up && guard::stands(Guard::ReturnIsConfirmed);
            if must_confirm && token.run_until_cancelled(confirm()).await != Some(true) {
                let reason = "it is not known yet whether it is as it was".to_owned();
                reach = Reach::Down { reason };
            }
            let was_up = self.is_up();
            self.reach
                .send_if_modified(|now| std::mem::replace(now, reach.clone()) != reach);
            match (was_up, self.is_up()) {
                (true, false) => {
                    tracing::warn!(?reach, "virtual API server cannot be reached: frozen");
                }
                (false, true) => {
                    tracing::info!("virtual API server answers again");
                    thawed();
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// Waits for one; tells whether it is a suspicion.
    async fn reason_to_ask(&self, asked: Option<Instant>) -> bool {
        if !self.is_up() {
            tokio::time::sleep(AGAIN).await;
            return true;
        }
        let suspected = async {
            self.suspect.notified().await;
            if let Some(asked) = asked {
                tokio::time::sleep_until(asked + SUSPICION).await;
            }
        };
        tokio::select! {
            biased;
            () = suspected => true,
            () = tokio::time::sleep(IDLE) => false,
        }
    }
}

async fn ask(client: &Client) -> Reach {
    let request = match Request::get("/readyz").body(Vec::new()) {
        Ok(request) => request,
        Err(error) => {
            let reason = error.to_string();
            return Reach::Down { reason };
        }
    };
    let reason = match tokio::time::timeout(DEADLINE, client.request_text(request)).await {
        Ok(Ok(_)) => return Reach::Up,
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer within {DEADLINE:?}"),
    };
    Reach::Down { reason }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use serde_json::json;
    use vcluster_chassis::testing::{ApiServer, json as answer};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_suspect_link_goes_down_by_an_answer_and_comes_up_by_one() {
        let well = Arc::new(AtomicBool::new(false));
        let server = ApiServer::new({
            let well = Arc::clone(&well);
            move |_call| {
                if well.load(Ordering::Acquire) {
                    return answer(200, "ok");
                }
                answer(503, json!({"kind": "Status", "code": 503, "message": "no"}))
            }
        });
        let (link, thaws) = (Arc::new(Link::default()), Arc::new(AtomicUsize::new(0)));
        let confirmed = Arc::new(AtomicUsize::new(0));
        let token = CancellationToken::new();
        let task = tokio::spawn({
            let (link, thaws, token) = (Arc::clone(&link), Arc::clone(&thaws), token.clone());
            let (client, confirmed) = (server.client(), Arc::clone(&confirmed));
            async move {
                let thawed = || {
                    thaws.fetch_add(1, Ordering::AcqRel);
                };
                // Not at once: it is asked again.
                let confirm = move || -> BoxFuture<'static, bool> {
                    let asked = confirmed.fetch_add(1, Ordering::AcqRel);
                    Box::pin(std::future::ready(asked > 0))
                };
                link.watch(client, token, confirm, thawed).await;
            }
        });
        let mut reach = link.subscribe();
        link.suspect();
        reach.wait_for(|reach| *reach != Reach::Up).await.unwrap();
        assert!(!link.is_up());
        well.store(true, Ordering::Release);
        reach.wait_for(|reach| *reach == Reach::Up).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(thaws.load(Ordering::Acquire), 1);
        assert_eq!(confirmed.load(Ordering::Acquire), 2);
        token.cancel();
        task.await.unwrap();
    }
}
