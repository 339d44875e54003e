//! What access counts: questions, and where their answers came from.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::metrics::Registry;

/// Counters of reviewers and authorizers. Made once per process, cloned to each of them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    answers: Family<Labels, Counter>,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Question {
    Token,
    Access,
}

/// Where the answer came from, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Answered {
    CachedYes,
    CachedNo,
    Yes,
    No,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    question: Question,
    answer: Answered,
}

impl Metrics {
    /// Adds the family to the registry as `access_answers`.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let access = registry.sub_registry("access");
        access.register(
            "answers",
            "Questions about tokens and rights, by answer",
            this.answers.clone(),
        );
        this
    }

    pub(super) fn count(&self, question: Question, answer: Answered) {
        self.answers
            .get_or_create(&Labels { question, answer })
            .inc();
    }
}
