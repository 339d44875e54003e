//! The objects of a virtual cluster in its host namespace: which there are, and what they are called.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use vcluster_resources::layout;

use crate::pki::Credential;
use crate::subject::Subject;

/// A place that holds at most one object of a virtual cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// ServiceAccount as which sync acts.
    TenantAccount,
    /// ServiceAccount of synced pods.
    WorkloadAccount,
    /// What sync's ServiceAccount, and control, may do here.
    TenantBinding,
    /// Lets sync mint tokens of its ServiceAccount.
    TenantTokenBinding,
    /// Static admission policies.
    Admission,
    /// Address of the virtual API server.
    Service,
    /// A Secret with keys.
    Secret(Credential),
    /// Address of the DNS server.
    DnsService,
    /// Its configuration.
    DnsConfig,
    /// The DNS server.
    Dns,
    /// Bounds where the control plane connects; wanted if the installation isolates.
    ControlPlanePolicy,
    /// Bounds who asks the DNS server; likewise.
    DnsPolicy,
    /// The StatefulSet.
    ControlPlane,
    /// The claim with the data; made by the StatefulSet.
    Claim,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::TenantAccount,
        Self::WorkloadAccount,
        Self::TenantBinding,
        Self::TenantTokenBinding,
        Self::Admission,
        Self::Service,
        Self::Secret(Credential::ControlPlane),
        Self::Secret(Credential::Gateway),
        Self::Secret(Credential::Sync),
        Self::Secret(Credential::Administrator),
        Self::Secret(Credential::Dns),
        Self::DnsService,
        Self::DnsConfig,
        Self::Dns,
        Self::ControlPlanePolicy,
        Self::DnsPolicy,
        Self::ControlPlane,
        Self::Claim,
    ];

    /// Those that bound what pods of ours reach and who reaches them.
    pub const POLICIES: [Self; 2] = [Self::ControlPlanePolicy, Self::DnsPolicy];

    /// Name of its object.
    pub fn name(self, subject: &Subject) -> String {
        match self {
            Self::TenantAccount => layout::TENANT_SERVICE_ACCOUNT.to_owned(),
            Self::WorkloadAccount => layout::WORKLOAD_SERVICE_ACCOUNT.to_owned(),
            Self::TenantBinding => layout::TENANT_BINDING.to_owned(),
            Self::TenantTokenBinding => layout::TENANT_TOKEN_BINDING.to_owned(),
            Self::Admission => layout::ADMISSION_CONFIG_MAP.to_owned(),
            Self::Secret(credential) => credential.secret().to_owned(),
            Self::DnsService | Self::DnsConfig | Self::Dns => layout::DNS.to_owned(),
            Self::ControlPlanePolicy => layout::CONTROL_PLANE_POLICY.to_owned(),
            Self::DnsPolicy => layout::DNS_POLICY.to_owned(),
            Self::Service | Self::ControlPlane => subject.name().to_string(),
            Self::Claim => subject.claim(),
        }
    }

    /// Kind of its object.
    pub const fn kind(self) -> &'static str {
        self.parts().2
    }

    /// Kind and name, as people write them.
    pub fn describe(self, subject: &Subject) -> String {
        format!("{} {}", self.kind(), self.name(subject))
    }

    /// Where the API serves it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::TenantAccount | Self::WorkloadAccount => {
                ("", "v1", "ServiceAccount", "serviceaccounts")
            }
            Self::TenantBinding | Self::TenantTokenBinding => (
                "rbac.authorization.k8s.io",
                "v1",
                "RoleBinding",
                "rolebindings",
            ),
            Self::Admission | Self::DnsConfig => ("", "v1", "ConfigMap", "configmaps"),
            Self::Dns => ("apps", "v1", "Deployment", "deployments"),
            Self::Service | Self::DnsService => ("", "v1", "Service", "services"),
            Self::Secret(_) => ("", "v1", "Secret", "secrets"),
            Self::ControlPlanePolicy | Self::DnsPolicy => (
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                "networkpolicies",
            ),
            Self::ControlPlane => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::Claim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        }
    }

    /// Whether control may look at it only through the tenant's role, which it first has to bind.
    pub const fn needs_binding(self) -> bool {
        match self {
            Self::Secret(_) | Self::Claim => true,
            Self::TenantAccount
            | Self::WorkloadAccount
            | Self::TenantBinding
            | Self::TenantTokenBinding
            | Self::Admission
            | Self::Service
            | Self::DnsService
            | Self::DnsConfig
            | Self::Dns
            | Self::ControlPlanePolicy
            | Self::DnsPolicy
            | Self::ControlPlane => false,
        }
    }
}
