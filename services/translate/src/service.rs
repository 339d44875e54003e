//! Services: down to the host, where their addresses come from, and their status back up.
//!
//! Pods must reach the ClusterIP that the virtual API shows, so both sides show the same one: the
//! host's. It is had before the virtual object is stored ([`admission`]): the host Service is made
//! first, as a reservation that bears a time, and the virtual one is stored with its addresses and
//! ports. What is stored without (a restored snapshot, say) is made on the host with the addresses
//! that it has inside, if the host can still give them.
//!
//! | field | on the host |
//! |---|---|
//! | `metadata.name` | a DNS label of at most 63 characters that begins with a letter |
//! | `metadata.labels` | under our domain, as every label |
//! | `metadata.annotations` | a short list, and what the host's administrator allows ([`annotation`](crate::annotation)): load balancers are steered by them |
//! | `spec.selector` | over our labels, confined to the pods of the virtual namespace; none stays none |
//! | `spec.externalIPs` | refused: they would take over addresses of others (CVE-2020-8554) |
//! | everything else of `spec` | as it is |
//! | `status.loadBalancer`, `status.conditions` | brought up; what a controller inside says stays while the host says nothing |
//!
//! Every Service has its host Service but those that only answer inside: `ExternalName` (the
//! virtual cluster's DNS answers it), `default/kubernetes`, the one that shows the DNS server, whose
//! addresses are control's own host Services, and those that show a Service of the host ([`crate::mapping`]). Headless ones go down too: no pod needs that,
//! as DNS answers from the virtual endpoints, but an Ingress or another reader of host Services
//! may name one as its backend.

use crate::kind::{Api, Description, Naming, Scope, Successor, ToHost};

mod address;
pub mod admission;
mod to_host;
mod update;

pub(crate) use address::shows_own_address;
pub use address::{DNS_SERVICE, env_address};
pub use to_host::{is_on_host, to_host};
pub use update::{allocating, reservation, status_to_virtual, update_host};

/// Services.
pub(crate) const KIND: Description = Description::to_host(
    Api {
        naming: Naming::Label,
        ..Api::core("Service", "services", Scope::Namespaced).short(&["svc"])
    },
    ToHost {
        wanted: is_on_host,
        status: Some(status_to_virtual),
        successor: Successor::TakesOver,
        ..ToHost::new(to_host, update_host)
    },
);

/// Annotation of a host Service: the time, in RFC 3339, until which it is left as it is although
/// no virtual Service asks for it, because one is about to be stored.
pub const RESERVED_UNTIL: &str = "vcluster.dev/reserved-until";

#[cfg(test)]
mod tests;
