//! What becomes of a PodSpec; security and volumes have tables of their own.

use serde_json::{Value, json};

use super::fate::{Fate, Row, dropped, moved, passes, rewritten, rows as rows_of, unsupported};
use super::sample::{Leaf, dress};
use crate::{
    fixture::{context, host_of, namespace_labels, pod, pod_with},
    pod::{HostPod, ReferenceKind, Verdict, ephemeral_to_host, to_host},
    refusal::Reason,
};

pub(super) fn rows() -> Vec<Row> {
    [
        containers(),
        references(),
        pod_rows(),
        identity(),
        scheduling(),
        later(),
    ]
    .concat()
}

fn containers() -> Vec<Row> {
    [
        passes(
            "the container's own, inside the pod",
            &[
                "C.{args,command}[]",
                "C.env[].{name,value}",
                "C.env[].valueFrom.fileKeyRef.{key,optional,path,volumeName}",
                "C.env[].valueFrom.resourceFieldRef.{containerName,divisor,resource}",
                "C.env[].valueFrom.fieldRef.apiVersion",
                "C.envFrom[].prefix",
                "C.{name,restartPolicy,workingDir}",
                "C.{stdin,stdinOnce,tty,terminationMessagePath,terminationMessagePolicy}",
                "C.ports[].{containerPort,name,protocol}",
                "C.resizePolicy[].{resourceName,restartPolicy}",
                "C.restartPolicyRules[].action",
                "C.restartPolicyRules[].exitCodes.operator",
                "C.restartPolicyRules[].exitCodes.values[]",
                "C.volumeDevices[].{devicePath,name}",
                "C.volumeMounts[].{mountPath,name,readOnly,recursiveReadOnly,subPath,subPathExpr}",
                "C.volumeMounts[].bindMountOptions[]",
                "spec.ephemeralContainers[].targetContainerName",
            ],
        ),
        passes(
            "goes beyond the pod only with privileged or a host path, which are refused",
            &["C.volumeMounts[].mountPropagation", "C.ports[].hostIP"],
        ),
        passes(
            "the node pulls it with the pod's own Secrets; one that is there already it gives to anybody, unless the host's \
             administrator has it ask each time (AlwaysPullImages)",
            &["C.{image,imagePullPolicy}"],
        ),
        passes(
            "counted by the host's scheduler and quota as the pod's",
            &["C.resources.{limits,requests}{}"],
        ),
        passes(
            "the node asks the pod itself",
            &[
                "C.{livenessProbe,readinessProbe,startupProbe}.exec.command[]",
                "C.{livenessProbe,readinessProbe,startupProbe}.grpc.{mode,port,service}",
                "C.{livenessProbe,readinessProbe,startupProbe}.{failureThreshold,initialDelaySeconds,periodSeconds,successThreshold,terminationGracePeriodSeconds,timeoutSeconds}",
                "C.{livenessProbe,readinessProbe,startupProbe,lifecycle.postStart,lifecycle.preStop}.httpGet.{path,port,protocol,scheme}",
                "C.{livenessProbe,readinessProbe,startupProbe,lifecycle.postStart,lifecycle.preStop}.httpGet.httpHeaders[].{name,value}",
                "C.{livenessProbe,readinessProbe,startupProbe,lifecycle.postStart,lifecycle.preStop}.tcpSocket.port",
                "C.lifecycle.{postStart,preStop}.exec.command[]",
                "C.lifecycle.{postStart,preStop}.sleep.seconds",
                "C.lifecycle.stopSignal",
            ],
        ),
        rewritten(
            "told by annotations and labels that hold the virtual value",
            &["C.env[].valueFrom.fieldRef.fieldPath"],
            "metadata.name",
            "metadata.annotations['vcluster.dev/name']",
        ),
        passes(
            "names an entry of spec.resourceClaims",
            &[
                "C.resources.claims[].{name,request}",
                "spec.resources.claims[].{name,request}",
            ],
        ),
    ]
    .concat()
}

