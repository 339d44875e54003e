//! Addresses of a tenant's own pods on the host, and the EndpointSlices that name them.
//!
//! A slice may lead to a pod only as long as that pod has the address: when it comes, goes or ends, the slices that
//! name its address are to be looked at again. No I/O.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use vcluster_translate::{destination, endpoint_slice};

use crate::hash::HashMap;
use crate::object::{Key, Kind, Name, Side};

/// Who has which address, and who names it.
#[derive(Debug, Default)]
pub struct Addresses {
    of_pods: HashMap<Name, Vec<IpAddr>>,
    of_slices: HashMap<Name, BTreeSet<IpAddr>>,
    holders: HashMap<IpAddr, usize>,
    slices: HashMap<IpAddr, BTreeSet<Name>>,
    moved: BTreeSet<Name>,
}

impl Addresses {
    /// Takes note of an object.
    pub(super) fn see(&mut self, side: Side, key: &Key, object: &Value) {
        if side == Side::Host && key.kind == Kind::Pod {
            self.set_pod(&key.name, destination::of_pod(object));
        } else if side == Side::Virtual && key.kind == Kind::EndpointSlice {
            self.set_slice(&key.name, endpoint_slice::addresses(object));
        }
    }

    /// Takes note that an object is gone.
    pub(super) fn forget(&mut self, side: Side, key: &Key) {
        self.see(side, key, &Value::Null);
    }

    fn set_pod(&mut self, name: &Name, now: Vec<IpAddr>) {
        let before = self.of_pods.get(name).cloned().unwrap_or_default();
        if before == now {
            return;
        }
        for address in &now {
            *self.holders.entry(*address).or_default() += 1;
        }
        for address in &before {
            if let Some(count) = self.holders.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    self.holders.remove(address);
                }
            }
        }
        for address in before.iter().chain(&now) {
            let named = self.slices.get(address).into_iter().flatten();
            self.moved.extend(named.cloned());
        }
        if now.is_empty() {
            self.of_pods.remove(name);
        } else {
            self.of_pods.insert(name.clone(), now);
        }
    }

    fn set_slice(&mut self, name: &Name, now: BTreeSet<IpAddr>) {
        for address in self.of_slices.remove(name).into_iter().flatten() {
            if let Some(named) = self.slices.get_mut(&address) {
                named.remove(name);
                if named.is_empty() {
                    self.slices.remove(&address);
                }
            }
        }
        for address in &now {
            let named = self.slices.entry(*address).or_default();
            named.insert(name.clone());
        }
        if !now.is_empty() {
            self.of_slices.insert(name.clone(), now);
        }
    }

    /// Those of the addresses that own pods have now.
    pub fn own(&self, named: BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        let held = |address: &IpAddr| self.holders.contains_key(address);
        named.into_iter().filter(held).collect()
    }

    /// The slices to be looked at again, since the last time that they were asked for.
    pub fn take_moved(&mut self) -> Vec<Key> {
        let moved = std::mem::take(&mut self.moved).into_iter();
        let key = |name| Key {
            kind: Kind::EndpointSlice,
            name,
        };
        moved.map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use serde_json::json;

    use super::*;

    fn pod(ip: &str) -> Value {
        json!({"status": {"phase": "Running", "podIPs": [{"ip": ip}]}})
    }

    fn ips(all: &[&str]) -> BTreeSet<IpAddr> {
        all.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_slice_is_looked_at_again_when_a_pod_gets_or_loses_an_address_that_it_names() {
        let mut addresses = Addresses::default();
        let slice = Key::new(Kind::EndpointSlice, "shop", "db");
        let (a, b) = (
            Key::new(Kind::Pod, "shop", "a"),
            Key::new(Kind::Pod, "shop", "b"),
        );
        let named = json!({"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["8.8.8.8"]}]});
        addresses.see(Side::Virtual, &slice, &named);
        assert_eq!(addresses.take_moved(), []);
        addresses.see(Side::Host, &a, &pod("10.0.0.1"));
        assert_eq!(addresses.take_moved(), from_ref(&slice));
        assert_eq!(
            addresses.own(ips(&["10.0.0.1", "8.8.8.8"])),
            ips(&["10.0.0.1"])
        );
        addresses.see(Side::Host, &a, &pod("10.0.0.1"));
        addresses.see(Side::Host, &b, &pod("10.0.0.2"));
        assert_eq!(addresses.take_moved(), [], "nothing that it names moved");
        // The next pod has the address before the last one is seen to go.
        addresses.see(Side::Host, &b, &pod("10.0.0.1"));
        addresses.forget(Side::Host, &a);
        assert_eq!(addresses.take_moved(), from_ref(&slice));
        assert_eq!(addresses.own(ips(&["10.0.0.1"])), ips(&["10.0.0.1"]));
        addresses.forget(Side::Host, &b);
        assert_eq!(addresses.own(ips(&["10.0.0.1"])), ips(&[]));
        addresses.take_moved();
        addresses.forget(Side::Virtual, &slice);
        addresses.see(Side::Host, &a, &pod("10.0.0.1"));
        assert_eq!(addresses.take_moved(), []);
    }
}
