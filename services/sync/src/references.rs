//! Which pods use which configmaps and secrets, both ways. No I/O.
//!
//! An object that no pod uses does not go to the host. A pod uses what it names as long as it exists on
//! either side.

use std::collections::{BTreeSet, HashMap};

use crate::object::{Key, Name};

/// The index.
#[derive(Debug, Default)]
pub struct References {
    by_pod: HashMap<Name, BTreeSet<Key>>,
    by_object: HashMap<Key, BTreeSet<Name>>,
}

impl References {
    /// Says what a pod uses now; returns the objects whose users have changed.
    pub fn set(&mut self, pod: &Name, uses: BTreeSet<Key>) -> Vec<Key> {
        let before = self.by_pod.remove(pod).unwrap_or_default();
        for gone in before.difference(&uses) {
            self.unlink(gone, pod);
        }
        for new in uses.difference(&before) {
            self.by_object
                .entry(new.clone())
                .or_default()
                .insert(pod.clone());
        }
        let changed = before.symmetric_difference(&uses).cloned().collect();
        if !uses.is_empty() {
            self.by_pod.insert(pod.clone(), uses);
        }
        changed
    }

    /// What a pod uses.
    pub fn of_pod(&self, pod: &Name) -> impl Iterator<Item = &Key> {
        self.by_pod.get(pod).into_iter().flatten()
    }

    /// The pods that use an object.
    pub fn users(&self, object: &Key) -> impl Iterator<Item = &Name> {
        self.by_object.get(object).into_iter().flatten()
    }

    /// Whether any pod uses it.
    pub fn is_used(&self, object: &Key) -> bool {
        self.by_object.contains_key(object)
    }

    fn unlink(&mut self, object: &Key, pod: &Name) {
        if let Some(users) = self.by_object.get_mut(object) {
            users.remove(pod);
            if users.is_empty() {
                self.by_object.remove(object);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    fn keys(names: &[&str]) -> BTreeSet<Key> {
        names
            .iter()
            .map(|name| Key::new(Kind::Secret, "shop", name))
            .collect()
    }

    #[test]
    fn an_object_is_used_until_its_last_pod_lets_go() {
        let mut index = References::default();
        let (one, two) = (Name::new("shop", "one"), Name::new("shop", "two"));
        assert_eq!(index.set(&one, keys(&["a", "b"])).len(), 2);
        assert_eq!(index.set(&two, keys(&["b"])).len(), 1);
        assert_eq!(index.set(&two, keys(&["b"])), []);
        let b = Key::new(Kind::Secret, "shop", "b");
        assert_eq!(index.set(&one, keys(&[])).len(), 2);
        assert!(index.is_used(&b));
        assert_eq!(index.users(&b).collect::<Vec<_>>(), [&two]);
        index.set(&two, keys(&[]));
        assert!(!index.is_used(&b));
        assert!(index.by_pod.is_empty() && index.by_object.is_empty());
    }
}
