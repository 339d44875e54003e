//! The watch of one kind inside a virtual cluster.

use vcluster_resources::label;
use vcluster_translate::kind::Inside;

use super::Tenant;
use crate::object::{Kind, resource};
use crate::watch::{self, Change, Labels, Selection};

/// Follows the objects of a kind inside, as its description says, until the tenant's token is cancelled.
pub async fn inside(tenant: &Tenant, kind: Kind, sink: impl FnMut(Change) + Send) {
    let labels = match kind.description().inside {
        // A tenant may have nodes of its own, for one, which are not ours to follow.
        Inside::Managed => Some(Labels::With(label::MANAGED, label::MANAGED_VALUE)),
        Inside::Without(key, value) => Some(Labels::Without(key, value)),
        Inside::Everything => None,
        Inside::Nothing => return,
    };
    let client = tenant.clients.virtual_.watch.clone();
    let api = kube::Api::all_with(client, &resource(kind));
    let selection = Selection {
        labels,
        fields: None,
    };
    watch::follow(api, selection, tenant.token.clone(), sink).await;
}
