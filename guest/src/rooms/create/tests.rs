//! Tests of creating a room.

use proptest::prelude::*;

use super::{CreateArguments, create_room, prefix};
use crate::date::Moment;
use crate::prelude::*;
use crate::transport::fake::{Fake, failure};
use crate::transport::{Method, SendError, SendErrorKind};
use crate::types::{
    Error, LiveTranscription, Recording, RecordingDestination, RecordingFormat, RecordingTrigger,
    RecordingType, Rejection, RoomField, RoomMode, RoomNamePattern, StorageAuthentication,
    StorageProvider, Streaming, StreamingDestination, StreamingTrigger, TranscriptionDestination,
    TranscriptionLanguage, TranscriptionTrigger,
};

const CREATED: &str = r#"{"meetingId":"7","roomName":"/x-1","roomUrl":"https://a.whereby.com/x-1",
    "startDate":"2026-03-01T12:00:00.500Z","endDate":"2026-03-02T12:00:00.000Z",
    "hostRoomUrl":"https://a.whereby.com/x-1?roomKey=h","viewerRoomUrl":"https://a.whereby.com/x-1?roomKey=v"}"#;

fn now() -> Moment {
    Moment::parse("2026-03-01T12:00:00.5Z").unwrap()
}

fn fields(fields: &[RoomField]) -> CreateArguments {
    CreateArguments { fields: Some(fields.to_vec()), ..CreateArguments::default() }
}

fn dates(start: Option<&str>, end: Option<&str>) -> CreateArguments {
    let text = |date: Option<&str>| date.map(str::to_owned);
    CreateArguments { start_date: text(start), end_date: text(end), ..CreateArguments::default() }
}

/// Returns the request body for some arguments.
fn body(arguments: &CreateArguments) -> String {
    let mut fake = Fake::script([(Method::Post, "/meetings", 201, CREATED)]);
    create_room(&mut fake, now(), arguments).unwrap();
    String::from_utf8(fake.requests[0].body.clone()).unwrap()
}

