//! What a virtual API server is told about a Service that it is about to store.
//!
//! Decisions only: the host is asked by whoever calls. The object is as it came from the client,
//! so an update may leave out what the API server will carry over from the stored one, as it does
//! after admission (`patchAllocatedValues`).

use serde_json::{Value, json};

use super::{
    RESERVED_UNTIL,
    address::{
        API_SERVICE, cluster_ip, has_health_port, has_node_ports, is_headless, kind, lacks,
        lacks_second, number,
    },
    is_on_host, to_host,
    update::{names, update_host},
};
use crate::{
    Change, Context, Kind, Refusal, annotation,
    json::{array, text},
    policy,
};

/// A Service that is about to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Review<'a> {
    /// As it is to be; with its name, and with the UID [`Review::UID`] or that of the stored one.
    pub object: &'a Value,
    /// As it is stored, if it is.
    pub old: Option<&'a Value>,
    /// Whether nothing is to be stored after all.
    pub dry_run: bool,
}

impl Review<'_> {
    /// UID of an object that is not stored yet.
    pub const UID: &'static str = "reserved";
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Store it as it is.
    Leave,
    /// Store it with these changes (a JSON patch).
    Patch(Vec<Value>),
    /// Do not store it.
    Refuse(Refusal),
    /// Make its host Service, this one, and store it with what the host gave.
    Reserve(Value),
    /// Change its host Service to be as [`super::update_host`] has it for `service`.
    Change {
        /// The virtual Service as it will be stored, as far as that is known.
        service: Value,
        /// Whether the host is to give something; if not, it is only asked whether it would agree.
        allocates: bool,
    },
}

/// Decides about a Service.
pub fn decide(review: Review<'_>, context: &Context) -> Decision {
    let Review {
        object,
        old,
        dry_run,
    } = review;
    if !is_on_host(object, context) {
        return match api_address(object, old, context) {
            Some(patch) => Decision::Patch(patch),
            None => Decision::Leave,
        };
    }
    let service = match old {
        Some(old) => carried(object, old),
        None => object.clone(),
    };
    let host = match to_host(&service, context) {
        Ok(host) => host,
        Err(refusal) => return Decision::Refuse(refusal),
    };
    if is_headless(&service) {
        return Decision::Leave;
    }
    let stored = old.filter(|old| is_on_host(old, context));
    if stored.is_none()
        && let Err(refusal) = policy::admits(Kind::Service, &service, context)
    {
        return Decision::Refuse(without_address(refusal));
    }
    if dry_run {
        return Decision::Leave;
    }
    match stored {
        None => Decision::Reserve(host),
        Some(old)
            if !gets_second(&service, context)
                && to_host(old, context).is_ok_and(|old| old["spec"] == host["spec"]) =>
        {
            Decision::Leave
        }
        Some(_) => Decision::Change {
            allocates: lacks(&service),
            service,
        },
    }
}

/// Whether an API server of two families gives it a second address with any change.
fn gets_second(service: &Value, context: &Context) -> bool {
    let ranges = &context.destinations.host.services;
    let both = ranges.iter().any(|range| range.addr().is_ipv6())
        && ranges.iter().any(|range| range.addr().is_ipv4());
    both && lacks_second(service)
}

/// Whether the host Service `host` is still to get an address, as it does with any change.
pub fn is_incomplete(host: &Value) -> bool {
    lacks(host)
}

/// Why a Service that stays inside is not stored: the address that it would get might be another's on the host.
fn without_address(refusal: Refusal) -> Refusal {
    let message = format!(
        "{}; without the host it has no address: make it headless (clusterIP: None)",
        refusal.message
    );
    Refusal { message, ..refusal }
}

/// `default/kubernetes` made by hand gets the address that the API server's own has.
fn api_address(object: &Value, old: Option<&Value>, context: &Context) -> Option<Vec<Value>> {
    let place = (
        text(object, "/metadata/namespace")?,
        text(object, "/metadata/name")?,
    );
    let free = old.is_none() && cluster_ip(object).is_none() && kind(object) != "ExternalName";
    (place == API_SERVICE && free).then(|| {
        let ip = context.api.to_string();
        vec![
            json!({"op": "add", "path": "/spec/clusterIP", "value": ip}),
            json!({"op": "add", "path": "/spec/clusterIPs", "value": [ip]}),
        ]
    })
}

