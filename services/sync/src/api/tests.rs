//! Requests of the gRPC API: read, or refused by field.

use serde_json::json;
use tonic::Code;
use vcluster_chassis::identity::Identity;
use vcluster_chassis::testing::{ApiServer, Authority, json as answer};
use vcluster_chassis::tls::Live;
use wire::translate_name_request::Object as Asked;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::object::Key;
use crate::testing::{World, pod};

mod explain;

/// A service whose host says that alice may do everything and others nothing.
fn service(world: &World) -> Service {
    let reviews = ApiServer::new(|call| {
        let allowed = call.body["spec"]["user"] == "alice";
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "metadata": {}, "spec": {}, "status": {"allowed": allowed},
        });
        answer(201, review)
    });
    let authority = Authority::new("platform");
    let identity = authority.server(&["sync.test"]).identity();
    let roots = Live::from(authority.roots());
    let elsewhere = Elsewhere::new("sync.test", roots, Live::from(identity)).unwrap();
    Service::new(
        Arc::clone(&world.engine),
        Authorizer::new(reviews.client()),
        elsewhere,
    )
}

fn by<T>(user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Identity::user(user));
    request
}

fn get(name: &str) -> wire::GetTenantRequest {
    wire::GetTenantRequest {
        host_namespace: "team-a".to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_shown_to_those_whom_the_host_lets() {
    let world = World::new().await;
    let service = service(&world);
    let shown = service
        .get_tenant(by("alice", get("demo")))
        .await
        .unwrap()
        .into_inner();
    let tenant = shown.tenant.unwrap();
    assert_eq!(tenant.state(), wire::TenantState::Synced);
    assert!(
        tenant
            .kinds
            .iter()
            .all(|kind| kind.virtual_listed && kind.host_listed)
    );
    let refused = service
        .get_tenant(by("mallory", get("demo")))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let missing = service
        .get_tenant(by("alice", get("other")))
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let nobody = service
        .get_tenant(Request::new(get("demo")))
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn names_are_translated_both_ways() {
    let world = World::new().await;
    let service = service(&world);
    let key = world.apply(Kind::Pod, pod("web"));
    world.work(&key).await;
    assert_eq!(key, Key::new(Kind::Pod, "shop", "web"));
    let ask = |object| {
        by(
            "alice",
            wire::TranslateNameRequest {
                host_namespace: "team-a".to_owned(),
                name: "demo".to_owned(),
                kind: "Pod".to_owned(),
                object: Some(object),
            },
        )
    };
    let inside = wire::VirtualObject {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    for object in [
        Asked::Virtual(inside.clone()),
        Asked::HostObjectName("web-x-shop-x-demo".to_owned()),
    ] {
        let answer = service
            .translate_name(ask(object))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.host_object_name, "web-x-shop-x-demo");
        assert_eq!(answer.r#virtual, Some(inside.clone()));
    }
    let unknown = Asked::HostObjectName("demo-0".to_owned());
    let unknown = service.translate_name(ask(unknown)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_where_the_tenants_end() {
    let world = World::new().await;
    let service = service(&world);
    let request = by(
        "alice",
        wire::ListTenantsRequest {
            page_size: 1,
            ..Default::default()
        },
    );
    let page = service.list_tenants(request).await.unwrap().into_inner();
    assert_eq!((page.tenants.len(), page.next_page_token.as_str()), (1, ""));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_work_for_virtual_clusters_says_so_of_each() {
    let world = World::new().await;
    let service = service(&world);
    let other = || service.get_tenant(by("alice", get("other")));
    assert_eq!(other().await.unwrap_err().code(), Code::NotFound);
    let id = Id {
        name: "other".to_owned(),
        ..world.tenant.id.clone()
    };
    let going = "its objects are removed from the host";
    world.engine.standing().say(&id, State::Draining, going);
    let shown = other().await.unwrap().into_inner().tenant.unwrap();
    assert_eq!(shown.state(), wire::TenantState::Draining);
    assert_eq!(shown.message, going);
    let all = by("alice", wire::ListTenantsRequest::default());
    let all = service.list_tenants(all).await.unwrap().into_inner();
    assert_eq!(all.tenants.len(), 2);
    world.engine.standing().set_complete(false);
    assert_eq!(other().await.unwrap_err().code(), Code::Unavailable);
    let all = by("alice", wire::ListTenantsRequest::default());
    let refused = service.list_tenants(all).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_worked_for_is_billed_and_one_beside_it_is_not() {
    let world = World::new().await;
    let quiet = world.beside("quiet");
    let end = CancellationToken::new();
    let worker = tokio::spawn(Arc::clone(&world.engine).work(end.clone()));
    let mut written = 0;
    // The clock of a thread may be coarse: until it has moved.
    while world.tenant.bill.cpu().is_zero() {
        world.apply(Kind::Pod, pod(&format!("web-{written}")));
        written += 1;
        tokio::task::yield_now().await;
    }
    end.cancel();
    worker.await.unwrap();
    let shown = |name: &str| world.engine.tenant("team-a", name).unwrap();
    let service = service(&world);
    let bill = |name: &str| service.show(&shown(name)).bill.unwrap();
    let cpu = |name: &str| bill(name).cpu_time.unwrap();
    assert_ne!(cpu("demo"), prost_types::Duration::default());
    assert_eq!(cpu("quiet"), prost_types::Duration::default());
    assert_eq!(quiet.bill.host.passed(), Passed::default());
}
