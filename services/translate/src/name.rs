//! Host names of translated objects, and of the few that stand beside them.
//!
//! A name made here cannot meet one of the virtual cluster's own objects: those hold `-x-` twice
//! or end in 20 hexadecimal digits (see [`vcluster_resources::name`]), and end in neither `.token`
//! nor in the fixed names of [`vcluster_resources::layout`].

use vcluster_resources::name::{SUBDOMAIN_LIMIT, host_name, service_host_name};
use vcluster_resources::{HostNamespace, TenantUri};

use crate::{Context, Kind, kind::Naming};

/// Ends the name of a pod's token Secret.
const TOKEN_SUFFIX: &str = ".token";

/// Longest file name (`NAME_MAX` of Linux). The kubelet keeps a pod's logs in a folder called
/// `NAMESPACE_NAME_UID`, and starts no pod for which that is longer.
const FILE_NAME_LIMIT: usize = 255;
/// Characters of a UID.
const UID_LENGTH: usize = 36;

/// Longest name in the host namespace: at most what the API allows, and for pods (one rule for all
/// kinds) at most what a node can start.
fn limit(host_namespace: &HostNamespace) -> usize {
    let around = host_namespace.as_str().len() + UID_LENGTH + "__".len();
    SUBDOMAIN_LIMIT.min(FILE_NAME_LIMIT - around)
}

/// Host name of an object of that kind.
pub fn of_kind(kind: Kind, namespace: &str, name: &str, context: &Context) -> String {
    match kind.description().api.naming {
        Naming::Subdomain => of(namespace, name, context),
        Naming::Label => of_service(namespace, name, context),
    }
}

/// Host name of a pod of a virtual cluster of which no more is known than who it is.
pub fn of_pod(namespace: &str, name: &str, tenant: &TenantUri) -> String {
    host_name(name, namespace, &tenant.name, limit(&tenant.namespace))
}

/// Host name of an object whose kind takes any name, as a pod, ConfigMap or Secret.
pub fn of(namespace: &str, name: &str, context: &Context) -> String {
    host_name(
        name,
        namespace,
        &context.cluster,
        limit(&context.host_namespace),
    )
}

/// Host name of a Service: a DNS label that begins with a letter.
pub fn of_service(namespace: &str, name: &str, context: &Context) -> String {
    service_host_name(name, namespace, &context.cluster)
}

/// Host name of the Secret that holds the service-account tokens of a pod.
pub fn of_tokens(namespace: &str, pod: &str, context: &Context) -> String {
    let limit = limit(&context.host_namespace) - TOKEN_SUFFIX.len();
    host_name(pod, namespace, &context.cluster, limit) + TOKEN_SUFFIX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::context;

    #[test]
    fn a_pod_s_tokens_are_named_after_it() {
        assert_eq!(of("shop", "web", &context()), "web-x-shop-x-demo");
        assert_eq!(
            of_tokens("shop", "web", &context()),
            "web-x-shop-x-demo.token"
        );
    }

    #[test]
    fn the_longest_pod_name_is_one_that_a_node_can_start() {
        let name = of("shop", &"n".repeat(253), &context());
        let folder = format!(
            "{}_{name}_{}",
            context().host_namespace,
            "u".repeat(UID_LENGTH)
        );
        assert_eq!(folder.len(), FILE_NAME_LIMIT);
    }

    proptest! {
        #[test]
        fn no_secret_of_the_tenant_bears_the_name_of_a_pod_s_tokens(
            pod in "[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?",
            secret in "[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(\\.token)?",
            namespace in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        ) {
            let tokens = of_tokens(&namespace, &pod, &context());
            prop_assert!(tokens.len() <= SUBDOMAIN_LIMIT);
            prop_assert!(!of(&namespace, &secret, &context()).ends_with(TOKEN_SUFFIX));
        }
    }
}
