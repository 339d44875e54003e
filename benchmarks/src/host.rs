//! The host cluster: etcd, kube-apiserver, the chart's roles and policies, and nodes that no kubelet runs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::Client;
use crate::process::Process;
use crate::servers::{self, ApiServer, Ground};

/// Where the chart is installed.
pub(crate) const SYSTEM: &str = "vcluster-system";
/// Addresses of the host's Services.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// Kinds of the chart that say what sync may do. Its workloads are played by processes.
const KINDS: [&str; 8] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];
/// How long tokens are good: longer than a run.
const TOKEN_SECONDS: u32 = 24 * 60 * 60;

/// The host cluster.
pub(crate) struct Host {
    pub(crate) api: ApiServer,
    pub(crate) etcd: Process,
    pub(crate) client: Client,
}

impl Host {
    /// Starts it and installs the chart's roles and policies.
    pub(crate) async fn start(ground: &Ground, nodes: usize) -> Result<Self> {
        let (etcd, store) = servers::etcd(ground, "host-etcd")?;
        let mut api = ApiServer::start(ground, "host", store, SERVICES)?;
        let client = api.ready(ground).await?;
        let host = Self { api, etcd, client };
        let kubeconfig = ground.folder.join("admin.kubeconfig");
        let user = json!({
            "client-certificate": ground.file("admin.crt"),
            "client-key": ground.file("admin.key"),
        });
        std::fs::write(&kubeconfig, host.kubeconfig(ground, &user))?;
        install(ground, &kubeconfig.display().to_string())?;
        host.client
            .ensure(
                "/api/v1/namespaces",
                &json!({"metadata": {"name": "default"}}),
            )
            .await?;
        for number in 0..nodes {
            host.node(number).await?;
        }
        Ok(host)
    }

    /// A kubeconfig for this cluster.
    pub(crate) fn kubeconfig(&self, ground: &Ground, user: &Value) -> String {
        let server = format!("https://127.0.0.1:{}", self.api.port);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "host",
            "clusters": [{"name": "host", "cluster": {
                "server": server, "certificate-authority": ground.file("ca.crt"),
            }}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "host", "context": {"cluster": "host", "user": "user"}}],
        })
        .to_string()
    }

    async fn node(&self, number: usize) -> Result<()> {
        let name = format!("node-{number}");
        let now = "2026-01-01T00:00:00Z";
        let condition = |kind: &str, status: &str| {
            json!({
                "type": kind, "status": status, "reason": "Kubelet", "message": "",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            })
        };
        let room =
            json!({"cpu": "64", "memory": "256Gi", "pods": "3000", "ephemeral-storage": "1Ti"});
        let node = json!({
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            }},
            "spec": {"podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")]},
            "status": {
                "capacity": room, "allocatable": room,
                "addresses": [
                    {"type": "InternalIP", "address": format!("10.77.0.{}", number + 1)},
                    {"type": "Hostname", "address": name},
                ],
                "conditions": [
                    condition("Ready", "True"), condition("MemoryPressure", "False"),
                    condition("DiskPressure", "False"), condition("PIDPressure", "False"),
                ],
                "nodeInfo": {
                    "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1", "osImage": "none",
                    "containerRuntimeVersion": "none://1", "kubeletVersion": "v1.37.2", "kubeProxyVersion": "",
                    "operatingSystem": "linux", "architecture": "amd64",
                },
            },
        });
        self.client.ensure("/api/v1/nodes", &node).await?;
        // The API server has tainted it, as one whose kubelet has not spoken yet.
        let path = format!("/api/v1/nodes/{name}");
        self.client
            .patch(&path, r#"{"spec":{"taints":null}}"#)
            .await
            .map(drop)
    }

    /// A token of a ServiceAccount. Its ServiceAccount may be new to the API server.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        });
        let answer = self.client.create(&path, request.to_string()).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        token
            .map(str::to_owned)
            .context("a TokenRequest without token")
    }

    /// How many pods there are.
    pub(crate) async fn pods(&self) -> Result<u64> {
        let list = self.client.get("/api/v1/pods?limit=1").await?;
        let rest = list
            .pointer("/metadata/remainingItemCount")
            .and_then(Value::as_u64);
        let here = list["items"].as_array().map_or(0, Vec::len);
        Ok(rest.unwrap_or(0) + u64::try_from(here)?)
    }

    /// Waits until no pod is left.
    pub(crate) async fn emptied(&self) -> Result<()> {
        let until = tokio::time::Instant::now() + Duration::from_mins(3);
        while self.pods().await? > 0 {
            anyhow::ensure!(tokio::time::Instant::now() < until, "pods stay on the host");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// Puts the chart's roles and policies on the host.
fn install(ground: &Ground, kubeconfig: &str) -> Result<()> {
    let chart = ground.programs.chart.display().to_string();
    let args = [
        "template",
        "vcluster",
        &chart,
        "-n",
        SYSTEM,
        "--include-crds",
    ];
    let all = servers::run(&ground.programs.helm, &args, "").context("helm template")?;
    let is_wanted = |document: &&str| {
        let kind = document
            .lines()
            .find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| KINDS.contains(&kind.trim()))
    };
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n");
    let wanted = std::iter::once(namespace.as_str()).chain(all.split("\n---").filter(is_wanted));
    let wanted: Vec<&str> = wanted.collect();
    let kubectl = ground.programs.kubernetes.join("kubectl");
    let config = format!("--kubeconfig={kubeconfig}");
    let args = [
        &config,
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
    ];
    servers::run(&kubectl, &args, &wanted.join("\n---\n")).context("kubectl apply")?;
    let crd = "customresourcedefinition/virtualclusters.vcluster.dev";
    let args = [
        &config,
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        crd,
    ];
    servers::run(&kubectl, &args, "")
        .context("kubectl wait")
        .map(drop)
}
