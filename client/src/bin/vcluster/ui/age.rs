//! How long ago, in the form that kubectl uses.

use jiff::Timestamp;

/// Age of something made at `then`: `12s`, `3m20s`, `2h`, `5d`; `<unknown>` without a time.
pub(crate) fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "<unknown>".to_owned();
    };
    // Clocks of two machines differ; the future is now.
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |major: i64, unit: char, minor: i64, small: char| {
        if minor == 0 {
            format!("{major}{unit}")
        } else {
            format!("{major}{unit}{minor}{small}")
        }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200.. => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        let now = Timestamp::from_second(10_000_000).unwrap();
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (3_600, "60m"),
            (10_800, "3h"),
            (11_400, "3h10m"),
            (100_000, "27h"),
            (180_000, "2d2h"),
            (900_000, "10d"),
        ] {
            let then = Timestamp::from_second(10_000_000 - seconds).unwrap();
            assert_eq!(age(Some(then), now), expected, "{seconds}");
        }
        assert_eq!(age(None, now), "<unknown>");
    }
}
