//! The conditions SyncReady and CustomResourcesReady of a VirtualCluster: what sync says about it, and nothing else of
//! the status.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use vcluster_chassis::clock::Clock;
use vcluster_resources::VirtualCluster;
use vcluster_resources::condition::{self, Observation, Reason, Status, Type};
use vcluster_resources::ownership::SYNC_STATUS;
use vcluster_translate::Custom;

use crate::custom::Resolved;
use crate::guard::{self, Guard};
use crate::link::Reach;
use crate::metrics::State;
use crate::object::Side;
use crate::tenant::store::Loss;
use crate::tenant::{Id, Subject, Tenant};

/// Characters of a condition's message at most.
const MESSAGE: usize = 4096;

/// Whether a tenant is served, and why not.
pub fn state(tenant: &Tenant) -> (State, String) {
    if let Some(lost) = tenant.store_loss() {
        return (State::Frozen, lost.to_string());
    }
    if let Reach::Down { reason } = tenant.link.reach() {
        let text = format!(
            "the virtual API server cannot be reached, nothing is changed or deleted: {reason}"
        );
        return (State::Frozen, text);
    }
    if let Some(missing) = tenant.missing_right() {
        let text = format!("nothing is changed or deleted on the host: {missing}");
        return (State::Frozen, text);
    }
    if let Some(conflict) = tenant.conflict() {
        return (State::Starting, conflict);
    }
    let unlisted = tenant.unlisted();
    if let (true, Some(missing)) = (unlisted.is_empty(), tenant.unprovisioned()) {
        return (State::Starting, format!("waits inside for {missing}"));
    }
    if unlisted.is_empty() {
        let mut text = "every kind is listed on both sides and followed".to_owned();
        if let Some(waiting) = tenant.unmapped() {
            let waiting: String = waiting.chars().take(MESSAGE).collect();
            text = format!("{text}; of spec.sync is not mapped: {waiting}");
        }
        if let Some(kept) = tenant.kept_said() {
            text = format!(
                "{text}; kept on the host for their data, though the accepted store lacks them: {kept}"
            );
        }
        return (State::Synced, text);
    }
    let name = |(side, kind): &(Side, crate::object::Kind)| {
        let side = match side {
            Side::Virtual => "virtual",
            Side::Host => "host",
        };
        format!("{side} {}", kind.plural())
    };
    let names: Vec<_> = unlisted.iter().map(name).collect();
    (
        State::Starting,
        format!("waits for the list of {}", names.join(", ")),
    )
}

/// Why a tenant whose store is not what it was is not served.
pub fn loss_reason(loss: &Loss) -> Reason {
    match loss {
        Loss::Replaced { .. } => Reason::StoreReplaced,
        Loss::RolledBack { .. } => Reason::StoreRolledBack,
    }
}

/// What is to be said of a tenant.
pub fn observe(tenant: &Tenant) -> Observation {
    let (state, message) = state(tenant);
    let lost = tenant.store_loss().map(|lost| loss_reason(&lost.loss));
    let (status, reason) = match state {
        State::Synced if tenant.unmapped().is_some() => (Status::True, Reason::MappingsWaiting),
        State::Synced if tenant.kept_said().is_some() => (Status::True, Reason::ObjectsKept),
        State::Synced => (Status::True, Reason::Available),
        State::Starting if tenant.conflict().is_some() => (Status::False, Reason::ObjectConflict),
        State::Starting => (Status::False, Reason::Progressing),
        State::Frozen => (Status::False, lost.unwrap_or_else(|| frozen(tenant))),
        State::Draining => (Status::False, Reason::Deleting),
    };
    Observation {
        type_: Type::SyncReady,
        status,
        reason,
        message,
    }
}

fn frozen(tenant: &Tenant) -> Reason {
    if tenant.link.is_up() {
        Reason::Refused
    } else {
        Reason::Unreachable
    }
}

