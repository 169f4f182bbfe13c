//! Builds the component into the program: by itself, and composed with the gateway.

#[path = "build/component.rs"]
mod component;
#[path = "build/compose.rs"]
mod compose;

use std::path::{Path, PathBuf};

fn main() {
    component::finish(run());
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=build");

    // A component that is built anew takes the place of the one before, so each is copied first.
    let build = |package, features: &[&str], name: &str| -> anyhow::Result<PathBuf> {
        let target_dir = &out.join("component");
        let built = component::Build { workspace: &root, package, features, target_dir }.run()?;
        let copy = out.join(name);
        std::fs::copy(built, &copy)?;
        Ok(copy)
    };
    for (features, functions, handler, gateway) in [
        (&["write"][..], "integration.wasm", "handler.wasm", "gateway.wasm"),
        (&[], "reader.wasm", "reader-handler.wasm", "reader-gateway.wasm"),
    ] {
        let functions = build("whereby-guest", features, functions)?;
        let handler = build("whereby-gateway", features, handler)?;
        std::fs::write(out.join(gateway), compose::compose(&handler, &functions)?)?;
    }
    for changed in ["wit", "guest", "host/catalog", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    Ok(())
}
