//! Container images from files: no daemon, no registry, no network.
//!
//! An image is one layer and a config in a docker-archive. The same inputs give the same bytes, so
//! archives are cached by a hash of their inputs and service images are tagged by their content.

mod addons;
mod archive;
mod import;
mod layer;
mod linked;
mod nginx;
mod postgres;
mod services;
mod stock;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use sha2::{Digest as _, Sha256};

pub(crate) use addons::addon;
pub use import::import;
pub use layer::Layer;
pub(crate) use nginx::{NGINX, image as nginx};
pub use services::{REGISTRY, Tags, services};
pub(crate) use stock::{BUSYBOX, PAUSE, base, coredns_name, later, local_path_name};

use crate::cache::Cache;

/// How long an archive stays that nobody has asked for: another checkout may be about to import it.
const KEPT: Duration = Duration::from_hours(1);

/// An image to be made.
#[derive(Debug, Clone)]
pub struct Image {
    /// A file name for its archive.
    pub slug: String,
    /// Full names with tags; all mean the same image.
    pub names: Vec<String>,
    /// The files.
    pub layer: Layer,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// Arguments, or the command where there is no entrypoint.
    pub command: Vec<String>,
    /// `uid:gid`, or empty for root.
    pub user: String,
}

/// An image whose archive is in the cache.
#[derive(Debug, Clone)]
pub struct Archived {
    /// Full names with tags.
    pub names: Vec<String>,
    /// The docker-archive.
    pub path: PathBuf,
}

impl Image {
    /// Writes the archive into the cache if it is not there, and drops older ones of the same slug that
    /// nobody has asked for in the last hour.
    ///
    /// # Errors
    /// A file of the layer cannot be read, or the cache not be written.
    pub fn archive(&self, cache: &Cache) -> Result<Archived> {
        let key = self.key(cache)?;
        let file = format!("{}-{}.tar", self.slug, key.get(..12).unwrap_or(&key));
        let path = cache.publish(format!("images/{file}"), |partial| {
            archive::write(self, partial)?;
            self.drop_older(cache, partial)
        })?;
        touch(&path)?;
        Ok(Archived {
            names: self.names.clone(),
            path,
        })
    }

    /// A digest of everything that decides what the archive's bytes are.
    ///
    /// # Errors
    /// A file of the layer cannot be read.
    pub fn key(&self, cache: &Cache) -> Result<String> {
        let files = self.layer.fingerprint(cache)?;
        let about = format!(
            "1 {:?} {:?} {:?} {:?} {files}",
            self.names, self.entrypoint, self.command, self.user
        );
        Ok(digest(about.as_bytes()))
    }

    /// By the clock of the file system, which has just written `newest`.
    fn drop_older(&self, cache: &Cache, newest: &Path) -> Result<()> {
        let now = fs::metadata(newest)?.modified()?;
        for entry in fs::read_dir(cache.path("images"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let hash = name
                .strip_suffix(".tar")
                .and_then(|name| name.rsplit_once('-'));
            let is_ours = hash.is_some_and(|(slug, _)| slug == self.slug);
            let asked_for = entry.metadata()?.modified()?;
            let is_old = now.duration_since(asked_for).is_ok_and(|age| age > KEPT);
            if is_ours && is_old {
                crate::cache::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Notes that somebody has asked for the archive.
fn touch(path: &Path) -> Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    futimens(&file, &times).with_context(|| format!("cannot touch {}", path.display()))
}

/// SHA-256 in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16));
    bytes.iter().flat_map(digits).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: u32) -> Image {
        Image {
            slug: "x".to_owned(),
            names: vec![format!("docker.io/library/x:{version}")],
            layer: Layer::minimal(),
            entrypoint: vec!["/x".to_owned()],
            command: Vec::new(),
            user: String::new(),
        }
    }

    /// As if it had been asked for last `ago` before now.
    fn age(archived: &Archived, ago: Duration) {
        let file = File::options().write(true).open(&archived.path);
        let file = file.expect("it is there");
        let now = file.metadata().and_then(|data| data.modified());
        file.set_modified(now.expect("a time") - ago).expect("set");
    }

    #[test]
    fn an_archive_goes_once_nobody_has_asked_for_it_in_an_hour() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(folder.path());
        let [old, used, recent] = [1, 2, 3].map(|n| image(n).archive(&cache).expect("made"));
        age(&old, KEPT * 2);
        age(&used, KEPT * 2);
        age(&recent, KEPT / 2);
        // Another checkout is about to import this one.
        image(2).archive(&cache).expect("found");
        let newest = image(4).archive(&cache).expect("made");
        let there = [&old, &used, &recent, &newest].map(|archived| archived.path.exists());
        assert_eq!(there, [false, true, true, true]);
    }
}
