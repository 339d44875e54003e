//! `vcluster-sync hosts`: writes the `/etc/hosts` of one pod, as an init container of it.
//!
//! See `vcluster_translate::pod`, which makes that container. It runs in tenants' pods: it reads its
//! own arguments and environment, writes one file, and knows nothing else.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

/// Head of the file, as kubelet writes it.
const HEAD: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

/// Writes the hosts file of a pod.
#[derive(Debug, Clone, Parser)]
pub struct Hosts {
    /// The file to write.
    #[arg(long, env = "VCLUSTER_FILE", value_name = "FILE")]
    pub file: PathBuf,

    /// Names of the pod, as they stand behind its addresses.
    #[arg(long, env = "VCLUSTER_NAMES", value_name = "NAMES")]
    pub names: String,

    /// Lines that the pod itself adds.
    #[arg(
        long,
        env = "VCLUSTER_ALIASES",
        default_value = "",
        value_name = "LINES"
    )]
    pub aliases: String,

    /// Addresses of the pod.
    #[arg(
        long,
        env = "VCLUSTER_POD_IPS",
        value_delimiter = ',',
        value_name = "ADDRESSES"
    )]
    pub pod_ips: Vec<IpAddr>,
}

/// Writes the file.
///
/// # Errors
/// It cannot be written.
pub fn write(hosts: &Hosts) -> anyhow::Result<()> {
    std::fs::write(&hosts.file, content(hosts))
        .with_context(|| format!("cannot write {}", hosts.file.display()))
}

/// As kubelet writes it (`managedHostsFileContent`).
fn content(hosts: &Hosts) -> String {
    let own = hosts
        .pod_ips
        .iter()
        .map(|ip| format!("{ip}\t{}\n", hosts.names));
    let mut content: String = std::iter::once(HEAD.to_owned()).chain(own).collect();
    if !hosts.aliases.is_empty() {
        content.push_str("\n# Entries added by HostAliases.\n");
        content.push_str(&hosts.aliases);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_kubelet_s_with_the_names_of_the_virtual_pod() {
        let args = [
            "hosts",
            "--file=/f",
            "--names=web-0.web.shop.svc.cluster.local\tweb-0",
            "--aliases=1.2.3.4\ta\tb\n",
            "--pod-ips=10.244.0.3,fd00::3",
        ];
        let hosts = Hosts::try_parse_from(args).unwrap();
        let content = content(&hosts);
        assert_eq!(
            content.strip_prefix(HEAD).unwrap(),
            "10.244.0.3\tweb-0.web.shop.svc.cluster.local\tweb-0\n\
             fd00::3\tweb-0.web.shop.svc.cluster.local\tweb-0\n\
             \n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        );
    }
}
