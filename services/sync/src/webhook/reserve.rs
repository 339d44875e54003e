//! A Service's addresses, had from the host before the Service is stored.

use std::time::Duration;

use serde_json::{Value, json};
use vcluster_chassis::chance;
use vcluster_resources::name::LABEL_LIMIT;
use vcluster_translate::service::admission::{
    Decision, decide, fits, given, is_incomplete, reserved,
};
use vcluster_translate::service::{self, RESERVED_UNTIL};
use vcluster_translate::{Change, Patch, owner};

use super::host::{Failure, Host};
use super::review::{Answer, Denied, Review};
use super::share::Share;
use crate::directory::{Directory, Known};
use crate::object::time;

/// How long a host Service without a virtual one is left alone: more than an API server may take for a request.
pub(super) const RESERVED: Duration = Duration::from_secs(75);
/// How long a Service waits for the end of an earlier one of its name, whose host Service is being removed.
const PREDECESSOR: Duration = Duration::from_secs(4);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// What is said of an earlier Service of the name.
const IN_THE_WAY: &str =
    "a Service of that name exists, or is still being removed from the host cluster; try again";
/// How many names are tried where the API server is to choose one.
const NAMES: usize = 4;
/// Letters of a chosen name, as Kubernetes chooses them: no vowels, no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them.
const SUFFIX: usize = 5;

/// Judges a Service: what it is to be given, or why it cannot be stored.
pub(super) async fn service(
    tenant: &Known,
    directory: &Directory,
    share: &Share,
    review: &Review,
) -> Answer {
    let until = time(directory.engine().clock.now() + RESERVED);
    let Some(begin) = review.generate_name() else {
        let object = review.object(None);
        let reservation = Reservation {
            tenant,
            share,
            until,
        };
        return reservation.judge(review, &object, false).await;
    };
    let mut last = Err(Denied::exists("no name is free"));
    for _ in 0..NAMES {
        let name = choose(begin);
        let object = review.object(Some(&name));
        let reservation = Reservation {
            tenant,
            share,
            until: until.clone(),
        };
        last = reservation
            .judge(review, &object, true)
            .await
            .map(|mut patch| {
                if !patch.is_empty() {
                    patch.push(json!({"op": "add", "path": "/metadata/name", "value": name}));
                }
                patch
            });
        match &last {
            Err(denied) if denied.code == 409 => {}
            Ok(_) | Err(_) => return last,
        }
    }
    last
}

/// A name that begins so.
fn choose(begin: &str) -> String {
    let mut name: String = begin.chars().take(LABEL_LIMIT - SUFFIX).collect();
    let mut letters = LETTERS.to_vec();
    for _ in 0..SUFFIX {
        letters.rotate_left(usize::from(chance::number().to_le_bytes()[0]) % LETTERS.len());
        name.push(char::from(letters[0]));
    }
    name
}

struct Reservation<'a> {
    tenant: &'a Known,
    share: &'a Share,
    until: String,
}

