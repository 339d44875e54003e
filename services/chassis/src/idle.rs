//! The requests of one connection, counted to tell when it is idle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Counts the requests of a connection. Clones are the same.
#[derive(Debug, Clone)]
pub struct Requests {
    counts: Arc<watch::Sender<Counts>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    under_way: usize,
    ever: bool,
}

/// A request that is under way; dropped when its answer has ended.
#[derive(Debug)]
pub struct UnderWay(Requests);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.under_way -= 1);
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            counts: Arc::new(watch::Sender::new(Counts::default())),
        }
    }
}

impl Requests {
    /// Counts a request.
    pub fn begin(&self) -> UnderWay {
        self.counts.send_modify(|counts| {
            counts.under_way += 1;
            counts.ever = true;
        });
        UnderWay(self.clone())
    }

    /// Waits until nothing has been under way for `later`, or for `first` if there never was a request.
    pub async fn idle(&self, first: Duration, later: Duration) {
        let mut counts = self.counts.subscribe();
        loop {
            let now = *counts.borrow_and_update();
            let patience = if now.ever { later } else { first };
            if now.under_way > 0 {
                // The sender is ours, so it cannot be gone.
                drop(counts.changed().await);
            } else if tokio::time::timeout(patience, counts.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_mins(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_first_request_is_idle_soon() {
        let begun = Instant::now();
        Requests::default().idle(FIRST, LATER).await;
        assert_eq!(begun.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_keeps_a_connection_however_long_it_takes() {
        let requests = Requests::default();
        let begun = Instant::now();
        let watch = async {
            let under_way = requests.begin();
            tokio::time::sleep(Duration::from_secs(100_000)).await;
            drop(under_way);
        };
        tokio::join!(watch, requests.idle(FIRST, LATER));
        assert_eq!(begun.elapsed(), Duration::from_secs(100_600));
    }
}
