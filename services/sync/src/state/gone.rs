//! Objects that are gone, for as long as late news may speak of them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hash::HashSet;

/// UIDs of objects that are gone. A UID never comes back, but a list, or the answer to a delete, may speak of it
/// after its delete event has come.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) uids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Gone {
    /// Late news is seconds late; so many objects do not vanish within seconds.
    pub(super) const KEPT: usize = 2048;

    pub(super) fn add(&mut self, uid: &str) {
        let uid: Arc<str> = Arc::from(uid);
        if self.uids.insert(Arc::clone(&uid)) {
            self.order.push_back(uid);
        }
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }
}
