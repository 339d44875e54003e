//! Compiles the contracts with protox, so that no protoc is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 3] = [
    "vcluster/control/v1/control.proto",
    "vcluster/sync/v1/sync.proto",
    "vcluster/connect/v1/connect.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for folder in ["google", "vcluster"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
