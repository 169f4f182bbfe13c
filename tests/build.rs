//! Builds the hostile component, in the way that the host's build script builds the real one.

#[path = "../host/build/component.rs"]
mod component;

use std::path::{Path, PathBuf};

fn main() {
    component::finish(run());
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for changed in ["wit", "tests/hostile", "host/build", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    let built = component::Build {
        workspace: &root,
        package: "whereby-hostile",
        guards: false,
        writes: false,
        target_dir: &out.join("component"),
    }
    .run()?;
    std::fs::copy(built, out.join("hostile.wasm"))?;
    Ok(())
}
