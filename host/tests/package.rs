//! What is packaged: everything that a build without the workspace takes, and nothing besides.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies the workspace without what is built and fetched, because packaging writes into it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        let is_left_out = ["target", ".git", "node_modules", "corpus"].iter().any(|no| name == *no);
        match entry.file_type().expect("a type").is_dir() {
            _ if is_left_out => {}
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

#[test]
fn a_package_brings_along_what_is_outside_of_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let place = tempfile::tempdir().expect("a temporary directory");
    copy(workspace, place.path());
    let output = Command::new(place.path().join("host/package"))
        .args(["crates", "package", "--list", "--offline"])
        .env("WHEREBY", env!("CARGO_BIN_EXE_whereby"))
        .output()
        .expect("the script starts");
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    let mut files: Vec<&str> = listed
        .lines()
        .filter(|file| !file.starts_with("src/") && !file.starts_with("Cargo."))
        .collect();
    files.sort_unstable();
    assert_eq!(
        files,
        [
            "LICENSE-APACHE",
            "LICENSE-APACHE",
            "LICENSE-APACHE",
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "LICENSE-MIT",
            "LICENSE-MIT",
            "LICENSE-MIT",
            "README.md",
            "README.md",
            "README.md",
            "README.md",
            "build.rs",
            "build.rs",
            "build/artifact.rs",
            "build/component.rs",
            "build/compose.rs",
            "build/direct.rs",
            "build/documentation.rs",
            "build/merge.rs",
            "build/metadata.rs",
            "build/short.rs",
            "examples/agent.rs",
            "prebuilt/front.wasm",
            "prebuilt/gateway.wasm",
            "prebuilt/guard.wasm",
            "prebuilt/integration.wasm",
            "prebuilt/reader-front.wasm",
            "prebuilt/reader-gateway.wasm",
            "prebuilt/reader.wasm",
            "wit/read.wit",
            "wit/types.wit",
            "wit/world.wit",
            "wit/write.wit",
        ]
    );
    for left in [
        "host/prebuilt",
        "host/LICENSE-MIT",
        "host/catalog/wit",
        "host/authority/LICENSE-MIT",
        "host/simulator/LICENSE-MIT",
    ] {
        assert!(!place.path().join(left).exists(), "{left} is left over");
    }
}
