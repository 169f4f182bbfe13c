//! The component is the same bytes wherever it is built, so that its digest says which it is.

#[path = "../../host/build/artifact.rs"]
mod artifact;
#[expect(
    dead_code,
    clippy::print_stdout,
    reason = "a build script ends in its own way, and a test in another"
)]
#[path = "../../host/build/component.rs"]
mod component;
#[path = "../../host/build/compose.rs"]
mod compose;
#[path = "../../host/build/direct.rs"]
mod direct;
#[path = "../../host/build/documentation.rs"]
mod documentation;
#[path = "../../host/build/merge.rs"]
mod merge;
#[path = "../../host/build/metadata.rs"]
mod metadata;
#[path = "../../host/build/short.rs"]
mod short;

use std::fs;
use std::path::Path;

/// Copies what is built, and what cargo wants to see of the rest.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name();
        let is_output =
            name == "target" || name == ".git" || name == "corpus" || name == "node_modules";
        match entry.file_type().expect("a type").is_dir() {
            true if is_output => {}
            true => copy(&source, &target),
            false => drop(fs::copy(&source, &target).expect("a copy")),
        }
    }
}

#[tokio::test]
async fn a_build_in_another_place_gives_the_same_components() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let place = tempfile::tempdir().expect("a temporary directory");
    let elsewhere = place.path().join("a folder of another name");
    copy(root, &elsewhere);
    let target_dir = &place.path().join("out");
    let artifact = artifact::Artifact { workspace: &elsewhere, target_dir, writes: true };
    let (functions, gateway) = artifact.build().expect("it builds");
    for (built, own) in
        [(functions, whereby::BUILT_IN_COMPONENT), (gateway, whereby::BUILT_IN_GATEWAY)]
    {
        assert_eq!(built.len(), own.len());
        assert!(built == own, "the same size, and other bytes");
    }
    // A guarded component contains its parts as they were built.
    let guarded = whereby_tests::guarded(None).await;
    let (guard, front) = artifact.guard().expect("it builds");
    for (name, part) in [("guard", guard), ("front", front)] {
        assert!(guarded.windows(part.len()).any(|window| window == part), "another {name}");
    }
}

#[test]
fn a_component_that_the_linker_did_not_make_is_not_connected() {
    for (component, message) in [
        (whereby::BUILT_IN_COMPONENT, "a shim has another name"),
        (whereby::BUILT_IN_GATEWAY, "the component has 0 modules, not the linker's three"),
    ] {
        let error = direct::connect(component).expect_err("a component of another shape");
        assert_eq!(error.to_string(), message);
    }
    let main = r#"(memory (export "memory") 1) (func (export "cabi_realloc"))"#;
    let shim = r#"(table 1 funcref) (func (export "0") i32.const 0 call_indirect)"#;
    let filler = r#"(import "" "0" (func)) (import "" "$imports" (table 1 funcref)) (elem (i32.const 0) func 0)"#;
    let start = format!("{filler} (start 0)");
    let swapped = filler.replace("func 0", "func 0 0");
    for (modules, message) in [
        (
            [r#"(import "a" "b" (global i32))"#, shim, filler],
            "the main module imports more than functions",
        ),
        (["", shim, filler], "the module has no memory"),
        (["(memory 1)", shim, filler], "the module has no cabi_realloc"),
        (
            [main, r#"(table 1 funcref) (func (export "1") i32.const 0 call_indirect)"#, filler],
            "a shim has another name",
        ),
        (
            [main, r#"(table 1 funcref) (func (export "0") i32.const 1 call_indirect)"#, filler],
            "a shim calls another function",
        ),
        ([main, r#"(func (export "0"))"#, filler], "a shim does more than call"),
        ([main, shim, &start], "the linker's third module does more than fill the table"),
        ([main, shim, &swapped], "the table is filled in another order"),
    ] {
        let modules = modules.map(|module| format!("(core module {module})")).concat();
        let component = wat::parse_str(format!("(component {modules})")).expect("a component");
        let error = direct::connect(&component).expect_err("a component of another shape");
        assert_eq!(error.to_string(), message, "{modules}");
    }
}
