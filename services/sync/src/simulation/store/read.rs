//! Lists and watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Call, Id, Place, Store};

/// By how many versions a cache lags behind.
const LAG: u64 = 60;

/// Which objects of a collection are wanted.
#[derive(Debug, Clone, Default)]
pub(in crate::simulation) struct Selector {
    collection: String,
    namespace: String,
    labels: Option<(String, bool, String)>,
    fields: Option<(String, String)>,
}

impl Selector {
    pub(in crate::simulation) fn of(call: &Call, place: &Place) -> Self {
        let labels = call
            .parameter("labelSelector")
            .filter(|all| !all.is_empty());
        let labels = labels.and_then(|all| {
            let (wanted, at) = match all.find("!=") {
                Some(at) => (false, at),
                None => (true, all.find('=')?),
            };
            let value = all[at..].trim_start_matches(['!', '=']).to_owned();
            Some((all[..at].to_owned(), wanted, value))
        });
        let fields = call
            .parameter("fieldSelector")
            .filter(|all| !all.is_empty());
        let fields = fields.and_then(|all| {
            let (field, value) = all.split_once('=')?;
            Some((format!("/{}", field.replace('.', "/")), value.to_owned()))
        });
        Self {
            collection: place.id.collection.clone(),
            namespace: place.id.namespace.clone(),
            labels,
            fields,
        }
    }

    fn covers(&self, id: &Id) -> bool {
        id.collection == self.collection
            && (self.namespace.is_empty() || id.namespace == self.namespace)
    }

    fn matches(&self, object: &Value) -> bool {
        let labels = self.labels.as_ref().is_none_or(|(key, wanted, value)| {
            let found = object["metadata"]["labels"][key].as_str();
            (found == Some(value)) == *wanted
        });
        labels
            && self
                .fields
                .as_ref()
                .is_none_or(|(at, value)| object.pointer(at).and_then(Value::as_str) == Some(value))
    }
}

impl Store {
    /// Collections that have changed since a version.
    pub(in crate::simulation) fn changed(&self, version: u64) -> BTreeSet<&str> {
        let begin = self
            .history
            .partition_point(|event| event.version <= version);
        let events = self.history.range(begin..);
        events.map(|event| &*event.id.collection).collect()
    }

    /// The version that it has now.
    pub(in crate::simulation) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn read(&mut self, call: &Call, place: &Place) -> Answer {
        if !place.id.name.is_empty() {
            return match self.objects.get(&place.id) {
                Some(object) => Answer::new(200, object),
                None => Answer::status(404, "NotFound"),
            };
        }
        let Some(token) = call.parameter("continue") else {
            let selector = Selector::of(call, place);
            // From a cache that lags behind, which only who asks for no version at all is spared.
            let is_old = call.parameter("resourceVersion").is_some();
            let version = if is_old { self.earlier() } else { self.version };
            let items = self.at(version, &selector);
            return self.page(call, items, &version.to_string());
        };
        let Some(items) = self.pages.get(&token).cloned() else {
            return Answer::status(410, "Expired");
        };
        // Every page is of the version of the first.
        let version = token.split('-').next().unwrap_or_default();
        self.page(call, items, version)
    }

    /// A version of a moment ago.
    fn earlier(&self) -> u64 {
        self.version.saturating_sub(LAG).max(self.compacted)
    }

    /// What there was at a version.
    fn at(&self, version: u64, selector: &Selector) -> Vec<Arc<Value>> {
        let all = self
            .all(&selector.collection)
            .filter(|(id, _)| selector.covers(id));
        let mut then: BTreeMap<&Id, &Arc<Value>> = all.collect();
        let later = self
            .history
            .iter()
            .rev()
            .take_while(|event| event.version > version);
        for event in later.filter(|event| selector.covers(&event.id)) {
            match &event.before {
                Some(before) => drop(then.insert(&event.id, before)),
                None => drop(then.remove(&event.id)),
            }
        }
        let wanted = then.into_values().filter(|object| selector.matches(object));
        wanted.cloned().collect()
    }

    fn page(&mut self, call: &Call, items: Vec<Arc<Value>>, version: &str) -> Answer {
        let limit = call.parameter("limit").and_then(|limit| limit.parse().ok());
        let limit = limit.unwrap_or(usize::MAX).min(self.page);
        let mut metadata = json!({"resourceVersion": version});
        let mut items = items;
        if call.parameter("limit").is_some() && items.len() > limit {
            let rest = items.split_off(limit);
            let token = format!("{version}-{}", self.pages.len());
            self.pages.insert(token.clone(), rest);
            metadata["continue"] = token.into();
        }
        let items: Vec<_> = items.iter().map(ToString::to_string).collect();
        let items = items.join(",");
        Answer {
            code: 200,
            body: format!(
                r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":[{items}]}}"#
            ),
        }
    }

    /// What a watch is told of what happened after a version, line by line; nothing if that past is forgotten.
    pub(in crate::simulation) fn since(
        &self,
        version: u64,
        selector: &Selector,
    ) -> Option<Vec<String>> {
        let forgotten = self.forgotten.get(&selector.collection);
        if version < self.compacted || forgotten.is_some_and(|forgotten| version <= *forgotten) {
            return None;
        }
        let begin = self
            .history
            .partition_point(|event| event.version <= version);
        let mut lines = Vec::new();
        for event in self.history.range(begin..) {
            if !selector.covers(&event.id) {
                continue;
            }
            let matches = |object: &&Arc<Value>| selector.matches(object);
            let was = event.before.as_ref().filter(matches);
            lines.push(match (was, event.after.as_ref().filter(matches)) {
                (None, None) => continue,
                (None, Some(now)) => line("ADDED", now),
                (Some(_), Some(now)) => line("MODIFIED", now),
                (Some(was), None) => {
                    let mut was = Value::clone(was);
                    was["metadata"]["resourceVersion"] = event.version.to_string().into();
                    line("DELETED", &was)
                }
            });
        }
        Some(lines)
    }
}

fn line(word: &str, object: &Value) -> String {
    format!(r#"{{"type":"{word}","object":{object}}}"#)
}
