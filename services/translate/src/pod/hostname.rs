//! The host name that a pod's containers see.
//!
//! kubelet makes it of the host pod's name and namespace, so it is said outright: what kubelet
//! would have made of the virtual pod (`GeneratePodHostNameAndDomain`).

use serde_json::{Map, Value};

use super::{hosts, scope::Scope};
use crate::Refusal;

/// Longest name of a Linux host that kubelet gives to a pod by itself.
const LIMIT: usize = 63;
/// Longest one that the kernel knows; for fully qualified names.
const KERNEL_LIMIT: usize = 64;

/// Says the host name in `spec`. Returns the names that the pod's `/etc/hosts` must tell, where that
/// is not what kubelet writes by itself.
pub(super) fn set(
    spec: &mut Map<String, Value>,
    scope: &Scope<'_>,
) -> Result<Option<hosts::Names>, Refusal> {
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        // The node's own, whatever the pod says.
        spec.remove("subdomain");
        spec.remove("setHostnameAsFQDN");
        return Ok(None);
    }
    let given = |spec: &Map<String, Value>, key: &str| {
        let text = spec.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let short = truncated(
        &given(spec, "hostname").unwrap_or_else(|| scope.owner.name.clone()),
        LIMIT,
    );
    let subdomain = given(spec, "subdomain");
    let qualified = spec.get("setHostnameAsFQDN") == Some(&Value::Bool(true));
    spec.remove("subdomain");
    spec.remove("setHostnameAsFQDN");

    // `hostname` must be a DNS label; a name with dots needs the newer `hostnameOverride`, and
    // falls back to a label where the host does not know that field.
    spec.insert(
        "hostname".to_owned(),
        truncated(&short.replace('.', "-"), LIMIT).into(),
    );
    if given(spec, "hostnameOverride").is_some() {
        return Ok(None);
    }
    let names = subdomain.map(|subdomain| hosts::Names {
        full: format!(
            "{short}.{subdomain}.{}.svc.{}",
            scope.owner.namespace, scope.context.cluster_domain
        ),
        short: short.clone(),
    });
    let shown = match &names {
        Some(hosts::Names { full, .. }) if qualified => full,
        Some(_) | None => &short,
    };
    if shown.len() > KERNEL_LIMIT {
        return Err(Refusal::invalid(
            "spec.setHostnameAsFQDN",
            format!(
                "the fully qualified name {shown:?} has more than {KERNEL_LIMIT} characters, and no \
                 node could set it; shorten the names or remove the field"
            ),
        ));
    }
    if shown.contains('.') {
        spec.insert("hostnameOverride".to_owned(), shown.as_str().into());
    }
    Ok(names)
}

/// As kubelet shortens it. Names of stored pods are ASCII.
fn truncated(name: &str, limit: usize) -> String {
    match name.get(..limit) {
        Some(cut) if name.len() > limit => cut.trim_end_matches(['-', '.']).to_owned(),
        Some(_) | None => name.to_owned(),
    }
}
