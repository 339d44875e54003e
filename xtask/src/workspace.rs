//! Where the checkout and its build output are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The root of the checkout.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        own_folder()
            .parent()
            .map_or_else(own_folder, Path::to_path_buf)
    })
}

/// A file or folder of this crate that is not Rust.
pub fn own(path: &str) -> PathBuf {
    own_folder().join(path)
}

/// This crate's folder: where cargo runs it from, so that two checkouts may share one target
/// folder; where it was compiled, if it is not cargo that runs it.
fn own_folder() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Cargo's target folder, wherever the user's configuration puts it.
///
/// # Errors
/// `cargo metadata` fails.
pub fn target() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root());
    let metadata: serde_json::Value = serde_json::from_str(&command::stdout(&mut cargo)?)?;
    let target = metadata
        .get("target_directory")
        .and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(
        target.context("cargo metadata names no target_directory")?,
    ))
}
