//! Keeps PriorityClasses and StorageClasses of virtual clusters on the host, where their spec and the host's
//! administrator say so.
//!
//! They live in no namespace, so the tenant's own ServiceAccount, whose rights end at its host namespace, cannot write
//! them: sync does by its own, which the chart gives the right only with the value that allows the classes, and
//! which the policy `vcluster-classes` keeps to objects that bear our marks. One is made when a pod or claim first names
//! it, or at the next look; changes and deletions follow within [`PAUSE`]. What is gone inside is deleted only after a
//! complete list of a virtual cluster that is being worked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use vcluster_resources::label::{MANAGED, MANAGED_VALUE};
use vcluster_resources::ownership;
use vcluster_translate::mapping::Step;
use vcluster_translate::own_class::{self, Class};
use vcluster_translate::{Context, Refusal};

use crate::apply::{Failure, with_causes};
use crate::engine::Engine;
use crate::tenant::{Id, Tenant};

/// How often classes are looked at.
const PAUSE: Duration = Duration::from_secs(10);
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Steps about one class in one look: deleted and made anew, say.
const STEPS: usize = 4;
/// The most classes of one kind of one virtual cluster that go: the host has them all in one list.
const MOST: usize = 32;

/// A class cannot be seen to now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It stays inside.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The host does not let sync write it.
    #[error("{0}")]
    NoRight(String),
    /// A server does not do it.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Later {
            message: error.to_string(),
            after: None,
            reached: true,
        }
    }
}

/// Keeps them until the tenant's token is cancelled.
pub async fn keep(engine: Arc<Engine>, tenant: Arc<Tenant>) {
    let token = tenant.token.clone();
    let kept = async {
        let mut told = HashMap::new();
        loop {
            let mut rest = Class::ALL
                .into_iter()
                .any(|of| own_class::is_asked_for(of, &tenant.context));
            if tenant.is_active() {
                for of in Class::ALL {
                    if let Err(error) = look(&engine, &tenant, of, &mut told).await {
                        tracing::debug!(tenant = %tenant.id, kind = %of.kind(), %error, "classes are looked at later");
                        rest = true;
                    }
                }
            } else {
                rest = true;
            }
            if !rest {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

/// What a tenant was told of its classes.
type Told = HashMap<(Class, String), String>;

/// Looks at each class inside, and at each on the host.
async fn look(engine: &Engine, tenant: &Tenant, of: Class, told: &mut Told) -> Result<(), Error> {
    let (kind, host) = (of.kind(), &engine.host.own.request);
    if !engine.is_listed(kind) {
        return Err(Error::Failed("the host's are not listed yet".to_owned()));
    }
    let found = engine.mirrored_names(kind).into_iter();
    let there = found.filter_map(|name| {
        let found = engine.mirrored(kind, &name)?;
        let own = own_class::of_ours(of, &found, &tenant.context)?.to_owned();
        Some((own, found))
    });
    let there: HashMap<String, Arc<Value>> = there.collect();
    let asked = own_class::is_asked_for(of, &tenant.context);
    if !asked && there.is_empty() {
        return Ok(());
    }
    let inside = if asked {
        own(list(&tenant.clients.virtual_.request, of).await?)
    } else {
        Vec::new()
    };
    for class in inside.iter().take(MOST) {
        let name = named(class);
        match bring(
            host,
            of,
            class,
            there.get(name).map(|found| &**found),
            &tenant.context,
        )
        .await
        {
            Ok(_) => {
                told.remove(&(of, name.to_owned()));
            }
            Err(Error::Refused(refusal)) => tell(engine, tenant, of, class, &refusal, told).await,
            Err(error @ (Error::NoRight(_) | Error::Failed(_))) => {
                tracing::warn!(tenant = %tenant.id, %kind, name, %error, "class is not on the host");
            }
        }
    }
    for (name, found) in &there {
        let lives = inside.iter().any(|class| named(class) == name);
        if !lives && tenant.is_active() {
            remove(host, of, found, &tenant.context).await?;
        }
    }
    Ok(())
}

/// Those that are the tenant's, and not copies of the host's or every API server's own.
fn own(all: Vec<Value>) -> Vec<Value> {
    let is_own = |class: &Value| {
        let label = class
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(MANAGED)?.as_str());
        label != Some(MANAGED_VALUE) && !named(class).starts_with("system-")
    };
    all.into_iter().filter(is_own).collect()
}

fn named(class: &Value) -> &str {
    class["metadata"]["name"].as_str().unwrap_or_default()
}

/// Says once why a class stays inside.
async fn tell(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    class: &Value,
    refusal: &Refusal,
    told: &mut Told,
) {
    let key = (of, named(class).to_owned());
    let message = refusal.to_string();
    if told.get(&key) == Some(&message) {
        return;
    }
    let api = of.kind().description().api;
    let reason = refusal.reason.as_str();
    if tenant
        .tell_of(engine, (api.version(), api.kind), class, reason, &message)
        .await
    {
        told.insert(key, message);
    }
}

/// The host's name of the tenant's class of that name, made if it is missing; nothing if the tenant has no such class,
/// does not ask for it to go, or it may not.
///
/// # Errors
/// A server does not answer, or does not make it.
pub async fn ensure(
    engine: &Engine,
    tenant: &Tenant,
    of: Class,
    name: &str,
) -> Result<Option<String>, Error> {
    let (kind, context) = (of.kind(), &tenant.context);
    if name.is_empty() || !own_class::is_asked_for(of, context) {
        return Ok(None);
    }
    let host_name = own_class::name(name, context);
    let known = engine.mirrored(kind, &host_name);
    if known.is_some_and(|known| own_class::of_ours(of, &known, context) == Some(name)) {
        return Ok(Some(host_name));
    }
    let inside = &tenant.clients.virtual_.request;
    let Some(class) = get(inside, of, name).await? else {
        return Ok(None);
    };
    let Some(class) = own(vec![class]).pop() else {
        return Ok(None);
    };
    let host = &engine.host.own.request;
    let there = get(host, of, &host_name).await?;
    match bring(host, of, &class, there.as_ref(), context).await {
        Ok(()) => Ok(Some(host_name)),
        // The class itself is told why.
        Err(Error::Refused(_)) => Ok(None),
        Err(error @ (Error::NoRight(_) | Error::Failed(_))) => Err(error),
    }
}

/// Brings the host's object up to the class; one that may not be there goes.
async fn bring(
    host: &Client,
    of: Class,
    class: &Value,
    there: Option<&Value>,
    context: &Context,
) -> Result<(), Error> {
    let wanted = match own_class::to_host(of, class, context) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            if let Some(there) = there {
                remove(host, of, there, context).await?;
            }
            return Err(refusal.into());
        }
    };
    let mut there = there.cloned();
    let name = own_class::name(named(class), context);
    for _ in 0..STEPS {
        match own_class::step(of, Some(wanted.clone()), there.as_ref(), context)? {
            Step::Nothing => return Ok(()),
            step @ (Step::Create(_) | Step::Patch(_) | Step::Delete(_)) => {
                write(host, of, &name, step).await?;
                there = get(host, of, &name).await?;
            }
        }
    }
    Err(Error::Failed("it changes again and again".to_owned()))
}

async fn remove(host: &Client, of: Class, there: &Value, context: &Context) -> Result<(), Error> {
    let step = own_class::step(of, None, Some(there), context)?;
    write(host, of, named(there), step).await
}

/// A volume of the host under the name that its class has inside, if that is one of the tenant's own.
pub fn named_inside(engine: &Engine, tenant: &Tenant, volume: Arc<Value>) -> Arc<Value> {
    let name = volume["spec"]["storageClassName"].as_str();
    let class = name.and_then(|name| engine.mirrored(Class::Storage.kind(), name));
    let own = class
        .as_deref()
        .and_then(|class| own_class::of_ours(Class::Storage, class, &tenant.context));
    let Some(own) = own else {
        return volume;
    };
    let mut renamed = Value::clone(&volume);
    renamed["spec"]["storageClassName"] = own.into();
    Arc::new(renamed)
}

/// Removes what is left of a virtual cluster that is gone. Looks at everything, as somebody may have taken labels off.
///
/// # Errors
/// A server does not answer, or does not let us: what is left stays.
pub async fn sweep(host: &Client, id: &Id) -> Result<(), Error> {
    for of in Class::ALL {
        for found in list(host, of).await? {
            if own_class::is_of(of, &found, &id.uid) {
                let delete = own_class::removal(&found);
                tracing::info!(tenant = %id, kind = %of.kind(), name = named(&found), "class is removed");
                write(host, of, named(&found), delete).await?;
            }
        }
    }
    Ok(())
}

fn collection(of: Class) -> String {
    let api = of.kind().description().api;
    format!("/apis/{}/{}", api.version(), api.plural)
}

async fn list(client: &Client, of: Class) -> Result<Vec<Value>, Error> {
    let mut list = send(client, Method::GET, &collection(of), None, None)
        .await
        .map_err(|error| failed(&error))?;
    let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
        let plural = of.kind().plural();
        return Err(Error::Failed(format!("the list of {plural} has no items")));
    };
    Ok(items)
}

