//! A docker-archive: config, layer, manifest, in one tar that `ctr images import` reads.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType};

use super::{Image, digest, hex, layer::header};

/// Writes `image` to `path`.
pub(super) fn write(image: &Image, path: &Path) -> Result<()> {
    let layer_path = path.with_extension("layer");
    let written = write_with(image, path, &layer_path);
    // Whatever happened: it is as large as the image.
    let removed = crate::cache::remove(&layer_path);
    written.and(removed)
}

fn write_with(image: &Image, path: &Path, layer_path: &Path) -> Result<()> {
    let layer_digest = write_layer(image, layer_path)?;
    let config = config(image, &layer_digest).to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()));
    let layer_name = format!("{layer_digest}/layer.tar");
    let manifest =
        json!([{"Config": config_name, "RepoTags": image.names, "Layers": [layer_name]}]);

    let mut tar = Builder::new(BufWriter::new(create(path)?));
    put(&mut tar, &config_name, config.as_bytes())?;
    let mut layer = File::open(layer_path)?;
    let mut layer_header = header(EntryType::Regular, 0o644, layer.metadata()?.len());
    tar.append_data(&mut layer_header, &layer_name, &mut layer)?;
    put(&mut tar, "manifest.json", manifest.to_string().as_bytes())?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn write_layer(image: &Image, path: &Path) -> Result<String> {
    let mut out = Hashing {
        to: BufWriter::new(create(path)?),
        hash: Sha256::new(),
    };
    image.layer.write(&mut out)?;
    Ok(hex(&out.hash.finalize()))
}

fn config(image: &Image, layer_digest: &str) -> serde_json::Value {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "User": image.user,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created_by": "cargo xtask"}],
    })
}

fn put(tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64);
    Ok(tar.append_data(&mut header, name, bytes)?)
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Passes bytes on and hashes them on the way.
#[derive(Debug)]
struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or(bytes));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use super::*;
    use crate::images::Layer;

    fn image() -> Image {
        Image {
            slug: "x".to_owned(),
            names: vec![
                "docker.io/library/x:1".to_owned(),
                "docker.io/library/x:latest".to_owned(),
            ],
            layer: Layer::minimal(),
            entrypoint: vec!["/x".to_owned()],
            command: Vec::new(),
            user: "65532:65532".to_owned(),
        }
    }

    #[test]
    fn the_manifest_names_a_config_and_a_layer_that_are_what_their_names_say() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.tar");
        write(&image(), &path).expect("written");
        let mut files = std::collections::BTreeMap::new();
        let mut tar = tar::Archive::new(File::open(&path).expect("opened"));
        for entry in tar.entries().expect("entries") {
            let mut entry = entry.expect("entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read");
            files.insert(
                entry.path().expect("path").to_string_lossy().into_owned(),
                bytes,
            );
        }
        let json = |name: &str| -> serde_json::Value {
            serde_json::from_slice(files.get(name).expect("in the archive")).expect("JSON")
        };
        let manifest = json("manifest.json");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let config = text(&manifest[0]["Config"]);
        let layer = text(&manifest[0]["Layers"][0]);
        assert_eq!(manifest[0]["RepoTags"][1], "docker.io/library/x:latest");
        assert_eq!(config, format!("{}.json", digest(&files[&config])));
        let diff_id = text(&json(&config)["rootfs"]["diff_ids"][0]);
        assert_eq!(diff_id, format!("sha256:{}", digest(&files[&layer])));
        assert_eq!(layer, format!("{}/layer.tar", digest(&files[&layer])));
        assert_eq!(json(&config)["config"]["User"], "65532:65532");
    }

    #[test]
    fn an_archive_that_cannot_be_written_leaves_no_layer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.tar");
        fs::create_dir(&path).expect("something in its place");
        write(&image(), &path).expect_err("a folder is there");
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn the_same_image_gives_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes = ["a.tar", "b.tar"].map(|name| {
            write(&image(), &folder.path().join(name)).expect("written");
            fs::read(folder.path().join(name)).expect("read")
        });
        assert_eq!(bytes[0], bytes[1]);
        assert_eq!(
            fs::read_dir(folder.path()).expect("folder").count(),
            2,
            "no layer is left"
        );
    }
}
