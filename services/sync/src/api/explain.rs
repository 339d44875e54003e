//! `Explain`: gathers what is known of one object, and tells what follows from it.

use tokio::time::Instant;
use tonic::Status;
use vcluster_proto::sync::v1 as wire;
use vcluster_translate::kind::{Scope, Spelled, spelled};

use super::discovery::has_kind;
use super::refuse::too_often;
use super::request::{Asked, wrong};
use super::time;
use crate::apply::{Failure, Written};
use crate::engine::Engine;
use crate::explain::{
    Answer, Facts, Inside, Namespace, Origin, Standing, explain, origin, unknown_kind,
};
use crate::hold::By;
use crate::object::{Key, Kind, Name, Object, Side};
use crate::queue::Lane;
use crate::tenant::Tenant;
use crate::tenants::status;

const ASKED_OFTEN: &str =
    "too many objects of this virtual cluster are asked about; try again in a second";

/// The kind that is asked about.
pub(super) fn kind(tenant: &Tenant, text: &str) -> Result<Option<Kind>, Status> {
    match spelled(text, &tenant.context) {
        Spelled::One(kind) => Ok(Some(kind)),
        Spelled::Unknown => Ok(None),
        Spelled::Several(kinds) => {
            let names: Vec<_> = kinds.into_iter().map(Kind::as_str).collect();
            let description = format!("names several kinds; must be one of {}", names.join(", "));
            Err(wrong("kind", &description))
        }
    }
}

/// The key of an object that is asked about.
pub(super) fn key(kind: Kind, asked: &Asked) -> Result<Key, Status> {
    match kind.description().api.scope {
        Scope::Cluster => Ok(Key::new(kind, "", &asked.name)),
        Scope::Namespaced if asked.namespace.is_empty() => {
            let plural = kind.plural();
            let description = format!("must not be empty: {plural} live in namespaces");
            Err(wrong("namespace", &description))
        }
        Scope::Namespaced => Ok(Key::new(kind, &asked.namespace, &asked.name)),
    }
}

/// The answer about an object of a virtual cluster that is not worked for.
pub(super) fn unserved(
    engine: &Engine,
    asked: Asked,
    waiting: wire::Tenant,
) -> wire::ExplainResponse {
    let reason = "TenantNotServed";
    let answer = Answer::new(Standing::Waiting, reason, waiting.message);
    shown(engine, asked, answer)
}

/// The answer about an object of a tenant.
pub(super) async fn of_tenant(
    engine: &Engine,
    tenant: &Tenant,
    asked: Asked,
) -> Result<wire::ExplainResponse, Status> {
    let Some(kind) = kind(tenant, &asked.kind)? else {
        if !tenant.questions.try_take() {
            return Err(too_often(ASKED_OFTEN));
        }
        let has_kind = if tenant.is_active() {
            has_kind(tenant, &asked.kind).await.ok()
        } else {
            None
        };
        let answer = unknown_kind(&asked.kind, has_kind, &tenant.context);
        return Ok(shown(engine, asked, answer));
    };
    let key = key(kind, &asked)?;
    if !tenant.questions.try_take() {
        return Err(too_often(ASKED_OFTEN));
    }
    let seen = Seen::of(engine, tenant, &key).await;
    let inside = match &seen.inside {
        Ok(Some(object)) => Inside::There(object.json()),
        Ok(None) => Inside::Absent,
        Err(failure) => Inside::Unknown(failure),
    };
    let held = tenant.holds.of(&key);
    let place = engine.work.place(tenant.ticket, &key);
    let facts = Facts {
        kind,
        name: &asked.name,
        context: &tenant.context,
        tenant: status::state(tenant),
        inside,
        namespace: namespace(tenant, &key),
        hold: held.as_ref().map(|held| held.hold.clone()),
        place,
        on_host: seen.on_host,
        settled: is_settled(tenant, &key),
        used: tenant.state().references.is_used(&key),
    };
    let answer = explain(&facts);
    let queued = answer.reason == "Queued";
    if queued && place.is_none() {
        tenant.add(key.clone(), Lane::Live);
    }
    let since = match (&held, place, answer.standing) {
        (Some(held), _, Standing::Waiting | Standing::Refused | Standing::Failing) if !queued => {
            Some(held.since)
        }
        (_, Some(place), Standing::Waiting) => place.waits_since,
        (Some(_) | None, Some(_) | None, _) => None,
    };
    // What is as it should be has nothing to be tried; its timer is for a token, say.
    let is_tried = matches!(
        answer.standing,
        Standing::Waiting | Standing::Refused | Standing::Failing
    );
    let next_try = place.and_then(|place| place.timer).filter(|_| is_tried);
    let failures = place.map_or(0, |place| place.failures);
    let host = tenant.name_on(Side::Host, &key);
    // What a mapping shows is no translation: the message names the host's.
    let has_host_name =
        matches!(origin(kind), Origin::Inside | Origin::Host) && answer.reason != "Mapped";
    Ok(wire::ExplainResponse {
        kind: kind.as_str().to_owned(),
        namespace: key.name.namespace.as_ref().to_owned(),
        since: since.map(|at| time(moment(engine, at))),
        next_try_time: next_try.map(|at| time(moment(engine, at))),
        failures: i32::try_from(failures).unwrap_or(i32::MAX),
        host_object_namespace: named(has_host_name, &host.namespace),
        host_object_name: named(has_host_name, &host.name),
        on_host: seen.on_host,
        last_written_time: seen.written.map(time),
        ..shown(engine, asked, answer)
    })
}

