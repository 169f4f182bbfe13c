use super::answer;
use crate::functions::{Call, TOOLS};
use crate::json::Json;
use crate::reply::Body;
use crate::settings::Settings;
use proptest::prelude::*;
use serde_json::{Value, json};

fn settings(allow_writes: bool) -> Settings {
    let variables = [
        ("WHEREBY_GATEWAY_TOKEN".to_owned(), "0123456789abcdef".to_owned()),
        ("WHEREBY_GATEWAY_ALLOW_WRITES".to_owned(), allow_writes.to_string()),
    ];
    Settings::from_variables(variables.to_vec()).expect("valid settings")
}

/// Returns the status and the message of the response to a body, and the calls that it made.
fn exchange(body: &[u8], allow_writes: bool) -> (u16, Value, Vec<Call>) {
    let mut calls = Vec::new();
    let mut make = |call: Call| {
        calls.push(call);
        Ok(Json::object(vec![("made", Json::Bool(true))]))
    };
    let reply = answer(body, Ok(()), &settings(allow_writes), &mut make);
    let message = match reply.body {
        Body::Empty => Value::Null,
        Body::Json(text) => serde_json::from_str(&text).expect("JSON"),
        Body::Text(text) => panic!("not JSON: {text}"),
    };
    (reply.status, message, calls)
}

fn request(method: &str, params: Value) -> (u16, Value, Vec<Call>) {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    exchange(message.to_string().as_bytes(), true)
}

fn call(name: &str, arguments: Value) -> (Value, Vec<Call>) {
    let (status, message, calls) =
        request("tools/call", json!({"name": name, "arguments": arguments}));
    assert_eq!((status, &message["id"]), (200, &json!(7)));
    (message["result"].clone(), calls)
}

#[test]
fn a_client_gets_its_own_version_if_that_is_supported() {
    for (wanted, offered) in [
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("", "2025-11-25"),
    ] {
        let (status, message, _) = request("initialize", json!({"protocolVersion": wanted}));
        assert_eq!((status, &message["id"]), (200, &json!(7)));
        let result = &message["result"];
        assert_eq!(result["protocolVersion"], offered);
        assert_eq!(result["capabilities"], json!({"tools": {}}));
        assert_eq!(result["serverInfo"]["name"], "whereby");
    }
    let (_, message, _) = request("initialize", json!({}));
    assert_eq!(message["error"]["code"], -32602);
}

#[test]
fn a_version_in_the_header_counts_after_the_handshake() {
    let mut make = |_: Call| unreachable!("nothing is called");
    for (method, status, code) in [
        ("initialize", 200, Value::Null),
        ("ping", 400, json!(-32022)),
        ("tools/list", 400, json!(-32022)),
    ] {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method,
            "params": {"protocolVersion": "2031-01-01"}});
        let version = Err(Json::object(vec![("requested", Json::word("2031-01-01"))]));
        let reply = answer(message.to_string().as_bytes(), version, &settings(true), &mut make);
        let Body::Json(text) = &reply.body else { panic!("{reply:?}") };
        let answered: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!((reply.status, &answered["id"]), (status, &json!(7)), "{method}");
        assert_eq!(answered["error"]["code"], code, "{method}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
    let (status, message, _) = exchange(body.as_bytes(), true);
    assert_eq!((status, &message["result"]), (200, &json!({})));
}

#[test]
fn notifications_and_responses_get_no_message() {
    for body in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "whereby_list_rooms"}}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json!({"jsonrpc": "2.0", "id": "a", "error": {"code": 1, "message": "x"}}),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "x"}}),
        json!({"jsonrpc": "2.0", "id": null, "method": "notifications/initialized"}),
    ] {
        let (status, message, calls) = exchange(body.to_string().as_bytes(), true);
        assert_eq!((status, message, calls.len()), (202, Value::Null, 0), "{body}");
    }
}

