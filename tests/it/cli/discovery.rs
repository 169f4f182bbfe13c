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
    assert_eq!(ran.json()["functions"].as_array().map(Vec::len), Some(FUNCTIONS.len()));
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
async fn documented_errors_match_the_function() {
    let (world, _) = still_world().await;
    for function in FUNCTIONS {
        let page = world.run(&["docs", function.json]).await.stdout;
        let json = world.run(&["docs", function.json, "--json"]).await.stdout;
        for other in ["create_room", "delete_room"] {
            let word = format!("After a `{other}`");
            for text in [&page, &json] {
                assert_eq!(
                    text.contains(&word),
                    other == function.json,
                    "{}: {word}",
                    function.json
                );
            }
        }
        assert!(!page.contains("Also called"), "{page}");
        // Nobody is told to make a call again that may have done its work.
        let timeout = page.lines().find(|line| line.starts_with("- `timeout`")).expect("a line");
        let writes = ["create_room", "delete_room"].contains(&function.json);
        assert_eq!(timeout.contains("To do if nothing was changed: "), writes, "{timeout}");
    }
}

#[tokio::test]
async fn only_functions_of_the_component_are_offered() {
    let (world, _) = still_world().await;
    std::fs::write(world.path("project/reader.wasm"), whereby::BUILT_IN_READER).expect("a file");
    let names = |ran: &whereby_tests::Ran| -> Vec<String> {
        let functions = ran.json()["functions"].as_array().cloned().expect("a list");
        functions.iter().map(|function| function["name"].as_str().expect("a name").into()).collect()
    };
    let read = ["list_rooms", "get_room", "list_meetings", "get_meeting", "get_current_user"];
    let flag = &["--component", "reader.wasm"][..];
    world.write("project/no.wasm", "no component");
    for command in ["list", "docs"] {
        let ran = world.run(&[&[command, "--json"], flag].concat()).await;
        assert_eq!(names(&ran), read, "{command}");
        assert_eq!(names(&world.run(&[command, "--json"]).await).len(), FUNCTIONS.len());
        let ran = world.run(&[command, "--component", "no.wasm"]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (9, ""), "{ran:?}");
    }
    let ran = world.run(&[&["search", "room", "--json"], flag].concat()).await;
    assert!(names(&ran).iter().all(|name| read.contains(&name.as_str())), "{ran:?}");
    for command in ["docs", "schema"] {
        let ran = world.run(&[&[command, "create_room"], flag].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("this component has no create_room"), "{ran:?}");
    }
    let script = "local names = {} for name in pairs(app.integrations.whereby.work) do
            if not name:match('^whereby_') then table.insert(names, name) end
        end
        table.sort(names) return table.concat(names, ' ') .. lua_list_docs()";
    let ran = world.run(&[&["lua", "-e", script, "--json"], flag].concat()).await;
    let result = ran.json()["result"].as_str().map(str::to_owned).expect("a text");
    assert!(result.starts_with("get_current_user get_meeting get_room list_meetings list_rooms"));
    assert!(!result.contains("create_room") && result.contains("list_rooms"), "{result}");
    // The same where the configuration names the component.
    world.configure("[component]\npath = \"../../project/reader.wasm\"\n");
    for command in ["list", "docs"] {
        assert_eq!(names(&world.run(&[command, "--json"]).await), read, "{command}");
    }
    world.assert_untouched();
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
        "(a person approves)",
        "9 calls, each in a fresh sandbox",
        "`whereby configure --token-stdin`",
        "`whereby simulate`",
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
