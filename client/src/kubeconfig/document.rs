//! One kubeconfig file as parsed YAML: every key, known or not, in its order.
//!
//! Only comments and the layout are lost when it is written again, as with kubectl. Strings that
//! would read as something else without quotes are quoted.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// A YAML value that keeps the order of keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Self>),
    /// A mapping, in its order.
    Map(Vec<(String, Self)>),
}

impl Node {
    /// A mapping with these entries.
    pub fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Its text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// Its items, if it is a sequence.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self {
            Some(items)
        } else {
            None
        }
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Sets a key of a mapping; a value that is no mapping becomes one.
    fn set(&mut self, key: &str, value: Self) {
        if let Some(existing) = self.get_mut(key) {
            *existing = value;
            return;
        }
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        if let Self::Map(entries) = self {
            entries.push((key.to_owned(), value));
        }
    }
}

/// Sections of a kubeconfig that are lists of named entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// API servers.
    Clusters,
    /// Cluster, user and namespace together.
    Contexts,
    /// Credentials.
    Users,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Clusters, Self::Contexts, Self::Users];

    /// Key of the list.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Contexts => "contexts",
            Self::Users => "users",
        }
    }

    /// Key of an entry's content, beside its `name`.
    pub const fn content(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Contexts => "context",
            Self::Users => "user",
        }
    }
}

/// One kubeconfig file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Node);

/// The text is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("it is not valid YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// YAML, but not a mapping.
    #[error("it is not a mapping with clusters, contexts and users")]
    NotAMapping,
    /// A section that is not a list.
    #[error("its {} are not a list", .0.key())]
    NotAList(Section),
    /// It cannot be written as YAML.
    #[error("it cannot be written as YAML")]
    Write(#[source] serde_saphyr::SerializeError),
}

const CURRENT_CONTEXT: &str = "current-context";

impl Default for Document {
    /// An empty kubeconfig.
    fn default() -> Self {
        Self(Node::map([
            ("apiVersion", Node::text("v1")),
            ("kind", Node::text("Config")),
            ("clusters", Node::List(Vec::new())),
            ("contexts", Node::List(Vec::new())),
            (CURRENT_CONTEXT, Node::text("")),
            ("users", Node::List(Vec::new())),
        ]))
    }
}

impl Document {
    /// Parses a file. An empty one is an empty kubeconfig.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let node: Node =
            serde_saphyr::from_str(text).map_err(|error| Error::Yaml(Box::new(error)))?;
        if node == Node::Null {
            return Ok(Self::default());
        }
        if !matches!(node, Node::Map(_)) {
            return Err(Error::NotAMapping);
        }
        for section in Section::ALL {
            if !matches!(
                node.get(section.key()),
                None | Some(Node::Null | Node::List(_))
            ) {
                return Err(Error::NotAList(section));
            }
        }
        Ok(Self(node))
    }

    /// The file's text.
    pub fn to_yaml(&self) -> Result<String, Error> {
        // One line per value, as kubectl writes them: nothing is folded at some width.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(&self.0, options).map_err(Error::Write)
    }

    /// Names of a section's entries, in their order.
    pub fn names(&self, section: Section) -> impl Iterator<Item = &str> {
        self.entries(section)
            .iter()
            .filter_map(|entry| entry.get("name").and_then(Node::as_text))
    }

    /// Content of the first entry of that name.
    pub fn entry(&self, section: Section, name: &str) -> Option<&Node> {
        self.entries(section)
            .iter()
            .find(|entry| is_named(entry, name))
            .and_then(|entry| entry.get(section.content()))
    }

    /// Whether there is an entry of that name.
    pub fn has(&self, section: Section, name: &str) -> bool {
        self.names(section).any(|n| n == name)
    }

    /// Adds an entry, or replaces the content of the one of that name in its place.
    pub fn upsert(&mut self, section: Section, name: &str, content: Node) {
        let entries = self.entries_mut(section);
        if let Some(entry) = entries.iter_mut().find(|entry| is_named(entry, name)) {
            entry.set(section.content(), content);
        } else {
            entries.push(Node::map([
                ("name", Node::text(name)),
                (section.content(), content),
            ]));
        }
    }

    /// Removes every entry of that name.
    pub fn remove(&mut self, section: Section, name: &str) {
        if self.has(section, name) {
            self.entries_mut(section)
                .retain(|entry| !is_named(entry, name));
        }
    }

    /// The current context, if one is set.
    pub fn current_context(&self) -> Option<&str> {
        self.0
            .get(CURRENT_CONTEXT)
            .and_then(Node::as_text)
            .filter(|name| !name.is_empty())
    }

    /// Sets the current context, or that there is none.
    pub fn set_current_context(&mut self, name: Option<&str>) {
        if self.current_context() != name {
            self.0
                .set(CURRENT_CONTEXT, Node::text(name.unwrap_or_default()));
        }
    }

    fn entries(&self, section: Section) -> &[Node] {
        self.0
            .get(section.key())
            .and_then(Node::as_list)
            .unwrap_or_default()
    }

    fn entries_mut(&mut self, section: Section) -> &mut Vec<Node> {
        if !matches!(self.0.get(section.key()), Some(Node::List(_))) {
            self.0.set(section.key(), Node::List(Vec::new()));
        }
        let Some(Node::List(items)) = self.0.get_mut(section.key()) else {
            unreachable!("the section was made a list")
        };
        items
    }
}

fn is_named(entry: &Node, name: &str) -> bool {
    entry.get("name").and_then(Node::as_text) == Some(name)
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Unsigned(value), Node::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests;
