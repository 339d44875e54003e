//! DeleteVirtualCluster.

use either::Either;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use vcluster_chassis::identity::Identity;
use vcluster_proto::control::v1 as wire;

use super::access::Verb;
use super::failure::Failure;
use super::{Service, read, write};

impl Service {
    pub(super) async fn delete(
        &self,
        caller: &Identity,
        request: &wire::DeleteVirtualClusterRequest,
    ) -> Result<wire::DeleteVirtualClusterResponse, Failure> {
        let target = read::target(&request.host_namespace, &request.name)?;
        self.allow(caller, Verb::Delete, target.scope()).await?;
        let clusters = self.clusters(target.namespace());
        let found = clusters.get_opt(target.name()).await;
        let Some(found) = found.map_err(|error| Failure::of(&error, &target))? else {
            return missing(request, &target);
        };
        // Bound to what was found: a cluster made anew under the name meanwhile is not meant.
        let preconditions = Preconditions {
            uid: found.uid(),
            resource_version: (!request.etag.is_empty()).then(|| request.etag.clone()),
        };
        let params = DeleteParams::default().preconditions(preconditions);
        let last = match clusters.delete(target.name(), &params).await {
            Ok(Either::Left(cluster)) => cluster,
            Ok(Either::Right(_status)) => found,
            Err(error) => {
                let failure = Failure::of(&error, &target);
                let gone = matches!(failure, Failure::NotFound { .. });
                return if gone {
                    missing(request, &target)
                } else {
                    Err(failure)
                };
            }
        };
        Ok(wire::DeleteVirtualClusterResponse {
            virtual_cluster: Some(write::cluster(&last)),
        })
    }
}

fn missing(
    request: &wire::DeleteVirtualClusterRequest,
    target: &read::Target,
) -> Result<wire::DeleteVirtualClusterResponse, Failure> {
    if request.allow_missing {
        Ok(wire::DeleteVirtualClusterResponse {
            virtual_cluster: None,
        })
    } else {
        Err(Failure::not_found(target))
    }
}
