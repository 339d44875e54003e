//! Runs about one thing: seeds from [`FIRST`] on. What seldom comes together by chance is brought together there.

use std::time::Duration;

use super::crowd::Crowd;
use super::happen::Kind;
use super::users::Habits;

/// The first seed of these.
pub(super) const FIRST: u64 = 10_000;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// API servers, or the Leases alone, are out of reach of one process, and of the other not.
    DeadLinks,
    /// For a moment another store answers.
    OtherStores,
    /// Stores are put back to an older state.
    OlderStores,
    /// A person accepts a store that lacks something.
    AcceptedStores,
    /// Watches say again what they said.
    OldNews,
    /// Writes are done long after they were sent.
    LateRequests,
    /// Processes are told to stop while answers are late.
    Stops,
    /// A process begins with everything in place.
    Restarts,
    /// One tenant has much to do on a host that is far away.
    Greedy,
    /// One tenant would write more than it may.
    Hasty,
}

impl Theme {
    const ALL: &[Self] = &[
        Self::DeadLinks,
        Self::OtherStores,
        Self::OlderStores,
        Self::AcceptedStores,
        Self::OldNews,
        Self::LateRequests,
        Self::Stops,
        Self::Restarts,
        Self::Greedy,
        Self::Hasty,
    ];

    /// What the run of a seed is about, if it is about one thing.
    pub(super) fn of(seed: u64) -> Option<Self> {
        let number = usize::try_from(seed.checked_sub(FIRST)?).ok()?;
        Some(Self::ALL[number % Self::ALL.len()])
    }

    /// What happens, and how often.
    pub(super) fn kinds(self) -> &'static [(Kind, u32)] {
        match self {
            Self::DeadLinks => &[
                (Kind::User, 40),
                (Kind::Unlabel, 25),
                (Kind::TakeAway, 4),
                (Kind::Dead, 1),
                (Kind::Unlead, 1),
            ],
            Self::OtherStores => &[(Kind::User, 50), (Kind::TakeAway, 4), (Kind::Blink, 8)],
            Self::OlderStores => &[(Kind::User, 50), (Kind::TakeAway, 4), (Kind::RollBack, 8)],
            Self::AcceptedStores => &[(Kind::User, 50), (Kind::Empty, 5), (Kind::Accept, 12)],
            Self::OldNews => &[(Kind::User, 50), (Kind::TakeAway, 4), (Kind::Echo, 12)],
            Self::LateRequests => &[
                (Kind::User, 60),
                (Kind::TakeAway, 8),
                (Kind::Late, 8),
                (Kind::Clear, 4),
            ],
            Self::Stops => &[
                (Kind::User, 60),
                (Kind::Unlabel, 20),
                (Kind::Slow, 16),
                (Kind::Clear, 4),
                (Kind::Stop, 6),
            ],
            Self::Restarts | Self::Greedy | Self::Hasty => &[(Kind::User, 50)],
        }
    }

    /// Who harms whom.
    pub(super) fn crowd(self) -> Option<Crowd> {
        match self {
            Self::Greedy => Some(Crowd::Far),
            Self::Hasty => Some(Crowd::Greedy),
            Self::DeadLinks
            | Self::OtherStores
            | Self::OlderStores
            | Self::AcceptedStores
            | Self::OldNews
            | Self::LateRequests
            | Self::Stops
            | Self::Restarts => None,
        }
    }

    /// Whether two processes begin.
    pub(super) fn has_two(self) -> bool {
        matches!(self, Self::DeadLinks | Self::Stops)
    }

    /// How much longer than else it goes on.
    pub(super) fn longer(self) -> Duration {
        match self {
            // That a link is dead is noticed late, and then something must happen.
            Self::DeadLinks => Duration::from_mins(1),
            Self::OtherStores
            | Self::OlderStores
            | Self::AcceptedStores
            | Self::OldNews
            | Self::LateRequests
            | Self::Stops
            | Self::Restarts
            | Self::Greedy
            | Self::Hasty => Duration::ZERO,
        }
    }

    /// What tenants like to do.
    pub(super) fn habits(self) -> Habits {
        let plain = Habits::default();
        match self {
            Self::AcceptedStores => Habits { claims: 6, ..plain },
            Self::Stops => Habits {
                tokens: 0.7,
                ..plain
            },
            Self::OldNews => Habits { sets: 12, ..plain },
            Self::LateRequests => Habits { anew: 6, ..plain },
            Self::DeadLinks
            | Self::OtherStores
            | Self::OlderStores
            | Self::Restarts
            | Self::Greedy
            | Self::Hasty => plain,
        }
    }
}
