//! Every message of the server, checked against the protocol's own JSON schema for the version in use.

use super::raw::Raw;
use crate::wire::{ALLOW_ALL, daily, daily_world};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use whereby_tests::World;

/// The versions with a handshake.
const WITH_HANDSHAKE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The version without.
const WITHOUT_HANDSHAKE: &str = "2026-07-28";

/// The schemas that are written into the documentation of the crate `rust-mcp-schema`, definition by
/// definition, by version.
static SCHEMAS: LazyLock<HashMap<&'static str, Value>> = LazyLock::new(|| {
    let sources = sources();
    WITH_HANDSHAKE
        .into_iter()
        .chain([WITHOUT_HANDSHAKE])
        .map(|version| {
            let folder = sources.join(version.replace('-', "_"));
            let text = std::fs::read_to_string(folder.join("mcp_schema.rs"));
            (version, definitions(&text.expect("the crate's source")))
        })
        .collect()
});

static VALIDATORS: Mutex<BTreeMap<String, jsonschema::Validator>> = Mutex::new(BTreeMap::new());

/// Where cargo keeps the source of `rust-mcp-schema`.
fn sources() -> PathBuf {
    let listed = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "host-tuple"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("cargo's metadata");
    let packages = listed["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "rust-mcp-schema");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = Path::new(manifest.expect("the package")).parent().expect("its folder");
    folder.join("src/generated_schema")
}

/// The definitions in the comments of a source, whose names are those of the types below them.
fn definitions(source: &str) -> Value {
    let mut definitions = Map::new();
    let mut lines = source.lines();
    while lines.by_ref().any(|line| line == "/// ```json") {
        let schema: Vec<&str> = lines
            .by_ref()
            .map_while(|line| line.strip_prefix("///"))
            .take_while(|line| line.trim() != "```")
            .collect();
        let schema: Value = serde_json::from_str(&schema.concat()).expect("a schema");
        let name = lines
            .by_ref()
            .find_map(|line| {
                ["pub struct ", "pub enum ", "pub type "]
                    .into_iter()
                    .find_map(|kind| line.strip_prefix(kind))
            })
            .and_then(|rest| rest.split(|c: char| !c.is_alphanumeric()).next())
            .expect("a type");
        definitions.insert(name.to_lowercase(), normal(schema));
    }
    // The one that has another name there.
    if let Some(error) = definitions.get("rpcerror").cloned() {
        definitions.insert("error".into(), error);
    }
    Value::Object(definitions)
}

/// A schema whose references are to lower-case names, as the types are spelled otherwise.
fn normal(schema: Value) -> Value {
    match schema {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(target)) => {
                    let target = target.rsplit('/').next().expect("a name").to_lowercase();
                    (name, json!(format!("#/$defs/{target}")))
                }
                (_, value) => (name, normal(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

/// Fails where a message is not what one of these definitions says.
fn check(version: &str, names: &[&str], message: &Value) {
    let definitions = &SCHEMAS[version];
    let any: Vec<Value> = names
        .iter()
        .map(|name| name.to_lowercase())
        .filter(|name| definitions.get(name).is_some())
        .map(|name| json!({"$ref": format!("#/$defs/{name}")}))
        .collect();
    assert!(!any.is_empty(), "{version} has no {names:?}");
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = validators.entry(format!("{version} {names:?}")).or_insert_with(|| {
        let schema = json!({"$defs": definitions, "anyOf": any});
        jsonschema::draft202012::new(&schema).expect("a schema")
    });
    let problems: Vec<String> = validator.iter_errors(message).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{version} {names:?}: {problems:?}\n{message:#}");
}

/// Checks a message of the server; `method` is that of the request that it answers.
pub(super) fn check_message(version: &str, method: Option<&str>, message: &Value) {
    if message.get("error").is_some() {
        // JSON-RPC wants null where no id can be read, and the id of a request that has a wrong one;
        // the protocol has no word for either.
        let mut message = message.clone();
        if !message["id"].is_string() && !message["id"].is_i64() {
            message["id"] = json!(0);
        }
        return check(version, &["JSONRPCError", "JSONRPCErrorResponse"], &message);
    }
    if message.get("method").is_none() {
        check(version, &["JSONRPCResponse", "JSONRPCResultResponse"], message);
        let results: &[&str] = match method.unwrap_or("ping") {
            "initialize" => &["InitializeResult"],
            "server/discover" => &["DiscoverResult"],
            "tools/list" => &["ListToolsResult"],
            // Of an extension, which the schema does not have.
            "tools/call" if message["result"]["resultType"] == "task" => &["Result"],
            "tools/call" => &["CallToolResult", "InputRequiredResult"],
            "resources/list" => &["ListResourcesResult"],
            "resources/templates/list" => &["ListResourceTemplatesResult"],
            "resources/read" => &["ReadResourceResult"],
            "subscriptions/listen" => &["SubscriptionsListenResult"],
            _ => &["EmptyResult", "Result"],
        };
        return check(version, results, &message["result"]);
    }
    if message.get("id").is_some() {
        check(version, &["JSONRPCRequest"], message);
        check(version, &["ServerRequest"], message);
    } else {
        check(version, &["JSONRPCNotification"], message);
        check(version, &["ServerNotification"], message);
    }
}

/// What is asked of a server of any version.
fn requests(meeting: &str) -> Vec<(&'static str, Value)> {
    let call = |tool: &str, arguments: Value| {
        ("tools/call", json!({"name": format!("whereby_{tool}"), "arguments": arguments}))
    };
    vec![
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "whereby://docs/list_rooms"})),
        call("list_rooms", json!({"limit": 1})),
        call("get_room", json!({"room_name": "daily"})),
        call("list_meetings", json!({"limit": 1})),
        call("get_meeting", json!({"meeting_id": meeting})),
        call("get_current_user", json!({})),
        call("get_room", json!({"room_name": "nowhere"})),
        call("list_rooms", json!({"limit": "many"})),
        call("create_room", json!({})),
        call("delete_room", json!({"room_name": "daily"})),
        call("run_lua", json!({"script": "return 1"})),
        // What is refused.
        call("nothing", json!({})),
        ("tools/call", json!({"name": "whereby_list_rooms", "arguments": []})),
        ("resources/read", json!({"uri": "whereby://docs/nothing"})),
        ("prompts/list", json!({})),
        ("completion/complete", json!({})),
    ]
}

#[tokio::test]
async fn messages_of_the_protocols_with_a_handshake_are_as_they_say() {
    for version in WITH_HANDSHAKE {
        let (world, meeting) = daily_world().await;
        let mut raw = Raw::new(&world);
        raw.initialize(version, json!({"elicitation": {}})).await;
        let has_elicitation = version >= "2025-06-18";
        raw.ask("logging/setLevel", json!({"level": "debug"})).await;
        raw.ask("ping", json!({})).await;
        for (method, mut params) in requests(&meeting) {
            if method == "tools/call" {
                params["_meta"] = json!({"progressToken": method});
            }
            raw.ask(method, params).await;
        }
        world.configure("[permissions]\nwrite = \"ask\"\n");
        raw.ask("tools/call", json!({"name": "whereby_create_room", "arguments": {}})).await;
        let asked = raw.received().iter().any(|message| message["method"] == "elicitation/create");
        assert_eq!(asked, has_elicitation, "{version}");
        for notification in ["notifications/message", "notifications/progress"] {
            let told = raw.received().iter().any(|message| message["method"] == notification);
            assert!(told, "{version} {notification}");
        }
        // A change of the tools is told: `whereby_resume` came, and all that write go.
        world.configure("[permissions]\nwrite = \"deny\"\n");
        raw.ask("tools/list", json!({})).await;
        raw.until_times("notifications/tools/list_changed", 2).await;
        for line in ["nonsense", "[]", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#] {
            raw.send(line).await;
            raw.receive().await;
        }
        raw.end().await;
    }
}

#[tokio::test]
async fn messages_of_the_protocol_without_a_handshake_are_as_it_says() {
    let (world, meeting) = daily_world().await;
    let mut raw = Raw::new(&world);
    raw.without_handshake(WITHOUT_HANDSHAKE, json!({"elicitation": {"form": {}}}));
    raw.ask("server/discover", json!({})).await;
    for (method, params) in requests(&meeting) {
        raw.ask(method, params).await;
    }
    world.configure("[permissions]\nwrite = \"ask\"\n");
    let create = json!({"name": "whereby_create_room", "arguments": {}});
    let answer = raw.ask("tools/call", create).await;
    assert_eq!(answer["result"]["resultType"], "input_required");
    raw.request("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
    raw.until("notifications/subscriptions/acknowledged").await;
    world.configure("[permissions]\nwrite = \"deny\"\n");
    raw.ask("tools/list", json!({})).await;
    raw.until("notifications/tools/list_changed").await;
    raw.end().await;
}

#[tokio::test]
async fn an_unknown_version_is_negotiated() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("2031-01-01", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let mut raw = Raw::new(&world);
        let params = json!({"protocolVersion": asked, "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}});
        let answer = raw.ask("initialize", params).await;
        assert_eq!(answer["result"]["protocolVersion"], given, "{asked}");
        raw.end().await;
    }
}

/// The answers to what a client may keep, and their `ttlMs` and `cacheScope`.
async fn may_be_kept(raw: &mut Raw) -> Vec<(&'static str, Value, Value)> {
    let mut kept = Vec::new();
    for (method, params) in [
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "whereby://docs"})),
    ] {
        let result = raw.ask(method, params).await["result"].take();
        kept.push((method, result["ttlMs"].clone(), result["cacheScope"].clone()));
    }
    kept
}

#[tokio::test]
async fn a_client_need_not_ask_again_soon_for_what_it_was_told() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.without_handshake(WITHOUT_HANDSHAKE, json!({}));
    let found = raw.ask("server/discover", json!({})).await["result"].take();
    assert_eq!((&found["ttlMs"], &found["cacheScope"]), (&json!(60_000), &json!("private")));
    for (method, fresh, scope) in may_be_kept(&mut raw).await {
        // What is offered depends on who asks.
        assert_eq!((fresh, scope), (json!(60_000), json!("private")), "{method}");
    }
    raw.end().await;
    // Earlier protocols have no such members.
    let mut raw = Raw::new(&world);
    raw.initialize("2025-11-25", json!({})).await;
    for (method, fresh, scope) in may_be_kept(&mut raw).await {
        assert_eq!((fresh, scope), (Value::Null, Value::Null), "{method}");
    }
    raw.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_client_can_show_what_the_server_is_and_asks_nobody_else_for_its_icon() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"}});
    let begun = raw.ask("initialize", params).await;
    raw.end().await;
    let mut raw = Raw::new(&world);
    raw.without_handshake(WITHOUT_HANDSHAKE, json!({}));
    let found = raw.ask("server/discover", json!({})).await;
    raw.end().await;
    let own = &begun["result"]["serverInfo"];
    assert_eq!(&found["result"]["_meta"]["io.modelcontextprotocol/serverInfo"], own);
    assert_eq!(own["title"], "Whereby");
    assert!(own["websiteUrl"].as_str().is_some_and(|url| url.starts_with("https://")), "{own}");
    let icons = own["icons"].as_array().expect("icons");
    assert!(!icons.is_empty());
    for icon in icons {
        let source = icon["src"].as_str().expect("a source");
        assert!(source.starts_with("data:image/png;base64,") && source.len() < 2048, "{source}");
    }
}