fn complaint(arguments: &CreateArguments) -> String {
    match create_room(&mut Fake::silent(), now(), arguments) {
        Err(Error::InvalidArgument(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn streaming(url: &str) -> RoomField {
    let destination = StreamingDestination { url: url.to_owned() };
    RoomField::Streaming(Streaming { destination, start_trigger: None })
}

#[test]
fn without_arguments_the_room_ends_in_a_day_and_says_so() {
    let mut fake = Fake::script([(Method::Post, "/meetings", 201, CREATED)]);
    let room = create_room(&mut fake, now(), &CreateArguments::default()).unwrap();
    assert_eq!(fake.requests[0].body, br#"{"endDate":"2026-03-02T12:00:00Z"}"#);
    assert_eq!((room.room_name.as_str(), room.meeting_id.as_str()), ("x-1", "7"));
    assert_eq!(room.meeting_url, "https://a.whereby.com/x-1");
    assert_eq!(room.start_date.as_deref(), Some("2026-03-01T12:00:00.500Z"));
    assert!(room.end_date_defaulted);
    assert_eq!(room.host_room_url, None, "it was not requested");
    assert_eq!(room.viewer_room_url, None, "it was not requested");
    assert_eq!(
        room.notes,
        ["No end_date was given, so the room ends 24 hours from now, at 2026-03-02T12:00:00.000Z."]
    );
}

#[test]
fn dates_are_normalized_and_the_end_follows_a_future_start() {
    for (start, end, expected) in [
        (
            Some("2026-03-05T10:00:00.25+01:00"),
            None,
            r#"{"endDate":"2026-03-05T10:00:00Z","startDate":"2026-03-05T09:00:00.25Z"}"#,
        ),
        (
            Some("2025-03-05T10:00:00Z"),
            None,
            r#"{"endDate":"2026-03-02T12:00:00Z","startDate":"2025-03-05T10:00:00Z"}"#,
        ),
        (None, Some("2026-03-01T12:00:00.5"), r#"{"endDate":"2026-03-01T12:00:00.5Z"}"#),
        (
            Some("2026-03-05T10:00:00Z"),
            Some("2026-03-05T10:00:00Z"),
            r#"{"endDate":"2026-03-05T10:00:00Z","startDate":"2026-03-05T10:00:00Z"}"#,
        ),
    ] {
        assert_eq!(body(&dates(start, end)), expected);
    }
    let arguments = dates(Some("2099-03-05T10:00:00Z"), Some("2099-03-05T11:00:00Z"));
    let mut fake = Fake::script([(Method::Post, "/meetings", 201, CREATED)]);
    let room = create_room(&mut fake, now(), &arguments).unwrap();
    assert!(!room.end_date_defaulted);
    assert_eq!(room.notes, ["Whereby ignores start_date: the room is open from now on."]);
}

#[test]
fn impossible_dates_are_refused() {
    for (start, end, expected) in [
        (None, Some("2026-03-01T12:00:00.4Z"), "end_date: is in the past"),
        (Some("2026-03-05"), None, "start_date: is not a date and time"),
        (None, Some("tomorrow"), "end_date: is not a date and time"),
        (
            Some("2026-03-05T10:00:00Z"),
            Some("2026-03-05T09:59:59Z"),
            "end_date: is before start_date",
        ),
        (Some("9999-12-31T23:30:00Z"), None, "start_date: is too far in the future"),
    ] {
        let text = complaint(&dates(start, end));
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn prefixes_are_normalized_as_whereby_does() {
    for (text, expected) in [
        ("Stand Up-", Some("standup-")),
        (" \t\u{2003}", Some("")),
        ("a-1", Some("a-1")),
        ("a_b", None),
        ("caf\u{e9}", None),
        ("\u{212a}", None),
    ] {
        assert_eq!(prefix(text).ok().as_deref(), expected, "{text}");
    }
    assert!(prefix(&"a ".repeat(39)).is_ok());
    assert!(prefix(&"a".repeat(40)).is_err());
    let arguments = |prefix: &str| CreateArguments {
        room_name_prefix: Some(prefix.to_owned()),
        room_mode: Some(RoomMode::Group),
        ..dates(None, Some("2099-01-01T00:00:00Z"))
    };
    assert_eq!(
        body(&arguments("My Team-")),
        r#"{"endDate":"2099-01-01T00:00:00Z","roomMode":"group","roomNamePrefix":"myteam-"}"#
    );
    assert_eq!(body(&arguments(" ")), r#"{"endDate":"2099-01-01T00:00:00Z","roomMode":"group"}"#);
    assert!(complaint(&arguments("a_b")).starts_with("room_name_prefix: "));
}

#[test]
fn fields_are_sent_as_the_api_spells_them() {
    let destination = RecordingDestination {
        provider: StorageProvider::S3,
        authentication_type: Some(StorageAuthentication::AccessKey),
        bucket: Some("b/\"x".to_owned()),
        region: Some("eu".to_owned()),
        access_key_id: Some("id".to_owned()),
        access_key_secret: Some("secret".to_owned()),
        oidc_role_arn: None,
        file_format: Some(RecordingFormat::Mkv),
    };
    let role = TranscriptionDestination {
        provider: StorageProvider::Whereby,
        authentication_type: Some(StorageAuthentication::RoleBased),
        bucket: None,
        region: None,
        access_key_id: None,
        access_key_secret: None,
        oidc_role_arn: Some("arn".to_owned()),
    };
    let cases = [
        (RoomField::LockRoomOnJoin, r#""isLocked":true"#),
        (RoomField::IsLocked, r#""isLocked":true"#),
        (RoomField::ViewerMode, r#""templateType":"viewerMode""#),
        (
            RoomField::RoomNamePattern(RoomNamePattern::HumanShort),
            r#""roomNamePattern":"human-short""#,
        ),
        (RoomField::RoomNamePattern(RoomNamePattern::Uuid), r#""roomNamePattern":"uuid""#),
        (
            RoomField::Recording(Recording {
                type_: RecordingType::Cloud,
                destination: Some(destination),
                start_trigger: Some(RecordingTrigger::AutomaticSecondParticipant),
            }),
            r#""recording":{"type":"cloud","destination":{"provider":"s3","authenticationType":"accessKey","bucket":"b/\"x","region":"eu","accessKeyId":"id","accessKeySecret":"secret","fileFormat":"mkv"},"startTrigger":"automatic-2nd-participant"}"#,
        ),
        (
            RoomField::Recording(Recording {
                type_: RecordingType::None,
                destination: None,
                start_trigger: None,
            }),
            r#""recording":{"type":"none","destination":null,"startTrigger":null}"#,
        ),
        (
            RoomField::LiveTranscription(LiveTranscription {
                destination: Some(role),
                start_trigger: Some(TranscriptionTrigger::Manual),
                language: Some(TranscriptionLanguage::EnGb),
                live_captions: Some(false),
            }),
            r#""liveTranscription":{"destination":{"provider":"whereby","authenticationType":"roleBased","oidcRoleArn":"arn"},"startTrigger":"manual","language":"en-GB","liveCaptions":false}"#,
        ),
        (
            RoomField::LiveTranscription(LiveTranscription {
                destination: None,
                start_trigger: None,
                language: None,
                live_captions: None,
            }),
            r#""liveTranscription":{"destination":null,"startTrigger":null}"#,
        ),
        (
            RoomField::Streaming(Streaming {
                destination: StreamingDestination { url: "rtmp://a/b".to_owned() },
                start_trigger: Some(StreamingTrigger::Prompt),
            }),
            r#""streaming":{"destination":{"url":"rtmp://a/b"},"startTrigger":"prompt"}"#,
        ),
        (
            streaming("rtmp://a/b"),
            r#""streaming":{"destination":{"url":"rtmp://a/b"},"startTrigger":null}"#,
        ),
    ];
    for (field, expected) in cases {
        let expected = format!(r#"{{"endDate":"2026-03-02T12:00:00Z",{expected}}}"#);
        assert_eq!(body(&fields(&[field])), expected);
    }
    assert!(
        body(&fields(&[RoomField::ViewerRoomUrl, RoomField::HostRoomUrl]))
            .ends_with(r#","fields":["viewerRoomUrl","hostRoomUrl"]}"#),
        "the fields keep the order of the argument"
    );
}

#[test]
fn a_field_may_be_given_once() {
    let none =
        |type_| RoomField::Recording(Recording { type_, destination: None, start_trigger: None });
    for twice in [
        [RoomField::HostRoomUrl, RoomField::HostRoomUrl],
        [RoomField::IsLocked, RoomField::LockRoomOnJoin],
        [none(RecordingType::None), none(RecordingType::Local)],
    ] {
        let text = complaint(&fields(&twice));
        assert!(text.starts_with("fields: ") && text.contains("twice"), "{text}");
    }
    assert!(complaint(&fields(&vec![RoomField::ViewerMode; 17])).contains("16 items"));
    for url in ["", "rtmp://", &"x".repeat(2001)] {
        assert!(complaint(&fields(&[streaming(url)])).contains("destination.url"), "{url}");
    }
}

#[test]
fn secret_urls_are_returned_only_on_request() {
    for (field, host, viewer) in [
        (RoomField::HostRoomUrl, Some("h"), None),
        (RoomField::ViewerRoomUrl, None, Some("v")),
        (RoomField::ViewerMode, Some("h"), Some("v")),
    ] {
        let mut fake = Fake::script([(Method::Post, "/meetings", 201, CREATED)]);
        let room = create_room(&mut fake, now(), &fields(&[field])).unwrap();
        let key = |url: Option<String>| {
            url.map(|url| url.rsplit('=').next().unwrap_or_default().to_owned())
        };
        assert_eq!(key(room.host_room_url).as_deref(), host);
        assert_eq!(key(room.viewer_room_url).as_deref(), viewer);
    }
    let bare = r#"{"meetingId":"7","roomUrl":"https://a.whereby.com/x-1"}"#;
    let mut fake = Fake::script([(Method::Post, "/meetings", 201, bare)]);
    let room = create_room(&mut fake, now(), &fields(&[RoomField::HostRoomUrl])).unwrap();
    assert!(room.notes.contains(&"Whereby did not return hostRoomUrl.".to_owned()));
}

#[test]
fn an_error_says_whether_the_room_may_exist() {
    let maybe = "the room may exist";
    let none = "no room was created";
    let lost = |kind, maybe_sent| Err(SendError { maybe_sent, ..failure(kind) });
    for (result, expected) in [
        (lost(SendErrorKind::Timeout, true), maybe),
        (lost(SendErrorKind::Unavailable, true), maybe),
        (lost(SendErrorKind::Unreadable, true), maybe),
        (lost(SendErrorKind::Unavailable, false), none),
        (lost(SendErrorKind::Timeout, false), none),
        (Ok(Fake::reply(502, "")), maybe),
        (Ok(Fake::reply(101, "")), maybe),
        (Ok(Fake::reply(302, "")), maybe),
        (Ok(Fake::reply(307, "")), maybe),
        (Ok(Fake::reply(600, "")), maybe),
        (Ok(Fake::reply(303, "")), maybe),
        (Ok(Fake::reply(408, r#"{"error":"slow"}"#)), maybe),
        (Ok(Fake::reply(425, "")), maybe),
        (Ok(Fake::reply(499, "")), maybe),
        (Ok(Fake::reply(200, "")), maybe),
        (Ok(Fake::reply(201, "{}")), maybe),
        (Ok(Fake::reply(201, "<html>")), maybe),
        (Ok(Fake::reply(201, r#"{"meetingId":"7","roomUrl":""}"#)), maybe),
        (
            Ok(Fake::reply(201, r#"{"meetingId":"7","roomUrl":"https://a/b","endDate":7}"#)),
            "the room exists",
        ),
    ] {
        let mut fake = Fake::new(|_| result.clone());
        let error = create_room(&mut fake, now(), &CreateArguments::default()).unwrap_err();
        let (Error::Timeout(text) | Error::Unavailable(text) | Error::UnexpectedResponse(text)) =
            &error
        else {
            panic!("{error:?}");
        };
        assert!(text.starts_with("POST /meetings: ") && text.contains(expected), "{text}");
        drop(fake);
    }
    let rejected = Error::Rejected(Rejection { status: 400, message: "no".to_owned() });
    for (result, expected) in [
        (lost(SendErrorKind::RateLimited(3), false), Error::RateLimited(3)),
        (Ok(Fake::reply(400, r#"{"error":"no"}"#)), rejected),
        (
            Ok(Fake::reply(403, r#"{"error":"no"}"#)),
            Error::AccessDenied("POST /meetings: Whereby answered 403: no".to_owned()),
        ),
    ] {
        let mut fake = Fake::new(|_| result.clone());
        assert_eq!(create_room(&mut fake, now(), &CreateArguments::default()), Err(expected));
    }
}

proptest! {
    #[test]
    fn no_prefix_makes_it_panic(text in "\\PC{0,60}") {
        if let Ok(prefix) = prefix(&text) {
            prop_assert!(prefix.len() <= 39);
            prop_assert!(prefix.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
        }
    }
}
