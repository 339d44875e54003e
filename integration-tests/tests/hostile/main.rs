//! Two tenants, one of whom tries everything: each attempt is refused, or harmless for the reason that its row gives.
//!
//! What other files show stands there: objects that sync keeps (`managed`), the kubelet endpoint
//! (`kubelet`), the policies that bound the services' accounts (`policies`, `privileges`).

use integration_tests::{Tenant, attempt::try_all};

mod beyond;
mod classes;
mod ingresses;
mod network;
mod object;
mod pods;
mod victim;
mod volumes;

use victim::{settle, untouched};

#[test]
fn what_a_hostile_tenant_makes_is_refused_or_harmless() {
    let (mallory, victim) = Tenant::pair("mallory", "victim");
    // The host's administrator has said who may claim which host names.
    for tenant in [&mallory, &victim] {
        let hosts = format!(
            "vcluster.dev/ingress-hosts={0}.example.com,*.{0}.example.com",
            tenant.name
        );
        tenant
            .host()
            .kubectl(&format!("annotate namespace {} {hosts}", tenant.namespace))
            .ok();
    }
    let settled = settle(&victim);
    let crown = classes::ask(&mallory, &victim);
    let crowned = classes::crown_of(&victim, &crown);
    let before = untouched(&victim);
    let unshared =
        classes::Unshared::priority(mallory.host(), format!("{}-vip", mallory.namespace));
    beyond::disarm(&mallory);
    let mut attempts = pods::that_reach_out();
    attempts.extend(pods::that_lie(&mallory, &victim));
    attempts.extend(pods::that_push(&mallory));
    attempts.extend(pods::that_pry());
    attempts.extend(volumes::volumes(&settled));
    attempts.extend(network::network(&settled));
    attempts.extend(network::destinations(mallory.host(), &settled));
    attempts.extend(classes::classes(&unshared));
    attempts.extend(classes::anothers(&crown));
    attempts.extend(ingresses::ingresses());
    try_all(&mallory, &attempts);
    beyond::maps_nothing_of_others(&mallory, &settled);
    beyond::custom_resources_name_only_own(&mallory);
    network::nothing_is_caught_but_own_pods(&mallory);
    assert_eq!(
        untouched(&victim),
        before,
        "the other tenant's objects are as they were"
    );

    // No finalizer holds the virtual cluster.
    let (name, namespace) = (&mallory.name, &mallory.namespace);
    mallory
        .host()
        .vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    assert_eq!(untouched(&victim), before);
    assert_eq!(classes::crown_of(&victim, &crown), crowned);
}
