//! Answers that are good for seconds, one call per question at a time.
//!
//! moka bounds the number of entries and lets callers with the same question share one call. Freshness
//! is kept beside each entry and measured with tokio's clock, which tests can move.

use std::hash::Hash;
use std::time::Duration;

use futures::future::BoxFuture;
use moka::future::Cache;
use tokio::time::Instant;

use super::metrics::{Answered, Metrics, Question};

/// Sizes and lifetimes of a cache of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// Most answers that are kept.
    pub capacity: u64,
    /// How long a yes is good; a revoked right lives on for as long.
    pub positive: Duration,
    /// How long a no is good; a new right is missed for as long.
    pub negative: Duration,
}

impl CacheConfig {
    /// For tokens: 10,000 of them, 10 s and 2 s.
    pub const TOKENS: Self = Self {
        capacity: 10_000,
        positive: Duration::from_secs(10),
        negative: Duration::from_secs(2),
    };
    /// For decisions: 50,000 of them, 10 s and 5 s.
    pub const DECISIONS: Self = Self {
        capacity: 50_000,
        positive: Duration::from_secs(10),
        negative: Duration::from_secs(5),
    };
}

/// An answer that is worth keeping.
pub(super) trait Answer: Clone + Send + Sync + 'static {
    fn is_yes(&self) -> bool;
}

#[derive(Debug, Clone)]
struct Entry<A> {
    answer: A,
    good_until: Instant,
}

pub(super) struct Answers<K, A> {
    entries: Cache<K, Entry<A>>,
    config: CacheConfig,
    question: Question,
}

impl<K, A> Answers<K, A>
where
    K: Hash + Eq + Send + Sync + 'static,
    A: Answer,
{
    pub(super) fn new(question: Question, config: CacheConfig) -> Self {
        let entries = Cache::builder()
            .max_capacity(config.capacity)
            // Frees the memory of what nobody asks for again.
            .time_to_live(config.positive.max(config.negative))
            .build();
        Self {
            entries,
            config,
            question,
        }
    }

    /// Gives a fresh answer, asking for it at most once at a time. Errors are shared, not kept.
    pub(super) async fn get<'a, E>(
        &self,
        metrics: &Metrics,
        key: K,
        ask: impl FnOnce() -> BoxFuture<'a, Result<A, E>>,
    ) -> Result<A, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        if let Some(entry) = self.entries.get(&key).await {
            if Instant::now() < entry.good_until {
                let yes = entry.answer.is_yes();
                metrics.count(
                    self.question,
                    if yes {
                        Answered::CachedYes
                    } else {
                        Answered::CachedNo
                    },
                );
                return Ok(entry.answer);
            }
            // Two callers may both find it stale; the worst is one call too many.
            self.entries.invalidate(&key).await;
        }
        let asked = self.asked(ask());
        // Boxed, as moka's future is large and this path is rare.
        match Box::pin(self.entries.try_get_with(key, asked)).await {
            Ok(entry) => {
                let yes = entry.answer.is_yes();
                metrics.count(
                    self.question,
                    if yes { Answered::Yes } else { Answered::No },
                );
                Ok(entry.answer)
            }
            Err(error) => {
                metrics.count(self.question, Answered::Failed);
                Err(E::clone(&error))
            }
        }
    }

    async fn asked<E>(&self, ask: BoxFuture<'_, Result<A, E>>) -> Result<Entry<A>, E> {
        let answer = ask.await?;
        let good_for = if answer.is_yes() {
            self.config.positive
        } else {
            self.config.negative
        };
        Ok(Entry {
            answer,
            good_until: Instant::now() + good_for,
        })
    }
}
