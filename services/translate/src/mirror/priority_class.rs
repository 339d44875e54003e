//! PriorityClasses: the host's, as a virtual cluster sees them. Those that every API server makes by
//! itself are left to it. Which one is the default is not shown: a cluster may have one only, and that is the
//! tenant's to choose.
//!
//! Only those are shown that the host's administrator labels `vcluster.dev/shareable=true`: a pod has the
//! priority of a class that is shown, and preempts those of other tenants by it.

use serde_json::Value;
use vcluster_resources::label::{SHAREABLE, SHAREABLE_VALUE};

use crate::{
    json::text,
    kind::{Api, Description, FromHost, Scope},
};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        Scope::Cluster,
    )
    .short(&["pc"]),
    FromHost {
        frozen: &["/value", "/preemptionPolicy"],
        shown,
        ..FromHost::new(&["value", "description", "preemptionPolicy"])
    },
);

fn shown(class: &Value) -> bool {
    let labels = class.pointer("/metadata/labels");
    let shared = labels.and_then(|labels| labels.get(SHAREABLE)?.as_str()) == Some(SHAREABLE_VALUE);
    shared && !text(class, "/metadata/name").is_some_and(|name| name.starts_with("system-"))
}