#[test]
fn malformed_messages_are_refused() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("{\"jsonrpc\":\"2.0\"}{}", -32700),
        (deep.as_str(), -32700),
        ("[]", -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
        ("1", -32600),
        ("null", -32600),
        ("{}", -32600),
        ("{\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", -32600),
    ] {
        let (status, message, _) = exchange(body.as_bytes(), true);
        assert_eq!((status, &message["error"]["code"]), (400, &json!(code)), "{body:.60}");
        // The response has the id, if it is readable.
        let id = serde_json::from_str::<Value>(body).map_or(Value::Null, |body| body["id"].clone());
        let expected = if id.is_string() || id.is_number() { id } else { Value::Null };
        assert_eq!(message["id"], expected);
    }
    let twice = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whereby_create_room","arguments":{"room_mode":"group","room_mode":"normal"}}}"#;
    let (status, message, calls) = exchange(twice, true);
    assert_eq!((status, &message["error"]["code"], calls.len()), (400, &json!(-32600), 0));
    let words = message["error"]["message"].as_str().expect("a message");
    assert!(words.contains("the member `room_mode` is there twice"), "{words}");
    let (status, message, _) = exchange(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}", true);
    assert_eq!((status, &message["error"]["code"]), (400, &json!(-32700)));
}

#[test]
fn ids_are_returned_unchanged() {
    for id in [json!("a \u{1b}\"b"), json!(0), json!(-5), json!(18_446_744_073_709_551_615_u64)] {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        let (status, message, _) = exchange(body.to_string().as_bytes(), true);
        assert_eq!((status, message), (200, json!({"jsonrpc": "2.0", "id": id, "result": {}})));
    }
}

#[test]
fn other_methods_and_parameters_are_refused() {
    for (method, params, code) in [
        ("resources/list", json!({}), -32601),
        ("server/discover", json!({}), -32601),
        ("", json!({}), -32601),
        ("notifications/initialized", json!({}), -32601),
        ("ping", json!([]), -32602),
        ("tools/list", json!({"cursor": "x"}), -32602),
        ("tools/call", json!({}), -32602),
        ("tools/call", json!({"name": 5}), -32602),
        ("tools/call", json!({"name": "list_rooms"}), -32602),
        ("tools/call", json!({"name": "whereby_rooms"}), -32602),
        ("tools/call", json!({"name": "whereby_list_rooms", "arguments": []}), -32602),
        ("tools/call", json!({"name": "whereby_list_rooms", "arguments": "{}"}), -32602),
    ] {
        let (status, message, calls) = request(method, params.clone());
        assert_eq!((status, calls.len()), (200, 0), "{method} {params}");
        assert_eq!(message["error"]["code"], code, "{method} {params}: {message}");
        assert_eq!(message["id"], 7);
    }
}

#[test]
fn a_misspelled_name_gets_a_suggestion() {
    for (name, meant) in [
        ("list_rooms", Some("whereby_list_rooms")),
        ("whereby.get-room", Some("whereby_get_room")),
        ("getCurrentUser", Some("whereby_get_current_user")),
        ("rooms", None),
        // This tool is not offered.
        ("delete_room", None),
    ] {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
            "name": name}});
        let (_, message, _) = exchange(message.to_string().as_bytes(), false);
        let told = message["error"]["message"].as_str().expect("a string");
        match meant {
            Some(meant) => assert!(told.contains(&format!("did you mean `{meant}`?")), "{told}"),
            None => assert!(!told.contains("did you mean"), "{told}"),
        }
    }
}

#[test]
fn the_list_has_the_tools_that_may_be_called() {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    for allow_writes in [false, true] {
        let (_, message, _) = exchange(list.as_bytes(), allow_writes);
        let tools = message["result"]["tools"].as_array().expect("an array");
        let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        let expected: Vec<&str> = TOOLS
            .iter()
            .filter(|tool| allow_writes || !tool.writes)
            .map(|tool| tool.name)
            .collect();
        assert_eq!(names, expected);
        for tool in tools {
            assert!(tool["description"].is_string() && tool["inputSchema"]["type"] == "object");
            assert_eq!(tool["annotations"].as_object().map(|hints| hints.len()), Some(5));
        }
    }
    let writers: Vec<&str> =
        TOOLS.iter().filter(|tool| tool.writes).map(|tool| tool.name).collect();
    let expected: &[&str] =
        if cfg!(feature = "write") { &["whereby_create_room", "whereby_delete_room"] } else { &[] };
    assert_eq!(writers, expected);
}

