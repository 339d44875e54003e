//! Which objects use which others, both ways: pods their configmaps and secrets, ingresses their certificates.
//! No I/O.
//!
//! What goes to the host only if it is used does not go there before. An object uses what it names as long as it
//! exists on either side.

use std::collections::BTreeSet;

use crate::hash::HashMap;
use crate::object::Key;

/// The index.
#[derive(Debug, Default)]
pub struct References {
    by_user: HashMap<Key, BTreeSet<Key>>,
    by_object: HashMap<Key, BTreeSet<Key>>,
}

impl References {
    /// Says what an object uses now; returns the objects whose users have changed.
    pub fn set(&mut self, user: &Key, uses: BTreeSet<Key>) -> Vec<Key> {
        let before = self.by_user.remove(user).unwrap_or_default();
        for gone in before.difference(&uses) {
            self.unlink(gone, user);
        }
        for new in uses.difference(&before) {
            self.by_object
                .entry(new.clone())
                .or_default()
                .insert(user.clone());
        }
        let changed = before.symmetric_difference(&uses).cloned().collect();
        if !uses.is_empty() {
            self.by_user.insert(user.clone(), uses);
        }
        changed
    }

    /// The objects that use an object.
    pub fn users(&self, object: &Key) -> impl Iterator<Item = &Key> {
        self.by_object.get(object).into_iter().flatten()
    }

    /// The objects that an object uses.
    pub fn used_by(&self, user: &Key) -> impl Iterator<Item = &Key> {
        self.by_user.get(user).into_iter().flatten()
    }

    /// Whether anything uses it.
    pub fn is_used(&self, object: &Key) -> bool {
        self.by_object.contains_key(object)
    }

    fn unlink(&mut self, object: &Key, user: &Key) {
        if let Some(users) = self.by_object.get_mut(object) {
            users.remove(user);
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
    fn an_object_is_used_until_its_last_user_lets_go() {
        let mut index = References::default();
        let (one, two) = (
            Key::new(Kind::Pod, "shop", "one"),
            Key::new(Kind::Pod, "shop", "two"),
        );
        assert_eq!(index.set(&one, keys(&["a", "b"])).len(), 2);
        assert_eq!(index.set(&two, keys(&["b"])).len(), 1);
        assert_eq!(index.set(&two, keys(&["b"])), []);
        let b = Key::new(Kind::Secret, "shop", "b");
        assert_eq!(index.set(&one, keys(&[])).len(), 2);
        assert!(index.is_used(&b));
        assert_eq!(index.users(&b).collect::<Vec<_>>(), [&two]);
        index.set(&two, keys(&[]));
        assert!(!index.is_used(&b));
        assert!(index.by_user.is_empty() && index.by_object.is_empty());
    }
}
