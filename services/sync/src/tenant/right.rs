//! Whether the host lets us act as the tenant's own ServiceAccount.
//!
//! Learnt from the requests that are made anyway. A write that is refused says nothing: a quota or a policy may be
//! the reason. A read is refused for want of a right only.

use vcluster_resources::layout::{TENANT_BINDING, TENANT_SERVICE_ACCOUNT, TENANT_TOKEN_BINDING};
use vcluster_translate::environment::CONFIG_MAP;

use super::{About, Tenant};
use crate::object::{Kind, Name, Side};
use crate::tenant_token;

impl Tenant {
    /// What is missing on the host, in a sentence; nothing if we may act there, as far as is known.
    pub fn missing_right(&self) -> Option<String> {
        self.noted(About::Right)
    }

    /// Reads something on the host, to learn whether we may act there again.
    pub async fn ask_host(&self) {
        let name = Name::new(self.context.host_namespace.as_str(), CONFIG_MAP);
        if let Err(failure) = self.read(Side::Host, Kind::ConfigMap, &name).await {
            tracing::debug!(tenant = %self.id, %failure, "host is asked again later");
        }
    }

    /// Takes note of how the host answered a request.
    pub(crate) fn note_right<T>(&self, answer: &Result<T, kube::Error>, is_read: bool) {
        let namespace = &self.id.namespace;
        let missing = match answer {
            Err(kube::Error::Api(status)) if status.code == 403 && is_read => Some(format!(
                "the host refuses reads to ServiceAccount {TENANT_SERVICE_ACCOUNT}: RoleBinding {TENANT_BINDING} in \
                 namespace {namespace} is missing or was changed"
            )),
            // Of our credential, or of the server.
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 429 | 500..) => {
                return;
            }
            Ok(_) | Err(kube::Error::Api(_)) => None,
            Err(error) => match tenant_token::Error::of(error) {
                Some(tenant_token::Error::Gone { .. }) => Some(format!(
                    "ServiceAccount {TENANT_SERVICE_ACCOUNT} in namespace {namespace} is missing"
                )),
                Some(tenant_token::Error::Refused { .. }) => Some(format!(
                    "the host refuses tokens for ServiceAccount {TENANT_SERVICE_ACCOUNT}: RoleBinding \
                     {TENANT_TOKEN_BINDING} in namespace {namespace} is missing or was changed"
                )),
                Some(tenant_token::Error::Unavailable { .. }) | None => return,
            },
        };
        self.note(About::Right, missing.as_deref());
    }
}
