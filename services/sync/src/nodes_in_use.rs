//! Which nodes a tenant's pods are on, on either side. No I/O.
//!
//! A node that is shown only while it is used must be there before the virtual pod is bound, which the host pod tells,
//! and as long as the virtual pod names it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::hash::HashMap;
use crate::object::{Name, Side};

/// The index.
#[derive(Debug, Default)]
pub struct NodesInUse {
    by_pod: HashMap<(Side, Name), Arc<str>>,
    pods: HashMap<Arc<str>, usize>,
    changed: BTreeSet<Arc<str>>,
}

impl NodesInUse {
    /// Says on which node a pod is on one side; on none if it is gone or waits.
    pub fn set(&mut self, side: Side, pod: &Name, node: Option<&str>) {
        let place = (side, pod.clone());
        if self.by_pod.get(&place).map(AsRef::as_ref) == node {
            return;
        }
        if let Some(left) = self.by_pod.remove(&place) {
            self.leave(&left);
        }
        if let Some(node) = node {
            let node = self.enter(node);
            self.by_pod.insert(place, node);
        }
    }

    /// Whether a pod is on it.
    pub fn is_used(&self, node: &str) -> bool {
        self.pods.contains_key(node)
    }

    /// Nodes that have come into use or gone out of it since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.changed)
    }

    fn enter(&mut self, node: &str) -> Arc<str> {
        if let Some((known, _)) = self.pods.get_key_value(node) {
            let known = Arc::clone(known);
            self.pods
                .entry(Arc::clone(&known))
                .and_modify(|count| *count += 1);
            return known;
        }
        let node: Arc<str> = Arc::from(node);
        self.pods.insert(Arc::clone(&node), 1);
        self.changed.insert(Arc::clone(&node));
        node
    }

    fn leave(&mut self, node: &Arc<str>) {
        let Some(count) = self.pods.get_mut(node) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.pods.remove(node);
            self.changed.insert(Arc::clone(node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_used_while_a_pod_of_either_side_is_on_it() {
        let mut nodes = NodesInUse::default();
        let (one, two) = (Name::new("shop", "one"), Name::new("shop", "two"));
        let changed = |nodes: &mut NodesInUse| {
            let changed = nodes.take_changed();
            changed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        nodes.set(Side::Host, &one, Some("a"));
        assert_eq!(changed(&mut nodes), ["a"]);
        nodes.set(Side::Virtual, &one, Some("a"));
        nodes.set(Side::Host, &two, Some("a"));
        nodes.set(Side::Host, &one, None);
        nodes.set(Side::Host, &two, Some("b"));
        assert_eq!(changed(&mut nodes), ["b"]);
        assert!(nodes.is_used("a") && nodes.is_used("b"));
        nodes.set(Side::Virtual, &one, None);
        assert_eq!(changed(&mut nodes), ["a"]);
        assert!(!nodes.is_used("a"));
    }
}
