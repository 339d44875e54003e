//! ConfigMaps and Secrets: on the host as long as a pod uses them.

use vcluster_translate::plan::{self, Action};
use vcluster_translate::pod::ReferenceKind;

use super::{Next, Step, until};
use crate::apply::Failure;
use crate::object::{Key, Kind, Side};
use crate::queue::Lane;
use crate::state::Problem;
use crate::tenant::Tenant;

/// One step about a configmap or secret. A Secret is not kept in memory longer than it is worked on, however
/// that ends: waiting, refused or failed.
pub(super) async fn step(tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let step = decide(tenant, key).await;
    if key.kind == Kind::Secret && !matches!(step, Ok(Step::Again)) {
        let mut state = tenant.state();
        state.bodies.drop(Side::Virtual, key);
        state.bodies.drop(Side::Host, key);
    }
    step
}

async fn decide(tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let kind = match key.kind {
        Kind::ConfigMap => ReferenceKind::ConfigMap,
        Kind::Secret => ReferenceKind::Secret,
        Kind::Pod | Kind::Namespace | Kind::Node | Kind::Event => {
            return Ok(Step::Done(Next::Settled));
        }
    };
    let in_use = tenant.state().references.is_used(key);
    let object = tenant.see(Side::Virtual, key).await?;
    let host = tenant.see(Side::Host, key).await?;
    let knowledge = tenant.knows(&[key.kind, Kind::Pod]);
    let context = &tenant.context;
    match plan::object(
        kind,
        object.as_ref(),
        host.as_ref(),
        in_use,
        knowledge,
        context,
    ) {
        Action::Nothing => {
            at_rest(tenant, key);
            Ok(Step::Done(Next::Settled))
        }
        Action::Wait(waiting) => {
            // Nobody watches these on the host: read it when its time comes.
            tenant.state().doubt(Side::Host, key);
            Ok(Step::Done(until(&waiting)))
        }
        Action::Refuse(refusal) => Ok(refused(
            tenant,
            key,
            refusal.reason.as_str(),
            &refusal.to_string(),
        )),
        Action::Create(wanted) => match tenant.create(Side::Host, key.kind, &wanted).await {
            Ok(made) => {
                tenant.take_note(Side::Host, key, &made);
                tenant.state().set_problem(key, None);
                wake_users(tenant, key);
                Ok(Step::Again)
            }
            Err(Failure::Refused { message, .. }) => {
                Ok(refused(tenant, key, "HostRefused", &message))
            }
            Err(failure) => Err(failure),
        },
        Action::PatchHost(patch) => {
            let name = tenant.name_on(Side::Host, key);
            match tenant.patch(Side::Host, key.kind, &name, &patch).await {
                Ok(patched) => {
                    tenant.take_note(Side::Host, key, &patched);
                    Ok(Step::Again)
                }
                Err(Failure::Refused { message, .. }) => {
                    Ok(refused(tenant, key, "HostRefused", &message))
                }
                Err(failure) => Err(failure),
            }
        }
        Action::DeleteHost(delete) => tenant.remove(Side::Host, key, &delete).await,
        // Not for these kinds.
        Action::PatchVirtual(_) | Action::Bind(_) | Action::DeleteVirtual(_) => {
            Ok(Step::Done(Next::Settled))
        }
    }
}

fn at_rest(tenant: &Tenant, key: &Key) {
    let had_problem = {
        let mut state = tenant.state();
        let had_problem = state.set_problem(key, None);
        state.settle(key);
        had_problem
    };
    if had_problem {
        wake_users(tenant, key);
    }
}

/// It cannot be on the host: its users are told, because a tenant looks at pods.
fn refused(tenant: &Tenant, key: &Key, reason: &str, message: &str) -> Step {
    let problem = Problem {
        reason: reason.to_owned(),
        message: format!("{} {:?}: {message}", key.kind, &*key.name.name),
    };
    if tenant.state().set_problem(key, Some(problem)) {
        wake_users(tenant, key);
    }
    Step::Done(Next::Retry {
        after: Some(super::OTHERS),
        message: message.to_owned(),
    })
}

fn wake_users(tenant: &Tenant, key: &Key) {
    let users: Vec<_> = tenant.state().references.users(key).cloned().collect();
    for name in users {
        tenant.add(
            Key {
                kind: Kind::Pod,
                name,
            },
            Lane::Live,
        );
    }
}
