//! Chance that can be repeated, on one thread.

use std::cell::RefCell;

use rand::SeedableRng;
use rand::rngs::StdRng;

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// While it lives, the chance of this thread follows from the seed.
#[derive(Debug)]
#[must_use]
pub struct Seeded(());

/// Seeds the chance of this thread.
pub fn seed(seed: u64) -> Seeded {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
    Seeded(())
}

impl Drop for Seeded {
    fn drop(&mut self) {
        SEEDED.set(None);
    }
}

/// What the seeded chance gives; nothing if this thread's is not seeded.
pub(super) fn with<T>(draw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(draw))
}

#[cfg(test)]
mod tests {
    use crate::chance::{draw, number, seed};

    #[test]
    fn the_same_seed_gives_the_same_chance_and_only_while_it_is_held() {
        let run = || {
            let _seeded = seed(7);
            (draw().to_bits(), number(), draw().to_bits())
        };
        assert_eq!(run(), run());
        assert_ne!(number(), number());
    }
}
