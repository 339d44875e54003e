//! The one layer of an image: a tree of files, written as a tar whose bytes depend on nothing but
//! the tree (sorted, owned by root, dated 1970).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

use crate::{cache::Cache, images::digest};

/// Files by their path in the image, without a leading slash.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Folder { mode: u32 },
    Text { mode: u32, text: String },
    Copy { mode: u32, from: PathBuf },
    Link { to: String },
}

impl Layer {
    /// Nothing but `/tmp`, which everyone may write, and `/etc/passwd`: an image may be run as any
    /// user.
    pub fn minimal() -> Self {
        Self::default()
            .folder("tmp", 0o1777)
            .text(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\n\
                 nobody:x:65534:65534::/:/bin/false\n\
                 nonroot:x:65532:65532::/tmp:/bin/false\n\
                 www-data:x:33:33::/:/bin/false\n",
            )
            .text(
                "etc/group",
                "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\nwww-data:x:33:\n",
            )
    }

    /// Adds a folder. Parents of anything added are made as needed, with mode 0755.
    #[must_use]
    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.with(path, Entry::Folder { mode })
    }

    /// Adds a file with this text.
    #[must_use]
    pub fn text(self, path: &str, text: &str) -> Self {
        self.with(
            path,
            Entry::Text {
                mode: 0o644,
                text: text.to_owned(),
            },
        )
    }

    /// Adds a program.
    #[must_use]
    pub fn program(self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.with(
            path,
            Entry::Copy {
                mode: 0o755,
                from: from.into(),
            },
        )
    }

    /// Adds a copy of a file that is no program.
    #[must_use]
    pub fn copy(self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.with(
            path,
            Entry::Copy {
                mode: 0o644,
                from: from.into(),
            },
        )
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, to: &str) -> Self {
        self.with(path, Entry::Link { to: to.to_owned() })
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        let path = path.trim_start_matches('/');
        for parent in Path::new(path).ancestors().skip(1).filter_map(Path::to_str) {
            if !parent.is_empty() {
                self.entries
                    .entry(parent.to_owned())
                    .or_insert(Entry::Folder { mode: 0o755 });
            }
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }

    /// Says what the tar will hold without reading the big files: those of the cache are named
    /// after their content.
    pub(super) fn fingerprint(&self, cache: &Cache) -> Result<String> {
        let mut about = String::new();
        for (path, entry) in &self.entries {
            let what = match entry {
                Entry::Copy { mode, from } => match from.strip_prefix(cache.path("bin")) {
                    Ok(named) => format!("{mode:o} {}", named.display()),
                    Err(_) => format!("{mode:o} {}", digest(&read(from)?)),
                },
                Entry::Folder { .. } | Entry::Text { .. } | Entry::Link { .. } => {
                    format!("{entry:?}")
                }
            };
            about.extend([path.as_str(), ": ", &what, "\n"]);
        }
        Ok(digest(about.as_bytes()))
    }

    /// Writes the tar.
    pub(super) fn write(&self, out: impl Write) -> Result<()> {
        let mut tar = Builder::new(out);
        for (path, entry) in &self.entries {
            append(&mut tar, path, entry).with_context(|| format!("cannot add {path}"))?;
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }
}

fn append(tar: &mut Builder<impl Write>, path: &str, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Folder { mode } => {
            let mut header = header(EntryType::Directory, *mode, 0);
            tar.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Entry::Text { mode, text } => {
            let mut header = header(EntryType::Regular, *mode, text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes())?;
        }
        Entry::Copy { mode, from } => {
            let file = open(from)?;
            let size = file.metadata()?.len();
            let mut header = header(EntryType::Regular, *mode, size);
            tar.append_data(&mut header, path, file.take(size))?;
        }
        Entry::Link { to } => {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, path, to)?;
        }
    }
    Ok(())
}

/// A header that tells nothing of this machine: root's, of 1970.
pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(layer: &Layer) -> Vec<(String, u32, u64)> {
        let mut bytes = Vec::new();
        layer.write(&mut bytes).expect("written");
        let mut tar = tar::Archive::new(bytes.as_slice());
        let entries = tar.entries().expect("entries");
        let row = |entry: tar::Entry<'_, &[u8]>| {
            let header = entry.header();
            assert_eq!(
                (header.uid().expect("uid"), header.gid().expect("gid")),
                (0, 0)
            );
            let path = entry.path().expect("path").to_string_lossy().into_owned();
            (
                path,
                header.mode().expect("mode"),
                header.mtime().expect("mtime"),
            )
        };
        entries.map(|entry| row(entry.expect("entry"))).collect()
    }

    #[test]
    fn parents_come_before_their_children_and_nothing_has_a_date() {
        let layer = Layer::default().text("a/b/c", "x").folder("tmp", 0o1777);
        let expected = [
            ("a/", 0o755),
            ("a/b/", 0o755),
            ("a/b/c", 0o644),
            ("tmp/", 0o1777),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, mode)| ((*path).to_owned(), *mode, 0))
            .collect();
        assert_eq!(listing(&layer), expected);
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        Layer::default()
            .text("a", "1")
            .link("b", "a")
            .write(&mut one)
            .expect("written");
        Layer::default()
            .link("b", "a")
            .text("a", "1")
            .write(&mut other)
            .expect("written");
        assert_eq!(one, other);
    }

    #[test]
    fn a_folder_keeps_its_mode_when_something_is_put_into_it() {
        let layer = Layer::default().folder("tmp", 0o1777).text("tmp/x", "");
        assert!(listing(&layer).contains(&("tmp/".to_owned(), 0o1777, 0)));
    }
}
