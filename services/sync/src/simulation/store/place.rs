//! Requests taken apart.

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::Id;

/// A request.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct Call {
    pub(in crate::simulation) method: Method,
    pub(in crate::simulation) path: String,
    pub(in crate::simulation) query: String,
    pub(in crate::simulation) body: Value,
    /// The body as it came.
    pub(in crate::simulation) sent: Bytes,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) struct Place {
    pub(in crate::simulation) id: Id,
    pub(in crate::simulation) subresource: String,
}

impl Call {
    /// A parameter of the query, decoded.
    pub(in crate::simulation) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(decode(value))
    }

    /// UID of the object that it is about, if it names one.
    pub(in crate::simulation) fn meant(&self) -> Option<String> {
        let at = match self.method {
            Method::DELETE => "/preconditions/uid",
            Method::PATCH => "/metadata/uid",
            _ => return None,
        };
        self.body.pointer(at)?.as_str().map(ToOwned::to_owned)
    }

    pub(in crate::simulation) fn is_watch(&self) -> bool {
        self.parameter("watch").is_some_and(|watch| watch == "true")
    }
}

impl Place {
    pub(in crate::simulation) fn of(path: &str) -> Option<Self> {
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let root = match *parts.first()? {
            "api" => 2,
            "apis" => 3,
            _ => return None,
        };
        let (root, mut rest) = parts.split_at_checked(root)?;
        let mut namespace = "";
        if let ["namespaces", within, _, ..] = *rest {
            namespace = within;
            rest = &rest[2..];
        }
        let (plural, rest) = rest.split_first()?;
        let collection = format!("/{}/{plural}", root.join("/"));
        let name = rest.first().copied().unwrap_or_default();
        Some(Self {
            id: Id::new(&collection, namespace, name),
            subresource: rest.get(1..).unwrap_or_default().join("/"),
        })
    }
}

fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next().unwrap_or(b'0')).to_digit(16);
                let (high, low) = (digit().unwrap_or(0), digit().unwrap_or(0));
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
            }
            b'+' => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, collection, namespace, name, subresource) in [
            ("/api/v1/pods", "/api/v1/pods", "", "", ""),
            (
                "/api/v1/namespaces/a/pods/p/status",
                "/api/v1/pods",
                "a",
                "p",
                "status",
            ),
            ("/api/v1/namespaces/a", "/api/v1/namespaces", "", "a", ""),
            ("/apis/g/v1/things/t", "/apis/g/v1/things", "", "t", ""),
        ] {
            let place = Place::of(path).unwrap();
            assert_eq!(place.id, Id::new(collection, namespace, name), "{path}");
            assert_eq!(place.subresource, subresource, "{path}");
        }
    }
}
