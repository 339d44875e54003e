//! The address of a virtual API server, and how one is chosen.
//!
//! `default/kubernetes` inside a virtual cluster takes the first address of the range that its API
//! server is started with. So the range is a block of 16 addresses of the host's Service range whose
//! first usable address is the ClusterIP of the API server's own host Service: pods that follow
//! `kubernetes.default` reach the virtual API server, over the host's kube-proxy and nothing else.
//!
//! That address is IPv4: a host whose Services have no IPv4 range is told so by a condition. Where the host has an IPv6
//! range besides, the virtual API server gets that as its second one, or it would know no Service of two
//! families. It hands out none of its addresses: those of Services are the host's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use vcluster_resources::layout;

/// Addresses in a block; a power of two.
const BLOCK: u32 = 16;
/// Length of the prefix of a block.
const BLOCK_PREFIX: u8 = 28;

/// The ClusterIP of a virtual API server: the first usable address of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Ipv4Addr);

/// A range of addresses in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Of IPv4.
    V4 {
        /// Its first address.
        base: u32,
        /// Length of the prefix.
        prefix: u8,
    },
    /// Of IPv6.
    V6 {
        /// Its first address.
        base: u128,
        /// Length of the prefix.
        prefix: u8,
    },
}

/// Text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a range such as 10.96.0.0/16 or fd00::/112")]
pub struct NotARange;

impl Address {
    /// The address as one of ours; `None` if it does not begin a block.
    pub fn of(ip: &str) -> Option<Self> {
        let ip: Ipv4Addr = ip.parse().ok()?;
        (u32::from(ip) % BLOCK == 1).then_some(Self(ip))
    }

    /// The address itself.
    pub const fn ip(self) -> Ipv4Addr {
        self.0
    }

    /// The block as the range of the virtual API server's Services.
    pub fn block(self) -> String {
        format!("{}/{BLOCK_PREFIX}", Ipv4Addr::from(u32::from(self.0) - 1))
    }

    /// Where the virtual API server answers inside the host cluster.
    pub fn endpoint(self) -> String {
        const { assert!(layout::API_PORT == 443) };
        format!("https://{}", self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Range {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let (ip, prefix) = text.split_once('/').ok_or(NotARange)?;
        let prefix: u8 = prefix.parse().map_err(|_error| NotARange)?;
        match ip.parse().map_err(|_error| NotARange)? {
            IpAddr::V4(ip) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let base = u32::from(ip) & mask;
                Ok(Self::V4 { base, prefix })
            }
            IpAddr::V6(ip) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                let base = u128::from(ip) & mask;
                Ok(Self::V6 { base, prefix })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Err(NotARange),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { base, prefix } => write!(f, "{}/{prefix}", Ipv4Addr::from(base)),
            Self::V6 { base, prefix } => write!(f, "{}/{prefix}", Ipv6Addr::from(base)),
        }
    }
}

impl Range {
    /// Whether virtual API servers may have their addresses in it.
    pub const fn is_v4(self) -> bool {
        match self {
            Self::V4 { .. } => true,
            Self::V6 { .. } => false,
        }
    }

    /// Its blocks, if they are of use.
    fn blocks(self) -> Option<Blocks> {
        match self {
            Self::V4 { base, prefix } => Some(Blocks { base, prefix }),
            Self::V6 { .. } => None,
        }
    }
}

/// The host's ranges for Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// All of them.
    pub all: Vec<Range>,
    /// The one that a virtual API server gets besides its block.
    pub second: Option<Range>,
}

impl Ranges {
    /// Those of a host: `default` are the ones that its API server was started with. Only by them it has two families:
    /// ranges that were added later give addresses, and no family.
    pub fn new(default: &[Range], mut added: Vec<Range>) -> Self {
        let second = default.iter().copied().find(|range| !range.is_v4());
        let both = default.iter().any(|range| range.is_v4());
        added.splice(..0, default.iter().copied());
        Self {
            all: added,
            second: second.filter(|_| both),
        }
    }
}

/// The blocks of a range.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    base: u32,
    prefix: u8,
}

impl Blocks {
    /// Whole ones.
    fn count(self) -> u32 {
        let bits = 32 - u32::from(self.prefix);
        let addresses = 1_u64 << bits;
        u32::try_from(addresses / u64::from(BLOCK)).unwrap_or(u32::MAX)
    }

    /// The address that begins block `index`.
    fn address(self, index: u32) -> Address {
        Address(Ipv4Addr::from(self.base + index * BLOCK + 1))
    }
}

/// Candidates in the order in which they are tried: every block of the ranges once, from a start
/// that depends on `seed`, so that clusters that are created at once seldom meet. `attempt` moves
/// on to the next `count` of them.
pub fn candidates(ranges: &[Range], seed: &str, attempt: u32, count: usize) -> Vec<Address> {
    let ranges: Vec<Blocks> = ranges.iter().filter_map(|range| range.blocks()).collect();
    let total: u64 = ranges.iter().map(|range| u64::from(range.count())).sum();
    if total == 0 {
        return Vec::new();
    }
    let hash = Sha256::digest(seed.as_bytes());
    let start = u64::from_be_bytes(hash[..8].try_into().expect("a digest has 32 bytes")) % total;
    let stride = stride(total, u64::from(hash[8]));
    let first = u64::from(attempt) * count as u64;
    (first..first + count as u64)
        .take_while(|step| *step < total)
        .map(|step| nth(&ranges, (start + step % total * stride) % total))
        .collect()
}

