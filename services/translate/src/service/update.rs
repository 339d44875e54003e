//! Later changes of a Service, in both directions.

use serde_json::{Map, Value, json};

use super::{
    RESERVED_UNTIL,
    address::{agree, cluster_ip, kind, lacks_second},
    admission::Review,
    to_host::to_host,
};
use crate::{
    Change, Context, Owner, Patch, Refusal,
    annotation::is_passed,
    change::members,
    json::{array, array_mut, merge_patch, object, text},
    label, name,
    patch::Format,
    plan::Action,
    refusal::Reason,
    serving::{self, Said},
    text::Names,
};

/// Fields that go on the host when they are gone inside. Others that the host alone has are its
/// own: what it allocated, or what its version or its admission put in.
const CLEARED: [&str; 11] = [
    "allocateLoadBalancerNodePorts",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinityConfig",
    "trafficDistribution",
];

/// Fields that only load balancers may have.
const BALANCERS: [&str; 6] = [
    "allocateLoadBalancerNodePorts",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
];

/// Fields for whose sake a host allocates nothing.
const GIVES_NOTHING: [&str; 8] = [
    "externalName",
    "internalTrafficPolicy",
    "loadBalancerSourceRanges",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
];

/// What must change on the host Service of a virtual one.
///
/// One whose address differs inside serves nobody there. It is made again with the right address,
/// unless it has a load balancer, which others may rely on.
///
/// A load balancer of another class stops being one first: its class cannot change, and its address stays.
///
/// # Errors
/// As [`to_host`], or its address differs and cannot be put right without breaking something.
pub fn update_host(service: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let mut wanted = to_host(service, context)?;
    if !agree(service, host) && is_unstored(host) {
        return Ok(Change::Replace);
    }
    if !agree(service, host) {
        return match kind(host) {
            "ClusterIP" | "NodePort" => Ok(Change::Replace),
            // Nobody knows who relies on one of a type to come.
            _load_balancer_or_unknown => Err(address_differs(service, host)),
        };
    }
    if changes_class(&wanted, host) {
        unbalance(&mut wanted);
    }
    let mut body = json!({});
    if let Some(spec) = spec_changes(&wanted, host) {
        body["spec"] = spec;
    }
    let changes = [
        ("labels", label_changes(&wanted, host)),
        ("annotations", annotation_changes(&wanted, host)),
    ];
    for (key, changes) in changes {
        if !changes.is_empty() {
            body["metadata"][key] = changes.into();
        }
    }
    if body.as_object().is_none_or(Map::is_empty) {
        return Ok(Change::None);
    }
    let uid = text(host, "/metadata/uid").unwrap_or_default();
    Ok(Change::Patch(Patch::new(None, Format::Merge, uid, body)))
}

/// Whether a host Service was made for a virtual one that was not stored then, and nobody can rely on it yet.
fn is_unstored(host: &Value) -> bool {
    Owner::of_host(host).is_some_and(|owner| owner.uid == Review::UID)
}

/// Whether it is a load balancer on both sides, of another class on the host than `wanted` says.
fn changes_class(wanted: &Value, host: &Value) -> bool {
    let class = |service| text(service, "/spec/loadBalancerClass");
    [wanted, host].map(kind) == ["LoadBalancer"; 2]
        && class(wanted).is_some_and(|wanted| class(host) != Some(wanted))
}

/// The same, as a Service of the cluster's only.
fn unbalance(service: &mut Value) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    spec.insert("type".to_owned(), "ClusterIP".into());
    for key in BALANCERS {
        spec.remove(key);
    }
    for port in array_mut(spec, "ports").filter_map(Value::as_object_mut) {
        port.remove("nodePort");
    }
}

fn address_differs(service: &Value, host: &Value) -> Refusal {
    let told = |service| {
        let all = array(service, "/spec/clusterIPs")
            .iter()
            .filter_map(Value::as_str);
        let all: Vec<&str> = all.collect();
        match (all.is_empty(), cluster_ip(service)) {
            (true, Some(one)) => one.to_owned(),
            _ => all.join(", "),
        }
    };
    let (inside, found) = (told(service), told(host));
    Refusal::new(
        Reason::AddressDiffers,
        "spec.clusterIP",
        format!(
            "is {inside} inside, but its Service on the host has {found}, so that nothing answers \
             at its address; delete the Service and create it again"
        ),
    )
}

