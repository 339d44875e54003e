//! An API server in memory that keeps its past: versions, lists in pages, watches, compaction.
//!
//! It answers as a real one does as far as sync can tell: consistent lists, UID preconditions, graceful deletion of
//! pods, finalizers, writes that change nothing make no new version. It neither defaults nor validates.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

mod place;
mod read;
mod write;

pub(super) use place::{Call, Place};
pub(super) use read::Selector;
pub(super) use write::deleted;

/// Whose API server it is, as far as that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Host,
    Virtual,
}

/// What an object is stored under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    /// Path of the collection without namespace: `/api/v1/pods`.
    pub(super) collection: String,
    /// Namespace; empty for what is in none.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
}

/// A write that was done.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) id: Id,
    pub(super) method: &'static str,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
    /// UID of the object that was meant, if the request named one.
    pub(super) meant: Option<String>,
    /// Whether whoever sent it may have given it up long ago.
    pub(super) is_late: bool,
}

/// What a request is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// JSON.
    pub(super) body: String,
}

#[derive(Debug, Clone)]
struct Event {
    version: u64,
    id: Id,
    before: Option<Arc<Value>>,
    after: Option<Arc<Value>>,
}

/// The server.
#[derive(Debug, Clone)]
pub(super) struct Store {
    role: Role,
    prefix: String,
    version: u64,
    objects: BTreeMap<Id, Arc<Value>>,
    history: VecDeque<Event>,
    /// Versions up to this one cannot be watched from any more.
    compacted: u64,
    /// The same of single collections.
    forgotten: BTreeMap<String, u64>,
    pages: BTreeMap<String, Vec<Arc<Value>>>,
    /// Objects per page at most, whatever is asked for.
    page: usize,
}

impl Store {
    /// Makes it empty; its UIDs begin with `prefix`.
    pub(super) fn new(role: Role, prefix: &str, page: usize) -> Self {
        Self {
            role,
            prefix: prefix.to_owned(),
            version: 100,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            compacted: 0,
            forgotten: BTreeMap::new(),
            pages: BTreeMap::new(),
            page,
        }
    }

    /// An object.
    pub(super) fn get(&self, id: &Id) -> Option<&Arc<Value>> {
        self.objects.get(id)
    }

    /// Every object of a collection.
    pub(super) fn all(&self, collection: &str) -> impl Iterator<Item = (&Id, &Arc<Value>)> {
        let collection = collection.to_owned();
        let first = Id::new(&collection, "", "");
        let of_it = move |(id, _): &(&Id, &Arc<Value>)| id.collection == collection;
        self.objects.range(first..).take_while(of_it)
    }

    /// Every object.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Id, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Forgets the past: who watches from there must list again.
    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
        self.pages.clear();
    }

    /// Forgets the past of one collection.
    pub(super) fn forget(&mut self, collection: &str) {
        self.forgotten.insert(collection.to_owned(), self.version);
    }

    /// The same with so many versions more; UIDs of what is made from now on begin with `prefix`.
    pub(super) fn grown(mut self, versions: u64, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self.version += versions;
        self.compact();
        self
    }

    /// Does a write of somebody else than sync.
    pub(super) fn put(&mut self, id: &Id, object: Value, now: Timestamp) -> Arc<Value> {
        self.commit(id, Some(object), now)
            .unwrap_or_else(|| unreachable!("an object was put"))
    }

    /// Changes an object; false if it is not there.
    pub(super) fn change(
        &mut self,
        id: &Id,
        now: Timestamp,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        let Some(object) = self.objects.get(id) else {
            return false;
        };
        let mut object = Value::clone(object);
        change(&mut object);
        self.commit(id, Some(object), now);
        true
    }

    /// Removes an object at once.
    pub(super) fn lose(&mut self, id: &Id, now: Timestamp) -> Option<Arc<Value>> {
        let before = self.objects.get(id).cloned()?;
        self.commit(id, None, now);
        Some(before)
    }

    /// Stores a state of an object, or its end, as the next version.
    fn commit(&mut self, id: &Id, object: Option<Value>, now: Timestamp) -> Option<Arc<Value>> {
        let before = self.objects.get(id).cloned();
        let after = match object {
            None => None,
            Some(mut object) => {
                self.fill(id, &mut object, before.as_deref(), now);
                if before.as_deref() == Some(&object) {
                    return before;
                }
                object["metadata"]["resourceVersion"] = (self.version + 1).to_string().into();
                Some(Arc::new(object))
            }
        };
        if before.is_none() && after.is_none() {
            return None;
        }
        self.version += 1;
        match &after {
            Some(object) => self.objects.insert(id.clone(), Arc::clone(object)),
            None => self.objects.remove(id),
        };
        self.history.push_back(Event {
            version: self.version,
            id: id.clone(),
            before,
            after: after.clone(),
        });
        after
    }

    fn fill(&self, id: &Id, object: &mut Value, before: Option<&Value>, now: Timestamp) {
        let changed = before.is_some_and(|before| before.get("spec") != object.get("spec"));
        let metadata = &mut object["metadata"];
        metadata["name"] = id.name.as_str().into();
        if !id.namespace.is_empty() {
            metadata["namespace"] = id.namespace.as_str().into();
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("{}-{}", self.prefix, self.version + 1).into();
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = crate::object::time(now).into();
        }
        let generation = metadata["generation"].as_i64().unwrap_or(1);
        metadata["generation"] = (generation + i64::from(changed)).into();
        if let Some(before) = before {
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        }
    }
}

impl Id {
    pub(super) fn new(collection: &str, namespace: &str, name: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl Answer {
    fn new(code: u16, body: &Value) -> Self {
        Self {
            code,
            body: body.to_string(),
        }
    }

    /// What an API server says of a request that it does not do.
    pub(super) fn status(code: u16, reason: &str) -> Self {
        Self::because(code, reason, &Value::Null)
    }

    /// The same with details.
    fn because(code: u16, reason: &str, details: &Value) -> Self {
        Self::new(
            code,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "code": code, "reason": reason, "message": format!("no: {reason}"), "details": details,
            }),
        )
    }

    fn success(code: u16) -> Self {
        let body =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        Self::new(code, &body)
    }
}
