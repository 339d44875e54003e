//! Mounts of a cluster in this machine's own mount namespace.
//!
//! There should be none: containerd and the kubelet have a mount namespace of their own that ends
//! with its last process. Whatever is there all the same is detached before files are removed,
//! because removing a folder through a mount removes what is mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{UnmountFlags, unmount};

/// Detaches everything mounted at or below `folder`.
pub(super) fn detach(folder: &Path) -> Result<()> {
    for _ in 0..3 {
        // Deepest first.
        for mount in below(folder)?.into_iter().rev() {
            let _ = unmount(&mount, UnmountFlags::DETACH);
        }
    }
    match below(folder)?.first() {
        Some(left) => bail!("{} is still mounted: umount it", left.display()),
        None => Ok(()),
    }
}

/// What is mounted at or below `folder`, parents before children.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
    Ok(parse(&mounts, folder))
}

fn parse(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let place = |line: &str| {
        line.split(' ')
            .nth(4)
            .map(|path| PathBuf::from(unescape(path)))
    };
    let mut found: Vec<_> = mounts
        .lines()
        .filter_map(place)
        .filter(|path| path.starts_with(folder))
        .collect();
    found.sort();
    found
}

/// mountinfo writes blanks, tabs, newlines and backslashes in octal (proc(5)).
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_is_found() {
        let mounts = "1 0 0:1 / /a/b rw - tmpfs t rw\n2 0 0:1 / /a/bc rw - tmpfs t rw\n\
            3 1 0:1 / /a/b/x\\040y rw - tmpfs t rw\n";
        let found = parse(mounts, Path::new("/a/b"));
        assert_eq!(found, [PathBuf::from("/a/b"), PathBuf::from("/a/b/x y")]);
    }
}
