//! Which addresses the endpoints of tenants' Services may have at the moment; see
//! [`vcluster_translate::destination`], which decides.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use ipnet::IpNet;
use serde_json::Value;
use vcluster_translate::destination::{Host, machines_and_pods, of_node};
use vcluster_translate::{Context, Destinations, endpoint_slice};

use super::Engine;
use crate::object::{Key, Kind};
use crate::queue::Lane;
use crate::tenant::Tenant;

/// Addresses of machines, and the ranges of pods if they are known.
pub(super) type Network = (BTreeSet<IpAddr>, Option<Vec<IpNet>>);

impl Engine {
    /// What a translation of this object must know, as of now; nothing if the host is not known well enough yet.
    pub fn context<'t>(
        &self,
        tenant: &'t Tenant,
        kind: Kind,
        object: Option<&Value>,
    ) -> Option<Cow<'t, Context>> {
        if kind != Kind::EndpointSlice {
            return Some(Cow::Borrowed(&tenant.context));
        }
        let named = object.map(endpoint_slice::addresses).unwrap_or_default();
        let destinations = Destinations {
            pods: tenant.state().addresses.own(named),
            host: self.destinations(&tenant.context.destinations.host)?,
        };
        Some(Cow::Owned(Context {
            destinations,
            ..tenant.context.clone()
        }))
    }

    fn destinations(&self, known: &Host) -> Option<Host> {
        if !self.is_listed(Kind::Node) {
            return None;
        }
        let mut machines = self.api_servers().clone()?;
        let (of_nodes, pods) = self.network();
        machines.extend(of_nodes);
        Some(Host {
            machines,
            pods,
            services: known.services.clone(),
            denied: self.config.denied_endpoint_cidrs.clone(),
        })
    }

    /// The addresses of the host's nodes, and those that its pods may have. Worked out once for all that is looked at
    /// until a node changes.
    fn network(&self) -> Network {
        let mut known = self.known_network();
        if let Some(network) = &*known {
            return Network::clone(network);
        }
        // A node that changes from here on is told once this is unlocked, and then it is worked out anew.
        let all = self.all_mirrored();
        let nodes = all
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Node)
            .map(|(_, node)| &**node);
        let network = machines_and_pods(nodes, &self.config.pod_cidrs);
        known.insert(network).clone()
    }

    fn known_network(&self) -> MutexGuard<'_, Option<Network>> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was worked out of the host's nodes.
    pub(super) fn forget_network(&self) {
        *self.known_network() = None;
    }

    /// Takes note of the addresses of the host's API servers.
    pub fn set_api_servers(&self, addresses: BTreeSet<IpAddr>) {
        let before = self.api_servers().replace(addresses.clone());
        if before != Some(addresses) {
            self.look_at_slices();
        }
    }

    /// Takes note of how a node changed.
    pub(super) fn node_changed(&self, before: Option<&Value>, now: Option<&Value>) {
        if before.map(of_node) != now.map(of_node) {
            self.forget_network();
            self.look_at_slices();
        }
    }

    /// Has every slice looked at: what is allowed has changed.
    fn look_at_slices(&self) {
        for tenant in self.all() {
            let slices: Vec<Key> = tenant.state().keys(Kind::EndpointSlice);
            for slice in slices {
                tenant.add(slice, Lane::Live);
            }
        }
    }
}
