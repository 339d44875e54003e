//! Typed calls to the sync service.

use vcluster_proto::sync::v1::{
    GetTenantRequest, ListTenantsRequest, Tenant, sync_service_client::SyncServiceClient,
};

use crate::{Client, Error, retry::Effect};

const MOST_PAGES: usize = 10_000;
const PAGE: i32 = 500;

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
}
