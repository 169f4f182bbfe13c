//! Arguments that are not as declared: a clear error, before anything is decided or sent.

use crate::wire::{ALLOW_ALL, kind, message, sent};
use serde_json::{Value, json};
use whereby::Call;
use whereby::simulator::RoomSeed;
use whereby_tests::World;

/// Checks that arguments are refused with a message that holds these words, and nothing is sent.
async fn assert_refused(world: &World, function: &str, arguments: Value, words: &[&str]) {
    let shown: String = arguments.to_string().chars().take(200).collect();
    let outcome = world.session().call(None, function, arguments).await;
    assert_eq!(kind(&outcome), "invalid-argument", "{function} {shown}");
    let text = message(&outcome);
    for word in words {
        assert!(text.contains(word), "`{word}` is missing for {function} {shown}: {text}");
    }
    assert!(text.chars().count() < 1200, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn values_of_another_type_are_named_with_what_would_be_right() {
    let world = World::new().await;
    for (function, arguments, words) in [
        (
            "list_rooms",
            json!({"limit": "10"}),
            &["limit", "an integer from 1 to 100", "a string"][..],
        ),
        ("list_rooms", json!({"limit": true}), &["limit", "true"]),
        ("list_rooms", json!({"limit": [10]}), &["limit", "an array"]),
        ("list_rooms", json!({"limit": {}}), &["limit", "an object"]),
        ("list_rooms", json!({"limit": 0}), &["limit", "1 to 100", "0"]),
        ("list_rooms", json!({"limit": 101}), &["limit", "1 to 100", "101"]),
        ("list_rooms", json!({"limit": -1}), &["limit", "-1"]),
        ("list_rooms", json!({"limit": 10.5}), &["limit", "10.5"]),
        ("list_rooms", json!({"limit": 1e300}), &["limit"]),
        ("list_rooms", json!({"limit": u64::MAX}), &["limit"]),
        ("list_rooms", json!({"limit": 4_294_967_297_u64}), &["limit"]),
        ("list_rooms", json!({"cursor": 7}), &["cursor", "a string", "7"]),
        ("get_room", json!({"room_name": 7}), &["room_name", "a string"]),
        ("get_room", json!({"room_name": ["daily"]}), &["room_name", "an array"]),
        ("get_room", json!({"room_name": ""}), &["room_name", "1 to 2000"]),
        ("get_meeting", json!({"meeting_id": ""}), &["meeting_id", "1 to 300"]),
        ("get_room", json!({"room_name": "a.whereby.com/b"}), &["room_name", "daily-standup"]),
        (
            "get_room",
            json!({"room_name": "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10"}),
            &["room_name", "id of a meeting", "`daily`"],
        ),
        ("get_meeting", json!({"meeting_id": "daily"}), &["meeting_id", "list_meetings"]),
        ("get_room", json!({"room_name": "http://a.whereby.com/x"}), &["room_name", "https://"]),
        ("get_room", json!({}), &["room_name", "needs"]),
        ("get_room", json!({"room_name": null}), &["room_name", "needs"]),
        ("get_meeting", json!({}), &["meeting_id", "needs"]),
        ("list_meetings", json!({"from_date": 20_260_301}), &["from_date", "a string"]),
        ("list_meetings", json!({"to_date": "1 March"}), &["to_date", "RFC 3339", "2026-03-02"]),
        ("create_room", json!({"room_mode": "big"}), &["room_mode", "normal, group"]),
        ("create_room", json!({"room_mode": "Group"}), &["room_mode", "did you mean `group`"]),
        ("create_room", json!({"fields": "hostRoomUrl"}), &["fields", "an array", "a string"]),
        (
            "create_room",
            json!({"fields": ["hostRoomURL"]}),
            &["fields[0]", "did you mean `hostRoomUrl`"],
        ),
        ("create_room", json!({"fields": ["title"]}), &["fields[0]", "liveTranscription"]),
        ("create_room", json!({"fields": [7]}), &["fields[0]", "a string or an object"]),
        ("create_room", json!({"fields": [{}]}), &["fields[0]", "at least one", "hostRoomUrl"]),
        ("create_room", json!({"fields": [{"streaming": null}]}), &["fields[0]", "at least one"]),
        (
            "create_room",
            json!({"fields": [{"isLocked": true, "hostRoomURL": true}]}),
            &["fields[0]", "did you mean `hostRoomUrl`"],
        ),
        (
            "create_room",
            json!({"fields": ["isLocked", {"isLocked": true}]}),
            &["fields", "`lockRoomOnJoin` (or `isLocked`) is given twice"],
        ),
        ("create_room", json!({"fields": ["recording"]}), &["fields[0]", "needs a value"]),
        // A caller who does not want it is not told to ask for it.
        ("create_room", json!({"isLocked": false}), &[r#"{"fields": [{"isLocked": false}]}"#]),
        ("create_room", json!({"hostRoomUrl": true}), &[r#"{"fields": [{"hostRoomUrl": true}]}"#]),
        (
            "create_room",
            json!({"fields": [{"isLocked": "yes"}]}),
            &["fields[0].isLocked", "true or false"],
        ),
        ("create_room", json!({"fields": [{"recording": {}}]}), &["fields[0].recording", "type"]),
        (
            "create_room",
            json!({"fields": [{"recording": {"type": "clowd"}}]}),
            &["fields[0].recording.type", "did you mean `cloud`"],
        ),
        (
            "create_room",
            json!({"fields": [{"recording": {"type": "cloud", "destination": {"provider": "s3", "buckit": "x"}}}]}),
            &["unknown member `buckit`", "did you mean `bucket`"],
        ),
        ("create_room", json!({"fields": vec!["isLocked"; 17]}), &["fields", "17", "at most 16"]),
        (
            "create_room",
            json!({"room_name_prefix": "x".repeat(40)}),
            &["room_name_prefix", "0 to 39", "40"],
        ),
    ] {
        assert_refused(&world, function, arguments, words).await;
    }
}

/// The component says the same, which its own tests check with the same words.
#[tokio::test]
async fn names_of_rooms_are_refused_in_the_words_of_the_component() {
    let world = World::new().await;
    let not_a_name = "not a room's name as list_rooms shows it, such as daily-standup, nor a room's \
                      URL, such as https://example.whereby.com/daily-standup";
    let write = "a room's URL without `https://`, not a name such as daily-standup; write https://";
    for (name, words) in [
        (" ", not_a_name.to_owned()),
        ("/", not_a_name.to_owned()),
        ("a?roomKey=x", not_a_name.to_owned()),
        ("ftp://acme.whereby.com/daily", "a room's URL has the form".to_owned()),
        ("acme.whereby.com/daily", format!("{write}acme.whereby.com/daily")),
        (" Acme.Whereby.com/Daily?roomKey=s3cret ", format!("{write}Acme.Whereby.com/Daily")),
        ("acme.whereby.com/a#roomKey=s3cret", format!("{write}acme.whereby.com/a")),
        (
            "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
            "this is the id of a meeting; the name of its room is `daily`".to_owned(),
        ),
    ] {
        let outcome = world.session().call(None, "get_room", json!({"room_name": name})).await;
        let text = message(&outcome);
        assert!(text.starts_with(&format!("room_name: {words}")), "{name}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn unknown_names_are_named_with_the_nearest_known_one() {
    let world = World::new().await;
    for (function, name, words) in [
        ("list_rooms", "limitt", &["did you mean `limit`"][..]),
        ("list_rooms", "Limit", &["did you mean `limit`"]),
        ("get_room", "roomName", &["did you mean `room_name`"]),
        ("get_room", "room-name", &["did you mean `room_name`"]),
        ("list_meetings", "from", &["from_date"]),
        ("get_current_user", "id", &["get_current_user takes nothing"]),
        ("create_room", "access_token", &["takes room_mode"]),
        ("create_room", "isLocked", &["`isLocked`", r#"{"fields": [{"isLocked": …}]}"#]),
        ("create_room", "is_locked", &["`is_locked`", r#"{"fields": [{"isLocked": …}]}"#]),
        ("create_room", "hostRoomUrl", &[r#"{"fields": [{"hostRoomUrl": …}]}"#]),
        ("create_room", "viewerMode", &[r#"{"fields": [{"viewerMode": …}]}"#]),
        ("create_room", "roomNamePattern", &[r#"{"fields": [{"roomNamePattern": …}]}"#]),
        ("create_room", "recording", &[r#"{"fields": [{"recording": …}]}"#]),
        ("create_room", "liveTranscription", &[r#"{"fields": [{"liveTranscription": …}]}"#]),
        ("create_room", "roomNamePrefix", &["did you mean `room_name_prefix`"]),
        ("create_room", "roomMode", &["did you mean `room_mode`"]),
        ("list_rooms", "\u{1b}[2J", &["\\u{1b}[2J"]),
        ("list_rooms", "", &["unknown argument"]),
    ] {
        assert_refused(&world, function, json!({name: 1}), words).await;
    }
    let long = "x".repeat(5000);
    assert_refused(&world, "list_rooms", json!({long: 1}), &["unknown argument `xxx", "…"]).await;
}

#[tokio::test]
async fn arguments_that_are_no_object_are_refused_with_an_example() {
    let world = World::new().await;
    for arguments in [json!("daily"), json!(7), json!(true), json!([1]), json!([{}])] {
        assert_refused(&world, "get_room", arguments, &["a JSON object", "room_name"]).await;
    }
}

#[tokio::test]
async fn control_characters_are_refused_by_their_code() {
    let world = World::new().await;
    for bad in ['\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'] {
        let code = format!("U+{:04X}", u32::from(bad));
        let text = format!("a{bad}b");
        for (function, name) in [
            ("list_rooms", "cursor"),
            ("create_room", "room_name_prefix"),
            ("list_meetings", "from_date"),
        ] {
            assert_refused(&world, function, json!({name: text}), &[name, &code]).await;
        }
        let url =
            json!({"fields": [{"streaming": {"destination": {"url": format!("rtmp://a/{bad}")}}}]});
        assert_refused(&world, "create_room", url, &["streaming.destination.url", &code]).await;
    }
}

#[tokio::test]
async fn sizes_beyond_all_reason_are_refused_by_their_size() {
    let world = World::new().await;
    for arguments in [
        json!({"cursor": "x".repeat(70_000)}),
        json!({"x".repeat(70_000): 1}),
        json!({"fields": vec![json!({"roomNamePattern": "uuid"}); 4000]}),
        json!({"a": vec![0; 40_000]}),
    ] {
        assert_refused(&world, "create_room", arguments, &["at most 65536"]).await;
    }
    assert_refused(&world, "list_rooms", json!({"cursor": "ä".repeat(1025)}), &["1 to 1024"]).await;
    assert_refused(&world, "get_room", json!({"room_name": "x".repeat(2001)}), &["1 to 2000"])
        .await;
}

#[tokio::test]
async fn a_value_within_arguments_is_never_repeated_as_it_may_be_a_secret() {
    let world = World::new().await;
    for fields in [
        json!([{"recording": {"type": "cloud", "destination": {"provider": "s3", "accessKeySecret": ["s3cret"]}}}]),
        json!([{"streaming": {"destination": "s3cret"}}]),
        json!([{"streaming": {"destination": {"url": {"s3cret": 1}}}}]),
    ] {
        let outcome = world.call("create_room", json!({"fields": fields})).await;
        assert_eq!(kind(&outcome), "invalid-argument");
        assert!(!message(&outcome).contains("s3cret"), "{}", message(&outcome));
    }
    let name = "https://acme-demo.whereby.com:7/a?roomKey=s3cret";
    for name in [name, "acme-demo.whereby.com/a?roomKey=s3cret", "a?RoomKey=s3cret"] {
        let outcome = world.call("get_room", json!({"room_name": name})).await;
        assert!(!message(&outcome).contains("s3cret"), "{}", message(&outcome));
    }
    world.assert_untouched();
}

#[tokio::test]
async fn nulls_are_dropped_and_an_empty_list_stands_for_no_arguments() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let session = world.session();
    for arguments in [
        json!({}),
        json!(null),
        json!([]),
        json!({"limit": null}),
        json!({"limit": null, "cursor": null}),
    ] {
        world.simulator.clear_requests();
        let outcome = session.call(None, "list_rooms", arguments.clone()).await;
        assert!(outcome.result.is_ok(), "{arguments}: {:?}", outcome.result);
        assert_eq!(sent(&world), ["GET /v1/meetings"]);
    }
    let nulls = json!({"fields": [{"recording": {"type": "none", "destination": null, "startTrigger": null}}]});
    let plan = session.plan(Call::new("create_room", nulls)).expect("a plan");
    assert_eq!(plan.arguments, json!({"fields": [{"recording": {"type": "none"}}]}));
}

#[tokio::test]
async fn whole_numbers_are_whole_however_they_are_written() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let session = world.session();
    for text in ["10", "10.0", "1e1", "1.0E+1", "100e-1"] {
        world.simulator.clear_requests();
        let limit: Value = serde_json::from_str(text).expect("JSON");
        let outcome = session.call(None, "list_rooms", json!({"limit": limit})).await;
        assert!(outcome.result.is_ok(), "{text}: {:?}", outcome.result);
        assert_eq!(sent(&world), ["GET /v1/meetings limit=10"], "{text}");
    }
}

#[tokio::test]
async fn what_clients_leave_empty_is_absent() {
    let world = World::new().await;
    world.configure(ALLOW_ALL);
    let session = world.session();
    for (function, arguments) in [
        ("list_rooms", json!({"cursor": "", "limit": ""})),
        (
            "list_meetings",
            json!({"cursor": "", "from_date": "", "to_date": "", "room_name": "", "limit": null}),
        ),
        (
            "create_room",
            json!({
                "room_mode": "", "room_name_prefix": "", "start_date": "", "end_date": "",
                "fields": []
            }),
        ),
        // An empty table of Lua's is either.
        ("create_room", json!({"fields": {}, "room_name_prefix": "  "})),
    ] {
        let plan = session.plan(Call::new(function, arguments.clone())).expect("a plan");
        assert_eq!(plan.arguments, json!({}), "{function} {arguments}");
        let outcome = session.call(None, function, arguments.clone()).await;
        assert!(outcome.result.is_ok(), "{function} {arguments}: {:?}", outcome.result);
    }
    let nested = |destination: Value| {
        json!({"fields": [{"recording": {
            "type": "none", "startTrigger": "", "destination": destination,
        }}]})
    };
    let s3 = json!({"provider": "s3", "bucket": "", "region": "", "fileFormat": ""});
    for (destination, expected) in [
        (json!({}), json!({"type": "none"})),
        (s3, json!({"type": "none", "destination": {"provider": "s3"}})),
    ] {
        let plan = session.plan(Call::new("create_room", nested(destination))).expect("a plan");
        assert_eq!(plan.arguments["fields"][0]["recording"], expected);
    }
}

#[tokio::test]
async fn two_spellings_of_a_call_are_one_call() {
    let world = World::new().await;
    let session = world.session();
    let normal = |function: &str, arguments: Value| {
        session.plan(Call::new(function, arguments)).expect("a plan").arguments.to_string()
    };
    let uuid = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
    let field = |field: Value| json!({"fields": [field]});
    let recording = |destination: Value| {
        field(json!({"recording": {"type": "cloud", "destination": destination}}))
    };
    for (function, spellings) in [
        (
            "get_room",
            vec![
                json!({"room_name": "daily"}),
                json!({"room_name": " /DAILY "}),
                json!({"room_name": "Daily"}),
            ],
        ),
        (
            "delete_room",
            vec![
                json!({"room_name": "https://acme.whereby.com/daily"}),
                json!({"room_name": "https://ACME.whereby.com:443/Daily?roomKey=x#y"}),
                json!({"room_name": "HTTPS://acme.whereby.com/d%61ily/"}),
            ],
        ),
        (
            "get_meeting",
            vec![
                json!({"meeting_id": format!("daily:{uuid}")}),
                json!({"meeting_id": format!(" /Daily:{uuid} ")}),
            ],
        ),
        (
            "list_rooms",
            vec![json!({"limit": 5, "cursor": "x"}), json!({"cursor": "x", "limit": 5.0})],
        ),
        ("list_rooms", vec![json!({}), json!({"cursor": null}), json!({"cursor": ""})]),
        (
            "create_room",
            vec![
                json!({"end_date": "2099-03-02T10:00:00Z"}),
                json!({"end_date": "2099-03-02T10:00:00.000Z"}),
                json!({"end_date": "2099-03-02T12:00:00+02:00"}),
                json!({"end_date": "2099-03-02t10:00:00z"}),
                json!({"end_date": "2099-03-02 10:00:00"}),
            ],
        ),
        (
            "create_room",
            vec![
                json!({"room_name_prefix": "q-"}),
                json!({"room_name_prefix": "Q-"}),
                json!({"room_name_prefix": "q -"}),
                json!({"room_name_prefix": " Q\u{a0}-"}),
            ],
        ),
        (
            "list_meetings",
            vec![
                json!({"from_date": "2026-03-01", "to_date": "2026-03-31"}),
                json!({
                    "from_date": "2026-03-01T02:00:00+02:00",
                    "to_date": "2026-03-31T23:59:59.999999999Z",
                }),
            ],
        ),
        (
            "create_room",
            vec![
                json!({"fields": ["hostRoomUrl", "lockRoomOnJoin", {"roomNamePattern": "uuid"}]}),
                json!({"fields": [{"roomNamePattern": "uuid"}, "isLocked", "hostRoomUrl"]}),
                json!({"fields": [{"hostRoomUrl": true, "isLocked": true, "roomNamePattern": "uuid"}]}),
                json!({"fields": [
                    {"roomNamePattern": "uuid", "viewerMode": false}, {"lockRoomOnJoin": true}, "hostRoomUrl",
                ]}),
            ],
        ),
        (
            "create_room",
            vec![
                json!({}),
                json!({"fields": []}),
                json!({"fields": null}),
                json!({"fields": [{"viewerMode": false}]}),
            ],
        ),
        (
            "create_room",
            vec![
                recording(json!({"provider": "whereby"})),
                recording(json!({"provider": "whereby", "bucket": null, "region": ""})),
            ],
        ),
        (
            "create_room",
            vec![
                field(json!({"recording": {"type": "none"}})),
                field(
                    json!({"recording": {"type": "none", "destination": {}, "startTrigger": ""}}),
                ),
            ],
        ),
    ] {
        for other in &spellings {
            assert_eq!(
                normal(function, spellings[0].clone()),
                normal(function, other.clone()),
                "{other}"
            );
        }
    }
    assert_eq!(
        normal("list_rooms", json!({"cursor": "x", "limit": 5})),
        r#"{"limit":5,"cursor":"x"}"#
    );
    // What means something else stays something else.
    for (function, one, other) in [
        ("get_room", json!({"room_name": "daily"}), json!({"room_name": "daily-"})),
        (
            "delete_room",
            json!({"room_name": "daily"}),
            json!({"room_name": "https://acme.whereby.com/daily"}),
        ),
        (
            "delete_room",
            json!({"room_name": "https://acme.whereby.com/daily"}),
            json!({"room_name": "https://other.whereby.com/daily"}),
        ),
        (
            "create_room",
            json!({"end_date": "2099-03-02T10:00:00Z"}),
            json!({"end_date": "2099-03-02T10:00:00.001Z"}),
        ),
        (
            "create_room",
            json!({"end_date": "2099-03-02T10:00:00Z"}),
            json!({"end_date": "2099-03-02T10:00:00+02:00"}),
        ),
        ("create_room", json!({"room_name_prefix": "q-"}), json!({"room_name_prefix": "q"})),
        ("create_room", json!({}), json!({"room_mode": "normal"})),
        ("create_room", json!({"fields": ["hostRoomUrl"]}), json!({"fields": ["viewerRoomUrl"]})),
        ("list_rooms", json!({"cursor": "x"}), json!({"cursor": "X"})),
        ("get_meeting", json!({"meeting_id": "daily:AbC"}), json!({"meeting_id": "daily:abc"})),
        (
            "list_meetings",
            json!({"to_date": "2026-03-31"}),
            json!({"to_date": "2026-03-31T00:00:00Z"}),
        ),
        (
            "create_room",
            recording(json!({"provider": "s3", "bucket": "a"})),
            recording(json!({"provider": "s3", "bucket": "A"})),
        ),
    ] {
        assert_ne!(normal(function, one.clone()), normal(function, other), "{one}");
    }
}

#[tokio::test]
async fn arguments_as_text_may_nest_ten_thousand_deep_and_are_refused() {
    let world = World::new().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"fields\":[", "]}")] {
        let depth = 10_000;
        let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for arguments in [["call", "create_room", &text], ["call", "list_rooms", &text]] {
            let ran = world.run(&[&arguments[..], &["--json"]].concat()).await;
            assert_eq!(ran.code, 2);
            assert_eq!(ran.json()["error"]["kind"], "usage");
        }
        let stdin =
            whereby_tests::run(&["call", "create_room", "-"], world.environment(), &text, false);
        assert_eq!(stdin.await.code, 2);
        let arg = format!("--arg=fields={text}");
        assert_eq!(world.run(&["call", "create_room", &arg]).await.code, 2);
    }
    world.assert_untouched();
}

#[tokio::test]
async fn every_function_refuses_what_is_declared_for_another() {
    let world = World::new().await;
    world.configure(ALLOW_ALL);
    for function in whereby::catalog::FUNCTIONS {
        for other in whereby::catalog::FUNCTIONS.iter().flat_map(|other| other.params) {
            if function.params.iter().any(|param| param.json == other.json) {
                continue;
            }
            assert_refused(&world, function.json, json!({other.json: "x"}), &["unknown argument"])
                .await;
        }
    }
}