fn references() -> Vec<Row> {
    let to = |kind, paths| {
        rows_of(
            "an object of the pod's virtual namespace",
            &Fate::Reference(kind),
            paths,
        )
    };
    [
        to(
            ReferenceKind::ResourceClaim,
            &["spec.resourceClaims[].resourceClaimName"],
        ),
        to(
            ReferenceKind::ConfigMap,
            &[
                "C.env[].valueFrom.configMapKeyRef.name",
                "C.envFrom[].configMapRef.name",
            ],
        ),
        to(
            ReferenceKind::Secret,
            &[
                "C.env[].valueFrom.secretKeyRef.name",
                "C.envFrom[].secretRef.name",
                "spec.imagePullSecrets[].name",
            ],
        ),
        passes(
            "within the object referred to",
            &[
                "C.env[].valueFrom.{configMapKeyRef,secretKeyRef}.{key,optional}",
                "C.envFrom[].{configMapRef,secretRef}.optional",
            ],
        ),
    ]
    .concat()
}

fn pod_rows() -> Vec<Row> {
    [
        passes(
            "the pod's own",
            &[
                "spec.{activeDeadlineSeconds,restartPolicy,shareProcessNamespace,terminationGracePeriodSeconds}",
                "spec.hostAliases[].hostnames[]",
                "spec.hostAliases[].ip",
                "spec.os.name",
            ],
        ),
        passes(
            "counted by the host's scheduler and quota as the pod's",
            &["spec.resources.{limits,requests}{}"],
        ),
        passes(
            "the conditions go down to the host pod, whose kubelet reads them",
            &["spec.readinessGates[].conditionType"],
        ),
        passes(
            "a user namespace of its own is more confined, none is the usual",
            &["spec.hostUsers"],
        ),
        dns(),
        rewritten(
            "the node would tell the services of the host namespace",
            &["spec.enableServiceLinks"],
            true,
            false,
        ),
    ]
    .concat()
}

fn dns() -> Vec<Row> {
    let after = |path: &str, at: &'static str| {
        let why = "after what leads to the virtual cluster's DNS";
        moved(why, &[path], "text", at, "text")
    };
    [
        rewritten(
            "the host's cluster DNS answers with strangers' addresses",
            &["spec.dnsPolicy"],
            "ClusterFirst",
            "None",
        ),
        after(
            "spec.dnsConfig.nameservers[]",
            "/spec/dnsConfig/nameservers/1",
        ),
        after("spec.dnsConfig.searches[]", "/spec/dnsConfig/searches/3"),
        after(
            "spec.dnsConfig.options[].name",
            "/spec/dnsConfig/options/1/name",
        ),
        after(
            "spec.dnsConfig.options[].value",
            "/spec/dnsConfig/options/1/value",
        ),
    ]
    .concat()
}

fn identity() -> Vec<Row> {
    [
        rewritten(
            "what the node would have made of the virtual pod",
            &["spec.hostname"],
            "db",
            "db",
        ),
        passes(
            "takes the place of all other names",
            &["spec.hostnameOverride"],
        ),
        moved(
            "the node would make a name in the host namespace of it",
            &["spec.subdomain"],
            "sub",
            "/spec/subdomain",
            json!(null),
        ),
        moved(
            "the name is said outright, as it is inside",
            &["spec.setHostnameAsFQDN"],
            true,
            "/spec/setHostnameAsFQDN",
            json!(null),
        ),
        rewritten(
            "a powerless account of the host namespace",
            &["spec.serviceAccountName"],
            "builder",
            "vcluster-workload",
        ),
        dropped("deprecated name of the same", &["spec.serviceAccount"]),
        rewritten(
            "never a token of the host; the virtual API server has put in its own volume",
            &["spec.automountServiceAccountToken"],
            true,
            false,
        ),
    ]
    .concat()
}

const TERMS: &str = "spec.affinity.{podAffinity,podAntiAffinity}.{requiredDuringSchedulingIgnoredDuringExecution[],preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm}";

