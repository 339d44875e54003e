//! What a request to an API server asks for. No I/O.

use std::collections::HashMap;

use serde_json::Value;

/// A path below `/api` or `/apis`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The collection over all namespaces: `/api/v1/pods`.
    pub(super) collection: String,
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Takes a path apart; none if it is no object's and no collection's.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let depth = match *parts.first()? {
            "api" => 2,
            "apis" => 3,
            _other => return None,
        };
        if parts.len() <= depth {
            return None;
        }
        let rest = parts.split_off(depth);
        let base = parts.join("/");
        let (namespace, rest) = match rest[..] {
            ["namespaces", namespace, ref rest @ ..]
                if !rest.is_empty() && !is_of_namespace(rest) =>
            {
                (namespace, rest)
            }
            _ => ("", &rest[..]),
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Some(Self {
            collection: format!("/{base}/{}", rest.next()?),
            namespace: namespace.to_owned(),
            name: rest.next(),
            subresource: rest.next(),
        })
    }
}

/// `/api/v1/namespaces/x/status` is about the namespace.
fn is_of_namespace(rest: &[&str]) -> bool {
    matches!(rest, ["status" | "finalize"])
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            Some((key.to_owned(), decoded(value)))
        };
        Self(pairs.filter_map(pair).collect())
    }

    pub(super) fn is_watch(&self) -> bool {
        self.0
            .get("watch")
            .is_some_and(|value| value == "true" || value == "1")
    }

    /// The version to go on from; none, or 0, means that what is there is told first.
    pub(super) fn version(&self) -> Option<u64> {
        let version = self.0.get("resourceVersion")?.parse().ok()?;
        (version > 0).then_some(version)
    }

    /// Whether an object has the labels that are asked for.
    pub(super) fn selects(&self, object: &[u8]) -> bool {
        let Some(selector) = self
            .0
            .get("labelSelector")
            .filter(|selector| !selector.is_empty())
        else {
            return true;
        };
        let object: Value = serde_json::from_slice(object).unwrap_or_default();
        let labels = &object["metadata"]["labels"];
        selector
            .split(',')
            .all(|one| match (one.split_once("!="), one.split_once('=')) {
                (Some((key, value)), _) => labels[key] != value,
                (None, Some((key, value))) => labels[key] == value.trim_start_matches('='),
                (None, None) => labels.get(one).is_some(),
            })
    }
}

/// Takes the escapes out of a parameter.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()]
                    .map(|digit| char::from(digit.unwrap_or(b'0')).to_digit(16));
                let [high, low] = digits.map(|digit| digit.unwrap_or(0));
                bytes.extend(u8::try_from(high * 16 + low));
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let shown = |path| {
            let target = Target::of(path)?;
            Some(
                [
                    target.collection,
                    target.namespace,
                    target.name.unwrap_or_default(),
                    target.subresource.unwrap_or_default(),
                ]
                .join(" "),
            )
        };
        for (path, parts) in [
            ("/api/v1/pods", "/api/v1/pods   "),
            ("/api/v1/namespaces", "/api/v1/namespaces   "),
            (
                "/api/v1/namespaces/kube-system",
                "/api/v1/namespaces  kube-system ",
            ),
            (
                "/api/v1/namespaces/load/pods/a/binding",
                "/api/v1/pods load a binding",
            ),
            (
                "/apis/apps/v1/namespaces/x/deployments",
                "/apis/apps/v1/deployments x  ",
            ),
            (
                "/apis/networking.k8s.io/v1/servicecidrs/y/status",
                "/apis/networking.k8s.io/v1/servicecidrs  y status",
            ),
        ] {
            assert_eq!(shown(path).as_deref(), Some(parts), "{path}");
        }
        for path in ["/readyz", "/api/v1", "/apis"] {
            assert_eq!(Target::of(path), None, "{path}");
        }
    }

    #[test]
    fn labels_are_asked_for_with_and_without_a_value() {
        let query = |text| Query::of(Some(text));
        let object = br#"{"metadata": {"labels": {"a/b": "true"}}}"#;
        assert!(query("labelSelector=a%2Fb%3Dtrue").selects(object));
        assert!(!query("labelSelector=a%2Fb!%3Dtrue&watch=1").selects(object));
        assert!(query("watch=true").is_watch() && query("watch=true").selects(object));
    }
}
