//! What clients read before they call and check afterwards: schemas that each of them takes, and
//! results that fit them.

use super::{Client, Connected, accepts, server_with};
use crate::wire::{ALLOW_ALL, body, calls, daily, daily_world};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whereby::catalog::FUNCTIONS;
use whereby::schema;
use whereby::simulator::{ParticipantSeed, Reply, SessionSeed};
use whereby_tests::World;

/// The keywords that every client takes, or passes over without harm.
const KEYWORDS: [&str; 14] = [
    "type",
    "description",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "format",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
];

/// What some client would stumble over in a schema of arguments.
fn stumbles(schema: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |is_good: bool, what: &str| {
        if !is_good {
            found.push(format!("{place}: {what} in {schema}"));
        }
    };
    let Some(node) = schema.as_object() else { return vec![format!("{place}: no object")] };
    let mut within: Vec<(String, &Value)> = Vec::new();
    for keyword in node.keys() {
        check(KEYWORDS.contains(&keyword.as_str()), keyword);
    }
    let ty = schema["type"].as_str();
    let types = ["object", "array", "string", "integer", "number", "boolean"];
    check(ty.is_some_and(|ty| types.contains(&ty)), "no plain type");
    check(!node.contains_key("format") || schema["format"] == "date-time", "a rare format");
    if let Some(words) = node.get("enum") {
        let words = words.as_array().map_or(&[][..], Vec::as_slice);
        check(ty == Some("string") && !words.is_empty(), "an enum of no texts");
        check(words.iter().all(Value::is_string), "an enum of other values than texts");
    }
    if let Some(default) = node.get("default") {
        let validator = jsonschema::validator_for(schema).expect("a schema");
        check(validator.is_valid(default), "a default that does not fit");
    }
    if ty == Some("array") {
        check(schema["items"].is_object(), "items without a schema");
        within.push((format!("{place}[]"), &schema["items"]));
    } else if ty == Some("object") {
        check(schema["additionalProperties"] == false, "an open object");
        let properties: Vec<(&String, &Value)> =
            schema["properties"].as_object().into_iter().flatten().collect();
        let required = schema
            .get("required")
            .map_or(&[][..], |required| required.as_array().map_or(&[][..], Vec::as_slice));
        check(node.get("required").is_none_or(|_| !required.is_empty()), "an empty `required`");
        for name in required {
            check(properties.iter().any(|(own, _)| name == own.as_str()), "`required`");
        }
        for (name, property) in properties {
            check(property["description"].is_string(), "a property that is not described");
            within.push((format!("{place}.{name}"), property));
        }
    }
    found.extend(within.into_iter().flat_map(|(place, schema)| stumbles(schema, &place)));
    found
}

/// Takes the names of types, and what marks a variant, out of a schema.
pub(super) fn without_types(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    node.remove("title");
    node.remove("minProperties");
    node.get_mut("items").into_iter().for_each(without_types);
    let properties = node.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(|of| of.values_mut()).for_each(without_types);
}

#[test]
fn schemas_have_the_names_of_the_types() {
    fn titles(schema: &Value) -> BTreeSet<String> {
        let own = schema["title"].as_str().map(str::to_owned);
        let items = schema.get("items").into_iter();
        let inner = schema["properties"].as_object().into_iter().flat_map(|of| of.values());
        own.into_iter().chain(items.chain(inner).flat_map(titles)).collect()
    }
    let mut found = BTreeSet::new();
    for function in FUNCTIONS {
        let (arguments, result) = (schema::arguments(function), schema::result(function));
        assert!(titles(&arguments).contains(function.json));
        assert!(result["title"].is_string(), "{result}");
        found.extend(titles(&arguments).into_iter().chain(titles(&result)));
    }
    // Every type of the WIT but the error is in some schema; functions are there as well.
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/types.wit"));
    let text = text.expect("the WIT");
    for line in text.lines().map(str::trim).filter(|line| line.ends_with(" {")) {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().expect("a kind"), words.next().expect("a name"));
        let is_of_error = kind == "interface" || ["error", "rejection"].contains(&name);
        assert!(is_of_error || found.contains(name), "{name}: {found:?}");
    }
}