/// `object` with what the API server will carry over from `old`.
fn carried(object: &Value, old: &Value) -> Value {
    let mut service = object.clone();
    if !service.get("spec").is_some_and(Value::is_object) {
        return service;
    }
    if kind(old) != "ExternalName" {
        if cluster_ip(&service).is_none()
            && let Some(ip) = cluster_ip(old)
        {
            service["spec"]["clusterIP"] = ip.into();
        }
        if array(&service, "/spec/clusterIPs").is_empty() && cluster_ip(&service) == cluster_ip(old)
        {
            service["spec"]["clusterIPs"] = array(old, "/spec/clusterIPs").into();
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if service["spec"].get(key).is_none_or(Value::is_null)
                && let Some(value) = old.pointer("/spec").and_then(|spec| spec.get(key))
            {
                service["spec"][key] = value.clone();
            }
        }
    }
    if has_node_ports(old) && has_node_ports(&service) {
        carry_node_ports(&mut service, old);
    }
    if has_health_port(old)
        && has_health_port(&service)
        && number(service.pointer("/spec/healthCheckNodePort")).is_none()
        && let Some(port) = number(old.pointer("/spec/healthCheckNodePort"))
    {
        service["spec"]["healthCheckNodePort"] = port.into();
    }
    service
}

/// Node ports by the name of the port, unless another port has taken the number.
fn carry_node_ports(service: &mut Value, old: &Value) {
    let given = |object: &Value| -> Vec<u64> {
        let ports = array(object, "/spec/ports").iter();
        ports
            .filter_map(|port| number(port.get("nodePort")))
            .collect()
    };
    let mut used = given(service);
    let Some(ports) = service
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for port in ports.iter_mut().filter(|port| port.is_object()) {
        if number(port.get("nodePort")).is_some() {
            continue;
        }
        let name = text(port, "/name");
        let before = array(old, "/spec/ports")
            .iter()
            .find(|old| text(old, "/name") == name)
            .and_then(|old| number(old.get("nodePort")));
        if let Some(number) = before.filter(|number| !used.contains(number)) {
            port["nodePort"] = number.into();
            used.push(number);
        }
    }
}

/// The host Service `host`, reserved until then (RFC 3339).
pub fn reserved(mut host: Value, until: &str) -> Value {
    host["metadata"]["annotations"][RESERVED_UNTIL] = until.into();
    // Told when it is written, and before the virtual Service exists there is nobody to tell.
    annotation::forget_kept(&mut host);
    host
}

/// The changes (a JSON patch) by which `object` gets what its host Service has; nothing if `host`
/// is not a Service of the same ports, which would lead elsewhere.
pub fn given(object: &Value, host: &Value) -> Option<Vec<Value>> {
    let mut patch = Vec::new();
    for key in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
    ] {
        let pointer = format!("/spec/{key}");
        let value = host.pointer(&pointer).filter(|value| !value.is_null());
        if let Some(value) = value.filter(|value| object.pointer(&pointer) != Some(value)) {
            patch.push(json!({"op": "add", "path": pointer, "value": value}));
        }
    }
    let (wanted, found) = (array(object, "/spec/ports"), array(host, "/spec/ports"));
    if wanted.len() != found.len() {
        return None;
    }
    for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        if wanted.get("port") != found.get("port") || protocol(wanted) != protocol(found) {
            return None;
        }
        if let Some(port) = number(found.get("nodePort"))
            && number(wanted.get("nodePort")) != Some(port)
        {
            let path = format!("/spec/ports/{index}/nodePort");
            patch.push(json!({"op": "add", "path": path, "value": port}));
        }
    }
    Some(patch)
}

fn protocol(port: &Value) -> &str {
    text(port, "/protocol").unwrap_or("TCP")
}

/// `message`, in which the host speaks of the Service's host object, in words of the virtual
/// cluster.
pub fn told(message: &str, object: &Value, context: &Context) -> String {
    names(object, context).translate(message)
}

/// Whether the host Service `host`, made for this name before, can serve `object` as it is: what
/// `object` leaves open is what `host` has.
pub fn fits(object: &Value, host: &Value, context: &Context) -> bool {
    let Some(given) = given(object, host) else {
        return false;
    };
    let mut service = object.clone();
    for change in &given {
        let path = text(change, "/path").unwrap_or_default();
        if service.pointer(path).is_some_and(is_chosen) {
            return false;
        }
        let Some((parent, key)) = path.rsplit_once('/') else {
            return false;
        };
        if let Some(parent) = service.pointer_mut(parent).filter(|at| at.is_object()) {
            parent[key] = change["value"].clone();
        }
    }
    match update_host(&service, host, context) {
        Ok(Change::None) => true,
        Ok(Change::Patch(patch)) => patch.body.get("spec").is_none(),
        Ok(Change::Replace) | Err(_) => false,
    }
}

/// Whether a value was given by somebody, rather than left to the API server.
fn is_chosen(value: &Value) -> bool {
    let empty = value.as_array().is_some_and(Vec::is_empty);
    !(value.is_null() || empty || *value == json!("") || *value == json!(0))
}
