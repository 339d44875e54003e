//! The gateway of a host cluster, from the ConfigMap `kube-public/vcluster-gateway`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;

use super::api;
use crate::{
    Credentials, Gateway,
    gateway::{Address, InvalidAddress},
    kubeconfig::context::Context,
    tls::Trust,
};

const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/vcluster-gateway";

/// Why no gateway was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster has no such ConfigMap.
    #[error(
        "the cluster of the context {0:?} names no vcluster gateway (ConfigMap kube-public/vcluster-gateway)"
    )]
    NotInstalled(String),
    /// The ConfigMap holds something else.
    #[error(
        "the ConfigMap kube-public/vcluster-gateway of the context {context:?} is not usable: {problem}"
    )]
    Malformed {
        /// The context.
        context: String,
        /// What is wrong.
        problem: String,
    },
    /// The host API server did not give it.
    #[error(transparent)]
    Api(#[from] api::Error),
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// Asks the context's cluster where its gateway is.
pub async fn discover(context: &Context, credentials: &Credentials) -> Result<Gateway, Error> {
    let body = match api::get(context, credentials, PATH).await {
        Ok(body) => body,
        Err(api::Error::Refused { status, .. }) if status == StatusCode::NOT_FOUND => {
            return Err(Error::NotInstalled(context.name.clone()));
        }
        Err(error) => return Err(error.into()),
    };
    parse(&body).map_err(|problem| Error::Malformed {
        context: context.name.clone(),
        problem,
    })
}

/// An absent `ca.crt` means a certificate that the system trusts.
fn parse(body: &[u8]) -> Result<Gateway, String> {
    let map: ConfigMap = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let address = map.data.get("address").ok_or("it has no key \"address\"")?;
    let address: Address = address.parse().map_err(|e: InvalidAddress| e.to_string())?;
    let trust = match map.data.get("ca.crt").filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => Trust::Roots(pem.clone().into_bytes()),
        None => Trust::System,
    };
    Ok(Gateway { address, trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_gives_address_and_authority() {
        let body = br#"{"data": {"address": "https://gw:8443", "ca.crt": "PEM"}}"#;
        let gateway = parse(body).unwrap();
        assert_eq!(gateway.address.to_string(), "https://gw:8443");
        assert_eq!(gateway.trust, Trust::Roots(b"PEM".to_vec()));
    }

    #[test]
    fn a_public_certificate_needs_no_authority() {
        let gateway = parse(br#"{"data": {"address": "https://gw"}}"#).unwrap();
        assert_eq!(gateway.trust, Trust::System);
    }

    #[test]
    fn a_map_that_would_mislead_is_refused() {
        for body in ["{}", "[]", r#"{"data": {"address": "http://gw"}}"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
