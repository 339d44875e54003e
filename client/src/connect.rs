//! Typed calls to the connect service.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use vcluster_proto::connect::v1::{
    IssueCredentialRequest, connect_service_client::ConnectServiceClient,
};

use crate::{Client, Error, gateway::Address, retry::Effect};

/// A credential for one virtual cluster.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Bearer token, good for that cluster only.
    pub token: SecretString,
    /// When it ends.
    pub expires: Timestamp,
    /// Path of the virtual API server at the gateway.
    pub path: String,
}

/// Address of a virtual API server: what stands as `server` in a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualAddress(String);

impl VirtualAddress {
    /// `path` at the gateway. Errors: the path is not absolute.
    pub fn new(gateway: &Address, path: &str) -> Result<Self, Error> {
        if path.starts_with('/') && !path.starts_with("//") && !path.contains(['?', '#']) {
            Ok(Self(format!("{gateway}{}", path.trim_end_matches('/'))))
        } else {
            Err(Error::Incomplete("an absolute path"))
        }
    }

    /// That of a virtual cluster at the gateway, where it has one.
    pub fn of(gateway: &Address, host_namespace: &str, name: &str) -> Self {
        Self(format!("{gateway}/clusters/{host_namespace}/{name}"))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Client {
    /// A short-lived credential for one virtual cluster; without `lifetime` the service chooses.
    pub async fn issue_credential(
        &self,
        host_namespace: &str,
        name: &str,
        lifetime: Option<Duration>,
    ) -> Result<Issued, Error> {
        let request = IssueCredentialRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
            lifetime: lifetime.and_then(|lifetime| prost_types::Duration::try_from(lifetime).ok()),
        };
        // A second credential harms nobody: both end by themselves.
        let answer = self
            .unary(Effect::Idempotent, request, async |channel, request| {
                ConnectServiceClient::new(channel)
                    .issue_credential(request)
                    .await
            })
            .await?;
        let expires = answer
            .expire_time
            .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
            .ok_or(Error::Incomplete("expire_time"))?;
        if answer.token.is_empty() {
            return Err(Error::Incomplete("token"));
        }
        Ok(Issued {
            token: SecretString::from(answer.token),
            expires,
            path: answer.path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_api_server_is_a_path_at_the_gateway() {
        let gateway = "https://gw:8443".parse().unwrap();
        let address = VirtualAddress::new(&gateway, "/clusters/ns/demo").unwrap();
        assert_eq!(address.as_str(), "https://gw:8443/clusters/ns/demo");
        assert_eq!(address, VirtualAddress::of(&gateway, "ns", "demo"));
        assert!(VirtualAddress::new(&gateway, "//elsewhere/").is_err());
        assert!(VirtualAddress::new(&gateway, "elsewhere").is_err());
    }
}