/// A step that visits every block once before it comes back: coprime to their number.
fn stride(total: u64, wish: u64) -> u64 {
    // Among consecutive odd numbers one is soon coprime to any u32-sized total; 1 always is.
    (0..64)
        .map(|i| (2 * (wish + i) + 1) % total)
        .find(|stride| *stride > 0 && gcd(*stride, total) == 1)
        .unwrap_or(1)
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn nth(ranges: &[Blocks], mut index: u64) -> Address {
    for range in ranges {
        let blocks = u64::from(range.count());
        if index < blocks {
            return range.address(u32::try_from(index).unwrap_or(0));
        }
        index -= blocks;
    }
    ranges[0].address(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_begins_its_block() {
        let address = Address::of("10.96.77.33").unwrap();
        assert_eq!(address.block(), "10.96.77.32/28");
        assert_eq!(address.endpoint(), "https://10.96.77.33");
        assert_eq!(Address::of("10.96.77.34"), None);
        assert_eq!(Address::of("fd00::1"), None);
    }

    #[test]
    fn ranges_are_read_and_others_refused() {
        assert_eq!(
            "10.96.3.4/16".parse(),
            Ok(Range::V4 {
                base: 0x0a60_0000,
                prefix: 16
            })
        );
        for (text, expected) in [
            ("fd96::7/112", "fd96::/112"),
            ("10.0.0.9/0", "0.0.0.0/0"),
            ("::1/128", "::1/128"),
        ] {
            let range: Range = text.parse().unwrap();
            assert_eq!(range.to_string(), expected);
        }
        for bad in ["10.96.0.0", "10.96.0.0/33", "fd00::/129", "x/16", ""] {
            assert_eq!(bad.parse::<Range>(), Err(NotARange), "{bad}");
        }
    }

    #[test]
    fn two_families_are_those_of_the_host_s_api_server() {
        let read = |texts: &[&str]| -> Vec<Range> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        for (default, added, second) in [
            (&["10.96.0.0/16"] as &[_], &[] as &[_], None),
            (&["10.96.0.0/16", "fd96::/112"], &[], Some("fd96::/112")),
            (&["fd96::/112", "10.96.0.0/16"], &[], Some("fd96::/112")),
            (
                &["10.96.0.0/16", "fd96::/112"],
                &["fd97::/112"],
                Some("fd96::/112"),
            ),
            // It gives addresses only to who asks for one of them.
            (&["10.96.0.0/16"], &["fd97::/112"], None),
            (&["fd96::/112"], &["10.97.0.0/16"], None),
            (&[], &["10.97.0.0/16", "fd97::/112"], None),
        ] {
            let ranges = Ranges::new(&read(default), read(added));
            assert_eq!(
                ranges.second,
                second.map(|text| text.parse().unwrap()),
                "{default:?}"
            );
            assert_eq!(ranges.all, read(&[default, added].concat()));
        }
    }

    #[test]
    fn ranges_of_ipv6_give_no_addresses() {
        let ranges =
            ["fd96::/112", "10.96.0.0/27", "fd97::/112"].map(|range| range.parse().unwrap());
        assert_eq!(candidates(&ranges, "seed", 0, 8).len(), 2);
        assert_eq!(candidates(&ranges[..1], "seed", 0, 8), []);
    }

    #[test]
    fn a_range_without_a_whole_block_gives_nothing() {
        let range = "10.96.0.0/29".parse().unwrap();
        assert_eq!(candidates(&[range], "seed", 0, 8), []);
        assert_eq!(candidates(&[], "seed", 0, 8), []);
    }

    proptest! {
        #[test]
        fn every_block_is_tried_exactly_once(seed in ".*", prefix in 20_u8..=28) {
            let range: Range = format!("10.96.0.0/{prefix}").parse().unwrap();
            let mut seen = BTreeSet::new();
            for attempt in 0.. {
                let batch = candidates(&[range], &seed, attempt, 7);
                if batch.is_empty() {
                    break;
                }
                for address in batch {
                    prop_assert_eq!(u32::from(address.ip()) % BLOCK, 1);
                    prop_assert!(seen.insert(address), "{} twice", address);
                }
            }
            prop_assert_eq!(seen.len(), 1 << (28 - prefix));
        }

        #[test]
        fn several_ranges_are_all_used(seed in ".*") {
            let ranges = ["10.96.0.0/26", "10.200.0.0/27"].map(|r| r.parse().unwrap());
            let all: BTreeSet<_> = candidates(&ranges, &seed, 0, 100).into_iter().collect();
            prop_assert_eq!(all.len(), 6);
        }
    }
}
