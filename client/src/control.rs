//! Typed calls to the control service.

use vcluster_proto::control::v1::{
    CreateVirtualClusterRequest, DeleteVirtualClusterRequest, GetVirtualClusterRequest,
    ListVirtualClustersRequest, UpdateVirtualClusterRequest, VirtualCluster,
    control_service_client::ControlServiceClient,
};

use crate::{Client, Error, retry::Effect};

/// Most pages of one listing; against a service that never ends it.
const MOST_PAGES: usize = 10_000;
/// Clusters per page.
const PAGE: i32 = 500;

/// How to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// A UUID. With it the call may be repeated and finds what the first one made.
    pub request_id: Option<String>,
    /// Check only.
    pub validate_only: bool,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Delete only this version.
    pub etag: Option<String>,
    /// Succeed if there is none.
    pub allow_missing: bool,
}

impl Client {
    /// Creates a virtual cluster and returns it as stored, usually before it is ready.
    pub async fn create(
        &self,
        cluster: VirtualCluster,
        options: CreateOptions,
    ) -> Result<VirtualCluster, Error> {
        let effect = match (&options.request_id, options.validate_only) {
            (Some(_), _) | (None, true) => Effect::Idempotent,
            (None, false) => Effect::Once,
        };
        let request = CreateVirtualClusterRequest {
            virtual_cluster: Some(cluster),
            request_id: options.request_id.unwrap_or_default(),
            validate_only: options.validate_only,
        };
        self.unary(effect, request, async |channel, request| {
            ControlServiceClient::new(channel)
                .create_virtual_cluster(request)
                .await
        })
        .await?
        .virtual_cluster
        .ok_or(Error::Incomplete("virtual_cluster"))
    }

    /// One virtual cluster.
    pub async fn get(&self, host_namespace: &str, name: &str) -> Result<VirtualCluster, Error> {
        let request = GetVirtualClusterRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
        };
        self.unary(Effect::Idempotent, request, async |channel, request| {
            ControlServiceClient::new(channel)
                .get_virtual_cluster(request)
                .await
        })
        .await?
        .virtual_cluster
        .ok_or(Error::Incomplete("virtual_cluster"))
    }

    /// All virtual clusters of a host namespace, or of all of them, ordered by host namespace and
    /// name. Follows the pages to the end.
    pub async fn list(&self, host_namespace: Option<&str>) -> Result<Vec<VirtualCluster>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MOST_PAGES {
            let request = ListVirtualClustersRequest {
                host_namespace: host_namespace.unwrap_or_default().to_owned(),
                page_size: PAGE,
                page_token,
            };
            let page = self
                .unary(Effect::Idempotent, request, async |channel, request| {
                    ControlServiceClient::new(channel)
                        .list_virtual_clusters(request)
                        .await
                })
                .await?;
            all.extend(page.virtual_clusters);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
        Err(Error::Incomplete("a last page"))
    }

    /// Replaces the fields that `mask` names, of the version that `cluster.etag` names if any.
    /// Never repeated by itself.
    pub async fn update(
        &self,
        cluster: VirtualCluster,
        mask: &[&str],
        validate_only: bool,
    ) -> Result<VirtualCluster, Error> {
        let request = UpdateVirtualClusterRequest {
            virtual_cluster: Some(cluster),
            update_mask: Some(prost_types::FieldMask {
                paths: mask.iter().map(|&path| path.to_owned()).collect(),
            }),
            validate_only,
        };
        self.unary(Effect::Once, request, async |channel, request| {
            ControlServiceClient::new(channel)
                .update_virtual_cluster(request)
                .await
        })
        .await?
        .virtual_cluster
        .ok_or(Error::Incomplete("virtual_cluster"))
    }

    /// Begins the removal of a virtual cluster and returns its last state; `None` if there was
    /// none and that is allowed.
    pub async fn delete(
        &self,
        host_namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Option<VirtualCluster>, Error> {
        // With an etag, a second try may meet the version that the first one made.
        let effect = if options.etag.is_some() {
            Effect::Once
        } else {
            Effect::Idempotent
        };
        let request = DeleteVirtualClusterRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
            etag: options.etag.unwrap_or_default(),
            allow_missing: options.allow_missing,
        };
        let answer = self
            .unary(effect, request, async |channel, request| {
                ControlServiceClient::new(channel)
                    .delete_virtual_cluster(request)
                    .await
            })
            .await?;
        Ok(answer.virtual_cluster)
    }
}