fn named(has_host_name: bool, name: &str) -> String {
    if has_host_name { name } else { "" }.to_owned()
}

/// What both sides say of an object at this moment.
struct Seen {
    inside: Result<Option<Object>, String>,
    on_host: bool,
    written: Option<jiff::Timestamp>,
}

impl Seen {
    async fn of(engine: &Engine, tenant: &Tenant, key: &Key) -> Self {
        let from = origin(key.kind);
        // Of a tenant that is frozen nothing is read: its server may be dead, and what it is frozen for is the answer.
        let is_asked = !matches!(from, Origin::Told | Origin::Read);
        if !is_asked || !tenant.is_active() {
            let entry = tenant.state().entry(key);
            let unread = || Err("its virtual cluster is not worked for".to_owned());
            return Self {
                inside: if is_asked { unread() } else { Ok(None) },
                on_host: entry.host.seen.is_some(),
                written: None,
            };
        }
        let words = |failure: Failure| failure.to_string();
        let inside = tenant.read(Side::Virtual, key.kind, &key.name).await;
        let (side, other) = match from {
            Origin::Host => (Side::Virtual, None),
            Origin::Inside | Origin::Told | Origin::Read => {
                (Side::Host, Some(tenant.name_on(Side::Host, key)))
            }
        };
        let name = other.unwrap_or_else(|| key.name.clone());
        let written = tenant.written(side, key.kind, &name).await;
        let on_host = match (side, &written) {
            (Side::Host, Ok(written)) => written.is_some() && is_known(tenant, key),
            (Side::Host, Err(_)) => is_known(tenant, key),
            (Side::Virtual, _) => has(engine, tenant, key),
        };
        Self {
            inside: inside.map_err(words),
            on_host,
            written: written.ok().flatten().and_then(|Written { at }| at),
        }
    }
}

/// Whether the host object of a key is there, as far as is known; what is a stranger's is not of that key.
fn is_known(tenant: &Tenant, key: &Key) -> bool {
    let state = tenant.state();
    state.entry(key).host.seen.is_some() || state.is_made_there(key)
}

/// Whether the host has an object of its own under this name.
fn has(engine: &Engine, tenant: &Tenant, key: &Key) -> bool {
    if key.kind.is_mirrored() {
        engine.mirrored(key.kind, &key.name.name).is_some()
    } else {
        is_known(tenant, key)
    }
}

fn is_settled(tenant: &Tenant, key: &Key) -> bool {
    let state = tenant.state();
    state.is_settled(key) || state.is_made_there(key)
}

fn namespace(tenant: &Tenant, key: &Key) -> Namespace {
    if key.name.namespace.is_empty() {
        return Namespace::There;
    }
    let name = Name::new("", &key.name.namespace);
    let kind = Kind::Namespace;
    let seen = tenant.state().entry(&Key { kind, name }).virtual_.seen;
    match seen {
        Some(seen) if seen.deleting => Namespace::Terminating,
        Some(_) => Namespace::There,
        None => Namespace::Absent,
    }
}

/// The wall time of an instant.
fn moment(engine: &Engine, at: Instant) -> jiff::Timestamp {
    let (now, wall) = (Instant::now(), engine.clock.now());
    let moved = if at >= now {
        wall.checked_add(at - now)
    } else {
        wall.checked_sub(now - at)
    };
    moved.unwrap_or(wall)
}

fn shown(engine: &Engine, asked: Asked, answer: Answer) -> wire::ExplainResponse {
    let state = match answer.standing {
        Standing::Synced => wire::ObjectState::Synced,
        Standing::Waiting => wire::ObjectState::Waiting,
        Standing::Refused => wire::ObjectState::Refused,
        Standing::Failing => wire::ObjectState::Failing,
        Standing::NotSynced => wire::ObjectState::NotSynced,
        Standing::Frozen => wire::ObjectState::Frozen,
        Standing::Unknown => wire::ObjectState::Unknown,
    };
    let by = match answer.by {
        None => wire::RefusedBy::Unspecified,
        Some(By::Host) => wire::RefusedBy::Host,
        Some(By::Policy) => wire::RefusedBy::Policy,
        Some(By::Translation) => wire::RefusedBy::Translation,
        Some(By::ApiServer) => wire::RefusedBy::ApiServer,
    };
    wire::ExplainResponse {
        kind: asked.kind,
        namespace: asked.namespace,
        object_name: asked.name,
        state: state.into(),
        reason: answer.reason.to_owned(),
        message: answer.message,
        refused_by: by.into(),
        field: answer.field,
        read_time: Some(time(engine.clock.now())),
        ..wire::ExplainResponse::default()
    }
}
