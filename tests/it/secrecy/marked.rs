//! Every value that the WIT marks as secret, in every place that shows or records a call.

use super::{Nosy, SECRET, assert_hidden};
use crate::wire::{ALLOW_ALL, daily};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use whereby::catalog::secret::{self, Position};
use whereby::catalog::{FUNCTIONS, Function, Secret};
use whereby::lua::Runtime;
use whereby::{Call, schema};
use whereby_tests::World;

/// Every secret among the arguments of every function.
pub(crate) fn positions() -> Vec<(&'static Function, Position)> {
    let of = |function| secret::arguments(function).into_iter().map(move |at| (function, at));
    FUNCTIONS.iter().flat_map(of).collect()
}

/// A value that holds a secret, as its member takes it.
pub(crate) fn value_with(position: &Position, secret: &str) -> Value {
    match position.secret {
        Secret::Query(name) => format!("https://acme-demo.whereby.com/daily?{name}={secret}"),
        Secret::Whole if position.member.facts.formats.contains(&"uri") => {
            format!("rtmp://a.example/live/{secret}")
        }
        Secret::Whole => secret.to_owned(),
    }
    .into()
}

/// Puts a value into arguments of a function, with the members around it that it needs.
pub(crate) fn place(function: &Function, arguments: &mut Value, path: &str, value: Value) {
    let segments: Vec<&str> = path.split('.').collect();
    let first = segments[0].trim_end_matches("[]");
    arguments[first] = around(&schema::arguments(function), &segments, value)[first].take();
}

fn around(schema: &Value, path: &[&str], value: Value) -> Value {
    let Some((segment, rest)) = path.split_first() else { return value };
    let mut object: Map<String, Value> = required(schema);
    let name = segment.trim_end_matches("[]");
    let inner = &schema["properties"][name];
    let inner = match segment.ends_with("[]") {
        true => json!([around(&inner["items"], rest, value)]),
        false => around(inner, rest, value),
    };
    object.insert(name.to_owned(), inner);
    object.into()
}

/// The required members of an object, each with a value that is allowed.
fn required(schema: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let names = names.iter().map(|name| name.as_str().expect("a name"));
    names.map(|name| (name.to_owned(), least(&schema["properties"][name]))).collect()
}

fn least(schema: &Value) -> Value {
    match schema["enum"].as_array() {
        Some(words) => words.last().expect("a word").clone(),
        None if schema["type"] == "object" => required(schema).into(),
        None => "daily".into(),
    }
}

/// A call for each secret, with the secret in it.
fn calls() -> Vec<(&'static Function, Value)> {
    let call = |(function, position): (&'static Function, Position)| {
        let mut arguments = json!({});
        let value = value_with(&position, "s3cret-key");
        place(function, &mut arguments, &position.path, value);
        assert!(arguments.to_string().contains(SECRET));
        (function, arguments)
    };
    positions().into_iter().map(call).collect()
}

async fn asking_world() -> World {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions]\nread = \"ask\"\nwrite = \"ask\"\ndestination = \"ask\"\n");
    world
}

#[test]
fn the_catalogue_has_every_mark_of_the_wit() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let mut marks = 0;
    for file in std::fs::read_dir(folder).expect("the WIT") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a text");
        let lines = text.lines().map(|line| line.trim().trim_start_matches('/').trim());
        marks += lines.filter(|line| *line == "Secret." || line.starts_with("Secret: ")).count();
    }
    let results = FUNCTIONS.iter().flat_map(secret::result);
    let known = positions().into_iter().map(|(_, position)| position).chain(results);
    let members: BTreeSet<_> = known.map(|position| std::ptr::from_ref(position.member)).collect();
    assert_eq!(members.len(), marks);
}

#[test]
fn what_has_always_been_masked_is_marked() {
    let marked: Vec<String> = positions()
        .iter()
        .map(|(function, position)| format!("{}.{}", function.json, position.path))
        .collect();
    for expected in [
        "list_rooms.cursor",
        "get_room.room_name",
        "list_meetings.cursor",
        "list_meetings.room_name",
        "get_meeting.meeting_id",
        "create_room.fields[].recording.destination.accessKeySecret",
        "create_room.fields[].streaming.destination.url",
        "create_room.fields[].liveTranscription.destination.accessKeySecret",
        "delete_room.room_name",
    ] {
        assert!(marked.iter().any(|marked| marked == expected), "{expected}: {marked:?}");
    }
}

#[tokio::test]
async fn it_is_masked_in_questions_plans_and_every_debug() {
    for (function, arguments) in calls() {
        let world = asking_world().await;
        let nosy = Arc::new(Nosy::default());
        let session = world.session_with(Some(nosy.clone()), None);
        let call = Call::new(function.json, arguments.clone());
        assert_hidden("the call", &call);
        assert!(!whereby::masked(&arguments).to_string().contains(SECRET), "{arguments}");
        let planned = session.plan(call.clone());
        assert_hidden("the plan", &planned);
        if let Ok(plan) = &planned {
            assert!(!plan.to_json().to_string().contains(SECRET), "{plan:?}");
        }
        // Approved; the component may find fault with the rest of the arguments.
        let outcome = session.run(call).await;
        assert_hidden("the outcome", &outcome);
        let asked = nosy.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(asked, usize::from(planned.is_ok()), "{arguments}");
        drop(session);
        assert_hidden("the audit log", &world.audit());
        assert!(!kept(&world).contains(SECRET), "{arguments}");
    }
}

