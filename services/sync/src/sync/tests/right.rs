//! A host that does not let us act.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_host_account_is_missing_is_told_until_it_is_back() {
    use std::sync::Arc;

    use vcluster_resources::condition::{Reason, Status};

    use crate::tenant::HostClient;
    use crate::tenant_token::TenantToken;
    use crate::tenants::status::observe;
    let world = World::new().await;
    let code = Arc::new(std::sync::atomic::AtomicU16::new(404));
    let (answered, clock) = (Arc::clone(&code), world.clock.clone());
    world.host.script(move |call| {
        let token = call.path.ends_with("/vcluster-sync/token");
        let good = json!({
            "metadata": {}, "spec": {"audiences": []},
            "status": {"token": "t", "expirationTimestamp": in_an_hour(&clock)},
        });
        token.then(
            || match answered.load(std::sync::atomic::Ordering::Relaxed) {
                201 => answer(201, good),
                code => status(code, "No"),
            },
        )
    });
    let own = world.host.client();
    let token = TenantToken::new("team-a", own.clone(), Arc::new(world.clock.clone()));
    let client = crate::tenant_token::client(own, Arc::new(token));
    let world = world.with_host(HostClient(client));
    let reason = || {
        let said = observe(&world.tenant);
        (said.status, said.reason, said.message)
    };
    for (next, named) in [
        (404, "ServiceAccount vcluster-sync in namespace team-a"),
        (403, "RoleBinding vcluster-tenant-token in namespace team-a"),
    ] {
        code.store(next, std::sync::atomic::Ordering::Relaxed);
        world.tenant.ask_host().await;
        let (status, reason, message) = reason();
        assert_eq!((status, reason), (Status::False, Reason::Refused));
        assert!(message.contains(named), "{message}");
    }
    // A server that does not answer changes nothing of it.
    code.store(503, std::sync::atomic::Ordering::Relaxed);
    world.tenant.ask_host().await;
    assert_eq!(reason().1, Reason::Refused);
    code.store(201, std::sync::atomic::Ordering::Relaxed);
    world.tenant.ask_host().await;
    assert_eq!(reason().0, Status::True);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_host_account_may_not_read_is_told_and_one_whose_pod_is_refused_is_not() {
    use vcluster_resources::condition::{Reason, Status};

    use crate::tenants::status::observe;
    let world = World::new().await;
    world
        .host
        .script(|call| (call.method == "POST").then(|| status(403, "Forbidden")));
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    assert_eq!(observe(&world.tenant).status, Status::True);
    world.host.script(|_call| Some(status(403, "Forbidden")));
    world.tenant.ask_host().await;
    let said = observe(&world.tenant);
    assert_eq!(said.reason, Reason::Refused);
    assert!(
        said.message.contains("RoleBinding vcluster-tenant "),
        "{}",
        said.message
    );
}
