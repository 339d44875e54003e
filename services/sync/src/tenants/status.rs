//! The conditions SyncReady and CustomResourcesReady of a VirtualCluster: what sync says about it, and nothing else of
//! the status.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::Instant;
use vcluster_chassis::clock::Clock;
use vcluster_resources::VirtualCluster;
use vcluster_resources::condition::{self, Observation, Reason, Status, Type};
use vcluster_resources::ownership::SYNC_STATUS;
use vcluster_translate::Custom;

use crate::custom::Resolved;
use crate::deadline::{REQUEST, within};
use crate::guard::{self, Guard};
use crate::link::Reach;
use crate::metrics::State;
use crate::object::Side;
use crate::tenant::store::Loss;
use crate::tenant::{About, Id, Subject, Tenant};

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
    if tenant.is_unresponsive() {
        let text = "the virtual API server can be reached, but fails or does not answer in time: it is asked now and then \
                    with one object, and the others wait";
        return (State::Frozen, text.to_owned());
    }
    if let Some(missing) = tenant.missing_right() {
        let text = format!("nothing is changed or deleted on the host: {missing}");
        return (State::Frozen, text);
    }
    if let Some(conflict) = tenant.noted(About::Conflict) {
        return (State::Starting, conflict);
    }
    let unlisted = tenant.unlisted();
    if let (true, Some(missing)) = (unlisted.is_empty(), tenant.noted(About::Provision)) {
        return (State::Starting, format!("waits inside for {missing}"));
    }
    if unlisted.is_empty() {
        let mut text = "every kind is listed on both sides and followed".to_owned();
        if let Some(waiting) = tenant.noted(About::Mappings) {
            let waiting: String = waiting.chars().take(MESSAGE).collect();
            text = format!("{text}; of spec.sync is not mapped: {waiting}");
        }
        if let Some(kept) = tenant.kept_said() {
            text = format!(
                "{text}; kept on the host for their data, though the accepted store lacks them: {kept}"
            );
        }
        if tenant.is_throttled() {
            text =
                format!("{text}; it writes more than its allowance, and its objects follow later");
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
        State::Synced if tenant.noted(About::Mappings).is_some() => {
            (Status::True, Reason::MappingsWaiting)
        }
        State::Synced if tenant.kept_said().is_some() => (Status::True, Reason::ObjectsKept),
        State::Synced if tenant.is_throttled() => (Status::True, Reason::Throttled),
        State::Synced => (Status::True, Reason::Available),
        State::Starting if tenant.noted(About::Conflict).is_some() => {
            (Status::False, Reason::ObjectConflict)
        }
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
    match (tenant.link.is_up(), tenant.is_unresponsive()) {
        (false, _) => Reason::Unreachable,
        (true, true) => Reason::Unresponsive,
        (true, false) => Reason::Refused,
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
    for (kind, subject, text) in tenant.noted_of_custom() {
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

/// How long a condition that is true stands while the tenant is taken up anew, or listed again: that mostly takes
/// moments, and says of nothing that it is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the conditions, when it differs from what it wrote last.
#[derive(Debug)]
pub struct Reporter {
    api: Api<VirtualCluster>,
    id: Id,
    clock: Arc<dyn Clock>,
    last: Vec<Condition>,
    /// Since when the tenant is on its way although the condition is true.
    since: Option<Instant>,
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
            since: None,
        }
    }

    /// Whether the object says that the tenant is served.
    pub fn says_ready(&self) -> bool {
        condition::is_true(&self.last, Type::SyncReady)
    }

    /// The condition as it stands, if it still holds: what is observed only says that the tenant is on its way.
    fn standing(&mut self, observation: &Observation) -> Option<Condition> {
        if observation.type_ != Type::SyncReady {
            return None;
        }
        if observation.reason != Reason::Progressing || !self.says_ready() {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let last = condition::find(&self.last, observation.type_).cloned();
        last.filter(|_| since.elapsed() < PATIENCE)
    }

    /// Says it, unless it was said, and leaves what else was said. Best effort: it is said again at the next look.
    pub async fn report(&mut self, observations: &[Observation], generation: Option<i64>) {
        let is_said = |last: &Condition| {
            observations
                .iter()
                .any(|new| new.type_.as_str() == last.type_)
        };
        let rest: Vec<_> = self
            .last
            .iter()
            .filter(|last| !is_said(last))
            .cloned()
            .collect();
        self.write(observations, rest, generation).await;
    }

    /// Says that this is all, and takes back what else was said.
    pub async fn report_all(&mut self, observations: &[Observation], generation: Option<i64>) {
        self.write(observations, Vec::new(), generation).await;
    }

    async fn write(
        &mut self,
        observations: &[Observation],
        rest: Vec<Condition>,
        generation: Option<i64>,
    ) {
        // Kubernetes' `Time` has whole seconds; what is written must be what is read.
        let now = self.clock.now();
        let now = Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
        let mut wanted = Vec::with_capacity(observations.len());
        for observation in observations {
            let standing = self.standing(observation);
            let new = || condition::state(observation, &self.last, generation, &now);
            wanted.push(standing.unwrap_or_else(new));
        }
        wanted.extend(rest);
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
        let body = Patch::Apply(body);
        let patched = self.api.patch_status(&self.id.name, &params, &body);
        match within(REQUEST, patched).await {
            Ok(_) => self.last = wanted,
            Err(error) => tracing::warn!(tenant = %self.id, %error, "condition cannot be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
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

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_is_true_stands_while_the_tenant_is_on_its_way_unless_that_takes_long()
    {
        let (server, mut reporter) = reporter();
        let on_its_way = Observation {
            reason: Reason::Progressing,
            ..observation(Status::False)
        };
        let wrong = Observation {
            reason: Reason::Unreachable,
            ..observation(Status::False)
        };
        let written = || server.calls().len();
        reporter
            .report(std::slice::from_ref(&on_its_way), Some(3))
            .await;
        assert_eq!(written(), 1, "a new one says so");
        reporter.report(&[observation(Status::True)], Some(3)).await;
        reporter
            .report(std::slice::from_ref(&on_its_way), Some(4))
            .await;
        tokio::time::advance(PATIENCE / 2).await;
        reporter
            .report(std::slice::from_ref(&on_its_way), Some(4))
            .await;
        assert_eq!(written(), 2, "it stands");
        reporter.report(&[observation(Status::True)], Some(3)).await;
        assert_eq!(written(), 2, "and was never written anew");
        reporter
            .report(std::slice::from_ref(&on_its_way), Some(3))
            .await;
        tokio::time::advance(PATIENCE).await;
        reporter.report(&[on_its_way], Some(3)).await;
        assert_eq!(written(), 3, "it took long");
        reporter.report(&[observation(Status::True)], Some(3)).await;
        reporter.report(&[wrong], Some(3)).await;
        assert_eq!(written(), 5, "what is wrong is said at once");
    }

    fn reporter() -> (ApiServer, Reporter) {
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
        let reporter = Reporter::new(server.client(), id, clock, &parsed);
        (server, reporter)
    }

    #[tokio::test]
    async fn what_is_not_observed_this_time_stays_said_until_it_is_taken_back() {
        let (server, mut reporter) = reporter();
        let rules = Observation {
            type_: Type::CustomResourcesReady,
            ..observation(Status::True)
        };
        let types = |server: &ApiServer| -> Vec<Value> {
            let last = server.calls().pop().unwrap();
            let conditions = last.body["status"]["conditions"].as_array().unwrap();
            conditions.iter().map(|said| said["type"].clone()).collect()
        };
        let both = ["SyncReady", "CustomResourcesReady"];
        let served = observation(Status::True);
        reporter.report_all(&[served.clone(), rules], Some(3)).await;
        assert_eq!(types(&server), both);
        reporter
            .report(&[observation(Status::False)], Some(3))
            .await;
        assert_eq!(
            types(&server),
            both,
            "that it cannot be served says nothing of the rules"
        );
        reporter.report_all(&[served], Some(3)).await;
        assert_eq!(types(&server), ["SyncReady"]);
    }

    #[tokio::test]
    async fn the_condition_is_applied_alone_once_and_for_this_very_object() {
        let (server, mut reporter) = reporter();
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
