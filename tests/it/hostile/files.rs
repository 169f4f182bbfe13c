//! Files that are no component, or not one that may run: a clear error for each, and no panic.

use super::{HOSTILE, LIMITS};
use serde_json::json;
use whereby_tests::World;

/// The beginning of every core module, and of every component.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component with one import: an instance with one function.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = COMPONENT.to_vec();
    // The section of types with one: an instance type with two declarations, the type of a function
    // that takes and returns nothing, and a function `f` of that type.
    let types = [1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 1, b'f', 1, 0];
    bytes.extend([7, types.len() as u8]);
    bytes.extend(types);
    // The section of imports with one: a plain name, and an instance of type 0.
    let mut import = vec![1, 0, u8::try_from(name.len()).expect("a short name")];
    import.extend(name.as_bytes());
    import.extend([5, 0]);
    bytes.extend([10, u8::try_from(import.len()).expect("a short section")]);
    bytes.extend(import);
    bytes
}

async fn failure(world: &World, bytes: Vec<u8>) -> (&'static str, String) {
    let session = world.session_with(None, Some(bytes));
    let outcome = session.call(None, "list_rooms", json!({})).await;
    let error = outcome.result.expect_err("no component");
    // It is as broken the second time.
    let again = session.call(None, "list_rooms", json!({})).await.result.expect_err("again");
    assert_eq!(again.to_string(), error.to_string());
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused() {
    let world = World::new().await;
    world.configure(LIMITS);
    for (what, bytes, fragment) in [
        ("nothing", vec![], "not a component: "),
        ("a text", b"(component)".to_vec(), "not a component: "),
        ("a script", b"#!/bin/sh\nexit 0\n".to_vec(), "not a component: "),
        ("half a header", COMPONENT[..5].to_vec(), "not a component: "),
        ("a core module", MODULE.to_vec(), "not a component: "),
        ("another version", b"\0asm\x0e\0\x01\0".to_vec(), "not a component: "),
        ("zeros", vec![0; 4096], "not a component: "),
        ("an empty component", COMPONENT.to_vec(), "the component exports nothing; it must"),
        (
            "files",
            importing("wasi:filesystem/types@0.2.0"),
            "may have: wasi:filesystem/types@0.2.0;",
        ),
        ("sockets", importing("wasi:sockets/tcp@0.2.0"), "may have: wasi:sockets/tcp@0.2.0;"),
        (
            "a name of ours",
            importing("whereby:agent/secrets@0.1.0"),
            "whereby:agent/secrets@0.1.0;",
        ),
        ("a plain name", importing("token"), "may have: token;"),
    ] {
        let (kind, message) = failure(&world, bytes).await;
        assert_eq!(kind, "component-fault", "{what}: {message}");
        assert!(message.contains(fragment), "{what}: {message}");
        assert!(!message.contains(|c: char| c.is_control()), "{what}: {message:?}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_component_that_was_cut_off_or_changed_is_refused_or_runs_as_what_it_is() {
    let world = World::new().await;
    world.configure(&format!("{LIMITS}timeout_seconds = 1\n"));
    for parts in 0..16 {
        let (kind, message) = failure(&world, HOSTILE[..HOSTILE.len() * parts / 16].to_vec()).await;
        assert_eq!(kind, "component-fault", "{parts} of 16 parts: {message}");
    }
    world.assert_untouched();
    // Whether it is still valid depends on what was hit; either way nobody panics, and whatever is
    // sent is what the call may send.
    for place in 0..24 {
        let mut bytes = HOSTILE.to_vec();
        let at = place * (bytes.len() - 1) / 23;
        bytes[at] ^= 1 << (place % 8);
        let session = world.session_with(None, Some(bytes));
        let outcome = session.call(None, "list_rooms", json!({})).await;
        if let Err(error) = outcome.result {
            let known = ["component-fault", "timeout", "invalid-argument", "not-found"];
            assert!(known.contains(&error.kind()), "byte {at}: {error}");
        }
    }
    for request in world.requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/meetings"));
        assert_eq!(request.query, "");
    }
}

#[tokio::test]
async fn the_program_ends_with_9_where_the_component_is_at_fault() {
    let world = World::new().await;
    world.configure(LIMITS);
    for (name, bytes, fragment) in [
        ("hostile.wasm", HOSTILE, "POST /meetings with other content than asked for"),
        ("module.wasm", MODULE, "not a component"),
        ("empty.wasm", b"", "not a component"),
        ("half.wasm", &HOSTILE[..HOSTILE.len() / 2], "not a component"),
        ("exports-nothing.wasm", COMPONENT, "it must export whereby:agent/read@0.1.0"),
    ] {
        let file = world.path(name);
        std::fs::write(&file, bytes).expect("a file in the home directory");
        let file = file.display().to_string();
        let command =
            ["--component", &file, "call", "list_rooms", "--arg", "cursor=create-in-read"];
        let ran = world.run(&command).await;
        assert_eq!(ran.code, 9, "{name}: {ran:?}");
        assert!(ran.stdout.is_empty() && ran.stderr.contains(fragment), "{name}: {ran:?}");

        let ran = world.run(&[&command[..], &["--json"]].concat()).await;
        assert_eq!(ran.code, 9, "{name}: {ran:?}");
        let document = ran.json();
        assert_eq!(document["error"]["kind"], "component-fault", "{name}");
        assert_eq!(document["error"]["effect"], "none", "{name}");
        let message = document["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(fragment), "{name}: {message}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_file_that_cannot_be_a_component_is_not_read() {
    let world = World::new().await;
    let large = world.path("large.wasm");
    let file = std::fs::File::create(&large).expect("a file in the home directory");
    // Sparse: it takes no room.
    file.set_len(16 * 1024 * 1024 + 1).expect("a size");
    let missing = world.path("missing.wasm");
    let folder = world.path("project");
    for (path, fragment) in [
        (large, "is larger than 16777216 bytes"),
        (missing, "cannot be read"),
        (folder, "is not a file"),
        ("/dev/zero".into(), "is not a file"),
    ] {
        let path = path.display().to_string();
        let ran = world.run(&["--component", &path, "call", "list_rooms", "--json"]).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        let message = ran.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(&path) && message.contains(fragment), "{message}");
    }
    world.assert_untouched();
}
