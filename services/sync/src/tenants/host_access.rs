//! Whether a tenant's pods may reach the host's nodes: said by a label of the host namespace.
//!
//! It is Kubernetes' own (Pod Security Admission), and only who may change that namespace can set it. The host's
//! API server enforces it by itself, so what is read here may be old without harm; the chart's policy looks at the
//! same label.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use vcluster_translate::HostAccess;

use crate::deadline::{REQUEST, within};

/// The label, and the one value that grants access.
const LEVEL: (&str, &str) = ("pod-security.kubernetes.io/enforce", "privileged");

/// Reads it. A namespace that is not there grants nothing.
pub(super) async fn read(own: Client, namespace: &str) -> Result<HostAccess, kube::Error> {
    let api: Api<Namespace> = Api::all(own);
    let found = within(REQUEST, api.get_metadata_opt(namespace)).await?;
    let labels = found.and_then(|found| found.metadata.labels);
    let level = labels.as_ref().and_then(|labels| labels.get(LEVEL.0));
    Ok(match level.map(String::as_str) {
        Some(level) if level == LEVEL.1 => HostAccess::Granted,
        Some(_) | None => HostAccess::Refused,
    })
}