#[tokio::test]
async fn it_is_masked_by_every_command_by_clients_and_in_scripts() {
    for (function, arguments) in calls() {
        let world = asking_world().await;
        let given = arguments.to_string();
        let hidden = |what: &str, shown: &str| assert!(!shown.contains(SECRET), "{what}: {shown}");
        let nosy = Arc::new(Nosy::default());
        let script = format!(
            "local done, failed = pcall(app.integrations.whereby.{}, {})\n\
             print(failed)\nreturn tostring(failed)",
            function.json,
            lua(&arguments)
        );
        let declined = Runtime::new(world.session()).run(&script, "test.lua").await;
        hidden("a script", &format!("{declined:?} {}", declined.to_json()));
        let script = Runtime::new(world.session_with(Some(nosy), None)).run(&script, "t.lua").await;
        hidden("an approved script", &format!("{:?}", script.error));
        for command in [
            &["call", function.json, &given, "--dry-run"][..],
            &["call", function.json, &given, "--verbose"],
            &["approvals", "list"],
            &["audit"],
        ] {
            for json in [&["--json"][..], &[]] {
                let ran = world.run(&[command, json].concat()).await;
                hidden(command[0], &format!("{}{}", ran.stdout, ran.stderr));
            }
        }
        let waiting = world.run(&["approvals", "list", "--json"]).await.json();
        for approval in waiting["approvals"].as_array().expect("a list") {
            let id = approval["id"].as_str().expect("an id");
            for json in [&["--json"][..], &[]] {
                let ran = world.run(&[&["approvals", "show", id], json].concat()).await;
                hidden("show", &format!("{}{}", ran.stdout, ran.stderr));
            }
            let ran = world.run(&["approvals", "approve", id]).await;
            hidden("approve", &format!("{}{}", ran.stdout, ran.stderr));
        }
        let world = asking_world().await;
        let told = crate::mcp::questions(&world, function.json, arguments).await;
        hidden("a client", &told);
        assert!(!kept(&world).contains(SECRET), "{given}");
    }
}

#[tokio::test]
async fn a_secret_of_a_result_is_for_the_caller_alone() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let with_secrets: Vec<&Function> =
        FUNCTIONS.iter().filter(|function| !secret::result(function).is_empty()).collect();
    // Another function with secrets needs a call of its own here.
    assert_eq!(with_secrets.len(), 1);
    let positions = secret::result(with_secrets[0]);
    let fields = json!({"fields": ["hostRoomUrl", "viewerRoomUrl"]});
    let outcome = world.session().run(Call::new(with_secrets[0].json, fields)).await;
    let result = outcome.result.as_ref().expect("a room");
    let shown = format!("{outcome:?} {outcome:#?} {:?} {}", world.audit(), kept(&world));
    assert_eq!(positions.len(), 2);
    for position in positions {
        let url = result[&position.path].as_str().expect("the caller has it");
        let (place, key) = url.split_once('?').expect("a key");
        assert!(!shown.contains(key), "{}: {shown}", position.path);
        assert!(place.starts_with("https://"));
    }
}

#[tokio::test]
async fn documentation_says_what_is_secret() {
    let world = World::with_rooms(Vec::new()).await;
    for function in FUNCTIONS {
        let page = world.run(&["docs", function.json]).await.stdout;
        let mut document = world.run(&["docs", function.json, "--json"]).await.json();
        let document = document["functions"][0].take();
        for (part, positions) in
            [("arguments", secret::arguments(function)), ("result", secret::result(function))]
        {
            let whole: Vec<&Position> =
                positions.iter().filter(|position| position.secret == Secret::Whole).collect();
            let paths: Vec<&str> = whole.iter().map(|position| position.path.as_str()).collect();
            assert_eq!(document["secrets"][part], json!(paths), "{}", function.json);
            for position in whole {
                let inner = position.path.split('.').fold(&document[part], |schema, segment| {
                    let inner = &schema["properties"][segment.trim_end_matches("[]")];
                    if segment.ends_with("[]") { &inner["items"] } else { inner }
                });
                let said = inner["description"].as_str().expect("a description");
                assert!(said.ends_with(" Secret."), "{said}");
                let line = format!("- `{}` (", position.member.json);
                let line =
                    page.lines().find(|text| text.trim_start().starts_with(&line)).expect("a line");
                assert!(line.ends_with(" Secret."), "{line}");
            }
        }
    }
}

/// What is in the state directory, as text.
fn kept(world: &World) -> String {
    let mut kept = String::new();
    for entry in std::fs::read_dir(world.path("state/whereby")).into_iter().flatten().flatten() {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            kept += &String::from_utf8_lossy(&bytes);
        }
    }
    kept
}

/// Arguments as Lua writes them.
fn lua(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members = object.iter().map(|(name, value)| format!("{name} = {}", lua(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("{{ {} }}", items.iter().map(lua).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
