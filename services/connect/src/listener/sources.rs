//! How many connections one source may have open.
//!
//! A source is an IPv4 address or an IPv6 /64, which is what one machine gets. Entries exist only while a
//! connection is open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by source. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// An open connection; dropped when it closes.
#[derive(Debug)]
pub(super) struct Entered {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// Lets a connection in, unless its source has its fill.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Entered> {
        let source = source(address);
        let mut open = self.open();
        let count = open.entry(source).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Entered {
            sources: self.clone(),
            source,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.sources.open();
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_at_the_limit_keeps_nobody_else_out() {
        let sources = Sources::new(1);
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = sources.enter(at("192.0.2.1"));
        assert!(first.is_some());
        assert!(sources.enter(at("192.0.2.1")).is_none());
        assert!(
            sources.enter(at("::ffff:192.0.2.1")).is_none(),
            "the same machine"
        );
        assert!(sources.enter(at("192.0.2.2")).is_some());
        let _six = sources.enter(at("2001:db8::1")).unwrap();
        assert!(sources.enter(at("2001:db8::2")).is_none(), "the same /64");
        assert!(sources.enter(at("2001:db8:0:1::1")).is_some());
        drop(first);
        assert!(sources.enter(at("192.0.2.1")).is_some());
    }
}