/// Checks that a schema has one plain type at each node, and no combinator.
fn assert_plain(schema: &Value) {
    assert!(schema["type"].is_string(), "{schema}");
    for keyword in ["anyOf", "oneOf", "allOf", "not", "const", "$ref", "examples"] {
        assert!(schema.get(keyword).is_none(), "{keyword} in {schema}");
    }
    let mut words = schema["enum"].as_array().into_iter().flatten();
    assert!(words.all(Value::is_string), "{schema}");
    schema["properties"].as_object().into_iter().flatten().for_each(|(_, of)| assert_plain(of));
    schema.get("items").into_iter().for_each(assert_plain);
    assert!(schema["type"] != "array" || schema.get("items").is_some(), "{schema}");
}

#[test]
fn argument_schemas_suit_every_client() {
    for tool in TOOLS {
        let listing: Value = serde_json::from_str(tool.listing).expect("JSON");
        assert_plain(&listing["inputSchema"]);
    }
}

#[test]
fn writes_are_refused_unless_allowed() {
    for tool in TOOLS {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool.name, "arguments": {}}});
        let (_, message, calls) = exchange(body.to_string().as_bytes(), false);
        if tool.writes {
            assert_eq!(calls, []);
            let error = &message["result"]["_meta"]["whereby/error"];
            assert_eq!(error["kind"], "denied");
            // Only the operator of the gateway needs to know how to allow it.
            assert!(!message.to_string().contains("ALLOW_WRITES"), "{message}");
        }
    }
}

#[test]
fn a_call_has_the_given_arguments() {
    let (result, calls) = call("whereby_list_rooms", json!({"limit": 10.0, "cursor": null}));
    assert_eq!(calls, [Call::ListRooms { limit: Some(10), cursor: None }]);
    // Clients send empty values for arguments that they do not use.
    let (_, calls) = call("whereby_list_rooms", json!({"limit": "", "cursor": ""}));
    assert_eq!(calls, [Call::ListRooms { limit: None, cursor: None }]);
    assert_eq!(result["structuredContent"], json!({"made": true}));
    assert_eq!(result["content"][0]["text"], "{\n  \"made\": true\n}");
    assert_eq!(result["isError"], false);
    let (_, calls) = call("whereby_get_room", json!({"room_name": "a"}));
    assert_eq!(calls, [Call::GetRoom { room_name: "a".into() }]);
    let (_, calls) = call("whereby_get_current_user", json!({}));
    assert_eq!(calls, [Call::GetCurrentUser {}]);
}

#[cfg(feature = "write")]
#[test]
fn the_fields_of_a_new_room_are_read() {
    use crate::bindings::whereby::agent::types::{
        Recording, RecordingTrigger, RecordingType, RoomField, RoomMode, RoomNamePattern,
    };
    let recorded = json!({"type": "cloud", "startTrigger": "automatic-second-participant",
        "destination": {}});
    let spellings = [
        json!(["hostRoomUrl", {"recording": recorded}, {"roomNamePattern": "human-short"}]),
        json!([{"hostRoomUrl": true}, {"recording": recorded, "roomNamePattern": "human-short"}]),
        json!([{"hostRoomUrl": true, "isLocked": false, "recording": recorded,
            "roomNamePattern": "human-short", "streaming": null}]),
    ];
    let recording = Recording {
        type_: RecordingType::Cloud,
        destination: None,
        start_trigger: Some(RecordingTrigger::AutomaticSecondParticipant),
    };
    let fields = vec![
        RoomField::HostRoomUrl,
        RoomField::Recording(recording),
        RoomField::RoomNamePattern(RoomNamePattern::HumanShort),
    ];
    let expected = Call::CreateRoom {
        room_mode: Some(RoomMode::Group),
        room_name_prefix: None,
        start_date: None,
        end_date: None,
        fields: Some(fields),
    };
    for fields in spellings {
        let arguments = json!({"room_mode": "group", "fields": fields});
        let (_, calls) = call("whereby_create_room", arguments);
        assert_eq!(calls.len(), 1, "{fields}");
        assert_eq!(calls[0], expected, "{fields}");
    }
}

