//! Kubeconfig files of virtual clusters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;
use secrecy::{ExposeSecret, SecretString};

use super::inspect::{self, Flaw};
use super::leaf::{Issued, Leaf};

/// Name of the one cluster, user and context in it.
const NAME: &str = "default";

/// Writes a kubeconfig with one context that embeds everything. The values are base64 and an address
/// of ours, so nothing needs quoting.
pub(super) fn write(server: &str, authority: &str, issued: &Issued) -> SecretString {
    let encode = |text: &str| STANDARD.encode(text);
    let (authority, certificate) = (encode(authority), encode(&issued.certificate));
    let key = encode(issued.key.expose_secret());
    SecretString::from(format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {NAME}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {NAME}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {NAME}
  context:
    cluster: {NAME}
    user: {NAME}
current-context: {NAME}
"
    ))
}

/// Checks one that stands in a Secret.
pub(super) fn check(
    text: &str,
    server: &str,
    authority: &str,
    wanted: &Leaf,
    now: jiff::Timestamp,
) -> Result<(), Flaw> {
    let config = Kubeconfig::from_yaml(text).map_err(|_error| Flaw::Unreadable)?;
    let cluster = config
        .clusters
        .first()
        .and_then(|named| named.cluster.as_ref());
    let cluster = cluster.ok_or(Flaw::Unreadable)?;
    if cluster.server.as_deref() != Some(server) {
        return Err(Flaw::OtherSubject);
    }
    let decode = |text: Option<&str>| {
        let bytes = STANDARD.decode(text.ok_or(Flaw::Missing)?);
        String::from_utf8(bytes.map_err(|_error| Flaw::Unreadable)?)
            .map_err(|_error| Flaw::Unreadable)
    };
    if decode(cluster.certificate_authority_data.as_deref())? != authority {
        return Err(Flaw::OtherIssuer);
    }
    let user = config
        .auth_infos
        .first()
        .and_then(|named| named.auth_info.as_ref());
    let user = user.ok_or(Flaw::Missing)?;
    let certificate = decode(user.client_certificate_data.as_deref())?;
    let key = user
        .client_key_data
        .as_ref()
        .map(ExposeSecret::expose_secret);
    let key = SecretString::from(decode(key)?);
    inspect::leaf(&certificate, key.expose_secret(), authority, wanted, now)
}
