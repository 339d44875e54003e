//! Which requests take about as long as each other: those of one verb on one resource.

use http::{Method, Request};

/// A class of requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Class {
    method: Method,
    /// The resource and its subresource: `pods`, `pods/status`.
    resource: Box<str>,
}

impl Class {
    /// The class of a request to an API server; nothing of lists, whose length decides how long they take.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.method() == Method::GET && request.uri().query().is_some() {
            return None;
        }
        let mut parts = request.uri().path().trim_start_matches('/').split('/');
        // `api/v1` or `apis/GROUP/v1`.
        let skipped = match parts.next()? {
            "api" => 1,
            "apis" => 2,
            _ => return None,
        };
        let mut parts = parts.skip(skipped);
        let mut resource = parts.next()?;
        if resource == "namespaces" {
            // A name, and what is in it; or the namespace itself.
            parts.next();
            resource = parts.next().unwrap_or(resource);
        }
        let subresource = parts.nth(1);
        let resource = match subresource {
            Some(subresource) => format!("{resource}/{subresource}").into(),
            None => resource.into(),
        };
        Some(Self {
            method: request.method().clone(),
            resource,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_verb_and_a_resource_whatever_the_name() {
        let class = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            Class::of(&request).map(|class| class.resource.into_string())
        };
        for (method, uri, expected) in [
            (
                "POST",
                "/api/v1/namespaces/team-a/pods?fieldManager=x",
                Some("pods"),
            ),
            (
                "PATCH",
                "/api/v1/namespaces/team-a/pods/web/status",
                Some("pods/status"),
            ),
            ("GET", "/api/v1/nodes/node-1", Some("nodes")),
            ("GET", "/api/v1/namespaces/shop", Some("namespaces")),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/team-a/things/one",
                Some("things"),
            ),
            ("GET", "/api/v1/namespaces/team-a/pods?limit=250", None),
            ("GET", "/readyz", None),
        ] {
            assert_eq!(class(method, uri).as_deref(), expected, "{method} {uri}");
        }
    }
}