fn scheduling() -> Vec<Row> {
    let term = |field: &str| format!("{TERMS}.{field}");
    let nodes = "spec.affinity.nodeAffinity.{requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[],preferredDuringSchedulingIgnoredDuringExecution[].preference}";
    let fields = "{matchExpressions,matchFields}[].{key,operator}";
    [
        passes(
            "virtual nodes bear the names and labels of the host's",
            &[
                "spec.nodeSelector{}",
                &format!("{nodes}.{fields}"),
                &format!("{nodes}.{{matchExpressions,matchFields}}[].values[]"),
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight",
                &term("topologyKey"),
                "spec.affinity.{podAffinity,podAntiAffinity}.preferredDuringSchedulingIgnoredDuringExecution[].weight",
                "spec.topologySpreadConstraints[].{maxSkew,minDomains,nodeAffinityPolicy,nodeTaintsPolicy,topologyKey,whenUnsatisfiable}",
            ],
        ),
        selectors(),
        moved(
            "a required node affinity: the host's scheduler still decides",
            &["spec.nodeName"],
            "n1",
            "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
            "n1",
        ),
        passes(
            "virtual nodes bear the taints of the host's",
            &["spec.tolerations[].{effect,key,operator,tolerationSeconds,value}"],
        ),
        dropped(
            "the virtual API server has resolved it, by objects that the host does not have",
            &["spec.{preemptionPolicy,priority}", "spec.overhead{}"],
        ),
        dropped(
            "the engine puts it back where the host's class is shown (`class::priority`)",
            &["spec.priorityClassName"],
        ),
        dropped(
            "schedulers and responders of the virtual cluster do not act on the host",
            &["spec.schedulerName", "spec.evictionResponders[].**"],
        ),
    ]
    .concat()
}

/// Selectors over pods: confined to the virtual cluster and its namespaces.
fn selectors() -> Vec<Row> {
    let term = |field: &str| format!("{TERMS}.{field}");
    let spread = |field: &str| format!("spec.topologySpreadConstraints[].{field}");
    let key = "label.vcluster.dev/app";
    let own = json!({"key": "vcluster.dev/namespace", "operator": "In", "values": ["shop"]});
    let selector = |first: Value| {
        json!({"matchLabels": {"vcluster.dev/cluster-uid": context().cluster_uid},
            "matchExpressions": [first]})
    };
    [
        rewritten(
            "over the labels that host pods bear",
            &[
                &term("labelSelector.matchExpressions[].key"),
                &spread("labelSelector.matchExpressions[].key"),
            ],
            "app",
            key,
        ),
        passes(
            "values of labels are the same on both sides",
            &[
                &term("labelSelector.matchExpressions[].{operator,values[]}"),
                &spread("labelSelector.matchExpressions[].{operator,values[]}"),
            ],
        ),
        rewritten_selector(
            "over the labels that host pods bear, in the pod's own namespace",
            &[
                &term("labelSelector.matchLabels{}"),
                &spread("labelSelector.matchLabels{}"),
            ],
            "v",
            json!([{"key": "label.vcluster.dev/k", "operator": "In", "values": ["v"]}, own]),
        ),
        rewritten_selector(
            "the host's pods lack these keys: they are merged here",
            &[&term("matchLabelKeys[]"), &spread("matchLabelKeys[]")],
            "app",
            json!([{"key": key, "operator": "In", "values": ["web"]}, own]),
        ),
        rewritten_selector(
            "the host's pods lack these keys: they are merged here",
            &[&term("mismatchLabelKeys[]")],
            "app",
            json!([{"key": key, "operator": "NotIn", "values": ["web"]}, own]),
        ),
        rewritten_selector(
            "a requirement on the label that holds a pod's virtual namespace",
            &[&term("namespaces[]")],
            "other",
            json!([{"key": "vcluster.dev/namespace", "operator": "In", "values": ["other"]}]),
        ),
        rewritten_selector(
            "a requirement on the labels that hold the virtual namespace's labels",
            &[&term("namespaceSelector.matchLabels{}")],
            "v",
            json!([{"key": "namespace-label.vcluster.dev/k", "operator": "In", "values": ["v"]}]),
        ),
        rewritten_selector(
            "as above",
            &[&term("namespaceSelector.matchExpressions[].key")],
            "team",
            json!([{"key": "namespace-label.vcluster.dev/team"}]),
        ),
        rewritten_selector(
            "as above",
            &[&term("namespaceSelector.matchExpressions[].operator")],
            "Exists",
            json!([{"operator": "Exists"}]),
        ),
        rewritten_selector(
            "as above",
            &[&term("namespaceSelector.matchExpressions[].values[]")],
            "blue",
            json!([{"values": ["blue"]}]),
        ),
    ]
    .concat()
    .into_iter()
    .map(|mut row| {
        // Where the selector is, and that it is confined to the cluster, is checked with its value.
        if let Fate::Rewritten {
            at: "selector",
            host,
            ..
        } = &mut row.fate
        {
            let mut whole = selector(json!(null));
            whole["matchExpressions"] = host.take();
            *host = whole;
        }
        row
    })
    .collect()
}