#[tokio::test]
async fn methods_that_a_protocol_has_removed_are_unknown_in_it() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.without_handshake(WITHOUT_HANDSHAKE, json!({}));
    raw.ask("server/discover", json!({})).await;
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/result"]
    {
        for params in [
            json!({}),
            json!({"level": "debug"}),
            json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"}}),
        ] {
            let answer = raw.ask(method, params).await;
            assert_eq!(answer["error"]["code"], -32601, "{answer}");
        }
    }
    // It is still this protocol that is spoken.
    assert!(raw.ask("tools/list", json!({})).await["result"]["tools"].is_array());
    raw.end().await;
}

#[tokio::test]
async fn an_unknown_resource_is_named() {
    let world = World::with_rooms(Vec::new()).await;
    let uri = "whereby://docs/nothing";
    for (version, code) in [("2025-11-25", -32002), (WITHOUT_HANDSHAKE, -32602)] {
        let mut raw = Raw::new(&world);
        match version {
            WITHOUT_HANDSHAKE => raw.without_handshake(version, json!({})),
            version => raw.initialize(version, json!({})).await,
        }
        let error = raw.ask("resources/read", json!({"uri": uri})).await["error"].take();
        assert_eq!((&error["code"], &error["data"]["uri"]), (&json!(code), &json!(uri)), "{error}");
        raw.end().await;
    }
}
