//! Builds the component into the program.

#[path = "build/component.rs"]
mod component;

use std::path::{Path, PathBuf};

fn main() {
    component::finish(run());
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=build");

    for (name, features) in [("integration", &["write"][..]), ("reader", &[])] {
        let built = component::Build {
            workspace: &root,
            package: "whereby-guest",
            features,
            target_dir: &out.join("component"),
        }
        .run()?;
        std::fs::copy(built, out.join(format!("{name}.wasm")))?;
    }
    for changed in ["wit", "guest", "host/catalog", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    Ok(())
}
