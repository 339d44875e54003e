//! Peers that are blocks of addresses.

use std::net::IpAddr;

use serde_json::Value;

use crate::json::{array, text};

/// Whether the block of a peer holds an address, and does not except it.
pub(super) fn holds(peer: &Value, address: IpAddr) -> bool {
    let holds = |block: Option<&str>| block.is_some_and(|block| is_in(block, address));
    let excepted = array(peer, "/ipBlock/except").iter();
    holds(text(peer, "/ipBlock/cidr")) && !excepted.map(Value::as_str).any(holds)
}

/// Whether a block of addresses, such as `10.0.0.0/8`, holds an address.
fn is_in(block: &str, address: IpAddr) -> bool {
    let parsed = block
        .split_once('/')
        .and_then(|(base, length)| Some((base.parse().ok()?, length.parse::<u32>().ok()?)));
    match (parsed, address) {
        (Some((IpAddr::V4(base), length)), IpAddr::V4(address)) if length <= 32 => {
            let differs = u32::from(base) ^ u32::from(address);
            differs.checked_shr(32 - length).unwrap_or(0) == 0
        }
        (Some((IpAddr::V6(base), length)), IpAddr::V6(address)) if length <= 128 => {
            let differs = u128::from(base) ^ u128::from(address);
            differs.checked_shr(128 - length).unwrap_or(0) == 0
        }
        (Some(_) | None, _) => false,
    }
}
