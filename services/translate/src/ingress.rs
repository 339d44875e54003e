//! Ingresses: down to the host, whose controllers serve them, and their status back up.
//!
//! | field | on the host |
//! |---|---|
//! | `metadata.labels` | under our domain, as every label |
//! | `metadata.annotations` | a short list, and what the host's administrator allows ([`annotation`]); those that name Secrets and Services are rewritten |
//! | `spec.ingressClassName`, `spec.rules` with hosts and paths | as they are |
//! | `spec.rules` without a host | refused: such a rule takes requests for every host name |
//! | `backend.service.name`, `tls[].secretName` | host names |
//! | `spec.defaultBackend` | refused: it would take every request to the host's controller that no other rule takes |
//! | `backend.resource` | refused: it names an object of a kind that is not translated |
//! | `status.loadBalancer` | brought up; what a controller inside says stays while the host says nothing |
//!
//! Host names are not checked here: which ones a tenant may claim, the host's administrator says by an annotation of the
//! host namespace, and the chart's policy holds it (see docs/adr).

use serde_json::{Map, Value, json};

use crate::{
    Change, Context, Kind, Owner, Patch, Refusal, annotation,
    change::change,
    json::{array, array_mut, is_set, object, text},
    kind::{Api, Description, Reference, Scope, ToHost},
    label, name,
    owner::metadata,
    serving::{self, Said},
};

/// Its row in the table of kinds.
pub const KIND: Description = Description {
    references: Some(references),
    ..Description::to_host(
        Api::new(
            "networking.k8s.io",
            "v1",
            "Ingress",
            "ingresses",
            Scope::Namespaced,
        )
        .short(&["ing"]),
        ToHost {
            status: Some(status_to_virtual),
            ..ToHost::new(to_host, update_host)
        },
    )
};

/// Annotations of the nginx controller that name a Secret, as `name` or `namespace/name`.
const SECRETS: [&str; 3] = [
    "nginx.ingress.kubernetes.io/auth-secret",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "nginx.ingress.kubernetes.io/proxy-ssl-secret",
];

/// Annotation of the nginx controller that names a Service.
const DEFAULT_BACKEND: &str = "nginx.ingress.kubernetes.io/default-backend";

/// The host Ingress of a virtual one.
///
/// # Errors
/// It would reach beyond its tenant, or lacks a name, namespace or UID.
pub fn to_host(ingress: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(ingress, "Ingress", context)?;
    let Some(spec) = object(ingress, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    if is_set(ingress, "/spec/defaultBackend") {
        return Err(for_everybody("spec.defaultBackend", "is not allowed: it"));
    }
    let mut spec = spec.clone();
    for (n, rule) in array_mut(&mut spec, "rules").enumerate() {
        if text(rule, "/host").is_none() {
            return Err(for_everybody(
                format!("spec.rules[{n}].host"),
                "must be set: without it the rule",
            ));
        }
        let paths = rule.get_mut("http").and_then(Value::as_object_mut);
        for (m, path) in paths
            .into_iter()
            .flat_map(|http| array_mut(http, "paths"))
            .enumerate()
        {
            let field = format!("spec.rules[{n}].http.paths[{m}].backend");
            backend(path.get_mut("backend"), &field, &owner, context)?;
        }
    }
    for tls in array_mut(&mut spec, "tls") {
        if let Some(secret) = text(tls, "/secretName") {
            tls["secretName"] = name::of(&owner.namespace, secret, context).into();
        }
    }
    let host_name = name::of_kind(Kind::Ingress, &owner.namespace, &owner.name, context);
    let labels = label::OBJECT.translate(ingress, "/metadata/labels");
    let annotations = annotations(ingress, &owner, context)?;
    Ok(json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, annotations, context),
        "spec": spec,
    }))
}

fn for_everybody(field: impl Into<String>, what: &str) -> Refusal {
    let message = format!(
        "{what} would take requests of everybody on the host cluster that no other rule takes; \
         use rules with hosts"
    );
    Refusal::host_access(field, message)
}

fn backend(
    backend: Option<&mut Value>,
    field: &str,
    owner: &Owner,
    context: &Context,
) -> Result<(), Refusal> {
    let Some(backend) = backend else {
        return Ok(());
    };
    if is_set(backend, "/resource") {
        return Err(Refusal::not_supported(
            format!("{field}.resource"),
            "is not allowed: only Services can be backends; use service",
        ));
    }
    if let Some(service) = text(backend, "/service/name") {
        backend["service"]["name"] = name::of_service(&owner.namespace, service, context).into();
    }
    Ok(())
}

fn annotations(
    ingress: &Value,
    owner: &Owner,
    context: &Context,
) -> Result<Map<String, Value>, Refusal> {
    let mut all = annotation::passed(ingress, annotation::INGRESS, &context.annotations.ingresses);
    if let Some(Value::String(service)) = all.get_mut(DEFAULT_BACKEND) {
        *service = name::of_service(&owner.namespace, service, context);
    }
    for key in SECRETS {
        let Some(found) = all.get(key).and_then(Value::as_str) else {
            continue;
        };
        let host = match found.split_once('/') {
            None => name::of(&owner.namespace, found, context),
            Some((namespace, secret)) if namespace == owner.namespace => {
                let secret = name::of(namespace, secret, context);
                format!("{}/{secret}", context.host_namespace)
            }
            Some(_) => {
                return Err(Refusal::host_access(
                    format!("metadata.annotations[{key}]"),
                    format!(
                        "must name a Secret of the Ingress's own namespace {:?}",
                        owner.namespace
                    ),
                ));
            }
        };
        all.insert(key.to_owned(), host.into());
    }
    Ok(all)
}

/// The Secrets that an Ingress names.
pub fn references(ingress: &Value, _context: &Context) -> Vec<Reference> {
    let namespace = text(ingress, "/metadata/namespace").unwrap_or_default();
    let certificates = array(ingress, "/spec/tls")
        .iter()
        .filter_map(|tls| text(tls, "/secretName"));
    let annotations = ingress.pointer("/metadata/annotations");
    let named = SECRETS.iter().filter_map(|key| {
        let named = annotations?.get(*key)?.as_str()?;
        match named.split_once('/') {
            None => Some(named),
            Some((found, name)) => (found == namespace).then_some(name),
        }
    });
    let reference = |name: &str| Reference {
        kind: Kind::Secret,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        optional: true,
    };
    certificates
        .chain(named)
        .filter(|name| !name.is_empty())
        .map(reference)
        .collect()
}

/// How the host Ingress of a virtual one comes to be as it is wanted. A class that the host chose by default
/// stays.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(ingress: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let mut wanted = to_host(ingress, context)?;
    let class = text(host, "/spec/ingressClassName");
    if let Some(class) = class.filter(|_| !is_set(&wanted, "/spec/ingressClassName")) {
        wanted["spec"]["ingressClassName"] = class.into();
    }
    Ok(change(host, &wanted, &["spec"]))
}

/// What the virtual Ingress must be told: the addresses at which the host serves it.
pub fn status_to_virtual(host: &Value, ingress: &Value, _context: &Context) -> Option<Patch> {
    let said = Said {
        load_balancer: host.pointer("/status/loadBalancer"),
        conditions: Vec::new(),
    };
    serving::status_to_virtual(&said, ingress)
}

#[cfg(test)]
mod tests;
