//! When to look again at what no watch tells of. Nothing that stays as it is is asked for at one pace for ever.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Input;
use crate::observed::{Doubt, Seen};
use crate::slot::Slot;

/// How long a role takes to count after it was bound.
const BINDING: Duration = Duration::from_millis(50);
/// How long a binding is believed not to count yet; longer, and something else is wrong.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// When to look again if nothing happens before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After this.
    After(Duration),
    /// Later each time: what is needed could not be seen.
    BackOff,
}

impl Again {
    /// The one that is kinder to a host that does not answer, else the earlier one.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(one), Self::After(other)) => Self::After(one.min(other)),
            (Self::BackOff, _) | (_, Self::BackOff) => Self::BackOff,
        }
    }
}

/// After a look in vain at what the role lets control see, or the host did not tell: a role that was bound a moment ago
/// soon counts.
pub(super) fn in_doubt(input: Input<'_>, doubt: &Doubt) -> Again {
    match doubt {
        Doubt::Forbidden if binding_is_young(input) => Again::After(BINDING),
        Doubt::Forbidden | Doubt::Failed(_) => Again::BackOff,
    }
}

fn binding_is_young(input: Input<'_>) -> bool {
    let Seen::Present(binding) = input.observed.slot(Slot::TenantBinding) else {
        return false;
    };
    let made = binding.body.pointer("/metadata/creationTimestamp");
    let made: Option<Timestamp> = made
        .and_then(Value::as_str)
        .and_then(|made| made.parse().ok());
    // One clock may be ahead of the other.
    made.is_some_and(|made| input.now.duration_since(made).abs() < YOUNG)
}

/// A share of the time that something has lasted: what has just begun is followed closely.
pub(super) fn share(
    lasts: SignedDuration,
    share: u32,
    least: Duration,
    most: Duration,
) -> Duration {
    // A clock that is behind makes it negative.
    let lasts = Duration::try_from(lasts).unwrap_or_default();
    (lasts / share).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_looked_at_ever_more_seldom_within_bounds() {
        let least = Duration::from_secs(3);
        let most = Duration::from_mins(1);
        for (lasts, wanted) in [(-5, 3), (0, 3), (30, 3), (200, 20), (600, 60), (86_400, 60)] {
            let lasts = SignedDuration::from_secs(lasts);
            assert_eq!(share(lasts, 10, least, most).as_secs(), wanted, "{lasts}");
        }
    }

    #[test]
    fn doubt_outweighs_and_else_the_earlier_time_counts() {
        let [soon, late] = [1, 2].map(|n| Again::After(Duration::from_secs(n)));
        assert_eq!(late.or(soon), soon);
        assert_eq!(soon.or(Again::BackOff), Again::BackOff);
        assert_eq!(Again::BackOff.or(soon), Again::BackOff);
    }
}
