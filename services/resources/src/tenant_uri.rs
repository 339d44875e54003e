//! The name by which a virtual API server's client certificate says whose it is.

use std::{fmt, str::FromStr};

use crate::{ClusterName, HostNamespace};

const SCHEME: &str = "vcluster://";

/// URI in the certificate's subject alternative names: `vcluster://NAMESPACE/NAME/UID`. The UID makes
/// the certificate of a deleted cluster worthless to the next one of its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantUri {
    /// Host namespace.
    pub namespace: HostNamespace,
    /// Name of the VirtualCluster.
    pub name: ClusterName,
    /// UID of the VirtualCluster.
    pub uid: String,
}

/// A URI that names no virtual cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be vcluster://NAMESPACE/NAME/UID")]
pub struct NotATenant;

impl fmt::Display for TenantUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.namespace, self.name, self.uid)
    }
}

impl FromStr for TenantUri {
    type Err = NotATenant;

    fn from_str(text: &str) -> Result<Self, NotATenant> {
        let parts: Vec<&str> = text
            .strip_prefix(SCHEME)
            .ok_or(NotATenant)?
            .split('/')
            .collect();
        let [namespace, name, uid] = parts[..] else {
            return Err(NotATenant);
        };
        let is_uid = |uid: &str| {
            !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !is_uid(uid) {
            return Err(NotATenant);
        }
        Ok(Self {
            namespace: namespace.parse().map_err(|_error| NotATenant)?,
            name: name.parse().map_err(|_error| NotATenant)?,
            uid: uid.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_the_cluster_and_its_stay() {
        let text = "vcluster://team-a/demo/0b7a3c4e-1111-4222-8333-444455556666";
        let uri: TenantUri = text.parse().unwrap();
        assert_eq!(
            (uri.namespace.as_str(), uri.name.as_str()),
            ("team-a", "demo")
        );
        assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn anything_else_names_nobody() {
        for bad in [
            "",
            "https://team-a/demo/1",
            "vcluster://team-a/demo",
            "vcluster://team-a/demo/",
            "vcluster://team-a/demo/1/2",
            "vcluster:///demo/1",
            "vcluster://team-a/a-x-b/1",
            "vcluster://team-a/demo/1?x",
            "vcluster://Team/demo/1",
        ] {
            assert_eq!(bad.parse::<TenantUri>(), Err(NotATenant), "{bad}");
        }
    }
}
