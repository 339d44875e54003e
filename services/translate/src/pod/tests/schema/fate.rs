//! What can become of a field, and rows that say so.

use serde_json::Value;

use crate::{pod::ReferenceKind, refusal::Reason};

/// What becomes of a field.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It arrives as it is, whatever its value.
    Passes,
    /// It names another object, and arrives as that object's host name, noted as a reference.
    Reference(ReferenceKind),
    /// That value of the virtual pod makes that value on the host, at that JSON pointer (of the host
    /// object; the same field if empty).
    Rewritten {
        virtual_: Value,
        at: &'static str,
        host: Value,
    },
    /// It does not arrive.
    Dropped,
    /// The pod is refused by this field, whatever its value.
    Refused(Reason),
    /// Some values arrive as they are, others are refused. If the API lists the values, so do these.
    Judged {
        passes: Vec<Value>,
        refused: Vec<Value>,
    },
    /// Status: the virtual cluster's own value stays.
    Kept,
    /// Status: for people; host names in it are put back.
    Text,
    /// Status: the host's generation becomes the virtual pod's.
    Generation,
}

/// The fate of the fields of a path, and its reason.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `a.b[].c{}`; a `**` at the end is everything below.
    pub(super) path: String,
    pub(super) fate: Fate,
    pub(super) why: &'static str,
}

impl Row {
    pub(super) fn covers(&self, path: &str) -> bool {
        match self.path.strip_suffix("**") {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        }
    }
}

/// Rows of one fate and reason. `C.` stands for each list of containers, `{a,b}` for each of a and b.
pub(super) fn rows(why: &'static str, fate: &Fate, paths: &[&str]) -> Vec<Row> {
    let all = paths.iter().flat_map(|path| {
        expand(&path.replacen(
            "C.",
            "spec.{containers,initContainers,ephemeralContainers}[].",
            usize::from(path.starts_with("C.")),
        ))
    });
    all.map(|path| Row {
        path,
        fate: fate.clone(),
        why,
    })
    .collect()
}

pub(super) fn passes(why: &'static str, paths: &[&str]) -> Vec<Row> {
    rows(why, &Fate::Passes, paths)
}

pub(super) fn dropped(why: &'static str, paths: &[&str]) -> Vec<Row> {
    rows(why, &Fate::Dropped, paths)
}

pub(super) fn unsupported(why: &'static str, paths: &[&str]) -> Vec<Row> {
    rows(why, &Fate::Refused(Reason::NotSupported), paths)
}

pub(super) fn host_access(why: &'static str, paths: &[&str]) -> Vec<Row> {
    rows(why, &Fate::Refused(Reason::HostAccess), paths)
}

pub(super) fn judged(
    why: &'static str,
    path: &str,
    passes: impl IntoIterator<Item = impl Into<Value>>,
    refused: impl IntoIterator<Item = impl Into<Value>>,
) -> Vec<Row> {
    let fate = Fate::Judged {
        passes: passes.into_iter().map(Into::into).collect(),
        refused: refused.into_iter().map(Into::into).collect(),
    };
    rows(why, &fate, &[path])
}

pub(super) fn rewritten(
    why: &'static str,
    paths: &[&str],
    virtual_: impl Into<Value>,
    host: impl Into<Value>,
) -> Vec<Row> {
    moved(why, paths, virtual_, "", host)
}

pub(super) fn moved(
    why: &'static str,
    paths: &[&str],
    virtual_: impl Into<Value>,
    at: &'static str,
    host: impl Into<Value>,
) -> Vec<Row> {
    let fate = Fate::Rewritten {
        virtual_: virtual_.into(),
        at,
        host: host.into(),
    };
    rows(why, &fate, paths)
}

/// Every choice of the first `{a,b}`, and so on; `{}` is a map.
fn expand(path: &str) -> Vec<String> {
    let choice = path
        .match_indices('{')
        .filter_map(|(open, _)| Some((open, open + path[open..].find('}')?)))
        .find(|(open, close)| close - open > 1);
    let Some((open, close)) = choice else {
        return vec![path.to_owned()];
    };
    path[open + 1..close]
        .split(',')
        .flat_map(|one| expand(&format!("{}{one}{}", &path[..open], &path[close + 1..])))
        .collect()
}
