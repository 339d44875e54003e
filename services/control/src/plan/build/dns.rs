//! The part of the plan that is about the DNS server.

use serde_json::Value;
use vcluster_resources::condition::Reason;

use super::super::status::Fact;
use super::super::{Input, Step};
use super::{apply, doubtful, policies};
use crate::address::Address;
use crate::observed::Seen;
use crate::slot::Slot;

/// Makes or repairs the DNS server, for a Secret of that digest, and tells whether it answers.
///
/// It is first made when the virtual API server runs: one that starts earlier finds nobody, backs
/// off, and is ready later than one that starts then.
pub(super) fn plan(
    input: Input<'_>,
    address: Address,
    fingerprint: &str,
    runs: bool,
    steps: &mut Vec<Step>,
) -> Result<(), Fact> {
    steps.extend(apply(
        input,
        Slot::DnsConfig,
        input.wish.dns_config(address),
    ));
    if input.observed.slot(Slot::Dns).is_absent() {
        if !runs {
            let text = "waits for the virtual API server";
            return Err(Fact::waits(Reason::Waiting, text));
        }
        policies::stand(input)?;
    }
    let body = input.wish.dns(address, fingerprint);
    steps.extend(apply(input, Slot::Dns, body));
    answers(input)
}

/// Whether a pod of it is ready, as its Deployment tells.
pub(super) fn answers(input: Input<'_>) -> Result<(), Fact> {
    let live = match input.observed.slot(Slot::Dns) {
        Seen::Present(live) => live,
        Seen::Absent => {
            let text = "the DNS server is to be made";
            return Err(Fact::waits(Reason::Progressing, text));
        }
        Seen::Unknown(doubt) => return Err(doubtful(input, "the DNS server", &doubt)),
    };
    let ready = live.body.pointer("/status/readyReplicas");
    if ready.and_then(Value::as_i64).unwrap_or(0) > 0 {
        return Ok(());
    }
    let text = match trouble(&live.body) {
        Some(trouble) => format!("waits for the DNS server: {trouble}"),
        None => "waits for the DNS server to start".to_owned(),
    };
    Err(Fact::waits(Reason::Progressing, text))
}

/// Why the host makes no pods of it, for example a quota.
fn trouble(deployment: &Value) -> Option<&str> {
    let conditions = deployment.pointer("/status/conditions")?.as_array()?;
    let failure = conditions
        .iter()
        .find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True")?;
    failure["message"].as_str()
}
