//! What happens to requests on their way, by chance and by the weather on a link.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// How long it is to what is far.
const FAR: Duration = Duration::from_millis(30);

/// How a link is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Weather {
    /// Everything arrives within milliseconds.
    #[default]
    Clear,
    /// Everything arrives, some of it seconds later.
    Slow,
    /// Everything arrives, after a while that is always the same.
    Far,
    /// Some writes are done long after they were sent: the connection breaks, and something on the way still has them.
    Tardy,
    /// Anything may happen to a request.
    Storm,
    /// Nobody answers the connection.
    Refused,
    /// Nothing comes back.
    Silent,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is answered.
    None,
    /// It is lost, and nobody says so.
    Silence,
    /// It is not sent.
    Refused,
    /// The server answers without having done anything.
    Status(u16),
    /// It is done, and the answer is lost.
    Lost,
    /// It is done, and the answer breaks off.
    Torn,
    /// It is done so much later, and not answered.
    Late(Duration),
    /// The connection breaks at once, and it is done so much later.
    Adrift(Duration),
}

/// What becomes of a request, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) before: Duration,
    pub(super) fault: Fault,
    pub(super) after: Duration,
}

impl Weather {
    /// Any weather but fine one.
    pub(super) fn bad(chance: &mut StdRng) -> Self {
        match chance.random_range(0..6) {
            0 => Self::Slow,
            1 => Self::Refused,
            2 => Self::Silent,
            _ => Self::Storm,
        }
    }

    /// What becomes of a request.
    pub(super) fn fate(self, chance: &mut StdRng) -> Fate {
        let mut delay = |most: u64| Duration::from_millis(chance.random_range(0..=most));
        let (before, after) = match self {
            Self::Clear | Self::Refused | Self::Silent => (delay(2), delay(2)),
            Self::Far => (FAR, FAR),
            Self::Tardy => (delay(5), delay(5)),
            Self::Slow => (delay(4000), delay(4000)),
            Self::Storm => (delay(50), delay(50)),
        };
        let fault = match self {
            Self::Tardy if chance.random_bool(0.3) => {
                Fault::Adrift(Duration::from_millis(chance.random_range(0..30_000)))
            }
            Self::Clear | Self::Slow | Self::Far | Self::Tardy => Fault::None,
            Self::Refused => Fault::Refused,
            Self::Silent => Fault::Silence,
            Self::Storm => storm(chance),
        };
        Fate {
            before,
            fault,
            after,
        }
    }

    /// How much later a watch hears of something; nothing if it hears nothing for now.
    pub(super) fn hearing(self, chance: &mut StdRng) -> Option<Duration> {
        let most = match self {
            Self::Clear | Self::Far | Self::Tardy => {
                return Some(Duration::from_millis(chance.random_range(0..3)));
            }
            Self::Slow | Self::Storm => 3000,
            Self::Refused | Self::Silent => return None,
        };
        Some(Duration::from_millis(chance.random_range(0..most)))
    }
}

fn storm(chance: &mut StdRng) -> Fault {
    match chance.random_range(0..100) {
        0..55 => Fault::None,
        55..60 => Fault::Silence,
        60..65 => Fault::Refused,
        65..70 => Fault::Status(429),
        70..75 => Fault::Status(500),
        75..80 => Fault::Status(503),
        80..88 => Fault::Lost,
        88..92 => Fault::Torn,
        _ => Fault::Late(Duration::from_millis(chance.random_range(0..40_000))),
    }
}
