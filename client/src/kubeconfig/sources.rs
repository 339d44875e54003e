//! The files of one `KUBECONFIG`, merged by kubectl's rules.
//!
//! Reading: the first file that has an entry, or sets the current context, wins. Writing: an entry
//! is changed in the file that it came from; a new one, and the current context, go to the first
//! file that exists, or to the last of the list if none does. Pure.

use std::path::{Path, PathBuf};

use super::document::{Document, Node, Section};

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it says; the default if it does not exist.
    pub document: Document,
    /// Whether it exists.
    pub exists: bool,
}

/// The files in their order of precedence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sources(Vec<Source>);

/// An entry and the folder that its relative paths start from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its content.
    pub content: &'a Node,
    /// The file that has it.
    pub path: &'a Path,
}

impl Found<'_> {
    /// A path as written in the entry, made absolute.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path
            .parent()
            .unwrap_or_else(|| Path::new("/"))
            .join(path)
    }
}

/// The paths of a `KUBECONFIG` value: empty parts are skipped, repeated ones count once.
pub fn split(value: &std::ffi::OsStr) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in std::env::split_paths(value) {
        if !path.as_os_str().is_empty() && !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

impl Sources {
    /// These files.
    pub fn new(files: Vec<Source>) -> Self {
        Self(files)
    }

    /// The files.
    pub fn files(&self) -> &[Source] {
        &self.0
    }

    /// The entry of that name that counts.
    pub fn find(&self, section: Section, name: &str) -> Option<Found<'_>> {
        self.0.iter().find_map(|source| {
            let content = source.document.entry(section, name)?;
            Some(Found {
                content,
                path: &source.path,
            })
        })
    }

    /// Names of all entries, each once, in the order of precedence.
    pub fn names(&self, section: Section) -> Vec<&str> {
        let mut names = Vec::new();
        for name in self
            .0
            .iter()
            .flat_map(|source| source.document.names(section))
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The current context, if one is set.
    pub fn current_context(&self) -> Option<&str> {
        self.0
            .iter()
            .find_map(|source| source.document.current_context())
    }

    /// Adds or replaces an entry.
    pub fn upsert(&mut self, section: Section, name: &str, content: Node) {
        let owner = self
            .0
            .iter()
            .position(|source| source.document.has(section, name));
        let index = owner.unwrap_or_else(|| self.default_index());
        if let Some(source) = self.0.get_mut(index) {
            source.document.upsert(section, name, content);
        }
    }

    /// Removes the entry that counts; one that it shadowed in a later file stays.
    pub fn remove(&mut self, section: Section, name: &str) {
        if let Some(source) = self.0.iter_mut().find(|s| s.document.has(section, name)) {
            source.document.remove(section, name);
        }
    }

    /// Makes `name` the current context, or none.
    pub fn set_current_context(&mut self, name: Option<&str>) {
        if self.current_context() == name {
            return;
        }
        if name.is_some() {
            let index = self.default_index();
            // A file before the first existing one is empty, so what is written here is read first.
            if let Some(source) = self.0.get_mut(index) {
                source.document.set_current_context(name);
            }
            return;
        }
        for source in &mut self.0 {
            source.document.set_current_context(None);
        }
    }

    /// The file that new entries go to.
    pub fn default_path(&self) -> Option<&Path> {
        self.0
            .get(self.default_index())
            .map(|source| source.path.as_path())
    }

    fn default_index(&self) -> usize {
        let existing = self.0.iter().position(|source| source.exists);
        existing.unwrap_or_else(|| self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: Option<&str>) -> Source {
        Source {
            path: PathBuf::from(path),
            document: Document::parse(text.unwrap_or_default()).unwrap(),
            exists: text.is_some(),
        }
    }

    const A: &str = "users: [{name: u, user: {token: a}}]\n";
    const B: &str = "users: [{name: u, user: {token: b}}, {name: v, user: {token: c}}]\n\
                     current-context: b\n";

    #[test]
    fn the_first_file_wins() {
        let sources = Sources::new(vec![source("/x/a", Some(A)), source("/y/b", Some(B))]);
        let found = sources.find(Section::Users, "u").unwrap();
        assert_eq!(found.content.get("token").unwrap().as_text(), Some("a"));
        assert_eq!(found.resolve("ca.crt"), PathBuf::from("/x/ca.crt"));
        assert_eq!(found.resolve("/abs"), PathBuf::from("/abs"));
        assert_eq!(sources.current_context(), Some("b"));
        assert_eq!(sources.names(Section::Users), ["u", "v"]);
    }

    #[test]
    fn an_entry_is_changed_where_it_came_from_and_a_new_one_goes_to_the_first_existing_file() {
        let files = vec![
            source("/none", None),
            source("/x/a", Some(A)),
            source("/y/b", Some(B)),
        ];
        let mut sources = Sources::new(files);
        sources.upsert(Section::Users, "v", Node::map([]));
        sources.upsert(Section::Users, "w", Node::map([]));
        sources.set_current_context(Some("w"));
        let [none, a, b] = sources.files() else {
            panic!("three files")
        };
        assert_eq!(none.document, Document::default());
        assert!(a.document.has(Section::Users, "w") && !a.document.has(Section::Users, "v"));
        assert_eq!(b.document.entry(Section::Users, "v"), Some(&Node::map([])));
        assert_eq!(sources.current_context(), Some("w"));
        assert_eq!(
            b.document.current_context(),
            Some("b"),
            "shadowed, not changed"
        );
    }

    #[test]
    fn if_no_file_exists_the_last_one_is_made() {
        let mut sources = Sources::new(vec![source("/1", None), source("/2", None)]);
        assert_eq!(sources.default_path(), Some(Path::new("/2")));
        sources.upsert(Section::Users, "w", Node::map([]));
        assert!(sources.files()[1].document.has(Section::Users, "w"));
    }

    #[test]
    fn the_list_is_split_as_kubectl_does() {
        let paths = split(std::ffi::OsStr::new("/a::/b:/a:"));
        assert_eq!(paths, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