/// Checks that a value fits a schema, by a validator as clients have it.
fn assert_fits(schema: &Value, value: &Value, what: &str) {
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let wrong: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:?}\n{value}");
}

/// The tools of a server, with scripts among them.
async fn tools(world: &World) -> Vec<rmcp::model::Tool> {
    let connected = Connected::to(&server_with(world, true), Client::new(None).0).await;
    let tools = connected.tools().await;
    connected.end().await;
    tools
}

#[tokio::test]
async fn schemas_of_arguments_are_such_as_every_client_takes() {
    let world = World::with_rooms(Vec::new()).await;
    let mut schemas: Vec<(String, Value)> = Vec::new();
    // Several accounts, those of which one is denied something, and one account.
    let own = std::fs::read_to_string(world.path("config/whereby/config.toml")).expect("read");
    let one = own.split("\n[accounts.other]").next().expect("its first part").to_owned();
    let denied = format!("{own}\n[accounts.work.permissions]\nwrite = \"deny\"\n");
    for configuration in [own, denied, one] {
        world.write("config/whereby/config.toml", &configuration);
        for tool in tools(&world).await {
            schemas.push((tool.name.to_string(), Value::Object((*tool.input_schema).clone())));
        }
    }
    assert_eq!(schemas.len(), 3 * (FUNCTIONS.len() + 2));
    for function in FUNCTIONS {
        let mut schema = schema::arguments(function);
        let object = schema.as_object_mut().expect("an object");
        // What `whereby schema` says besides.
        let dialect = object.remove("$schema");
        assert_eq!(dialect, Some(json!("https://json-schema.org/draft/2020-12/schema")));
        assert_eq!(object.remove("title"), Some(json!(function.json)));
        without_types(&mut schema);
        schemas.push((function.json.to_owned(), schema));
    }
    let mut found = Vec::new();
    for (name, schema) in &schemas {
        assert_eq!(schema["type"], "object", "{name}");
        found.extend(stumbles(schema, name));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_examples_of_arguments_fit_their_schemas() {
    for function in FUNCTIONS {
        let schema = schema::arguments(function);
        for param in function.params {
            let Some(example) = param.facts.example else { continue };
            let example = schema::fact_value(&param.ty, example);
            let property = &schema["properties"][param.json];
            let what = format!("{}.{}", function.json, param.json);
            assert_fits(property, &example, &what);
            let description = property["description"].as_str().expect("a description");
            assert!(description.ends_with(&format!("Example: {example}.")), "{description}");
        }
    }
}

/// Calls every function as a tool, and checks its result against the tool's schema.
async fn assert_results_fit(world: &World, meeting: &str) {
    let connected = Connected::new(world, Client::new(None).0).await;
    let tools = connected.tools().await;
    for (function, arguments) in calls(meeting) {
        let name = format!("whereby_{function}");
        let tool = tools.iter().find(|tool| tool.name == name).expect("listed");
        let output = Value::Object((**tool.output_schema.as_ref().expect("a schema")).clone());
        assert_eq!(output["type"], "object");
        let result = connected.call(&name, arguments).await;
        let result = result.structured_content.unwrap_or_else(|| panic!("{name} failed"));
        assert_fits(&output, &result, &name);
    }
    connected.end().await;
}

#[tokio::test]
async fn results_fit_the_schemas_whatever_whereby_leaves_out() {
    let (world, meeting) = daily_world().await;
    assert_results_fit(&world, &meeting).await;

    let (world, _) = daily_world().await;
    world.simulator.set_switches({
        let mut switches = world.simulator.switches();
        for (name, value) in [
            ("meeting-members", "required"),
            ("running-end", "absent"),
            ("blank-text", "null"),
            ("display-names", "redacted"),
            ("recording-room-name", "absent"),
            ("rate-limit-headers", "limited"),
            ("date-format", "seconds"),
        ] {
            switches.set(name, value).expect("a switch");
        }
        switches
    });
    let nameless = SessionSeed::began(crate::wire::hours(20))
        .participant(ParticipantSeed::named(""))
        .participant(ParticipantSeed::named("Ines Falk"));
    let session = world.simulator.add_session(0, "daily", &nameless).expect("a session");
    assert_results_fit(&world, &format!("daily:{session}")).await;
}

#[tokio::test]
async fn a_date_in_another_form_is_no_reason_for_a_client_to_refuse_the_result() {
    let world = World::with_rooms(vec![daily()]).await;
    let page = json!({"results": [{
        "meetingId": "1", "roomName": "/daily", "roomUrl": "https://acme-demo.whereby.com/daily",
        "startDate": "2026-03-01", "endDate": "soon",
    }], "cursor": null});
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).json(&page));
    let connected = Connected::new(&world, Client::new(None).0).await;
    let tools = connected.tools().await;
    let result = connected.call("whereby_list_rooms", json!({})).await;
    let output = Value::Object((**tools[0].output_schema.as_ref().expect("a schema")).clone());
    assert_fits(&output, &result.structured_content.expect("a result"), "list_rooms");
    connected.end().await;
}

