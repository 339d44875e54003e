//! Paths to fields of an object: names joined by dots, with `[*]` behind a list for each of its items. No I/O.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// Characters of a path at most.
pub const LIMIT: usize = 256;
/// What sync translates by itself.
const RESERVED: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A path, as `spec.items[*].name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Segment {
    key: String,
    each: bool,
}

/// What is wrong with a path, worded to follow the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is none.
    #[error(
        "must be field names joined by dots, with [*] behind a list, for example spec.items[*].name"
    )]
    Malformed,
    /// It leads where rules have nothing to say.
    #[error("must not lie in apiVersion, kind or metadata, which sync translates by itself")]
    Reserved,
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > LIMIT {
            return Err(Error::Malformed);
        }
        let segment = |part: &str| {
            let (key, each) = match part.strip_suffix("[*]") {
                Some(key) => (key, true),
                None => (part, false),
            };
            let first = key
                .bytes()
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
            let rest = key
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
            let key = key.to_owned();
            (first && rest)
                .then_some(Segment { key, each })
                .ok_or(Error::Malformed)
        };
        let segments: Vec<Segment> = text.split('.').map(segment).collect::<Result<_, _>>()?;
        if segments
            .first()
            .is_some_and(|first| RESERVED.contains(&first.key.as_str()))
        {
            return Err(Error::Reserved);
        }
        Ok(Self(segments))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            let each = if segment.each { "[*]" } else { "" };
            write!(f, "{dot}{}{each}", segment.key)?;
        }
        Ok(())
    }
}

impl Path {
    /// Whether it names one place at most.
    pub fn is_single(&self) -> bool {
        self.0.iter().all(|segment| !segment.each)
    }

    /// The field of the object in which it lies.
    pub fn root(&self) -> &str {
        self.0.first().map_or("", |first| &first.key)
    }

    /// Whether `other` is the same place or lies in it.
    pub fn holds(&self, other: &Self) -> bool {
        self.0.len() <= other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|(own, other)| own.key == other.key)
    }

    /// Whether some place lies in both.
    pub fn meets(&self, other: &Self) -> bool {
        self.holds(other) || other.holds(self)
    }

    /// What is there, each with its place, such as `spec.items[0].name`.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<(String, &'a Value)> {
        let mut found = vec![(String::new(), object)];
        for segment in &self.0 {
            let mut next = Vec::new();
            for (place, value) in found {
                let Some(value) = value.get(&segment.key) else {
                    continue;
                };
                let place = join(&place, &segment.key);
                if segment.each {
                    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                    let items = items.iter().enumerate();
                    next.extend(items.map(|(n, item)| (format!("{place}[{n}]"), item)));
                } else {
                    next.push((place, value));
                }
            }
            found = next;
        }
        found
    }

    /// Puts a value there, and what it lies in where that is missing. For a path of one place.
    pub fn set(&self, object: &mut Value, value: Value) {
        let mut at = object;
        for segment in &self.0 {
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            at = &mut at[segment.key.as_str()];
        }
        *at = value;
    }

    /// Takes away what is there.
    pub fn remove(&self, object: &mut Value) {
        let Ok(()) = self.rewrite(object, &mut |_, _| Ok::<_, Infallible>(None));
    }

    /// Puts at each place what `change` makes of it: of its name, and of what is there. Nothing takes a field away.
    /// A place that could be there, because what it lies in is, counts as empty.
    ///
    /// # Errors
    /// Those of `change`; some places have been changed then.
    pub fn rewrite<E, C>(&self, object: &mut Value, change: &mut C) -> Result<(), E>
    where
        C: FnMut(&str, Option<&Value>) -> Result<Option<Value>, E>,
    {
        rewrite(&self.0, object, "", change)
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

fn rewrite<E, C>(
    segments: &[Segment],
    value: &mut Value,
    place: &str,
    change: &mut C,
) -> Result<(), E>
where
    C: FnMut(&str, Option<&Value>) -> Result<Option<Value>, E>,
{
    let Some((segment, rest)) = segments.split_first() else {
        return Ok(());
    };
    let Some(object) = value.as_object_mut() else {
        return Ok(());
    };
    let place = join(place, &segment.key);
    if segment.each {
        let items = object.get_mut(&segment.key).and_then(Value::as_array_mut);
        for (n, item) in items.into_iter().flatten().enumerate() {
            let place = format!("{place}[{n}]");
            if rest.is_empty() {
                *item = change(&place, Some(item))?.unwrap_or_default();
            } else {
                rewrite(rest, item, &place, change)?;
            }
        }
        return Ok(());
    }
    if !rest.is_empty() {
        return match object.get_mut(&segment.key) {
            Some(next) => rewrite(rest, next, &place, change),
            None => Ok(()),
        };
    }
    match change(&place, object.get(&segment.key))? {
        Some(new) => object.insert(segment.key.clone(), new),
        None => object.remove(&segment.key),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_is_names_with_dots_and_stars_and_nothing_else() {
        for good in ["status", "spec.a-b.c_d", "spec.items[*].name", "x[*].y[*]"] {
            assert_eq!(path(good).to_string(), good);
        }
        for bad in [
            "", ".", "spec.", "a..b", "a[0]", "a[*]b", "[*]", "a b", "1a", "a/b", "a[*][*]",
        ] {
            assert_eq!(bad.parse::<Path>(), Err(Error::Malformed), "{bad}");
        }
        for reserved in ["metadata.name", "kind", "metadata[*].x", "apiVersion"] {
            assert_eq!(reserved.parse::<Path>(), Err(Error::Reserved), "{reserved}");
        }
        assert!("metadataX.name".parse::<Path>().is_ok());
    }

    #[test]
    fn every_place_of_a_list_is_found_by_its_name() {
        let object = json!({"spec": {"items": [{"name": "a"}, {}, {"name": "b"}, 7]}});
        let found = path("spec.items[*].name").find(&object);
        let places: Vec<_> = found
            .iter()
            .map(|(place, value)| format!("{place}={value}"))
            .collect();
        assert_eq!(
            places,
            ["spec.items[0].name=\"a\"", "spec.items[2].name=\"b\""]
        );
        assert!(path("spec.items.name").find(&object).is_empty());
    }

    #[test]
    fn one_path_holds_what_lies_in_it() {
        assert!(path("status").holds(&path("status.x[*].y")));
        assert!(!path("status").holds(&path("statusX")));
        assert!(path("spec.a[*].b").meets(&path("spec.a")));
        assert!(!path("spec.a").meets(&path("spec.b")));
    }

    #[test]
    fn a_field_can_be_set_where_its_parent_is_and_taken_away() {
        let mut object = json!({"spec": {"a": 1}});
        let set = |_: &str, _: Option<&Value>| Ok::<_, Infallible>(Some(json!("new")));
        path("spec.b").rewrite(&mut object, &mut { set }).unwrap();
        path("none.b").rewrite(&mut object, &mut { set }).unwrap();
        let gone = |_: &str, _: Option<&Value>| Ok::<_, Infallible>(None);
        path("spec.a").rewrite(&mut object, &mut { gone }).unwrap();
        assert_eq!(object, json!({"spec": {"b": "new"}}));
        path("status.deep.er").set(&mut object, json!(1));
        assert_eq!(
            object,
            json!({"spec": {"b": "new"}, "status": {"deep": {"er": 1}}})
        );
    }

    proptest! {
        #[test]
        fn what_is_rewritten_is_what_is_found_and_can_be_rewritten_back(
            names in prop::collection::vec("[a-z]{0,6}", 0..5),
        ) {
            let items: Vec<_> = names.iter().map(|name| json!({"ref": {"name": name}})).collect();
            let before = json!({"spec": {"items": items}});
            let mut object = before.clone();
            let path = path("spec.items[*].ref.name");
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut down = |_: &str, value: Option<&Value>| Ok::<_, Infallible>(Some(json!(format!("h-{}", text(value)))));
            path.rewrite(&mut object, &mut down).unwrap();
            prop_assert_eq!(path.find(&object).len(), names.len());
            let mut up = |_: &str, value: Option<&Value>| Ok::<_, Infallible>(Some(json!(text(value).trim_start_matches("h-"))));
            path.rewrite(&mut object, &mut up).unwrap();
            prop_assert_eq!(object, before);
        }
    }
}