async fn get(client: &Client, of: Class, name: &str) -> Result<Option<Value>, Error> {
    let path = format!("{}/{name}", collection(of));
    match send(client, Method::GET, &path, None, None).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

async fn write(client: &Client, of: Class, name: &str, step: Step) -> Result<(), Error> {
    let (path, manager) = (collection(of), ownership::SYNC_TO_HOST);
    let at = format!("{path}/{name}");
    let done = match step {
        Step::Nothing => return Ok(()),
        Step::Create(object) => {
            let path = format!("{path}?fieldManager={manager}");
            send(client, Method::POST, &path, None, Some(&object)).await
        }
        Step::Patch(patch) => {
            let path = format!("{at}?fieldManager={manager}");
            let media = Some(patch.format.content_type());
            send(client, Method::PATCH, &path, media, Some(&patch.body)).await
        }
        Step::Delete(delete) => {
            let options = json!({
                "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": delete.uid},
            });
            send(client, Method::DELETE, &at, None, Some(&options)).await
        }
    };
    match done {
        Ok(_) => Ok(()),
        // Looked at again.
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error {
        Some(status.code)
    } else {
        None
    }
}

fn failed(error: &kube::Error) -> Error {
    let said = with_causes(error);
    match code(error) {
        Some(403) => Error::NoRight(said),
        Some(_) | None => Error::Failed(said),
    }
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    media: Option<&str>,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, media.unwrap_or("application/json"))
        .body(body.into_bytes())
        .map_err(|error| kube::Error::Service(Box::new(error)))?;
    tokio::time::timeout(DEADLINE, client.request::<Value>(request))
        .await
        .unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