fn rewritten_selector(
    why: &'static str,
    paths: &[&str],
    virtual_: impl Into<Value>,
    host: Value,
) -> Vec<Row> {
    moved(why, paths, virtual_, "selector", host)
}

fn later() -> Vec<Row> {
    [
        passes(
            "the engine lets it pass only where the host's class is shown (`class::check`)",
            &["spec.runtimeClassName"],
        ),
        unsupported(
            "their kinds are not translated",
            &["spec.schedulingGroup.**"],
        ),
        rows_of(
            "the host pod is made when they are gone",
            &Fate::Dropped,
            &["spec.schedulingGates[].name"],
        ),
        passes("named by containers", &["spec.resourceClaims[].name"]),
        rows_of(
            "the host pod is made when the claim is, and names it",
            &Fate::Dropped,
            &["spec.resourceClaims[].resourceClaimTemplateName"],
        ),
    ]
    .concat()
}

/// What the parents of a field must have for the API.
fn needs() -> Vec<(&'static str, Value)> {
    let term = "/spec/affinity";
    let required = "requiredDuringSchedulingIgnoredDuringExecution/0";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm";
    let mut needs = vec![
        ("/spec/containers/0", json!({"name": "main", "image": "i"})),
        (
            "/spec/initContainers/0",
            json!({"name": "init", "image": "i"}),
        ),
        (
            "/spec/ephemeralContainers/0",
            json!({"name": "debug", "image": "i"}),
        ),
        ("/spec/volumes/0", json!({"name": "v"})),
        (
            "/spec/securityContext/sysctls/0",
            json!({"name": "net.ipv4.tcp_rmem"}),
        ),
        (
            "/spec/topologySpreadConstraints/0",
            json!({"labelSelector": {}}),
        ),
    ];
    for kind in ["podAffinity", "podAntiAffinity"] {
        for list in [required, preferred] {
            let pointer: &'static str = format!("{term}/{kind}/{list}").leak();
            needs.push((pointer, json!({"labelSelector": {}})));
        }
    }
    needs
}

fn with(leaf: &Leaf, value: &Value) -> Value {
    let mut pod = if leaf.path.starts_with("spec.containers") {
        let mut pod = pod();
        pod["spec"]["containers"] = json!([{}]);
        pod
    } else {
        pod_with(json!({}))
    };
    leaf.set(&mut pod, value.clone());
    if leaf.path == "spec.setHostnameAsFQDN" {
        pod["spec"]["subdomain"] = "sub".into();
    }
    dress(&mut pod, &needs());
    pod
}

/// The host pod, with the ephemeral containers that are added to it later.
fn translated(virtual_: &Value) -> Result<HostPod, Verdict> {
    let mut made = to_host(virtual_, &namespace_labels(), &context())?;
    if virtual_["spec"].get("ephemeralContainers").is_some() {
        let before = host_of(&pod());
        let (patch, refused) = ephemeral_to_host(virtual_, &before, &context());
        refused.map_or(Ok(()), Err)?;
        made.object["spec"]["ephemeralContainers"] = patch
            .map(|patch| patch.body["spec"]["ephemeralContainers"].clone())
            .unwrap_or_default();
    }
    Ok(made)
}