fn spec_changes(wanted: &Value, host: &Value) -> Option<Value> {
    let empty = Map::new();
    let found = object(host, "/spec").unwrap_or(&empty);
    let mut target = object(wanted, "/spec").unwrap_or(&empty).clone();
    // A host that got its second family later gives a second address with any change, which inside nobody knows until
    // the Service is changed there. It harms nobody.
    if lacks_second(wanted) && array(host, "/spec/clusterIPs").len() == 2 {
        for key in ["clusterIPs", "ipFamilies"] {
            target.remove(key);
        }
    }
    for (key, value) in found {
        if !CLEARED.contains(&key.as_str()) && !target.contains_key(key) {
            target.insert(key.clone(), value.clone());
        }
    }
    merge_patch(&found.clone().into(), &target.into())
}

fn label_changes(wanted: &Value, host: &Value) -> Map<String, Value> {
    members(wanted, host, "/metadata/labels", label::is_ours)
}

fn annotation_changes(wanted: &Value, host: &Value) -> Map<String, Value> {
    members(wanted, host, "/metadata/annotations", |key| {
        key == RESERVED_UNTIL || is_passed(host, key)
    })
}

/// Until when `action` must wait, because the host Service is reserved for a virtual one that is
/// about to be stored: in RFC 3339. Taking over what was reserved never waits.
pub fn reservation<'a>(
    service: Option<&Value>,
    host: &'a Value,
    action: &Action<Value>,
) -> Option<&'a str> {
    let until = host
        .pointer("/metadata/annotations")?
        .get(RESERVED_UNTIL)?
        .as_str()?;
    let waits = match action {
        // What it was reserved for is stored, with another address: a webhook of the tenant's that came after ours. No
        // other request for the name can succeed.
        Action::DeleteHost(_) if service.is_some() && is_unstored(host) => false,
        Action::DeleteHost(_) => true,
        // The virtual Service as it still is; as it will be, it was reserved for. What gives nothing was not sent then.
        Action::PatchHost(patch) => {
            let known = service.and_then(|service| text(service, "/metadata/uid"));
            let owner = Owner::of_host(host).map(|owner| owner.uid);
            let spec = patch.body.get("spec");
            let undoes = spec.is_some_and(|spec| allocating(spec, host).is_some());
            undoes && known == owner.as_deref()
        }
        Action::Nothing
        | Action::Wait(_)
        | Action::Refuse(_)
        | Action::Create(_)
        | Action::PatchVirtual(_)
        | Action::Bind(_)
        | Action::DeleteVirtual(_) => false,
    };
    waits.then_some(until)
}

/// The part of a change of a host Service's spec for which the host gives something, or takes it back: addresses, node
/// ports, a balancer. Nothing if there is none.
///
/// Where the traffic goes is no part of it: that changes when the virtual Service is stored.
pub fn allocating(spec: &Value, host: &Value) -> Option<Value> {
    let mut spec = spec.as_object()?.clone();
    spec.retain(|key, _| !GIVES_NOTHING.contains(&key.as_str()));
    let found = array(host, "/spec/ports");
    for port in array_mut(&mut spec, "ports") {
        let is_same = |found: &&Value| {
            ["port", "protocol"]
                .iter()
                .all(|key| found.get(key) == port.get(key))
        };
        let (Some(found), Some(port)) = (found.iter().find(is_same), port.as_object_mut()) else {
            continue;
        };
        for key in ["targetPort", "appProtocol"] {
            match found.get(key) {
                Some(theirs) => port.insert(key.to_owned(), theirs.clone()),
                None => port.remove(key),
            };
        }
    }
    let ports = spec.get("ports").and_then(Value::as_array);
    if ports.is_some_and(|ports| ports.as_slice() == found) {
        spec.remove("ports");
    }
    (!spec.is_empty()).then(|| spec.into())
}

/// What the virtual Service must be told of its host Service: its load balancer's addresses and
/// the conditions that the host's controllers set.
pub fn status_to_virtual(host: &Value, service: &Value, context: &Context) -> Option<Patch> {
    let balanced = kind(service) == "LoadBalancer" && kind(host) == "LoadBalancer";
    let mut conditions = host
        .pointer("/status/conditions")
        .filter(|conditions| conditions.is_array())
        .cloned()
        .unwrap_or_else(|| json!([]));
    names(service, context).translate_messages(&mut conditions);
    let said = Said {
        load_balancer: host.pointer("/status/loadBalancer").filter(|_| balanced),
        conditions: array(&conditions, "").to_vec(),
    };
    serving::status_to_virtual(&said, service)
}

/// The host names that texts about a virtual Service may hold.
pub(super) fn names(service: &Value, context: &Context) -> Names {
    let mut names = Names::new(context);
    let namespace = text(service, "/metadata/namespace").unwrap_or_default();
    let name = text(service, "/metadata/name").unwrap_or_default();
    names.add(name::of_service(namespace, name, context), namespace, name);
    names
}
