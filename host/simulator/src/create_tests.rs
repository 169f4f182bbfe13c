//! Tests valid and invalid bodies of POST /meetings.

use serde_json::json;

use super::super::switches::{DateFormat, UnknownFields};
use super::*;

fn read(body: &Value, switches: &Switches) -> Result<CreateRequest, String> {
    let now = Moment::from_text("2026-03-02T08:00:00Z").unwrap();
    CreateRequest::from_body(body.to_string().as_bytes(), now, switches).map_err(|refusal| {
        let answer = refusal.to_response(Default::default());
        assert_eq!(answer.status.as_u16(), 400);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["error"].as_str().unwrap().to_owned()
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = json!({ "endDate": "2026-03-02T12:00:00Z" });
    body[name] = value;
    body
}

#[test]
fn the_end_is_read_in_utc() {
    for (text, ends) in [
        ("2026-03-02T12:00:00Z", "2026-03-02T12:00:00.000Z"),
        ("2026-03-02T12:00:00", "2026-03-02T12:00:00.000Z"),
        ("2026-03-02T12:00:00-05:00", "2026-03-02T17:00:00.000Z"),
        ("2026-03-02T08:00:00Z", "2026-03-02T08:00:00.000Z"),
        ("2099-02-18T14:23:00.000Z", "2099-02-18T14:23:00.000Z"),
    ] {
        let wishes = read(&json!({ "endDate": text }), &Switches::default()).unwrap();
        assert_eq!(wishes.ends.to_text(DateFormat::Milliseconds), ends);
    }
}

#[test]
fn prefixes_lose_upper_case_and_white_space() {
    for (prefix, result) in [
        ("", Some("")),
        ("standup-", Some("standup-")),
        ("Team Stand Up-", Some("teamstandup-")),
        (&"a".repeat(39), Some(&*"a".repeat(39))),
        (&"a".repeat(40), None),
        ("under_score", None),
        ("käse", None),
        ("a/b", None),
    ] {
        let wishes = read(&with("roomNamePrefix", json!(prefix)), &Switches::default());
        assert_eq!(wishes.ok().map(|wishes| wishes.prefix).as_deref(), result, "{prefix}");
    }
}

#[test]
fn invalid_bodies_are_refused_with_a_reason() {
    let s3 = |authentication| json!({ "provider": "s3", "authenticationType": authentication, "bucket": "b" });
    for (body, reason) in [
        (json!({}), "Invalid value for endDate: it is required"),
        (json!([]), "Request body is not a JSON object"),
        (
            json!({ "endDate": "2026-03-02T07:59:59Z" }),
            "Invalid value for endDate: it is in the past",
        ),
        (json!({ "endDate": "2026-03-02" }), "Invalid value for endDate: it is not a date-time"),
        (json!({ "endDate": 1_772_452_800 }), "Invalid value for endDate: it is not a string"),
        (json!({ "endDate": null }), "Invalid value for endDate: it is not a string"),
        (with("startDate", json!(1)), "Invalid value for startDate: it is not a string"),
        (with("isLocked", json!("yes")), "Invalid value for isLocked: it is not a boolean"),
        (
            with("roomMode", json!("huge")),
            "Invalid value for roomMode: it is not one of the allowed values",
        ),
        (
            with("roomNamePattern", json!("UUID")),
            "Invalid value for roomNamePattern: it is not one of the allowed values",
        ),
        (
            with("templateType", json!("x")),
            "Invalid value for templateType: it is not one of the allowed values",
        ),
        (with("fields", json!("hostRoomUrl")), "Invalid value for fields: it is not an array"),
        (with("fields", json!([1])), "Invalid value for fields: its items are not strings"),
        (
            with("fields", json!(["isLocked"])),
            "Invalid value for fields: it must be hostRoomUrl or viewerRoomUrl",
        ),
        (with("recording", json!(true)), "Invalid value for recording: it is not an object"),
        (with("recording", json!({})), "Invalid value for recording: type is required"),
        (
            with("recording", json!({ "type": "cloud" })),
            "Invalid value for recording: startTrigger is required",
        ),
        (
            with("recording", json!({ "type": "cloud", "startTrigger": "none" })),
            "Invalid value for recording: destination is required",
        ),
        (
            with(
                "recording",
                json!({ "type": "cloud", "startTrigger": "none", "destination": s3("accessKey") }),
            ),
            "Invalid value for recording: destination lacks what this authenticationType needs",
        ),
        (
            with("liveTranscription", json!({ "startTrigger": "none", "destination": {} })),
            "Invalid value for liveTranscription: destination.provider is required",
        ),
        (
            with(
                "liveTranscription",
                json!({ "startTrigger": null, "destination": null, "language": "en," }),
            ),
            "Invalid value for language: it is not one of the allowed values",
        ),
        (
            with("streaming", json!({ "startTrigger": "none", "destination": {} })),
            "Invalid value for streaming: destination.url is required",
        ),
        (
            with(
                "streaming",
                json!({ "startTrigger": "none", "destination": { "url": "https://example.com" } }),
            ),
            "Invalid value for streaming: destination.url is not an RTMP URI",
        ),
    ] {
        assert_eq!(read(&body, &Switches::default()).map(|_| ()), Err(reason.to_owned()), "{body}");
    }
    assert!(
        CreateRequest::from_body(
            b"{",
            Moment::from_text("2026-03-02T08:00:00Z").unwrap(),
            &Switches::default()
        )
        .is_err()
    );
}

#[test]
fn valid_bodies_are_accepted() {
    for (body, needs_plan) in [
        (with("recording", json!({ "type": "none", "destination": {} })), false),
        (
            with(
                "recording",
                json!({ "type": "cloud", "destination": null, "startTrigger": null }),
            ),
            true,
        ),
        (
            with(
                "recording",
                json!({
                    "type": "cloud",
                    "destination": { "provider": "whereby", "fileFormat": "mp4" },
                    "startTrigger": "automatic-2nd-participant",
                }),
            ),
            true,
        ),
        (
            with(
                "liveTranscription",
                json!({
                    "destination": { "provider": "s3", "authenticationType": "roleBased", "bucket": "b", "oidcRoleArn": "arn" },
                    "startTrigger": "manual",
                    "language": "pt-BR",
                    "liveCaptions": true,
                }),
            ),
            false,
        ),
        (
            with(
                "streaming",
                json!({
                    "destination": { "url": "rtmp://a.rtmp.youtube.com/live2/key" },
                    "startTrigger": "prompt",
                }),
            ),
            true,
        ),
        (with("somethingNew", json!(1)), false),
    ] {
        assert_eq!(
            read(&body, &Switches::default()).map(|wishes| wishes.needs_plan),
            Ok(needs_plan),
            "{body}"
        );
    }
}

#[test]
fn switches_decide_about_unknown_members() {
    let strict = Switches { unknown_members: UnknownMembers::Rejected, ..Switches::default() };
    assert!(read(&with("somethingNew", json!(1)), &strict).is_err());
    assert!(
        read(&with("streaming", json!({ "x": 1 })), &strict)
            .unwrap_err()
            .contains("unknown member")
    );
    let lenient = Switches { unknown_fields: UnknownFields::Ignored, ..Switches::default() };
    let wishes = read(&with("fields", json!(["isLocked", "hostRoomUrl"])), &lenient).unwrap();
    assert_eq!(wishes.fields, Fields { host: true, viewer: false });
    let viewer_mode = read(&with("templateType", json!("viewerMode")), &lenient).unwrap();
    assert_eq!(viewer_mode.fields, Fields { host: true, viewer: true });
}
