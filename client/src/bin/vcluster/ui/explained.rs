//! The answer to `vcluster explain` as text, and as `-o json` and `-o yaml` show it. The latter are a stable
//! contract: fields are added, never renamed or removed.

use jiff::Timestamp;
use serde::Serialize;
use vcluster_client::proto::sync::v1::{ExplainResponse, ObjectState, RefusedBy};

use super::{age::age, style::safe, view::time};

/// Why an object is as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    cluster: String,
    host_namespace: String,
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    state: &'static str,
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_by: Option<By>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_zero")]
    failures: i32,
    on_host: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    host_object_namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    host_object_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_written_time: Option<Timestamp>,
}

/// Who refuses it.
#[derive(Debug, Clone, Copy, Serialize)]
enum By {
    Host,
    Policy,
    Translation,
    ApiServer,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl Explained {
    /// The answer about an object of a virtual cluster, by its host namespace and name.
    pub(crate) fn new(
        answer: ExplainResponse,
        (host_namespace, cluster): (String, String),
    ) -> Self {
        let state = match answer.state() {
            ObjectState::Unspecified => "Unspecified",
            ObjectState::Synced => "Synced",
            ObjectState::Waiting => "Waiting",
            ObjectState::Refused => "Refused",
            ObjectState::Failing => "Failing",
            ObjectState::NotSynced => "NotSynced",
            ObjectState::Frozen => "Frozen",
            ObjectState::Unknown => "Unknown",
        };
        let refused_by = match answer.refused_by() {
            RefusedBy::Unspecified => None,
            RefusedBy::Host => Some(By::Host),
            RefusedBy::Policy => Some(By::Policy),
            RefusedBy::Translation => Some(By::Translation),
            RefusedBy::ApiServer => Some(By::ApiServer),
        };
        Self {
            cluster,
            host_namespace,
            kind: answer.kind,
            namespace: answer.namespace,
            name: answer.object_name,
            state,
            reason: answer.reason,
            message: answer.message,
            refused_by,
            field: answer.field,
            since: time(answer.since),
            next_try_time: time(answer.next_try_time),
            failures: answer.failures,
            on_host: answer.on_host,
            host_object_namespace: answer.host_object_namespace,
            host_object_name: answer.host_object_name,
            last_written_time: time(answer.last_written_time),
        }
    }

    /// `KIND/NAME: STATE`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}: {}\n", self.kind, self.name, self.state)
    }

    /// For people: one line per fact that is known.
    pub(crate) fn text(&self, now: Timestamp) -> String {
        let place = if self.namespace.is_empty() {
            String::new()
        } else {
            format!(" in namespace {}", self.namespace)
        };
        let mut lines = vec![
            ("Object", format!("{} {}{place}", self.kind, self.name)),
            (
                "Cluster",
                format!("{}/{}", self.host_namespace, self.cluster),
            ),
            ("State", self.state.to_owned()),
            ("Reason", self.reason.clone()),
            ("Message", self.message.clone()),
        ];
        let mut tell = |label, value: Option<String>| {
            lines.extend(
                value
                    .filter(|value| !value.is_empty())
                    .map(|value| (label, value)),
            );
        };
        tell(
            "Refused by",
            self.refused_by.map(|by| by.words().to_owned()),
        );
        tell("Field", Some(self.field.clone()));
        let ago =
            |then: Option<Timestamp>| then.map(|then| format!("{} ago", age(Some(then), now)));
        tell("Since", ago(self.since));
        tell("Next try", self.next_try_time.map(|at| in_time(at, now)));
        tell(
            "Failures",
            (self.failures > 0).then(|| self.failures.to_string()),
        );
        let host = format!("{}/{}", self.host_object_namespace, self.host_object_name);
        let host = host.trim_start_matches('/').to_owned();
        let there = if self.on_host { "" } else { " (not there)" };
        let named = !self.host_object_name.is_empty();
        tell("Host object", named.then(|| format!("{host}{there}")));
        tell("Last written", ago(self.last_written_time));
        let lines = lines.iter().map(|(label, value)| {
            let label = format!("{label}:");
            format!("{label:<14}{}\n", safe(value).replace('\n', " "))
        });
        lines.collect()
    }
}

fn in_time(at: Timestamp, now: Timestamp) -> String {
    if at <= now {
        "now".to_owned()
    } else {
        format!("in {}", age(Some(now), at))
    }
}

impl By {
    fn words(self) -> &'static str {
        match self {
            Self::Host => "the host cluster",
            Self::Policy => "the virtual cluster's policy (spec.sync)",
            Self::Translation => "the translation",
            Self::ApiServer => "an API server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> ExplainResponse {
        let moment = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        ExplainResponse {
            kind: "Pod".to_owned(),
            namespace: "shop".to_owned(),
            object_name: "web".to_owned(),
            state: ObjectState::Refused.into(),
            reason: "HostAccessRefused".to_owned(),
            message: "must not be true".to_owned(),
            refused_by: RefusedBy::Translation.into(),
            field: "spec.hostNetwork".to_owned(),
            since: moment(1_799_999_900),
            next_try_time: moment(1_800_000_060),
            host_object_namespace: "team-a".to_owned(),
            host_object_name: "web-x-shop-x-demo".to_owned(),
            ..ExplainResponse::default()
        }
    }

    fn explained() -> Explained {
        Explained::new(answer(), ("team-a".to_owned(), "demo".to_owned()))
    }

    #[test]
    fn people_are_told_what_is_known() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        insta::assert_snapshot!(explained().text(now), @r"
        Object:       Pod web in namespace shop
        Cluster:      team-a/demo
        State:        Refused
        Reason:       HostAccessRefused
        Message:      must not be true
        Refused by:   the translation
        Field:        spec.hostNetwork
        Since:        100s ago
        Next try:     in 60s
        Host object:  team-a/web-x-shop-x-demo (not there)
        ");
    }

    #[test]
    fn programs_get_every_field() {
        let json = crate::ui::format::json(&explained()).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "cluster": "demo",
          "hostNamespace": "team-a",
          "kind": "Pod",
          "namespace": "shop",
          "name": "web",
          "state": "Refused",
          "reason": "HostAccessRefused",
          "message": "must not be true",
          "refusedBy": "Translation",
          "field": "spec.hostNetwork",
          "since": "2027-01-15T07:58:20Z",
          "nextTryTime": "2027-01-15T08:01:00Z",
          "onHost": false,
          "hostObjectNamespace": "team-a",
          "hostObjectName": "web-x-shop-x-demo"
        }
        "#);
    }
}
