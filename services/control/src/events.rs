//! Events on virtual clusters, for people who ask `kubectl describe`.
//!
//! Told once per change, because planning compares with the stored status; what repeats all the same
//! is counted up by the recorder. An event that cannot be written is logged and forgotten: the
//! status says the same.

use std::fmt;
use std::time::Duration;

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use vcluster_resources::VirtualCluster;
use vcluster_resources::ownership::CONTROL;

use crate::plan::{Notice, NoticeKind};

/// The longest that an event may hold up its cluster.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest note that the API takes.
const LONGEST: usize = 1024;

/// Writes events.
#[derive(Clone)]
pub struct Teller {
    recorder: Recorder,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// A teller that signs as this instance.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: CONTROL.to_owned(),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Tells people of a virtual cluster.
    pub async fn tell(&self, cluster: &VirtualCluster, notice: &Notice) {
        let mut note = notice.note.clone();
        if note.len() > LONGEST {
            let end = (0..=LONGEST)
                .rev()
                .find(|end| note.is_char_boundary(*end))
                .unwrap_or(0);
            note.truncate(end);
        }
        let event = Event {
            type_: match notice.kind {
                NoticeKind::Normal => EventType::Normal,
                NoticeKind::Warning => EventType::Warning,
            },
            reason: notice.reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = cluster.object_ref(&());
        match tokio::time::timeout(DEADLINE, self.recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, reason = notice.reason, "event not written"),
            Err(_elapsed) => tracing::debug!(reason = notice.reason, "event not written in time"),
        }
    }
}