#[test]
fn arguments_of_the_wrong_type_are_named() {
    let long = "x".repeat(70_000);
    let reads = [
        ("get_room", json!({}), "get_room needs `room_name`: a string"),
        ("get_room", json!({"room_name": null}), "get_room needs `room_name`: a string"),
        ("get_room", json!({"room_name": 5}), "room_name must be a string, not 5"),
        (
            "get_room",
            json!({"room_name": "a", "b\u{1b}": 1}),
            "unknown argument `b\\u{1b}`: get_room takes room_name",
        ),
        (
            "get_current_user",
            json!({"a": 1}),
            "unknown argument `a`: get_current_user takes nothing",
        ),
        ("list_rooms", json!({"limit": -1}), "limit must be an integer, not -1"),
        ("list_rooms", json!({"limit": 2.5}), "limit must be an integer, not 2.5"),
        (
            "list_rooms",
            json!({"limit": 4_294_967_296_u64}),
            "limit must be an integer, not 4294967296",
        ),
        ("list_rooms", json!({"limit": "1"}), "limit must be an integer, not a string"),
        (
            "list_rooms",
            json!({"cursor": long}),
            "the arguments have 70013 bytes; at most 65536 are taken",
        ),
    ];
    let writes = [
        (
            "create_room",
            json!({"room_mode": "big"}),
            "room_mode: `big` is not known; it must be one of normal, group",
        ),
        ("create_room", json!({"room_mode": 1}), "room_mode must be a string, not 1"),
        ("create_room", json!({"fields": {}}), "fields must be an array, not an object"),
        ("create_room", json!({"fields": [1]}), "fields[0] must be a string or an object, not 1"),
        (
            "create_room",
            json!({"fields": ["a"]}),
            "fields[0]: `a` is not known; it must be one of hostRoomUrl, ",
        ),
        ("create_room", json!({"fields": ["recording"]}), "fields[0]: `recording` carries a value"),
        (
            "create_room",
            json!({"fields": [{"isLocked": "yes"}]}),
            "fields[0].isLocked must be true or false, not a string",
        ),
        (
            "create_room",
            json!({"fields": ["isLocked", {}]}),
            "fields[1]: an object must have at least one member",
        ),
        (
            "create_room",
            json!({"fields": [{"recording": null}]}),
            "fields[0]: an object must have at least one member",
        ),
        (
            "create_room",
            json!({"fields": [{"isLocked": true, "title": true}]}),
            "fields[0]: `title` is not known; it must be one of hostRoomUrl, ",
        ),
        (
            "create_room",
            json!({"fields": [{"recording": {}}]}),
            "fields[0].recording needs `type`: a string",
        ),
        (
            "create_room",
            json!({"fields": [{"recording": {"type": "none", "a": 1}}]}),
            "unknown member `a`: fields[0].recording takes type, destination, startTrigger",
        ),
        (
            "create_room",
            json!({"fields": [{"streaming": {"destination": {"url": 1}}}]}),
            "fields[0].streaming.destination.url must be a string, not 1",
        ),
    ];
    let writes = if cfg!(feature = "write") { &writes[..] } else { &[] };
    for (function, arguments, message) in reads.iter().chain(writes) {
        let (result, calls) = call(&format!("whereby_{function}"), arguments.clone());
        assert_eq!(calls, [], "{function}");
        let error = &result["_meta"]["whereby/error"];
        assert_eq!(error["kind"], "invalid-argument");
        let told = error["message"].as_str().expect("a string");
        assert!(told.starts_with(message), "{told}");
    }
}

/// Any JSON, with names that mean something among the members.
fn any_json() -> impl Strategy<Value = Value> {
    let names =
        "(jsonrpc|id|method|params|name|arguments|fields|recording|limit|room_name|[a-z]{1,3})";
    let words = "(2\\.0|tools/call|tools/list|initialize|whereby_create_room|whereby_list_rooms|recording|.{0,8})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(names, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_is_answered(message in any_json(), arguments in any_json(), tool in 0..TOOLS.len()) {
        exchange(message.to_string().as_bytes(), true);
        request("tools/call", json!({"name": TOOLS[tool].name, "arguments": arguments}));
    }

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        exchange(&body, true);
    }
}
