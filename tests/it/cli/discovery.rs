//! `list`, `docs`, `schema`, `component` and `demo`.

use super::{Screen, still_world};
use crate::wire::ALLOW_ALL;
use serde_json::{Value, json};
use whereby::catalog::FUNCTIONS;

#[tokio::test]
async fn functions_are_listed_with_the_permissions_in_force() {
    let (world, _) = still_world().await;
    world.configure(
        "[permissions]\nwrite = \"allow\"\n[permissions.functions]\ndelete_room = \"deny\"\n",
    );
    let mut screen = Screen::new(&world);
    screen.run(&["list"]).await;
    screen.run(&["list", "--account", "other"]).await;
    let ran = screen.run(&["list", "--json"]).await;
    assert_eq!(ran.json()["functions"].as_array().map(Vec::len), Some(7));
    screen.finish("list");
}

#[tokio::test]
async fn a_function_is_documented_from_the_wit() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    screen.run(&["docs", "list_meetings"]).await;
    screen.run(&["docs", "create-room"]).await;
    screen.run(&["docs", "whereby.get_room", "--json"]).await;
    screen.run(&["docs", "get_rom"]).await;
    screen.finish("docs");
    let all = world.run(&["docs"]).await;
    assert_eq!(all.stdout, world.run(&["docs", "whereby"]).await.stdout);
    for function in FUNCTIONS {
        assert!(all.stdout.contains(&format!("# {}\n", function.json)), "{}", function.json);
    }
}

#[tokio::test]
async fn a_function_s_schema_is_printed() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    screen.run(&["schema", "list_rooms"]).await;
    screen.run(&["schema", "create_room"]).await;
    screen.run(&["schema", "list_roms", "--json"]).await;
    screen.finish("schema");
    for function in FUNCTIONS {
        let pretty = world.run(&["schema", function.json]).await;
        let compact = world.run(&["schema", function.json, "--json"]).await;
        assert_eq!(pretty.json(), compact.json());
        assert_eq!(compact.stdout.lines().count(), 1);
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        assert_eq!(compact.json()["arguments"]["$schema"], dialect);
    }
}

#[tokio::test]
async fn a_component_is_inspected_and_exported() {
    let (world, _) = still_world().await;
    let inspection = whereby::Inspection::of(whereby::BUILT_IN_COMPONENT).expect("a component");
    let reader = whereby::Inspection::of(whereby::BUILT_IN_READER).expect("a component");
    let gateway = whereby::Inspection::of(whereby::BUILT_IN_GATEWAY).expect("a component");
    let reading = whereby::Inspection::of(whereby::BUILT_IN_READER_GATEWAY).expect("a component");
    world.write("project/no.wasm", "no component");
    let mut screen = Screen::new(&world);
    for arguments in [
        &["component", "inspect"][..],
        &["component", "inspect", "--json"],
        &["component", "export", "whereby.wasm"],
        &["component", "export", "whereby.wasm"],
        &["component", "export", "reader.wasm", "--reader", "--json"],
        &["component", "export", "gateway.wasm", "--gateway"],
        &["component", "export", "reading.wasm", "--gateway", "--reader"],
        &["component", "inspect", "gateway.wasm"],
        &["component", "export", "absent/whereby.wasm", "--json"],
        &["component", "inspect", "reader.wasm"],
        &["component", "inspect", "absent.wasm"],
        &["component", "inspect", "no.wasm"],
        &["component", "inspect", "."],
    ] {
        screen.run(arguments).await;
    }
    for (place, inspection) in
        [("WHOLE", &inspection), ("READER", &reader), ("GATEWAY", &gateway), ("READING", &reading)]
    {
        screen.text = screen
            .text
            .replace(&inspection.sha256, &format!("{place}-DIGEST"))
            .replace(&inspection.bytes.to_string(), &format!("{place}-SIZE"));
    }
    screen.finish("component");
    let exported = std::fs::read(world.path("project/whereby.wasm")).expect("the file");
    assert!(exported == whereby::BUILT_IN_COMPONENT, "another file");
    let exported = std::fs::read(world.path("project/reader.wasm")).expect("the file");
    assert!(exported == whereby::BUILT_IN_READER, "another file");
    let exported = std::fs::read(world.path("project/gateway.wasm")).expect("the file");
    assert!(exported == whereby::BUILT_IN_GATEWAY, "another file");
    let exported = std::fs::read(world.path("project/reading.wasm")).expect("the file");
    assert!(exported == whereby::BUILT_IN_READER_GATEWAY, "another file");
    world.assert_untouched();
}

#[test]
fn a_gateway_imports_wasi_alone_and_the_one_that_reads_has_no_code_that_writes() {
    let holds = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    for (bytes, writes) in
        [(whereby::BUILT_IN_GATEWAY, true), (whereby::BUILT_IN_READER_GATEWAY, false)]
    {
        let found = whereby::Inspection::of(bytes).expect("a component");
        assert!(found.imports.iter().all(|name| name.starts_with("wasi:")), "{:?}", found.imports);
        let exports: Vec<&str> = found.exports.iter().map(|(name, _)| name.as_str()).collect();
        assert!(matches!(exports[..], [one] if one.starts_with("wasi:http/incoming-handler@0.2.")));
        assert_eq!(holds(bytes, "whereby:agent/write"), writes);
        assert_eq!(holds(bytes, "whereby_create_room"), writes);
        assert!(holds(bytes, "whereby:agent/read") && holds(bytes, "whereby_list_rooms"));
    }
}

#[tokio::test]
async fn an_exported_component_can_be_called() {
    let (world, _) = still_world().await;
    world.configure(ALLOW_ALL);
    world.run(&["component", "export", "own.wasm"]).await;
    let ran = world.run(&["call", "list_rooms", "--component", "own.wasm", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn the_demonstration_goes_through_every_function() {
    let (world, _) = still_world().await;
    // It needs neither accounts nor a good configuration.
    world.write("config/whereby/config.toml", "nonsense");
    let ran = world.run(&["demo"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    for words in [
        "1. Whose key is this?",
        "$ whereby call whereby.list_rooms '{\"limit\":3}'",
        "$ whereby call whereby.school.create_room '{}'",
        "denied: create_room by the account `school` is denied",
        "(a person is asked, and approves)",
        "9 calls, each in a fresh sandbox",
        "Next: set WHEREBY_ACCESS_TOKEN",
    ] {
        assert!(ran.stdout.contains(words), "`{words}` is missing: {}", ran.stdout);
    }
    let ran = world.run(&["demo", "--json"]).await;
    assert_eq!(ran.stdout.lines().count(), 1);
    let steps = ran.json()["steps"].as_array().cloned().expect("a list");
    for function in FUNCTIONS {
        let tried =
            steps.iter().any(|step| step["function"] == function.json && step["error"].is_null());
        assert!(tried, "{}", function.json);
    }
    let denied: Vec<&Value> = steps.iter().filter(|step| !step["error"].is_null()).collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(
        (&denied[0]["error"]["kind"], &denied[0]["requests"]),
        (&json!("denied"), &json!(0))
    );
    world.assert_untouched();
}
