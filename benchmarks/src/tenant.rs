//! Virtual clusters, as control leaves them for sync: the object with its status, the namespace with its accounts and
//! bindings, the Secret with the credential; and what a controller-manager would make inside.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;
use vcluster_resources::label::{HOST, HOST_VALUE, MANAGED, MANAGED_VALUE};
use vcluster_resources::layout::{
    CA_CERT, PLATFORM_CA_CERT, SYNC_SECRET, SYNC_USER, TENANT_BINDING, TENANT_ROLE,
    TENANT_SERVICE_ACCOUNT, TENANT_TOKEN_BINDING, TENANT_TOKEN_ROLE, TLS_CERT, TLS_KEY,
    WORKLOAD_SERVICE_ACCOUNT,
};

use crate::client::Client;
use crate::host::{Host, SERVICES, SYSTEM};
use crate::servers::Ground;

/// Name of every VirtualCluster; its namespace tells it from others.
const CLUSTER: &str = "vc";
/// Namespace inside where the load is.
pub(crate) const LOAD: &str = "load";
/// Label of a VirtualCluster with its namespace, by which a sync can be told to serve it alone.
pub(crate) const NUMBER: &str = "benchmark";
const CLUSTERS: &str = "/apis/vcluster.dev/v1alpha1";
/// How long sync may take until it serves every tenant.
const SERVED: Duration = Duration::from_mins(4);

/// A virtual cluster.
#[derive(Clone)]
pub(crate) struct Tenant {
    /// Its namespace on the host.
    pub(crate) namespace: String,
    /// Its API server, as an administrator.
    pub(crate) client: Client,
    port: u16,
}

impl Tenant {
    /// The one of this number, whose API server is at a port.
    pub(crate) fn new(number: usize, port: u16, client: Client) -> Self {
        let namespace = format!("t-{number}");
        Self {
            namespace,
            client,
            port,
        }
    }

    /// Where its API server listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Makes what is around it on the host, and then itself.
    pub(crate) async fn install(&self, ground: &Ground, host: &Host) -> Result<()> {
        let namespace = json!({"metadata": {"name": self.namespace, "labels": {HOST: HOST_VALUE}}});
        host.client.ensure("/api/v1/namespaces", &namespace).await?;
        let base = format!("/api/v1/namespaces/{}", self.namespace);
        for account in ["default", TENANT_SERVICE_ACCOUNT, WORKLOAD_SERVICE_ACCOUNT] {
            let account = json!({"metadata": {"name": account}});
            host.client
                .ensure(&format!("{base}/serviceaccounts"), &account)
                .await?;
        }
        let ours = (self.namespace.as_str(), TENANT_SERVICE_ACCOUNT);
        self.bind(host, TENANT_BINDING, TENANT_ROLE, ours).await?;
        let syncs = (SYSTEM, TENANT_SERVICE_ACCOUNT);
        self.bind(host, TENANT_TOKEN_BINDING, TENANT_TOKEN_ROLE, syncs)
            .await?;
        let credential = ground.authority.issue(SYNC_USER, Some("system:masters"))?;
        let secret = json!({
            "metadata": {"name": SYNC_SECRET},
            "data": {
                CA_CERT: STANDARD.encode(&ground.authority.certificate),
                TLS_CERT: STANDARD.encode(credential.certificate),
                TLS_KEY: STANDARD.encode(credential.key),
                PLATFORM_CA_CERT: STANDARD.encode(&ground.authority.certificate),
            },
        });
        host.client
            .ensure(&format!("{base}/secrets"), &secret)
            .await?;
        self.declare(host).await
    }

