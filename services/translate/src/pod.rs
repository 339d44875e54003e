//! Pods: down to the host, and their status back up.
//!
//! What becomes of each field of a PodSpec (1.37) on the host. Whatever is not named passes.
//!
//! | field | on the host |
//! |---|---|
//! | `containers`, `initContainers` | [references and downward API](self) rewritten; see below |
//! | `ephemeralContainers` | added through their own endpoint ([`ephemeral_to_host`]) |
//! | `volumes` | the sources of the Pod Security Standard "restricted" and `image`; others refused; a generic `ephemeral` volume names the claim that is made inside |
//! | `imagePullSecrets` | host names |
//! | `serviceAccountName`, `serviceAccount`, `automountServiceAccountToken` | a powerless account, no token; the virtual API server has already put its token volume in |
//! | `hostname`, `subdomain`, `setHostnameAsFQDN`, `hostnameOverride` | the host name that the pod would have inside; with a subdomain, an init container that writes `/etc/hosts` |
//! | `dnsPolicy`, `dnsConfig` | `ClusterFirst…` becomes `None` with the virtual cluster's DNS server and search path, the pod's own `dnsConfig` merged in; `Default` and `None` pass |
//! | `enableServiceLinks` | false: the Services of the virtual namespace stand in a ConfigMap instead ([`crate::environment`]) |
//! | `affinity`, `topologySpreadConstraints` | selectors over our labels, confined to the same virtual namespaces |
//! | `nodeName` | a required node affinity: the host's scheduler still decides |
//! | `schedulingGates` | the host pod is made when they are gone |
//! | `schedulerName`, `priority`, `preemptionPolicy`, `overhead`, `evictionResponders` | dropped: the virtual API server has resolved them, or they name what only the host has |
//! | `hostNetwork`, `hostPID`, `hostIPC`, `ports[].hostPort`, `volumes[].hostPath`, `privileged`, `hostProcess`, `host` of probes and hooks, `capabilities.add` beyond a short list, unmasked `procMount`, unconfined seccomp, AppArmor and SELinux, sysctls that are not a pod's own, GMSA identities | refused: they reach the host's nodes ([`HostAccess`](crate::HostAccess)) |
//! | `resourceClaims` | the host's claim of each; those of templates once they are made |
//! | `runtimeClassName` | passes; the engine refuses the pod where the host's class is not shown ([`crate::class`]) |
//! | `priorityClassName` | dropped; the engine puts it back where the host's class is shown |
//! | `schedulingGroup`, `workloadRef` | refused: their kinds are not translated yet |
//!
//! The whole of it, field by field and each with its reason, stands in the tables of `tests/schema`,
//! which are checked against the API of the pinned Kubernetes version and against the code.
//!
//! Annotations act on the host if anything there reads them, and serve nothing if not; so only
//! those of a short list pass (`annotation`), and the rest stay readable to the pod's own
//! containers by the downward API.
//!
//! `metadata.name`, `namespace`, `uid`, labels, annotations and `spec.serviceAccountName` in the
//! downward API, environment and volumes alike, are redirected to annotations and labels of the
//! host pod that hold the virtual values. Those follow later changes, which literal values would
//! not.

mod annotation;
mod binding;
mod claims;
mod container;
mod dns;
mod downward;
mod ended;
mod hostname;
pub(crate) mod hosts;
mod resize;
mod scheduling;
mod scope;
mod security;
mod status;
mod to_host;
mod update;
mod volume;

pub use binding::{Binding, binding};
pub use ended::ended;
pub use resize::{resize_to_host, resized};
pub use scope::{Reference, ReferenceKind, Token};
pub use status::{BOUND, SYNCED, gates_to_host, refused, status_to_virtual};
pub use to_host::{HostPod, Verdict, names, needs, references, to_host};
pub use update::{ephemeral_to_host, update_host};
pub use volume::ephemeral_claims;

use crate::kind::{Api, Bespoke, Description, Inside, Outside, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description {
    references: Some(references),
    ..Description::bespoke(
        Bespoke::Pod,
        Api::core("Pod", "pods", Scope::Namespaced).short(&["po"]),
        Inside::Everything,
        Outside::Translated,
    )
};

#[cfg(test)]
mod tests;
