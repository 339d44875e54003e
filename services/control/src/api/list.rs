//! ListVirtualClusters: pages, in the order in which the host's API keeps them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};
use vcluster_chassis::identity::Identity;
use vcluster_proto::control::v1 as wire;

use super::access::{Scope, Verb};
use super::failure::Failure;
use super::{Service, read, write};

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 500;

/// Where the next page begins, and of which listing: a token is of no use for another one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "n")]
    namespace: String,
    #[serde(rename = "c")]
    continue_: String,
}

impl Service {
    pub(super) async fn list(
        &self,
        caller: &Identity,
        request: &wire::ListVirtualClustersRequest,
    ) -> Result<wire::ListVirtualClustersResponse, Failure> {
        let namespace = read::namespace(&request.host_namespace)?;
        let namespace = namespace
            .as_ref()
            .map(vcluster_resources::HostNamespace::as_str);
        let mut params = ListParams::default().limit(page_size(request.page_size)?);
        if !request.page_token.is_empty() {
            let token = read_token(&request.page_token, &request.host_namespace)?;
            params = params.continue_token(&token);
        }
        let scope = namespace.map_or(Scope::All, Scope::Namespace);
        self.allow(caller, Verb::List, scope).await?;
        let list = self.clusters_in(namespace).list(&params).await;
        let list = list.map_err(|error| {
            let failure = Failure::of_many(&error);
            let expired = matches!(failure, Failure::VersionExpired);
            if expired {
                Failure::PageTokenExpired
            } else {
                failure
            }
        })?;
        let continue_ = list.metadata.continue_.filter(|token| !token.is_empty());
        Ok(wire::ListVirtualClustersResponse {
            virtual_clusters: list.items.iter().map(write::cluster).collect(),
            next_page_token: continue_
                .map(|token| write_token(&request.host_namespace, token))
                .unwrap_or_default(),
        })
    }
}

fn page_size(wanted: i32) -> Result<u32, Failure> {
    match u32::try_from(wanted) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) if size <= LARGEST_PAGE => Ok(size),
        Ok(_) | Err(_) => Err(Failure::violation(
            "page_size",
            "must be 1 to 500, or 0 for the default of 100",
        )),
    }
}

pub(super) fn write_token(namespace: &str, continue_: String) -> String {
    let token = Token {
        namespace: namespace.to_owned(),
        continue_,
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn read_token(text: &str, namespace: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let token: Option<Token> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match token {
        Some(token) if token.namespace == namespace => Ok(token.continue_),
        Some(_) => Err(Failure::violation(
            "page_token",
            "is of another host_namespace",
        )),
        None => Err(Failure::violation(
            "page_token",
            "must be a next_page_token of this call",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_for_its_own_listing_only() {
        let token = write_token("team-a", "xyz".to_owned());
        assert_eq!(read_token(&token, "team-a").unwrap(), "xyz");
        assert!(read_token(&token, "team-b").is_err());
        assert!(read_token("garbage", "team-a").is_err());
    }

    #[test]
    fn page_sizes_have_bounds_and_a_default() {
        assert_eq!(page_size(0).unwrap(), 100);
        assert_eq!(page_size(500).unwrap(), 500);
        assert!(page_size(501).is_err() && page_size(-1).is_err());
    }
}
