//! Chance: the jitter of delays and the random part of names.
//!
//! One place, so that a simulation can repeat it: with the feature `testing` a thread's chance can be seeded. Nothing
//! here is fit for secrets.

use rand::Rng;

#[cfg(any(test, feature = "testing"))]
mod seeded;

#[cfg(any(test, feature = "testing"))]
pub use seeded::{Seeded, seed};

/// A draw between 0 and 1.
pub fn draw() -> f64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(draw) = seeded::with(Rng::random) {
        return draw;
    }
    rand::rng().random()
}

/// Any number.
pub fn number() -> u64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(number) = seeded::with(Rng::random) {
        return number;
    }
    rand::rng().random()
}
