//! Typed calls to the sync service.

use vcluster_proto::sync::v1::{
    ExplainRequest, ExplainResponse, GetTenantRequest, ListTenantsRequest, ResyncRequest, Tenant,
    sync_service_client::SyncServiceClient,
};

use crate::{Client, Error, retry::Effect};

const MOST_PAGES: usize = 10_000;
const PAGE: i32 = 500;

/// An object of a virtual cluster, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectRef {
    /// Kind, collection or short name, alone or with its group.
    pub kind: String,
    /// Namespace inside the virtual cluster; empty for kinds without one.
    pub namespace: String,
    /// Name inside the virtual cluster.
    pub name: String,
}

impl Client {
    /// What sync knows of one virtual cluster.
    pub async fn tenant(&self, host_namespace: &str, name: &str) -> Result<Tenant, Error> {
        let request = GetTenantRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
        };
        self.unary(Effect::Idempotent, request, async |channel, request| {
            SyncServiceClient::new(channel).get_tenant(request).await
        })
        .await?
        .tenant
        .ok_or(Error::Incomplete("tenant"))
    }

    /// What sync knows of every virtual cluster of a host namespace, or of all.
    pub async fn tenants(&self, host_namespace: Option<&str>) -> Result<Vec<Tenant>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MOST_PAGES {
            let request = ListTenantsRequest {
                host_namespace: host_namespace.unwrap_or_default().to_owned(),
                page_size: PAGE,
                page_token,
            };
            let page = self
                .unary(Effect::Idempotent, request, async |channel, request| {
                    SyncServiceClient::new(channel).list_tenants(request).await
                })
                .await?;
            all.extend(page.tenants);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
        Err(Error::Incomplete("a last page"))
    }

    /// Why an object of a virtual cluster is as it is on the other side. One that does not exist is an answer, too.
    pub async fn explain(
        &self,
        host_namespace: &str,
        name: &str,
        object: ObjectRef,
    ) -> Result<ExplainResponse, Error> {
        let request = ExplainRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
            kind: object.kind,
            namespace: object.namespace,
            object_name: object.name,
        };
        self.unary(Effect::Idempotent, request, async |channel, request| {
            SyncServiceClient::new(channel).explain(request).await
        })
        .await
    }

    /// Has objects of a virtual cluster looked at again: those of which the reference's fields are not empty, or all.
    /// Tells how many.
    pub async fn resync(
        &self,
        host_namespace: &str,
        name: &str,
        objects: ObjectRef,
    ) -> Result<i64, Error> {
        let request = ResyncRequest {
            host_namespace: host_namespace.to_owned(),
            name: name.to_owned(),
            kind: objects.kind,
            namespace: objects.namespace,
            object_name: objects.name,
        };
        // A second try of a call for all objects would be refused as too soon.
        let answer = self.unary(Effect::Once, request, async |channel, request| {
            SyncServiceClient::new(channel).resync(request).await
        });
        Ok(answer.await?.objects)
    }
}
