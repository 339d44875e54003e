//! A page of a list, read without what is known already.
//!
//! Most of what a scan lists is what was seen before, and an object says that by its name, UID and version, which its
//! metadata holds and which an API server writes first. Of such an object nothing else is read. An object whose metadata
//! comes late is read as a whole: the order is how it is fast, not how it is right.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Metadata, Object};

/// What a page holds.
#[derive(Debug)]
pub struct Page {
    /// Its objects, in order; nothing if it has no list of them.
    pub items: Option<Vec<Listed>>,
    /// Where the next page begins; nothing after the last one.
    pub next: Option<String>,
}

/// An object of a list.
#[derive(Debug)]
pub enum Listed {
    /// It is known in this very version: only its metadata was read.
    Known(Object),
    /// The whole of it.
    New(Object),
}

impl Listed {
    /// What was read of it.
    pub fn into_object(self) -> Object {
        match self {
            Self::Known(object) | Self::New(object) => object,
        }
    }
}

impl Page {
    /// Reads a page. `is_known` says of an object's metadata whether the rest of it need not be read.
    pub fn read(text: &str, is_known: &dyn Fn(&Object) -> bool) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let page = Whole(is_known).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(page)
    }
}

/// Says whether an object of this metadata is known.
type IsKnown<'a> = &'a dyn Fn(&Object) -> bool;

#[derive(Clone, Copy)]
struct Whole<'a>(IsKnown<'a>);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Page, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Page, A::Error> {
        let mut page = Page {
            items: None,
            next: None,
        };
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "items" => page.items = members.next_value_seed(Items(self.0))?,
                "metadata" => {
                    let metadata: Value = members.next_value()?;
                    let next = metadata.get("continue").and_then(Value::as_str);
                    let next = next.filter(|token| !token.is_empty());
                    page.next = next.map(ToOwned::to_owned);
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(page)
    }
}

struct Items<'a>(IsKnown<'a>);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Option<Vec<Listed>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Option<Vec<Listed>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the objects of a list")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Item(self.0))? {
            all.push(item);
        }
        Ok(Some(all))
    }
}

struct Item<'a>(IsKnown<'a>);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Listed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Listed, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Listed, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if key != "metadata" {
                object.insert(key, members.next_value()?);
                continue;
            }
            let metadata = members.next_value::<Metadata>()?.0;
            let heading = Object::new(Value::Object(Map::from_iter([(key, metadata)])));
            if (self.0)(&heading) {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Listed::Known(heading));
            }
            if let Value::Object(heading) = heading.into_json() {
                object.extend(heading);
            }
        }
        Ok(Listed::New(Object::new(Value::Object(object))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Page {
        Page::read(text, &|object| object.version() == Some(7)).unwrap()
    }

    #[test]
    fn of_what_is_known_nothing_but_the_metadata_is_read() {
        let page = read(
            r#"{"kind": "PodList", "metadata": {"continue": "abc"}, "items": [
                {"metadata": {"name": "a", "resourceVersion": "7", "managedFields": [1]}, "spec": {"x": [1]}},
                {"metadata": {"name": "b", "resourceVersion": "8"}, "spec": {"x": [1]}},
                {"spec": {"x": 1}, "metadata": {"name": "c", "resourceVersion": "7"}}
            ]}"#,
        );
        assert_eq!(page.next.as_deref(), Some("abc"));
        let [Listed::Known(a), Listed::New(b), Listed::Known(c)] = &page.items.unwrap()[..] else {
            panic!("not as they are known")
        };
        let metadata = json!({"metadata": {"name": "a", "resourceVersion": "7"}});
        assert_eq!(*a.json(), metadata);
        assert_eq!(b.json()["spec"], json!({"x": [1]}));
        assert_eq!(&*c.name().name, "c");
    }

    #[test]
    fn a_list_without_items_is_none() {
        for text in ["{}", r#"{"items": null}"#] {
            assert!(read(text).items.is_none());
        }
        let empty = read(r#"{"metadata": {"continue": ""}, "items": []}"#);
        assert!(empty.items.is_some_and(|items| items.is_empty()) && empty.next.is_none());
        for text in ["[]", r#"{"items": {}}"#, r#"{"items": [1]}"#, "{} {}"] {
            assert!(Page::read(text, &|_| false).is_err(), "{text}");
        }
    }
}