/// Whether translation does with the field what its fate says.
pub(super) fn check(leaf: &Leaf, fate: &Fate) -> Result<(), String> {
    match fate {
        Fate::Passes => leaf
            .samples()
            .iter()
            .try_for_each(|value| arrives(leaf, value)),
        Fate::Judged { passes, refused } => {
            if let Some(listed) = leaf.listed() {
                let judged = |value| passes.contains(value) || refused.contains(value);
                let forgotten: Vec<_> = listed.iter().filter(|value| !judged(value)).collect();
                if !forgotten.is_empty() {
                    return Err(format!("no decision about {forgotten:?}"));
                }
            }
            passes.iter().try_for_each(|value| arrives(leaf, value))?;
            let mut refused = refused.iter();
            refused.try_for_each(|value| is_refused(leaf, value, Reason::HostAccess))
        }
        Fate::Refused(reason) => {
            let samples = leaf.samples();
            samples
                .iter()
                .try_for_each(|value| is_refused(leaf, value, *reason))
        }
        Fate::Dropped if leaf.path == "spec.schedulingGates[].name" => {
            match translated(&with(leaf, &json!("gate"))) {
                Err(Verdict::Gated(_)) => Ok(()),
                other => Err(format!("not waited for: {other:?}")),
            }
        }
        Fate::Dropped if leaf.path == "spec.resourceClaims[].resourceClaimTemplateName" => {
            match translated(&with(leaf, &json!("template"))) {
                Err(Verdict::Unclaimed(_)) => Ok(()),
                other => Err(format!("not waited for: {other:?}")),
            }
        }
        Fate::Dropped => leaf.samples().iter().try_for_each(|value| {
            match leaf.get(&host_of_leaf(leaf, value)?.object, true) {
                None => Ok(()),
                Some(found) => Err(format!("arrives as {found}")),
            }
        }),
        Fate::Reference(kind) => refers(leaf, *kind),
        Fate::Rewritten { virtual_, at, host } => becomes(leaf, virtual_, at, host),
        Fate::Kept | Fate::Text | Fate::Generation => Err("a fate of the status".to_owned()),
    }
}

fn host_of_leaf(leaf: &Leaf, value: &Value) -> Result<HostPod, String> {
    translated(&with(leaf, value)).map_err(|verdict| format!("{value} gives: {verdict}"))
}

fn arrives(leaf: &Leaf, value: &Value) -> Result<(), String> {
    let host = host_of_leaf(leaf, value)?.object;
    match leaf.get(&host, true) {
        Some(found) if found == value => Ok(()),
        found => Err(format!("{value} arrives as {found:?}")),
    }
}

fn is_refused(leaf: &Leaf, value: &Value, reason: Reason) -> Result<(), String> {
    match translated(&with(leaf, value)) {
        Err(Verdict::Refused(refusal))
            if refusal.reason == reason && leaf.named().starts_with(&refusal.field) =>
        {
            Ok(())
        }
        other => Err(format!("{value} is not refused by its field: {other:?}")),
    }
}

fn refers(leaf: &Leaf, kind: ReferenceKind) -> Result<(), String> {
    let host = host_of_leaf(leaf, &json!("thing"))?;
    let named = leaf.get(&host.object, true) == Some(&json!("thing-x-shop-x-demo"));
    let noted = host
        .references
        .iter()
        .any(|reference| reference.kind == kind && reference.name == "thing");
    match (named, noted) {
        (true, true) => Ok(()),
        _ => Err(format!("named: {named}, noted: {noted}")),
    }
}

fn becomes(leaf: &Leaf, virtual_: &Value, at: &str, host: &Value) -> Result<(), String> {
    let made = host_of_leaf(leaf, virtual_)?.object;
    let found = match at {
        "" => leaf.get(&made, true).cloned(),
        "selector" => selector_of(leaf, &made),
        pointer => made.pointer(pointer).cloned(),
    };
    let found = found.unwrap_or_default();
    if found == *host {
        Ok(())
    } else {
        Err(format!("{virtual_} becomes {found}, not {host}"))
    }
}

/// The label selector beside or around the field.
fn selector_of(leaf: &Leaf, host: &Value) -> Option<Value> {
    let mut path = leaf.path.as_str();
    while let Some((parent, _)) = path.rsplit_once('.') {
        path = parent;
        let pointer = format!("/{}", parent.replace("[]", ".0").replace('.', "/"));
        let parent = host.pointer(&pointer);
        if let Some(selector) = parent.and_then(|parent| parent.get("labelSelector")) {
            return Some(selector.clone());
        }
    }
    None
}
