//! `create_room`: one POST, whose body says what was asked for and no more.

use crate::wire::{ALLOW_ALL, body, kind, message, sent};
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use whereby::WriteOutcome;
use whereby::simulator::switches::RecordingPlan;
use whereby::simulator::{Options, Reply, Switches};
use whereby_tests::World;

async fn world() -> World {
    let world = World::with(Options::default()).await;
    world.configure(ALLOW_ALL);
    world
}

/// Creates a room, and returns the result and the body that was sent for it.
async fn create(world: &World, arguments: Value) -> (Value, Value) {
    world.simulator.clear_requests();
    let shown = arguments.to_string();
    let outcome = world.call("create_room", arguments).await;
    let created = outcome.result.unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(outcome.write, WriteOutcome::Done);
    assert_eq!(sent(world), ["POST /v1/meetings"]);
    (created, body(&world.requests()[0]))
}

#[tokio::test]
async fn without_arguments_a_room_for_a_day_is_made_and_the_default_is_told() {
    let world = world().await;
    let (created, body) = create(&world, json!({})).await;
    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["endDate"], "nothing that was not asked for");
    assert_eq!(created["endDateDefaulted"], true);
    let notes = created["notes"].to_string();
    assert!(notes.contains("24 hours") && notes.contains("end_date"), "{notes}");
    assert_eq!((&created["hostRoomUrl"], &created["viewerRoomUrl"]), (&Value::Null, &Value::Null));
    let (start, end) = (seconds(&created["startDate"]), seconds(&created["endDate"]));
    assert!((end - start - 24 * 3600).abs() < 600, "{created}");
}

#[tokio::test]
async fn the_default_end_is_an_hour_after_a_start_that_is_to_come() {
    let world = world().await;
    let (created, body) = create(&world, json!({"start_date": "2099-03-02T09:00:00Z"})).await;
    assert_eq!(
        body,
        json!({"endDate": "2099-03-02T10:00:00Z", "startDate": "2099-03-02T09:00:00Z"})
    );
    assert_eq!(created["endDateDefaulted"], true);
    assert!(!created["startDate"].as_str().expect("a date").starts_with("2099"), "{created}");
    let notes = created["notes"].to_string();
    assert!(notes.contains("ignores start_date") && notes.contains("an hour after"), "{notes}");
}

#[tokio::test]
async fn dates_are_sent_in_utc_and_nothing_is_said_of_defaults() {
    let world = world().await;
    for (end, expected) in [
        ("2099-03-02T10:00:00Z", "2099-03-02T10:00:00Z"),
        ("2099-03-02T10:00:00+02:00", "2099-03-02T08:00:00Z"),
        ("2099-03-02T10:00:00", "2099-03-02T10:00:00Z"),
        ("2099-03-02T10:00:00.250-01:30", "2099-03-02T11:30:00.25Z"),
    ] {
        let (created, body) = create(&world, json!({"end_date": end})).await;
        assert_eq!(body, json!({"endDate": expected}), "{end}");
        assert_eq!(created["endDateDefaulted"], false);
        assert_eq!(created["notes"], json!([]));
        assert_eq!(seconds(&created["endDate"]), seconds(&json!(expected)), "{end}");
    }
}

