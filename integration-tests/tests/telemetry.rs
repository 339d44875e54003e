//! Traces: what the services tell a collector about work that one command began.

use std::fmt::Write as _;

use integration_tests::{Collector, Tenant, collector::Span, eventually};
use serde_json::json;
use uuid::Uuid;

const CONNECT: &str = "vcluster-connect";
const CONTROL: &str = "vcluster-control";
const SYNC: &str = "vcluster-sync";

/// A trace that somebody outside has begun: its id and the span that calls us.
struct Begun {
    trace: String,
    span: String,
}

impl Begun {
    fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            trace: Uuid::new_v4().simple().to_string(),
            span: id[..16].to_owned(),
        }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }

    fn spans(&self) -> Vec<Span> {
        Collector::get().trace(&self.trace)
    }

    /// Waits for a span of that service and name, also with `part` in one of its attributes, from
    /// which the links lead back to whoever began the trace. Returns who they lead past, service and
    /// name, the last one first.
    #[track_caller]
    fn way_back(&self, service: &str, name: &str, part: &str) -> Vec<(String, String)> {
        eventually(&format!("{service} tells of {name:?} ({part})"), || {
            let spans = self.spans();
            spans
                .iter()
                .filter(|span| span.service == service && span.name == name)
                .find_map(|span| way(&spans, span, &self.span, part))
                .ok_or_else(|| show(&spans))
        })
    }
}

/// From a span to the trace's beginning, if its links lead there, past one that is about `part`.
fn way(spans: &[Span], from: &Span, begin: &str, part: &str) -> Option<Vec<(String, String)>> {
    let mut way = Vec::new();
    let mut about = false;
    let mut at = from;
    loop {
        about |= at.attributes.values().any(|value| value.contains(part));
        way.push((at.service.clone(), at.name.clone()));
        if at.parent == begin {
            return about.then_some(way);
        }
        // No trace has a circle, but a broken one might.
        if way.len() > spans.len() {
            return None;
        }
        at = spans.iter().find(|span| span.id == at.parent)?;
    }
}

fn show(spans: &[Span]) -> String {
    let mut text = format!("{} spans", spans.len());
    for span in spans {
        let Span {
            service,
            name,
            id,
            parent,
            attributes,
        } = span;
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n{service} {name:?} {id} in {parent:?} {attributes:?}"
        );
    }
    text
}

fn is(way: &[(String, String)], expected: &[(&str, &str)]) {
    let way: Vec<_> = way.iter().map(|(s, n)| (s.as_str(), n.as_str())).collect();
    assert_eq!(way, expected);
}

fn pod(name: &str, annotations: &serde_json::Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "docker.io/library/busybox:latest",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}],
        },
    })
    .to_string()
}

#[test]
fn one_trace_leads_from_the_command_line_to_the_pod_on_the_host() {
    const CREATE: &str = "vcluster.control.v1.ControlService/CreateVirtualCluster";
    const MAKES_POD: &str = "create Pod on the host";
    // The command's, and below it what the gateway forwards.
    const BEGINNING: [(&str, &str); 2] = [(CONTROL, CREATE), (CONNECT, "request")];

    let begun = Begun::new();
    Collector::get();
    let tenant = Tenant::unmade("traced");
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let create = format!("create {name} -n {namespace} --timeout 180s --verbose");
    let created = tenant
        .host()
        .vcluster(&create)
        .env("TRACEPARENT", begun.traceparent())
        .run();
    assert!(created.succeeded(), "{created}");
    let said = format!("trace id: {}", begun.trace);
    assert!(created.stderr.contains(&said), "{created}");
    tenant.connect();

    is(&begun.way_back(CONTROL, CREATE, ""), &BEGINNING);
    let reconcile = begun.way_back(CONTROL, "reconcile VirtualCluster", namespace);
    let expected = [&[(CONTROL, "reconcile VirtualCluster")], &BEGINNING[..]].concat();
    is(&reconcile, &expected);

    // A pod is of the trace in which its cluster was made ...
    tenant.inside().apply(&pod("of-cluster", &json!({})));
    let made = begun.way_back(SYNC, MAKES_POD, "default/of-cluster");
    let expected = [&[(SYNC, MAKES_POD), (SYNC, "sync Pod")], &BEGINNING[..]].concat();
    is(&made, &expected);

    // ... or of the one that its maker names.
    let makers = Begun::new();
    let annotations = json!({"vcluster.dev/traceparent": makers.traceparent()});
    tenant.inside().apply(&pod("of-maker", &annotations));
    let made = makers.way_back(SYNC, MAKES_POD, "default/of-maker");
    is(&made, &[(SYNC, MAKES_POD), (SYNC, "sync Pod")]);

    eventually("every link leads to a span or to the command", || {
        let spans = begun.spans();
        let known = |id: &str| id == begun.span || spans.iter().any(|span| span.id == id);
        let loose: Vec<_> = spans
            .iter()
            .filter(|s| !known(&s.parent))
            .cloned()
            .collect();
        if loose.is_empty() {
            Ok(())
        } else {
            Err(show(&loose))
        }
    });
}
