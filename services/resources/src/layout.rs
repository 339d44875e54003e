//! Names and keys of the objects that the services hand to each other.
//!
//! Most names are the same in every host namespace (one virtual cluster lives in each), because
//! RBAC can then grant a reader exactly one Secret by `resourceNames`. The StatefulSet and the
//! Service of the virtual API server bear the cluster's own name.

/// ServiceAccount as which sync acts in a host namespace.
pub const TENANT_SERVICE_ACCOUNT: &str = "vcluster-sync";
/// ServiceAccount of synced pods; it may do nothing and no token of it is mounted.
pub const WORKLOAD_SERVICE_ACCOUNT: &str = "vcluster-workload";
/// ClusterRole of the chart: what [`TENANT_SERVICE_ACCOUNT`] may do in its namespace.
pub const TENANT_ROLE: &str = "vcluster-tenant";
/// ClusterRole of the chart: minting tokens for [`TENANT_SERVICE_ACCOUNT`], bound to sync.
pub const TENANT_TOKEN_ROLE: &str = "vcluster-tenant-token";

/// RoleBinding of [`TENANT_ROLE`].
pub const TENANT_BINDING: &str = "vcluster-tenant";
/// RoleBinding of [`TENANT_TOKEN_ROLE`].
pub const TENANT_TOKEN_BINDING: &str = "vcluster-tenant-token";

/// Secret with the control-plane pod's PKI; read by nobody else.
pub const PKI_SECRET: &str = "vcluster-pki";
/// ConfigMap with the control plane's static admission policies.
pub const ADMISSION_CONFIG_MAP: &str = "vcluster-admission";
/// Secret with the gateway's front-proxy credential: [`CA_CERT`], [`TLS_CERT`], [`TLS_KEY`].
pub const GATEWAY_SECRET: &str = "vcluster-gateway";
/// Secret with sync's credential: [`CA_CERT`], [`TLS_CERT`], [`TLS_KEY`].
pub const SYNC_SECRET: &str = "vcluster-sync";
/// Secret with the administrator's kubeconfig under [`KUBECONFIG`].
pub const KUBECONFIG_SECRET: &str = "vcluster-kubeconfig";

/// Deployment, Service, ConfigMap and Secret of a virtual cluster's DNS. The Secret holds the
/// credential of [`DNS_USER`]: [`CA_CERT`], [`TLS_CERT`], [`TLS_KEY`].
pub const DNS: &str = "vcluster-dns";
/// NetworkPolicy that bounds where a control plane connects. No translated object has such a name.
pub const CONTROL_PLANE_POLICY: &str = "vcluster-control-plane-egress";
/// NetworkPolicy that bounds who asks the DNS server.
pub const DNS_POLICY: &str = "vcluster-dns-ingress";
/// User as which the DNS server reads the virtual API server.
pub const DNS_USER: &str = "system:coredns";
/// Port on which the DNS server's pods listen, for its Service's port 53.
pub const DNS_TARGET_PORT: u16 = 1053;
/// In [`PKI_SECRET`]: the certificate by which a virtual API server presents itself to sync, with
/// its [`TenantUri`](crate::TenantUri), for the kubelet endpoint and the admission webhook.
pub const SYNC_CLIENT_CERT: &str = "sync-client.crt";
/// In [`PKI_SECRET`]: the key of [`SYNC_CLIENT_CERT`].
pub const SYNC_CLIENT_KEY: &str = "sync-client.key";
/// In [`PKI_SECRET`] and [`SYNC_SECRET`]: the platform CA's certificates, which verify sync.
pub const PLATFORM_CA_CERT: &str = "platform-ca.crt";

/// Key of a CA bundle, PEM.
pub const CA_CERT: &str = "ca.crt";
/// Key of a certificate chain, PEM.
pub const TLS_CERT: &str = "tls.crt";
/// Key of a private key, PEM (PKCS #8).
pub const TLS_KEY: &str = "tls.key";
/// Key of a kubeconfig.
pub const KUBECONFIG: &str = "kubeconfig.yaml";

/// Common name by which the gateway presents itself to virtual API servers.
pub const FRONT_PROXY_USER: &str = "vcluster-connect";
/// User as which sync works inside virtual clusters.
pub const SYNC_USER: &str = "system:vcluster:sync";

/// Port of the Service of a virtual API server.
pub const API_PORT: u16 = 443;
/// Port on which the virtual API server listens, also open on its Service.
pub const API_TARGET_PORT: u16 = 6443;

/// Namespace and name of the ConfigMap that tells users where the gateway is.
pub const GATEWAY_CONFIG_MAP: (&str, &str) = ("kube-public", "vcluster-gateway");
/// Key in it: the gateway's address, `https://HOST[:PORT]`.
pub const GATEWAY_ADDRESS: &str = "address";
/// Path prefix of a virtual API server at the gateway.
pub const CLUSTERS_PATH: &str = "/clusters";

/// Common name of the gateway's certificate towards control and sync; whoever presents it may
/// name the caller in request headers.
pub const CONNECT_COMMON_NAME: &str = "vcluster-connect";
/// Secrets in the release namespace with each service's identity ([`CA_CERT`], [`TLS_CERT`],
/// [`TLS_KEY`]), signed by the platform CA. Control makes them.
pub const CONTROL_TLS_SECRET: &str = "vcluster-control-tls";
/// See [`CONTROL_TLS_SECRET`].
pub const SYNC_TLS_SECRET: &str = "vcluster-sync-tls";
/// See [`CONTROL_TLS_SECRET`]. This one serves the public port and is the gateway's client
/// certificate towards control and sync.
pub const CONNECT_TLS_SECRET: &str = "vcluster-connect-tls";
/// Secret in the release namespace with the platform CA's key; read by control only.
pub const PLATFORM_CA_SECRET: &str = "vcluster-platform-ca";
/// Secret in the release namespace with the key of the CA that signs [`SYNC_CLIENT_CERT`]; read by
/// control only.
pub const TENANT_CA_SECRET: &str = "vcluster-tenant-ca";
/// In [`SYNC_TLS_SECRET`]: the certificates of that CA, by which sync verifies virtual API servers.
pub const TENANT_CA_CERT: &str = "tenant-ca.crt";
/// Host name of sync's Service within its namespace.
pub const SYNC_SERVICE: &str = "vcluster-sync";
/// Port of sync's Service for the kubelet API: logs, exec, attach, port-forward, stats.
pub const KUBELET_PORT: u16 = 10250;
/// Port of sync's Service for the admission webhooks of virtual API servers.
pub const WEBHOOK_PORT: u16 = 9443;
/// Port of sync's Service for aggregated APIs of virtual API servers: metrics of pods and nodes.
pub const METRICS_PORT: u16 = 4443;
/// Namespace and name of the Service inside by which a virtual API server finds that port. It verifies sync by the
/// name `NAME.NAMESPACE.svc`.
pub const METRICS_SERVICE: (&str, &str) = ("kube-system", "vcluster-metrics");
/// In [`SYNC_SECRET`]: the authority of the virtual API server's certificate towards aggregated API servers.
pub const FRONT_PROXY_CA_CERT: &str = "front-proxy-ca.crt";
/// Path of the webhook that reserves addresses for Services.
pub const SERVICES_WEBHOOK_PATH: &str = "/admission/services";
/// Ports that a Service may have which that webhook is asked about. Each may cost the host a node port.
pub const SERVICE_PORTS: usize = 1000;
/// Secret in the release namespace with the key that signs credentials ([`TLS_KEY`], ES256).
pub const SIGNING_SECRET: &str = "vcluster-connect-signing";
