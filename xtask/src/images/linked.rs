//! What a dynamically linked program needs beside it, as `ldd` tells it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Layer;
use crate::command;

/// Adds the program and every shared library it loads, the loader included, at the paths under
/// which it looks for them.
pub(super) fn add(layer: Layer, place: &str, program: &Path) -> Result<Layer> {
    add_with(layer, place, program, &[])
}

/// As [`add`], with libraries that are not installed here but lie in one of `folders`; in the image they are in
/// `/usr/lib`.
pub(super) fn add_with(
    layer: Layer,
    place: &str,
    program: &Path,
    folders: &[PathBuf],
) -> Result<Layer> {
    let mut ldd = Command::new("ldd");
    // `cargo run` adds its own folders, which are not on the paths of the image.
    ldd.env_remove("LD_LIBRARY_PATH");
    if !folders.is_empty() {
        ldd.env("LD_LIBRARY_PATH", env::join_paths(folders)?);
    }
    let listed = command::stdout(ldd.arg(program))
        .with_context(|| format!("cannot tell the libraries of {}", program.display()))?;
    let mut layer = layer.program(place, program);
    for library in libraries(&listed)? {
        let path = Path::new(&library);
        layer = match path.file_name() {
            Some(name) if folders.iter().any(|folder| path.starts_with(folder)) => {
                layer.program(&format!("usr/lib/{}", name.to_string_lossy()), path)
            }
            Some(_) | None => layer.program(&library, &library),
        };
    }
    Ok(layer)
}

fn libraries(listed: &str) -> Result<Vec<String>> {
    if let Some(missing) = listed.lines().find(|line| line.contains("not found")) {
        bail!(
            "a shared library is missing, install it: {}",
            missing.trim()
        );
    }
    let path = |word: &&str| word.starts_with('/');
    let first_path = |line: &str| line.split_whitespace().find(path).map(str::to_owned);
    Ok(listed.lines().filter_map(first_path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_the_libraries_are_found_and_the_kernel_page_is_not() {
        let mut ldd = Command::new("ldd");
        // `cargo run` adds its own folders, which are not on the paths of the image.
        ldd.env_remove("LD_LIBRARY_PATH");
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let found = libraries(listed).expect("nothing is missing");
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = libraries("\tlibpcre2-8.so.0 => not found\n").expect_err("missing");
        assert!(error.to_string().contains("libpcre2-8.so.0"), "{error}");
    }
}