    async fn bind(&self, host: &Host, name: &str, role: &str, to: (&str, &str)) -> Result<()> {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": to.0, "name": to.1}],
        });
        let path = format!(
            "/apis/{group}/v1/namespaces/{}/rolebindings",
            self.namespace
        );
        host.client.ensure(&path, &binding).await
    }

    async fn declare(&self, host: &Host) -> Result<()> {
        let path = format!("{CLUSTERS}/namespaces/{}/virtualclusters", self.namespace);
        let cluster = json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": CLUSTER, "labels": {NUMBER: self.namespace}}, "spec": {},
        });
        host.client.ensure(&path, &cluster).await?;
        let status = json!({"status": {
            "endpoint": format!("https://127.0.0.1:{}", self.port),
            "dnsAddress": "10.96.0.53",
            "serviceCIDRs": [SERVICES],
            "version": "1.37.2",
            "conditions": [{
                "type": "ControlPlaneReady", "status": "True", "reason": "Available", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }});
        let path = format!("{path}/{CLUSTER}/status");
        host.client.patch(&path, status.to_string()).await.map(drop)
    }

    /// Makes inside what a controller-manager makes in a namespace, for the namespace of the load.
    pub(crate) async fn furnish(&self) -> Result<()> {
        let namespace = json!({"metadata": {"name": LOAD}});
        self.client.ensure("/api/v1/namespaces", &namespace).await?;
        let base = format!("/api/v1/namespaces/{LOAD}");
        let account = json!({"metadata": {"name": "default"}});
        self.client
            .ensure(&format!("{base}/serviceaccounts"), &account)
            .await?;
        let authority =
            json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "none"}});
        self.client
            .ensure(&format!("{base}/configmaps"), &authority)
            .await
    }

    /// Says in the controller-manager's stead that the ranges that sync made are usable.
    async fn confirm_ranges(&self) -> Result<()> {
        let path = "/apis/networking.k8s.io/v1/servicecidrs";
        let ranges = self.client.get(path).await?;
        for range in ranges["items"].as_array().into_iter().flatten() {
            let metadata = &range["metadata"];
            let is_ready = range.pointer("/status/conditions/0/status") == Some(&json!("True"));
            if is_ready || metadata["labels"][MANAGED] != MANAGED_VALUE {
                continue;
            }
            let name = metadata["name"].as_str().context("a range without name")?;
            let status = json!({"status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "Benchmark", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}});
            self.client
                .patch(&format!("{path}/{name}/status"), status.to_string())
                .await?;
        }
        Ok(())
    }

    /// Removes the VirtualCluster and waits until sync has let go of it.
    pub(crate) async fn remove(&self, host: &Host) -> Result<()> {
        let path = format!("{CLUSTERS}/namespaces/{}/virtualclusters", self.namespace);
        host.client.delete(&format!("{path}/{CLUSTER}")).await?;
        let until = Instant::now() + SERVED;
        while !is_empty(&host.client.get(&path).await?) {
            ensure!(Instant::now() < until, "{} is not let go", self.namespace);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// Waits until sync says of every tenant that it is served.
pub(crate) async fn served(host: &Host, tenants: &[Tenant]) -> Result<()> {
    let until = Instant::now() + SERVED;
    loop {
        let list = host
            .client
            .get(&format!("{CLUSTERS}/virtualclusters"))
            .await?;
        let served = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| is_served(one));
        let served: Vec<&str> = served
            .filter_map(|one| one.pointer("/metadata/namespace")?.as_str())
            .collect();
        let mut waiting = tenants
            .iter()
            .filter(|tenant| !served.contains(&tenant.namespace.as_str()))
            .peekable();
        if waiting.peek().is_none() {
            return Ok(());
        }
        let first = waiting.peek().map(|tenant| tenant.namespace.clone());
        for tenant in waiting {
            tenant.confirm_ranges().await?;
        }
        ensure!(
            Instant::now() < until,
            "sync does not serve {first:?}: {list}"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn is_served(cluster: &Value) -> bool {
    let conditions = cluster
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "SyncReady" && condition["status"] == "True")
}

fn is_empty(list: &Value) -> bool {
    list["items"].as_array().is_none_or(Vec::is_empty)
}