impl Reservation<'_> {
    /// `fresh`: the name was just chosen, and nobody can have had it before.
    async fn judge(&self, review: &Review, object: &Value, fresh: bool) -> Answer {
        let host = Host {
            tenant: self.tenant,
            share: self.share,
            object,
        };
        let tenant = self.tenant;
        match decide(review.of(object), &tenant.context) {
            Decision::Leave => Ok(Vec::new()),
            Decision::Patch(patch) => Ok(patch),
            Decision::Refuse(refusal) => Err(refusal.into()),
            Decision::Reserve(wanted) => self.reserve(&host, wanted, fresh).await,
            Decision::Change { service, allocates } => {
                self.change(&host, &service, allocates).await
            }
        }
    }

    /// Makes the host Service. One of the same name is an earlier stored one's: it serves again if it is the same,
    /// and is waited for otherwise, as the engine removes it once its virtual Service is gone.
    async fn reserve(&self, host: &Host<'_>, wanted: Value, fresh: bool) -> Answer {
        let wanted = reserved(wanted, &self.until);
        let mut looks = PREDECESSOR.as_millis() / LOOK.as_millis();
        loop {
            self.share.has_room()?;
            match host.create(&wanted).await {
                Ok(made) => {
                    self.share.reserved();
                    return filled(host.object, &made);
                }
                Err(Failure::Exists) => {}
                Err(Failure::Gone) => {
                    let message = "the virtual cluster's host namespace is gone";
                    return Err(Denied::unavailable(message));
                }
                Err(Failure::Denied(denied)) => return Err(denied),
            }
            if fresh {
                return Err(Denied::exists("the chosen name is taken; try again"));
            }
            // While it is there it is only looked at: asking for another one each time would cost the host more.
            while let Some(found) = host.read().await? {
                if let Some(answer) = self.found(host, &found).await? {
                    return Ok(answer);
                }
                if looks == 0 {
                    return Err(Denied::exists(IN_THE_WAY));
                }
                tokio::time::sleep(LOOK).await;
                looks -= 1;
            }
            if looks == 0 {
                return Err(Denied::exists(IN_THE_WAY));
            }
            looks -= 1;
        }
    }

    /// What a host Service of our name gives to the new one; nothing if it must go first.
    async fn found(&self, host: &Host<'_>, found: &Value) -> Result<Option<Vec<Value>>, Denied> {
        let context = &self.tenant.context;
        if !is_made_for(host, found) {
            return Err(Denied::exists(
                "its name on the host cluster belongs to an object that was not made for it; use another name",
            ));
        }
        let ending = found.pointer("/metadata/deletionTimestamp").is_some();
        if ending || !fits(host.object, found, context) {
            return Ok(None);
        }
        // Its time begins anew. One that has just gone is looked for again.
        match changed(host.patch(&self.renewal(found), false).await)? {
            Some(kept) => filled(host.object, &kept).map(Some),
            None => Ok(None),
        }
    }

    fn renewal(&self, found: &Value) -> Patch {
        let body = json!({"metadata": {
            "uid": found.pointer("/metadata/uid"),
            "annotations": {RESERVED_UNTIL: self.until},
        }});
        Patch {
            subresource: None,
            format: vcluster_translate::patch::Format::Merge,
            body,
        }
    }

    /// Asks whether the host would agree to the change of its Service, and has it give what it is to give. All else
    /// follows once the virtual Service is stored, and not at all if that is refused.
    async fn change(&self, host: &Host<'_>, service: &Value, allocates: bool) -> Answer {
        let context = &self.tenant.context;
        let Some(found) = host.read().await? else {
            if !allocates {
                return Ok(Vec::new());
            }
            let wanted = service::to_host(service, context)?;
            return self.reserve(host, wanted, false).await;
        };
        if !is_made_for(host, &found) {
            // The engine tells about it.
            return Ok(Vec::new());
        }
        let whole = match service::update_host(service, &found, context) {
            Ok(Change::Patch(patch)) => Some(patch),
            Ok(Change::None) => None,
            // As it is stored it is not served either, and no change here helps: the engine sees to it.
            Ok(Change::Replace) | Err(_) => return Ok(Vec::new()),
        };
        let now = allocates.then(|| self.allocation(whole.as_ref(), &found));
        let now = now.flatten();
        let later = whole.as_ref().filter(|whole| !is_all(now.as_ref(), whole));
        if let Some(later) = later
            && changed(host.patch(later, true).await)?.is_none()
        {
            return Ok(Vec::new());
        }
        let Some(now) = now else {
            // What it has while it is still to be changed is not what the Service is to be stored with.
            return if allocates || later.is_none() {
                filled(host.object, &found)
            } else {
                Ok(Vec::new())
            };
        };
        match changed(host.patch(&now, false).await)? {
            Some(given) => filled(host.object, &given),
            None => Ok(Vec::new()),
        }
    }

    /// What of a change the host must do now, to give something.
    fn allocation(&self, whole: Option<&Patch>, found: &Value) -> Option<Patch> {
        let spec = whole.and_then(|whole| service::allocating(whole.body.get("spec")?, found));
        if spec.is_none() && !is_incomplete(found) {
            return None;
        }
        let mut patch = self.renewal(found);
        if let Some(spec) = spec {
            patch.body["spec"] = spec;
        }
        Some(patch)
    }
}

/// Whether what is done now is all that the host could refuse of a change.
fn is_all(now: Option<&Patch>, whole: &Patch) -> bool {
    let spec = whole.body.get("spec");
    now.is_some_and(|now| spec.is_none() || spec == now.body.get("spec"))
}

/// The host Service after its change; nothing if it has gone meanwhile: the engine makes it anew as it is stored.
fn changed(answer: Result<Value, Failure>) -> Result<Option<Value>, Denied> {
    match answer {
        Ok(changed) => Ok(Some(changed)),
        Err(Failure::Gone | Failure::Exists) => Ok(None),
        Err(Failure::Denied(denied)) => Err(denied),
    }
}

fn is_made_for(host: &Host<'_>, found: &Value) -> bool {
    let text = |key: &str| host.object.pointer("/metadata")?.get(key)?.as_str();
    owner::of_ours(found, &host.tenant.context).is_some_and(|owner| {
        owner.kind == "Service"
            && Some(owner.namespace.as_str()) == text("namespace")
            && Some(owner.name.as_str()) == text("name")
    })
}

fn filled(object: &Value, host: &Value) -> Answer {
    given(object, host).ok_or_else(|| {
        Denied::new(
            500,
            "InternalError",
            "the host cluster changed the ports of the Service while making it: an admission webhook there does so",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_is_the_same_for_the_same_seed() {
        let name = |seed| {
            let _seeded = chance::seed(seed);
            choose("web-")
        };
        assert_eq!(name(7), name(7));
        assert_ne!(name(7), name(8));
        assert_eq!(name(7).len(), "web-".len() + SUFFIX);
    }
}