#[tokio::test]
async fn dates_that_cannot_be_are_refused_and_nothing_is_sent() {
    let world = world().await;
    for (arguments, named) in [
        (json!({"end_date": "2025-01-01T00:00:00Z"}), "end_date"),
        (json!({"end_date": "tomorrow"}), "end_date"),
        (json!({"end_date": "2099-03-02"}), "end_date"),
        (json!({"end_date": "2099-02-30T00:00:00Z"}), "end_date"),
        (json!({"start_date": "soon"}), "start_date"),
        (
            json!({"start_date": "2099-03-02T10:00:00Z", "end_date": "2099-03-02T09:59:59Z"}),
            "end_date",
        ),
    ] {
        let outcome = world.call("create_room", arguments.clone()).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{arguments}");
        assert!(message(&outcome).contains(named), "{}", message(&outcome));
        assert_eq!(outcome.write, WriteOutcome::None);
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_prefix_is_brought_into_whereby_s_form() {
    let world = world().await;
    for (given, expected) in [
        ("standup-", Some("standup-")),
        ("Stand Up-", Some("standup-")),
        ("x", Some("x")),
        ("", None),
        ("  ", None),
    ] {
        let (created, body) = create(&world, json!({"room_name_prefix": given})).await;
        assert_eq!(body["roomNamePrefix"].as_str(), expected, "{given:?}");
        let name = created["roomName"].as_str().expect("a name");
        assert!(name.starts_with(expected.unwrap_or("")), "{name}");
        assert!(!name.starts_with('/'), "{name}");
    }
    world.simulator.clear_requests();
    for given in ["a/b", "ä", "a_b", "a.b", &"x".repeat(40), "a?b"] {
        let outcome = world.call("create_room", json!({"room_name_prefix": given})).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{given}");
        assert!(message(&outcome).contains("room_name_prefix"), "{}", message(&outcome));
    }
    world.assert_untouched();
}

#[tokio::test]
async fn host_and_viewer_urls_are_returned_where_they_are_asked_for() {
    let world = world().await;
    for (fields, host, viewer) in [
        (json!(["hostRoomUrl"]), true, false),
        (json!(["viewerRoomUrl"]), false, true),
        (json!(["hostRoomUrl", "viewerRoomUrl"]), true, true),
    ] {
        let (created, body) = create(&world, json!({"fields": fields})).await;
        assert_eq!(body["fields"], fields);
        assert_eq!(created["hostRoomUrl"].is_string(), host, "{created}");
        assert_eq!(created["viewerRoomUrl"].is_string(), viewer, "{created}");
    }
    let (created, body) = create(&world, json!({"fields": ["viewerMode"]})).await;
    assert_eq!(body["templateType"], "viewerMode");
    assert!(created["hostRoomUrl"].is_string() && created["viewerRoomUrl"].is_string());
}

#[tokio::test]
async fn an_answer_with_a_secret_that_was_not_asked_for_is_returned_without_it() {
    let world = world().await;
    let url = "https://acme-demo.whereby.com/x";
    let reply = Reply::status(201).json(&json!({
        "meetingId": "7", "roomName": "/x", "roomUrl": url, "endDate": "2099-01-01T00:00:00Z",
        "hostRoomUrl": format!("{url}?roomKey=s3cret"),
    }));
    world.simulator.script("POST", "/v1/meetings", 1, reply);
    let (created, _) = create(&world, json!({})).await;
    assert!(!created.to_string().contains("s3cret"), "{created}");
}

#[tokio::test]
async fn every_field_reaches_the_body_in_whereby_s_words() {
    let world = world().await;
    let s3 = json!({
        "provider": "s3", "authenticationType": "access-key", "bucket": "b/recordings",
        "region": "eu-north-1", "accessKeyId": "AKIA", "accessKeySecret": "s3cret",
    });
    let s3_sent = json!({
        "provider": "s3", "authenticationType": "accessKey", "bucket": "b/recordings",
        "region": "eu-north-1", "accessKeyId": "AKIA", "accessKeySecret": "s3cret",
    });
    let role = json!({"provider": "s3", "authenticationType": "role-based", "bucket": "b", "oidcRoleArn": "arn:x"});
    let role_sent = json!({"provider": "s3", "authenticationType": "roleBased", "bucket": "b", "oidcRoleArn": "arn:x"});
    let mut mkv = s3.clone();
    mkv["fileFormat"] = json!("mkv");
    let mut mkv_sent = s3_sent.clone();
    mkv_sent["fileFormat"] = json!("mkv");
    for (field, member, sent) in [
        (json!("lockRoomOnJoin"), "isLocked", json!(true)),
        (json!("isLocked"), "isLocked", json!(true)),
        (json!("viewerMode"), "templateType", json!("viewerMode")),
        (json!({"roomNamePattern": "uuid"}), "roomNamePattern", json!("uuid")),
        (json!({"roomNamePattern": "human-short"}), "roomNamePattern", json!("human-short")),
        (
            json!({"recording": {"type": "none"}}),
            "recording",
            json!({"type": "none", "destination": null, "startTrigger": null}),
        ),
        (
            json!({"recording": {"type": "local", "startTrigger": "prompt"}}),
            "recording",
            json!({"type": "local", "destination": null, "startTrigger": "prompt"}),
        ),
        (
            json!({"recording": {"type": "cloud", "destination": mkv, "startTrigger": "automatic-second-participant"}}),
            "recording",
            json!({"type": "cloud", "destination": mkv_sent, "startTrigger": "automatic-2nd-participant"}),
        ),
        (
            json!({"recording": {"type": "cloud", "destination": {"provider": "whereby", "fileFormat": "mp4"}, "startTrigger": "automatic"}}),
            "recording",
            json!({"type": "cloud", "destination": {"provider": "whereby", "fileFormat": "mp4"}, "startTrigger": "automatic"}),
        ),
        (
            json!({"streaming": {"destination": {"url": "rtmp://a.example/live/k"}, "startTrigger": "prompt"}}),
            "streaming",
            json!({"destination": {"url": "rtmp://a.example/live/k"}, "startTrigger": "prompt"}),
        ),
        (
            json!({"streaming": {"destination": {"url": "rtmps://a.example/live/k"}}}),
            "streaming",
            json!({"destination": {"url": "rtmps://a.example/live/k"}, "startTrigger": null}),
        ),
        (
            json!({"liveTranscription": {"destination": role, "startTrigger": "manual", "language": "en-gb", "liveCaptions": true}}),
            "liveTranscription",
            json!({"destination": role_sent, "startTrigger": "manual", "language": "en-GB", "liveCaptions": true}),
        ),
        (
            json!({"liveTranscription": {"language": "no", "liveCaptions": false, "startTrigger": "automatic-second-participant"}}),
            "liveTranscription",
            json!({"destination": null, "startTrigger": "automatic-2nd-participant", "language": "no", "liveCaptions": false}),
        ),
    ] {
        // `region` of a recording is in the vendor's text and not in its schema.
        let arguments = json!({"end_date": "2099-01-01T00:00:00Z", "fields": [field]});
        let (_, body) = create(&world, arguments).await;
        assert_eq!(body[member], sent, "{field}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    }
}

#[tokio::test]
async fn all_fields_together_and_both_modes_reach_the_body() {
    let world = world().await;
    let (_, body) = create(
        &world,
        json!({"room_mode": "group", "fields": [
            "hostRoomUrl", "isLocked", {"roomNamePattern": "human-short"},
            {"recording": {"type": "none"}},
        ]}),
    )
    .await;
    assert_eq!(body["roomMode"], "group");
    assert_eq!((&body["isLocked"], &body["fields"]), (&json!(true), &json!(["hostRoomUrl"])));
    let (_, body) = create(&world, json!({"room_mode": "normal"})).await;
    assert_eq!(body["roomMode"], "normal");
}

#[tokio::test]
async fn the_same_field_twice_is_refused_and_nothing_is_sent() {
    let world = world().await;
    for fields in [
        json!(["hostRoomUrl", "hostRoomUrl"]),
        json!(["isLocked", "lockRoomOnJoin"]),
        json!([{"roomNamePattern": "uuid"}, {"roomNamePattern": "human-short"}]),
        json!([{"recording": {"type": "none"}}, {"recording": {"type": "local"}}]),
    ] {
        let outcome = world.call("create_room", json!({"fields": fields})).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{fields}");
        assert!(message(&outcome).contains("fields"), "{}", message(&outcome));
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_feature_that_the_plan_lacks_is_access_denied() {
    let world = world().await;
    let switches = Switches { recording_plan: RecordingPlan::Missing, ..Switches::default() };
    world.simulator.set_switches(switches);
    let outcome =
        world.call("create_room", json!({"fields": [{"recording": {"type": "local"}}]})).await;
    assert_eq!(kind(&outcome), "access-denied");
    assert!(message(&outcome).contains("plan"), "{}", message(&outcome));
    assert_eq!(outcome.write, WriteOutcome::None);
}

/// The seconds since 1970 of a date.
fn seconds(date: &Value) -> i64 {
    let date = date.as_str().expect("a date");
    let parsed = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc3339);
    parsed.expect("RFC 3339").unix_timestamp()
}

/// The start may be over by the second attempt, which is the same request all the same.
#[tokio::test]
async fn a_start_in_a_moment_is_no_reason_to_refuse_an_attempt_after_a_rate_limit() {
    let world = world().await;
    let limit = Reply::status(429).header("retry-after", "1");
    world.simulator.script("POST", "/v1/meetings", 1, limit);
    let start = OffsetDateTime::now_utc() + Duration::from_secs(1);
    let start = start.format(&Rfc3339).expect("a date");
    let outcome = world.call("create_room", json!({"start_date": start})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.write, WriteOutcome::Done);
    let requests = world.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
}

#[tokio::test]
async fn a_stream_goes_to_a_server_that_is_named_in_one_way_only() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("[permissions]\nwrite = \"ask\"\n");
    let call = |url: &str| {
        let arguments = json!({"fields": [{"streaming": {"destination": {"url": url}}}]});
        let session = world.session();
        async move { session.call(None, "create_room", arguments).await }
    };
    for url in [
        "rtmp:a.example/live/key",
        "rtmp:/a.example/live/key",
        "rtmp:///live/key",
        "//evil.example/live/key",
        "https://a.example/live/key",
        "rtmps://a.example:443443/key",
        "rtmp://a.example:port/key",
        "rtmp://a.example@evil.example/key",
        "rtmp://user:pass@a.example/key",
        "rtmp://a.example\\@evil.example/key",
        "rtmp://a.exa\tmple/key",
        " rtmp://a.example/key",
        "rtmp://a.example/live key",
        "rtmp://ev%69l.example/key",
        "rtmp://\u{435}xample.com/key",
        "rtmp://:1935/key",
        "rtmp://a.example",
        "rtmp://a.example/",
        "rtmp://a.example?@evil.example/live/key",
        "rtmp://a.example#@evil.example/live/key",
        "rtmp://a.example/live/key#x",
        "rtmp://a.example/live/../../evil/key",
        "rtmp://a.example/live/%2e%2e/evil/key",
        "rtmp://a.example/./live/key",
    ] {
        let outcome = call(url).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{url}: {outcome:?}");
        assert!(message(&outcome).contains("streaming.destination.url"), "{url}");
    }
    assert!(world.store().approvals(true).expect("read").is_empty(), "nobody is asked");
    for url in ["rtmp://a.example/live/key", "rtmps://[2001:db8::1]:443/app/key?x=1"] {
        assert_eq!(kind(&call(url).await), "approval-required", "{url}");
    }
    world.assert_untouched();
}
