//! The cluster's certificates and kubeconfigs.
//!
//! Made by `openssl` and not by rcgen: twelve calls of 10 ms each, whereas rcgen's crypto provider is
//! a minute of C on two cores before `cargo xtask` can say anything. All keys are thrown away with
//! the cluster; certificates last ten years so that none ever has to be renewed.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    Layout,
    layout::{API_PORT, NODE, NODE_IP, SERVICE_FIRST},
    node::Node,
};
use crate::command;

/// A leaf certificate.
#[derive(Debug)]
struct Leaf {
    file: String,
    authority: &'static str,
    subject: String,
    names: String,
}

const CLUSTER_CA: &str = "ca";
const FRONT_PROXY_CA: &str = "front-proxy-ca";

/// Enough for `req` to work without the machine's own configuration, whose extensions would get
/// into the certificates.
const OPENSSL_CONFIG: &str = "[req]\ndistinguished_name = dn\n[dn]\n";

/// Makes everything: keys, certificates, the components' kubeconfigs and the user's.
pub(super) fn make(layout: &Layout, api_port: u16) -> Result<()> {
    let folder = layout.pki();
    fs::write(folder.join("openssl.cnf"), OPENSSL_CONFIG)?;
    authority(&folder, CLUSTER_CA, "kubernetes-ca")?;
    authority(&folder, FRONT_PROXY_CA, "front-proxy-ca")?;
    for leaf in leaves() {
        sign(&folder, &leaf)?;
    }
    service_account_key(&folder)?;
    for user in ["kcm", "scheduler", "proxy"] {
        let out = layout.conf(&format!("{user}.kubeconfig"));
        kubeconfig(&folder, user, &inside(), &out)?;
    }
    let outside = format!("https://127.0.0.1:{api_port}");
    kubeconfig(&folder, "admin", &outside, &layout.kubeconfig())
}

/// Makes what the node's kubelet shows, as a server and as a client.
pub(super) fn of_node(layout: &Layout, node: &Node) -> Result<()> {
    let folder = layout.pki();
    let Node { name, ip, .. } = node;
    let subject = format!("/O=system:nodes/CN=system:node:{name}");
    let file = node.certificate();
    for (suffix, names) in [
        ("", String::new()),
        ("-server", format!("DNS:{name},IP:{ip},IP:127.0.0.1")),
    ] {
        let leaf = Leaf {
            file: format!("{file}{suffix}"),
            authority: CLUSTER_CA,
            subject: subject.clone(),
            names,
        };
        sign(&folder, &leaf)?;
    }
    kubeconfig(&folder, &file, &inside(), &node.conf("kubelet.kubeconfig"))
}

/// The API server for those inside.
fn inside() -> String {
    format!("https://{NODE_IP}:{API_PORT}")
}

fn leaves() -> Vec<Leaf> {
    let leaf = |file: &str, authority, subject: &str, names: String| Leaf {
        file: file.to_owned(),
        authority,
        subject: subject.to_owned(),
        names,
    };
    let client = |file, subject: &str| leaf(file, CLUSTER_CA, subject, String::new());
    let api_names = format!(
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
         DNS:kubernetes.default.svc.cluster.local,DNS:localhost,DNS:{NODE},\
         IP:127.0.0.1,IP:{NODE_IP},IP:{SERVICE_FIRST}"
    );
    vec![
        leaf("apiserver", CLUSTER_CA, "/CN=kube-apiserver", api_names),
        client(
            "kubelet-client",
            "/O=system:masters/CN=kube-apiserver-kubelet-client",
        ),
        leaf(
            "front-proxy-client",
            FRONT_PROXY_CA,
            "/CN=front-proxy-client",
            String::new(),
        ),
        client("admin", "/O=system:masters/CN=admin"),
        client("kcm", "/CN=system:kube-controller-manager"),
        client("scheduler", "/CN=system:kube-scheduler"),
        client("proxy", "/CN=system:kube-proxy"),
    ]
}

