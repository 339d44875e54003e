//! The newest objects in full, within a budget. No I/O.
//!
//! An object is kept as text from its event until it is pushed out by newer ones: mostly long enough to be
//! worked on. What has been pushed out is read again from its API server, so that the budget bounds
//! memory and never correctness.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value;

use crate::hash::HashMap;
use crate::object::{Key, Side};

/// Objects in full, oldest out first.
#[derive(Debug)]
pub struct Bodies {
    budget: usize,
    size: usize,
    next: u64,
    kept: HashMap<(Side, Key), Kept>,
    order: VecDeque<(u64, Side, Key)>,
}

struct Kept {
    number: u64,
    text: Box<[u8]>,
}

impl fmt::Debug for Kept {
    /// Without the text, which may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

impl Bodies {
    /// Makes it for so many bytes of text.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            size: 0,
            next: 0,
            kept: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Keeps an object, in place of an older version.
    pub fn put(&mut self, side: Side, key: &Key, object: &Value) {
        let Ok(text) = serde_json::to_vec(object) else {
            // Out of JSON, back to JSON: cannot fail; and if so, it is read again.
            return self.drop(side, key);
        };
        self.drop(side, key);
        self.next += 1;
        self.size += text.len();
        let kept = Kept {
            number: self.next,
            text: text.into_boxed_slice(),
        };
        self.kept.insert((side, key.clone()), kept);
        self.order.push_back((self.next, side, key.clone()));
        self.shrink();
    }

    /// The object, if it is still here.
    pub fn get(&self, side: Side, key: &Key) -> Option<Value> {
        let kept = self.kept.get(&(side, key.clone()))?;
        serde_json::from_slice(&kept.text).ok()
    }

    /// Forgets an object.
    pub fn drop(&mut self, side: Side, key: &Key) {
        if let Some(kept) = self.kept.remove(&(side, key.clone())) {
            self.size -= kept.text.len();
        }
        if self.order.len() > 2 * self.kept.len() + 16 {
            let kept = &self.kept;
            self.order.retain(|(number, side, key)| {
                kept.get(&(*side, key.clone()))
                    .is_some_and(|kept| kept.number == *number)
            });
        }
    }

    fn shrink(&mut self) {
        while self.size > self.budget {
            let Some((number, side, key)) = self.order.pop_front() else {
                return;
            };
            let place = (side, key);
            let current = self
                .kept
                .get(&place)
                .is_some_and(|kept| kept.number == number);
            if current && let Some(kept) = self.kept.remove(&place) {
                self.size -= kept.text.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Kind;

    #[test]
    fn the_oldest_go_when_the_budget_is_spent_and_memory_stays_bounded() {
        let mut bodies = Bodies::new(200);
        let key = |n: u32| Key::new(Kind::Pod, "shop", &n.to_string());
        for n in 0..1000 {
            bodies.put(
                Side::Virtual,
                &key(n),
                &json!({"n": n, "text": "0123456789"}),
            );
            bodies.put(Side::Virtual, &key(7), &json!({"n": n}));
        }
        assert_eq!(bodies.get(Side::Virtual, &key(7)), Some(json!({"n": 999})));
        assert_eq!(bodies.get(Side::Host, &key(7)), None);
        assert_eq!(bodies.get(Side::Virtual, &key(0)), None);
        assert!(bodies.size <= 200 && bodies.order.len() < 100);
    }
}
