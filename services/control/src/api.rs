//! The gRPC front door. Nothing is kept here: the custom resource is the truth, and `kubectl apply`
//! of the same object has the same result.
//!
//! Each call: read the request into domain types (every violation by field), ask whether the caller
//! may, act on the host API as this service, turn the answer into the wire's types. Errors are
//! `Failure`s, and become statuses in one place.

use std::fmt;

use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tonic::{Request, Response, Status};
use vcluster_chassis::access::Authorizer;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::grpc::{MAX_MESSAGE, caller};
use vcluster_chassis::identity::Identity;
use vcluster_proto::control::v1 as wire;
use vcluster_proto::control::v1::control_service_server::{ControlService, ControlServiceServer};
use vcluster_resources::VirtualCluster;

use access::{Scope, Verb};
use failure::Failure;

mod access;
mod create;
mod delete;
mod failure;
mod kubernetes;
mod list;
mod read;
mod update;
mod watch;
mod write;

/// Field manager of the API's own writes: what users ask for, as opposed to what control makes.
const MANAGER: &str = "vcluster-control-api";

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    client: Client,
    authorizer: Authorizer,
    release_namespace: String,
    shutdown: Shutdown,
}

impl Service {
    /// A service over the host cluster of `client`.
    pub fn new(
        client: Client,
        authorizer: Authorizer,
        release_namespace: String,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            client,
            authorizer,
            release_namespace,
            shutdown,
        }
    }

    /// The service as a server takes it.
    pub fn server(self) -> ControlServiceServer<Self> {
        ControlServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn clusters(&self, namespace: &str) -> Api<VirtualCluster> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Those of one namespace, or all.
    fn clusters_in(&self, namespace: Option<&str>) -> Api<VirtualCluster> {
        match namespace {
            Some(namespace) => self.clusters(namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    async fn allow(&self, caller: &Identity, verb: Verb, scope: Scope<'_>) -> Result<(), Failure> {
        let attributes = access::virtual_clusters(verb, scope);
        self.authorizer
            .check(caller, &attributes)
            .await
            .map_err(Failure::access)
    }

    async fn get(
        &self,
        caller: &Identity,
        request: &wire::GetVirtualClusterRequest,
    ) -> Result<wire::GetVirtualClusterResponse, Failure> {
        let target = read::target(&request.host_namespace, &request.name)?;
        self.allow(caller, Verb::Get, target.scope()).await?;
        let found = self
            .clusters(target.namespace())
            .get_opt(target.name())
            .await;
        let cluster = found.map_err(|error| Failure::of(&error, &target))?;
        let cluster = cluster.ok_or_else(|| Failure::not_found(&target))?;
        Ok(wire::GetVirtualClusterResponse {
            virtual_cluster: Some(write::cluster(&cluster)),
        })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Ends a call.
fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(Status::from)
}

#[tonic::async_trait]
impl ControlService for Service {
    type WatchVirtualClustersStream =
        BoxStream<'static, Result<wire::WatchVirtualClustersResponse, Status>>;

    async fn create_virtual_cluster(
        &self,
        request: Request<wire::CreateVirtualClusterRequest>,
    ) -> Result<Response<wire::CreateVirtualClusterResponse>, Status> {
        let caller = caller::of(&request)?.clone();
        answer(self.create(&caller, request.into_inner()).await)
    }

    async fn get_virtual_cluster(
        &self,
        request: Request<wire::GetVirtualClusterRequest>,
    ) -> Result<Response<wire::GetVirtualClusterResponse>, Status> {
        answer(self.get(caller::of(&request)?, request.get_ref()).await)
    }

    async fn list_virtual_clusters(
        &self,
        request: Request<wire::ListVirtualClustersRequest>,
    ) -> Result<Response<wire::ListVirtualClustersResponse>, Status> {
        answer(self.list(caller::of(&request)?, request.get_ref()).await)
    }

    async fn watch_virtual_clusters(
        &self,
        request: Request<wire::WatchVirtualClustersRequest>,
    ) -> Result<Response<Self::WatchVirtualClustersStream>, Status> {
        let caller = caller::of(&request)?.clone();
        answer(self.watch(caller, request.into_inner()).await)
    }

    async fn update_virtual_cluster(
        &self,
        request: Request<wire::UpdateVirtualClusterRequest>,
    ) -> Result<Response<wire::UpdateVirtualClusterResponse>, Status> {
        let caller = caller::of(&request)?.clone();
        answer(self.update(&caller, request.into_inner()).await)
    }

    async fn delete_virtual_cluster(
        &self,
        request: Request<wire::DeleteVirtualClusterRequest>,
    ) -> Result<Response<wire::DeleteVirtualClusterResponse>, Status> {
        answer(self.delete(caller::of(&request)?, request.get_ref()).await)
    }
}

#[cfg(test)]
mod tests;
