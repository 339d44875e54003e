//! What a cluster is not usable without: DNS and a default StorageClass, under upstream's names.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Cluster, layout::DNS_IP};
use crate::{
    command,
    images::{BUSYBOX, coredns_name, local_path_name},
    wait::Deadline,
    workspace,
};

/// The Deployments that must be there before the cluster is.
pub(super) const DEPLOYMENTS: [(&str, &str); 2] = [
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
];

/// Applies the manifests.
pub(super) fn apply(cluster: &Cluster) -> Result<()> {
    let mut manifests = Vec::new();
    for file in ["coredns.yaml", "local-path.yaml"] {
        let path = workspace::own("assets").join(file);
        let text = fs::read_to_string(&path);
        manifests.push(text.with_context(|| format!("cannot read {}", path.display()))?);
    }
    let state = cluster.layout.state.to_string_lossy();
    let filled = fill(
        &manifests.join("\n---\n"),
        &[
            ("@COREDNS_IMAGE@", &coredns_name(&cluster.binaries)?),
            ("@LOCAL_PATH_IMAGE@", &local_path_name(&cluster.binaries)?),
            ("@BUSYBOX_IMAGE@", BUSYBOX),
            ("@DNS_IP@", DNS_IP),
            ("@STATE@", &state),
        ],
    );
    // Server-side: no cache of API discovery is needed, and it may be repeated at will.
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    command::stdout_with_input(&mut cluster.kubectl(&args)?, &filled)?;
    Ok(())
}

/// Waits until they serve.
pub(super) fn wait(cluster: &Cluster, deadline: &Deadline) -> Result<()> {
    for (namespace, name) in DEPLOYMENTS {
        let (deployment, timeout) = (
            format!("deployment/{name}"),
            format!("--timeout={}s", deadline.left()),
        );
        let args = ["-n", namespace, "rollout", "status", &deployment, &timeout];
        command::run(&mut cluster.kubectl(&args)?).with_context(|| {
            let pods = cluster.kubectl(&["-n", namespace, "get", "pods,events"]);
            let pods = pods
                .and_then(|mut pods| command::stdout(&mut pods))
                .unwrap_or_default();
            format!("{namespace}/{name} does not get ready\n{pods}")
        })?;
    }
    Ok(())
}

pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_their_names_everywhere() {
        assert_eq!(fill("@A@ @B@ @A@", &[("@A@", "1"), ("@B@", "2")]), "1 2 1");
    }
}
