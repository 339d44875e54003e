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

use std::{fs, path::PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

pub(crate) use addons::addon;
pub use import::import;
pub use layer::Layer;
pub(crate) use nginx::{NGINX, image as nginx};
pub use services::{REGISTRY, Tags, services};
pub(crate) use stock::{BUSYBOX, PAUSE, base, coredns_name, later, local_path_name};

use crate::cache::Cache;

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
    /// Writes the archive into the cache if it is not there, and drops older ones of the same slug.
    ///
    /// # Errors
    /// A file of the layer cannot be read, or the cache not be written.
    pub fn archive(&self, cache: &Cache) -> Result<Archived> {
        let key = self.key(cache)?;
        let file = format!("{}-{}.tar", self.slug, key.get(..12).unwrap_or(&key));
        let path = cache.publish(format!("images/{file}"), |partial| {
            archive::write(self, partial)?;
            self.drop_older(cache, &file)
        })?;
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

    fn drop_older(&self, cache: &Cache, keep: &str) -> Result<()> {
        for entry in fs::read_dir(cache.path("images"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let hash = name
                .strip_suffix(".tar")
                .and_then(|name| name.rsplit_once('-'));
            if name != keep && hash.is_some_and(|(slug, _)| slug == self.slug) {
                crate::cache::remove(&cache.path("images").join(name))?;
            }
        }
        Ok(())
    }
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