fn authority(folder: &Path, file: &str, name: &str) -> Result<()> {
    let mut openssl = request(folder, file, &format!("/CN={name}"));
    openssl.args(["-addext", "basicConstraints=critical,CA:TRUE"]);
    openssl.args([
        "-addext",
        "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
    ]);
    openssl.args(["-addext", "subjectKeyIdentifier=hash"]);
    command::run(&mut openssl)
}

fn sign(folder: &Path, leaf: &Leaf) -> Result<()> {
    let mut openssl = request(folder, &leaf.file, &leaf.subject);
    openssl
        .arg("-CA")
        .arg(folder.join(format!("{}.crt", leaf.authority)));
    openssl
        .arg("-CAkey")
        .arg(folder.join(format!("{}.key", leaf.authority)));
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args([
        "-addext",
        "keyUsage=critical,digitalSignature,keyEncipherment",
    ]);
    openssl.args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"]);
    openssl.args(["-addext", "authorityKeyIdentifier=keyid"]);
    if !leaf.names.is_empty() {
        openssl.args(["-addext", &format!("subjectAltName={}", leaf.names)]);
    }
    command::run(&mut openssl)
}

fn request(folder: &Path, file: &str, subject: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "3650", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
    openssl.arg("-config").arg(folder.join("openssl.cnf"));
    openssl
        .arg("-keyout")
        .arg(folder.join(format!("{file}.key")));
    openssl.arg("-out").arg(folder.join(format!("{file}.crt")));
    openssl
}

fn service_account_key(folder: &Path) -> Result<()> {
    let [key, public] = ["sa.key", "sa.pub"].map(|file| folder.join(file));
    let curve = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
    ];
    command::run(Command::new("openssl").args(curve).arg(&key))?;
    let mut openssl = Command::new("openssl");
    openssl
        .args(["pkey", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&public);
    command::run(&mut openssl)
}

fn kubeconfig(folder: &Path, user: &str, server: &str, out: &Path) -> Result<()> {
    let encoded = |file: &str| -> Result<String> {
        let path = folder.join(file);
        let pem = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(STANDARD.encode(pem))
    };
    let config = render(
        server,
        &encoded("ca.crt")?,
        &encoded(&format!("{user}.crt"))?,
        &encoded(&format!("{user}.key"))?,
    );
    write_private(out, &serde_json::to_string_pretty(&config)?)
}

fn render(server: &str, authority: &str, certificate: &str, key: &str) -> serde_json::Value {
    let user = json!({"client-certificate-data": certificate, "client-key-data": key});
    let cluster = json!({"server": server, "certificate-authority-data": authority});
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "host", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "host", "context": {"cluster": "host", "user": "user"}}],
        "current-context": "host",
    })
}

/// Writes a file that only its owner may read, as keys and tokens want it; helm warns of others.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::{
        io::Write as _,
        os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    };
    let mut options = fs::OpenOptions::new();
    let file = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| {
        // One that was there has a mode already.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    })
    .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_token_is_its_owners_alone_even_if_it_was_not_before() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kubeconfig");
        fs::write(&path, "more than before").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        write_private(&path, "token").expect("written");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).expect("read"), "token");
    }

    #[test]
    fn the_api_servers_certificate_is_good_for_loopback_and_for_the_service() {
        let leaves = leaves();
        let names = &leaves
            .iter()
            .find(|leaf| leaf.file == "apiserver")
            .expect("there")
            .names;
        let names: Vec<&str> = names.split(',').collect();
        for wanted in [
            "IP:127.0.0.1",
            "IP:10.77.0.1",
            "IP:10.96.0.1",
            "DNS:kubernetes",
        ] {
            assert!(names.contains(&wanted), "{wanted} in {names:?}");
        }
    }

    #[test]
    fn only_the_front_proxys_certificate_comes_from_its_authority() {
        let from = |authority| -> Vec<String> {
            let leaves = leaves();
            let of = leaves
                .into_iter()
                .filter(|leaf| leaf.authority == authority);
            of.map(|leaf| leaf.file).collect()
        };
        assert_eq!(from(FRONT_PROXY_CA), ["front-proxy-client"]);
    }

    #[test]
    fn a_kubeconfig_names_its_server() {
        let config = render("https://127.0.0.1:1", "a", "b", "c");
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://127.0.0.1:1"
        );
    }
}