/// What is to be said of a tenant's rules for custom resources; nothing if it has none.
pub fn observe_custom(tenant: &Tenant, resolved: &Resolved) -> Option<Observation> {
    let mut problems: Vec<String> = resolved
        .problems
        .iter()
        .map(|(name, problem)| format!("{name}: {problem}"))
        .collect();
    let mut remarks = Vec::new();
    for (kind, subject, text) in tenant.custom_said() {
        let name = kind
            .custom()
            .map_or_else(|| kind.plural(), Custom::definition);
        match subject {
            Subject::Remark => remarks.push(format!("{name}: {text}")),
            Subject::Definition | Subject::Host | Subject::Inside => {
                problems.push(format!("{name}: {text}"));
            }
        }
    }
    if resolved.kinds.iter().next().is_none() && problems.is_empty() {
        return None;
    }
    let (status, reason, message) = if problems.is_empty() {
        remarks.insert(0, format!("followed: {resolved}"));
        (Status::True, Reason::Available, remarks.join("; "))
    } else {
        (Status::False, Reason::Refused, problems.join("; "))
    };
    Some(Observation {
        type_: Type::CustomResourcesReady,
        status,
        reason,
        message: message.chars().take(MESSAGE).collect(),
    })
}

/// Writes the conditions, when it differs from what it wrote last.
#[derive(Debug)]
pub struct Reporter {
    api: Api<VirtualCluster>,
    id: Id,
    clock: Arc<dyn Clock>,
    last: Vec<Condition>,
}

impl Reporter {
    /// Makes it with what the object says now.
    pub fn new(client: Client, id: Id, clock: Arc<dyn Clock>, cluster: &VirtualCluster) -> Self {
        let conditions = cluster
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice());
        let own = [Type::SyncReady, Type::CustomResourcesReady];
        let last = own
            .into_iter()
            .filter_map(|own| condition::find(conditions.unwrap_or_default(), own).cloned());
        Self {
            api: Api::namespaced(client, &id.namespace),
            id,
            clock,
            last: last.collect(),
        }
    }

    /// Says it, unless it was said. Best effort: it is said again at the next look.
    pub async fn report(&mut self, observations: &[Observation], generation: Option<i64>) {
        // Kubernetes' `Time` has whole seconds; what is written must be what is read.
        let now = self.clock.now();
        let now = Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
        let state = |observation| condition::state(observation, &self.last, generation, &now);
        let wanted: Vec<_> = observations.iter().map(state).collect();
        if !guard::passes(Guard::SaidOnce, self.last != wanted) {
            return;
        }
        let body = json!({
            "apiVersion": "vcluster.dev/v1alpha1",
            "kind": "VirtualCluster",
            "metadata": {"name": self.id.name, "namespace": self.id.namespace, "uid": self.id.uid},
            "status": {"conditions": wanted},
        });
        let params = PatchParams::apply(SYNC_STATUS).force();
        match self
            .api
            .patch_status(&self.id.name, &params, &Patch::Apply(body))
            .await
        {
            Ok(_) => self.last = wanted,
            Err(error) => tracing::warn!(tenant = %self.id, %error, "condition cannot be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use vcluster_chassis::testing::{ApiServer, ManualClock, json as answer};

    use super::*;

    fn observation(status: Status) -> Observation {
        Observation {
            type_: Type::SyncReady,
            status,
            reason: Reason::Available,
            message: "text".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_condition_is_applied_alone_once_and_for_this_very_object() {
        let cluster = json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "namespace": "team-a", "uid": "uid"}, "spec": {},
        });
        let parsed: VirtualCluster = serde_json::from_value(cluster.clone()).unwrap();
        let server = ApiServer::new(move |_call| answer(200, &cluster));
        let id = Id {
            uid: "uid".to_owned(),
            namespace: "team-a".to_owned(),
            name: "demo".to_owned(),
        };
        let clock = Arc::new(ManualClock::default());
        let mut reporter = Reporter::new(server.client(), id, clock, &parsed);
        for status in [Status::True, Status::True, Status::False] {
            reporter.report(&[observation(status)], Some(3)).await;
        }
        let calls = server.calls();
        assert_eq!(calls.len(), 2, "what was said is not said again");
        assert!(calls[0].path.ends_with("/virtualclusters/demo/status"));
        assert!(calls[0].query.contains("fieldManager=vcluster-sync-status"));
        assert_eq!(calls[0].body["metadata"]["uid"], "uid");
        let conditions = calls[0].body["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0]["type"], "SyncReady");
    }
}
