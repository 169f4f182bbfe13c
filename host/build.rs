//! Embeds the components in the program: the functions alone, and composed with the gateway.
//!
//! In the workspace, they are built. A package contains them prebuilt.

#[path = "build/artifact.rs"]
mod artifact;
#[path = "build/component.rs"]
mod component;
#[path = "build/compose.rs"]
mod compose;
#[path = "build/direct.rs"]
mod direct;
#[path = "build/documentation.rs"]
mod documentation;
#[path = "build/merge.rs"]
mod merge;
#[path = "build/metadata.rs"]
mod metadata;
#[path = "build/short.rs"]
mod short;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// For each artifact: whether it can write, the file of the functions, the file with the gateway, and the
/// front of the guarded functions.
const ARTIFACTS: [(bool, &str, &str, &str); 2] = [
    (true, "integration.wasm", "gateway.wasm", "front.wasm"),
    (false, "reader.wasm", "reader-gateway.wasm", "reader-front.wasm"),
];

/// The guard, the same for all functions.
const GUARD: &str = "guard.wasm";

fn main() {
    component::finish(run());
}

fn run() -> Result<()> {
    // At run time, because checkouts may share a target directory.
    let folder = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).with_context(|| format!("cargo sets {name}"))
    };
    let (package, out) = (folder("CARGO_MANIFEST_DIR")?, folder("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build");
    let target = std::env::var("TARGET").context("cargo sets TARGET")?;
    println!("cargo::rustc-env=TARGET={target}");
    match package.parent().filter(|root| root.join("guest/gateway/Cargo.toml").is_file()) {
        Some(workspace) => build(workspace, &out)?,
        None => unpack(&package.join("prebuilt"), &out)?,
    }
    // So that the program need not compute it at each start.
    let digest = Sha256::digest(fs::read(out.join("integration.wasm"))?);
    println!("cargo::rustc-env=COMPONENT_SHA256={digest:x}");
    Ok(())
}

/// Builds the components from the workspace.
fn build(workspace: &Path, out: &Path) -> Result<()> {
    for (writes, functions, gateway, front) in ARTIFACTS {
        let target_dir = &out.join("component");
        let artifact = artifact::Artifact { workspace, target_dir, writes };
        let built = artifact.build()?;
        fs::write(out.join(functions), built.0)?;
        fs::write(out.join(gateway), built.1)?;
        let guarding = artifact.guard()?;
        fs::write(out.join(GUARD), guarding.0)?;
        fs::write(out.join(front), guarding.1)?;
    }
    for changed in [
        "wit",
        "guest",
        "host/authority/Cargo.toml",
        "host/authority/src",
        "host/catalog/src",
        "host/catalog/build.rs",
        "host/catalog/Cargo.toml",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(changed).display());
    }
    Ok(())
}

/// Copies the components that the package contains.
fn unpack(prebuilt: &Path, out: &Path) -> Result<()> {
    let files =
        ARTIFACTS.iter().flat_map(|(_, functions, gateway, front)| [functions, gateway, front]);
    for name in files.chain([&GUARD]) {
        let file = prebuilt.join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        fs::copy(&file, out.join(name)).with_context(|| {
            format!("{} is missing; make the package with: host/package crates", file.display())
        })?;
    }
    Ok(())
}