#[tokio::test]
async fn reports_of_scripts_fit_their_schema() {
    let world = World::with_rooms(vec![daily()]).await;
    let connected = Connected::to(&server_with(&world, true), Client::new(None).0).await;
    let tools = connected.tools().await;
    let tool = tools.iter().find(|tool| tool.name == "whereby_run_lua").expect("listed");
    let output = Value::Object((**tool.output_schema.as_ref().expect("a schema")).clone());
    for script in [
        "return 1",
        "print('x')",
        "return app.integrations.whereby.list_rooms({}).data",
        "return 1, nil, 'a'",
        "error('no')",
        "app.integrations.whereby.get_room({ room_name = 'nowhere' })",
        "app.integrations.whereby.create_room({})",
        "this is no Luau",
    ] {
        let result = connected.call("whereby_run_lua", json!({"script": script})).await;
        assert_fits(&output, &result.structured_content.expect("a report"), script);
    }
    connected.end().await;
}

#[tokio::test]
async fn fields_in_the_form_of_the_schema_are_those_of_the_shorter_form() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let connected = Connected::new(&world, Client::new(None).0).await;
    let recording = json!({"type": "cloud", "startTrigger": "prompt"});
    let mut bodies = Vec::new();
    for fields in [
        json!(["hostRoomUrl", "isLocked", {"roomNamePattern": "human-short"}, {"recording": recording}]),
        json!([{"hostRoomUrl": true}, {"isLocked": true}, {"roomNamePattern": "human-short"}, {"recording": recording}]),
        json!([{"hostRoomUrl": true, "isLocked": true, "roomNamePattern": "human-short", "recording": recording}]),
        json!([{
            "hostRoomUrl": true, "viewerRoomUrl": false, "isLocked": true, "viewerMode": null,
            "roomNamePattern": "human-short", "recording": recording, "streaming": null,
        }]),
    ] {
        let arguments = json!({"end_date": "2099-01-01T00:00:00Z", "fields": fields});
        let result = connected.call("whereby_create_room", arguments).await;
        assert_eq!(result.is_error, Some(false), "{fields}: {result:?}");
        bodies.push(body(world.requests().last().expect("a request")));
    }
    assert!(bodies[1..].iter().all(|body| *body == bodies[0]), "{bodies:?}");
    connected.end().await;
}

#[tokio::test]
async fn a_person_approves_a_call_however_it_is_written() {
    let world = World::with_rooms(Vec::new()).await;
    let (client, _progress) = Client::new(accepts(false));
    let connected = Connected::new(&world, client.clone()).await;
    for fields in [json!(["hostRoomUrl"]), json!([{"hostRoomUrl": true, "isLocked": false}])] {
        let error = connected.fail("whereby_create_room", json!({"fields": fields})).await;
        assert_eq!(error["kind"], "denied");
    }
    // A person's no to one of them is a no to the other.
    assert_eq!(client.asked().len(), 1);
    world.assert_untouched();
    connected.end().await;
}
