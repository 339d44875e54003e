//! placeholder
use vcluster_chassis::access::Authorizer;
use vcluster_chassis::drain::Shutdown;
use vcluster_proto::control::v1 as wire;
use wire::control_service_server::{ControlService, ControlServiceServer};
#[derive(Clone)]
pub struct Service { client: kube::Client, authorizer: Authorizer, ns: String, shutdown: Shutdown }
impl Service {
    pub fn new(client: kube::Client, authorizer: Authorizer, ns: String, shutdown: Shutdown) -> Self { Self { client, authorizer, ns, shutdown } }
    pub fn server(self) -> ControlServiceServer<Self> { ControlServiceServer::new(self) }
}
type R<T> = Result<tonic::Response<T>, tonic::Status>;
#[tonic::async_trait]
impl ControlService for Service {
    type WatchVirtualClustersStream = futures::stream::BoxStream<'static, Result<wire::WatchVirtualClustersResponse, tonic::Status>>;
    async fn create_virtual_cluster(&self, _: tonic::Request<wire::CreateVirtualClusterRequest>) -> R<wire::CreateVirtualClusterResponse> { Err(tonic::Status::unimplemented("")) }
    async fn get_virtual_cluster(&self, _: tonic::Request<wire::GetVirtualClusterRequest>) -> R<wire::GetVirtualClusterResponse> { Err(tonic::Status::unimplemented("")) }
    async fn list_virtual_clusters(&self, _: tonic::Request<wire::ListVirtualClustersRequest>) -> R<wire::ListVirtualClustersResponse> { Err(tonic::Status::unimplemented("")) }
    async fn watch_virtual_clusters(&self, _: tonic::Request<wire::WatchVirtualClustersRequest>) -> R<Self::WatchVirtualClustersStream> { Err(tonic::Status::unimplemented("")) }
    async fn update_virtual_cluster(&self, _: tonic::Request<wire::UpdateVirtualClusterRequest>) -> R<wire::UpdateVirtualClusterResponse> { Err(tonic::Status::unimplemented("")) }
    async fn delete_virtual_cluster(&self, _: tonic::Request<wire::DeleteVirtualClusterRequest>) -> R<wire::DeleteVirtualClusterResponse> { Err(tonic::Status::unimplemented("")) }
}
