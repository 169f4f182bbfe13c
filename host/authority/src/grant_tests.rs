use super::*;
use crate::Error;
use crate::arguments::Arguments;
use crate::conditions::CreatedRoom;
use serde_json::json;
use whereby_catalog::Function;

fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00.25Z").expect("a date")
}

fn issue(
    function: &'static Function,
    arguments: Value,
    asked: Timestamp,
    most: usize,
    given: Timestamp,
) -> Grant {
    let arguments = Arguments::check(function, arguments).expect("good arguments");
    let rule = FunctionRule::of(function);
    let scope = rule.scope(&arguments, asked).expect("arguments that stand for a request");
    Grant::issue(Permit::for_tests(), rule, scope, Facts::at(given, None), View::Names, most, given)
}

fn grant(function: &str, arguments: Value) -> Grant {
    grant_at(now(), function, arguments)
}

fn grant_at(now: Timestamp, function: &str, arguments: Value) -> Grant {
    issue(whereby_catalog::function(function).expect("a function"), arguments, now, 64, now)
}

fn admit(grant: &mut Grant, line: &str) -> Result<Admitted, Refusal> {
    let (line, body) = line.split_once(' ').map_or((line, ""), |(method, rest)| {
        rest.split_once(' ')
            .map_or((line, ""), |(target, body)| (&line[..method.len() + 1 + target.len()], body))
    });
    let (method, target) = line.split_once(' ').expect("METHOD target");
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let now = grant.begun;
    grant.admit(Asked { method, path, query, body: body.as_bytes() }, now)
}

const LISTING: &[u8] = br#"{"results": [
    {"meetingId": "1", "roomName": "/daily", "roomUrl": "https://acme.whereby.com/daily"},
    {"meetingId": "2", "roomName": "/daily-2", "roomUrl": "https://acme.whereby.com/daily-2"},
    {"meetingId": 4, "roomUrl": "https://acme.whereby.com/weekly"}
], "cursor": null}"#;

#[test]
fn each_function_sends_its_own_requests_only() {
    let session = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
    let all = [
        "GET /meetings",
        "GET /meetings?limit=1",
        "GET /meetings?roomName[startsWith]=/daily",
        "GET /insights/rooms",
        "GET /insights/room-sessions?roomName=/daily",
        &format!("GET /insights/room-sessions?roomName=/daily&roomSessionId={session}"),
        &format!("GET /insights/participants?roomSessionId={session}"),
        "GET /recordings?roomName=/daily",
        "GET /recordings",
        "GET /transcriptions",
        "GET /transcriptions?roomName=/daily",
        "DELETE /meetings/1",
        "POST /meetings {}",
    ];
    for (function, arguments, allowed) in [
        ("list_rooms", json!({}), &[0][..]),
        ("list_rooms", json!({"limit": 1}), &[1]),
        ("list_rooms", json!({"limit": 2}), &[]),
        ("get_room", json!({"room_name": "daily"}), &[2]),
        ("get_room", json!({"room_name": "Daily"}), &[2]),
        ("get_room", json!({"room_name": "dail"}), &[]),
        ("delete_room", json!({"room_name": "daily"}), &[2]),
        ("list_meetings", json!({"room_name": "daily"}), &[4]),
        ("list_meetings", json!({"room_name": "weekly"}), &[]),
        ("list_meetings", json!({}), &[3, 4]),
        ("get_meeting", json!({"meeting_id": format!("daily:{session}")}), &[5, 6, 7]),
        ("get_meeting", json!({"meeting_id": format!("weekly:{session}")}), &[6]),
        ("get_meeting", json!({"meeting_id": session}), &[5, 6, 8, 9]),
        ("get_current_user", json!({}), &[1]),
        ("create_room", json!({}), &[]),
    ] {
        for (index, line) in all.iter().enumerate() {
            let admitted = admit(&mut grant(function, arguments.clone()), line);
            assert_eq!(
                admitted.is_ok(),
                allowed.contains(&index),
                "{function} {arguments} and {line}: {admitted:?}"
            );
            let shown = format!("{} ", line.split('?').next().unwrap_or(line));
            if admitted.is_ok() {
                let function = whereby_catalog::function(function).expect("known");
                let table = FunctionRule::of(function).requests;
                assert!(table.iter().any(|t| shown.starts_with(&format!("{t} "))), "{shown}");
            }
        }
    }
}

#[test]
fn a_page_is_the_one_that_was_asked_for() {
    let mut page = grant("list_rooms", json!({"limit": 2, "cursor": "abc"}));
    assert!(admit(&mut page, "GET /meetings?limit=2&cursor=abc").is_ok());
    for other in ["?limit=2", "?cursor=abc", "?limit=3&cursor=abc", "?limit=2&cursor=abd"] {
        assert!(admit(&mut page, &format!("GET /meetings{other}")).is_err(), "{other}");
    }
}

#[test]
fn a_room_is_deleted_by_the_spelling_that_was_listed() {
    let listing = |rooms: &[(&str, &str)]| {
        let rooms: Vec<Value> = rooms
            .iter()
            .map(|(id, name)| {
                let url = format!("https://acme.whereby.com/{name}");
                json!({"meetingId": id, "roomName": format!("/{name}"), "roomUrl": url})
            })
            .collect();
        json!({ "results": rooms }).to_string()
    };
    for (asked, listed, deletable) in [
        ("Daily_1", &[("1", "Daily_1")][..], &["1"][..]),
        ("Daily_1", &[("2", "daily_1")], &["2"]),
        ("Daily_1", &[("3", "DAILY_1")], &[]),
        ("Daily_1", &[("1", "Daily_1"), ("2", "daily_1")], &["2"]),
        ("daily_1", &[("1", "Daily_1"), ("2", "daily_1")], &["2"]),
        ("https://acme.whereby.com/a%20b", &[("4", "a b")], &["4"]),
    ] {
        for id in ["1", "2", "3", "4"] {
            let mut grant = grant("delete_room", json!({ "room_name": asked }));
            let name = asked.rsplit('/').next().expect("a name");
            let list = admit(&mut grant, &format!("GET /meetings?roomName[startsWith]=/{name}"));
            let body = listing(listed);
            grant.settle(&list.expect("list"), Settlement::Status(200, body.as_bytes()));
            let deleted = admit(&mut grant, &format!("DELETE /meetings/{id}"));
            assert_eq!(deleted.is_ok(), deletable.contains(&id), "{asked} {listed:?} {id}");
        }
    }
}

#[test]
fn only_a_room_that_was_listed_under_its_name_is_deleted() {
    for (room, ids) in [
        ("daily", &["1"][..]),
        ("https://acme.whereby.com/daily", &["1"]),
        ("https://acme.whereby.com/weekly", &["4"]),
        ("https://nobody.whereby.com/daily", &[]),
    ] {
        let name = room.rsplit('/').next().expect("a name");
        for id in ["1", "2", "3", "4", "5"] {
            let mut grant = grant("delete_room", json!({"room_name": room}));
            let delete = format!("DELETE /meetings/{id}");
            assert!(admit(&mut grant, &delete).is_err(), "before the listing");
            let list = format!("GET /meetings?roomName[startsWith]=/{name}");
            let list = admit(&mut grant, &list).expect("list");
            grant.settle(&list, Settlement::Status(500, LISTING));
            assert!(admit(&mut grant, &delete).is_err(), "after a listing that failed");
            grant.settle(&list, Settlement::Status(200, LISTING));
            assert_eq!(admit(&mut grant, &delete).is_ok(), ids.contains(&id), "{room} {id}");
        }
    }
}

#[test]
fn nothing_is_deleted_if_the_list_is_ambiguous() {
    let row = |id: &str, host: &str, name: &str| {
        let url = format!("https://{host}.whereby.com/{name}");
        json!({"meetingId": id, "roomName": format!("/{name}"), "roomUrl": url})
    };
    let own = || row("1", "acme", "daily");
    let nameless = json!({"meetingId": "1", "roomUrl": "https://acme.whereby.com/"});
    for (room, pages, allowed) in [
        ("daily", vec![vec![own(), own()]], true),
        ("daily", vec![vec![own()], vec![own()]], true),
        ("daily", vec![vec![own(), row("2", "acme", "daily-2")]], true),
        // Two ids with the same name.
        ("daily", vec![vec![own(), row("2", "acme", "daily")]], false),
        ("daily", vec![vec![own()], vec![row("2", "acme", "daily")]], false),
        ("daily", vec![vec![own(), row("2", "other", "daily")]], false),
        ("https://acme.whereby.com/daily", vec![vec![own(), row("2", "other", "daily")]], true),
        // Two names with the same id.
        ("daily", vec![vec![own(), row("1", "acme", "daily-2")]], false),
        ("daily", vec![vec![row("1", "acme", "daily-2")], vec![own()]], false),
        ("daily", vec![vec![own(), nameless]], false),
        ("https://acme.whereby.com/daily", vec![vec![own(), row("1", "other", "daily")]], false),
    ] {
        let mut grant = grant("delete_room", json!({"room_name": room}));
        for page in &pages {
            let list = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily");
            let body = json!({ "results": page }).to_string();
            grant.settle(&list.expect("list"), Settlement::Status(200, body.as_bytes()));
        }
        let deletion = admit(&mut grant, "DELETE /meetings/1");
        assert_eq!(deletion.is_ok(), allowed, "{room} {pages:?}");
        if let Err(refusal) = deletion {
            assert!(
                refusal.message.contains("lists both `daily` with the id 1 and `"),
                "{refusal:?}"
            );
        }
    }
}

/// Whereby's response to a creation.
const CREATED: &[u8] =
    br#"{"meetingId": "7", "roomName": "/x", "roomUrl": "https://acme.whereby.com/x"}"#;

/// Statuses that mean that no write happened.
const REFUSALS: [u16; 9] = [400, 401, 403, 405, 409, 413, 415, 422, 429];

/// Statuses that leave open whether a write happened.
const OPEN: [u16; 22] = [
    100, 101, 300, 301, 302, 303, 304, 307, 308, 402, 406, 407, 408, 410, 418, 421, 423, 425, 451,
    499, 500, 503,
];

/// Returns the outcome of a write after its first attempt, and whether it may be sent again.
fn settled(function: &str, settlement: Settlement<'_>) -> (WriteOutcome, bool) {
    let (mut grant, line) = match function {
        "create_room" => (
            grant(function, json!({"end_date": "2099-01-01T00:00:00Z"})),
            r#"POST /meetings {"endDate":"2099-01-01T00:00:00Z"}"#,
        ),
        _ => (grant(function, json!({"room_name": "daily"})), "DELETE /meetings/1"),
    };
    if function == "delete_room" {
        let list = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily").expect("list");
        grant.settle(&list, Settlement::Status(200, LISTING));
    }
    let first = admit(&mut grant, line).expect("the first");
    assert_eq!(grant.outcome(), WriteOutcome::Unknown, "in flight");
    assert!(admit(&mut grant, line).is_err(), "while another is in flight");
    grant.settle(&first, settlement);
    let outcome = grant.outcome();
    assert!(admit(&mut grant, "DELETE /meetings/3").is_err(), "another room");
    let second = admit(&mut grant, line);
    if let Ok(second) = &second {
        assert_eq!(first.body, second.body, "attempts are the same bytes");
    }
    (outcome, second.is_ok())
}

#[test]
fn the_outcome_of_a_write_follows_from_its_settlement() {
    use WriteOutcome::{Done, None as Nothing, Unknown};
    for (settlement, created, deleted) in [
        (Settlement::NotSent, (Nothing, false), (Nothing, true)),
        (Settlement::Lost, (Unknown, false), (Unknown, true)),
        (Settlement::Status(201, CREATED), (Done, false), (Unknown, false)),
        (Settlement::Status(200, CREATED), (Done, false), (Done, false)),
        (
            Settlement::Status(200, br#"{"meetingId": 7, "roomUrl": "https://a.whereby.com/x"}"#),
            (Done, false),
            (Done, false),
        ),
        (Settlement::Status(204, b""), (Unknown, false), (Done, false)),
        (Settlement::Status(202, b" "), (Unknown, false), (Unknown, false)),
        (Settlement::Status(206, b""), (Unknown, false), (Unknown, false)),
        (Settlement::Status(200, b"{}"), (Unknown, false), (Done, false)),
        (Settlement::Status(201, br#"{"meetingId": "7"}"#), (Unknown, false), (Unknown, false)),
        (
            Settlement::Status(201, br#"{"roomUrl": "https://a/b"}"#),
            (Unknown, false),
            (Unknown, false),
        ),
        (
            Settlement::Status(201, br#"{"meetingId": "", "roomUrl": "https://a/b"}"#),
            (Unknown, false),
            (Unknown, false),
        ),
        (Settlement::Unreadable, (Unknown, false), (Unknown, false)),
        (Settlement::Status(404, b""), (Nothing, false), (Done, false)),
        (Settlement::Status(429, b""), (Nothing, true), (Nothing, true)),
        (Settlement::Status(502, b""), (Unknown, false), (Unknown, true)),
        (Settlement::Status(504, b""), (Unknown, false), (Unknown, true)),
    ] {
        assert_eq!(settled("create_room", settlement), created, "{settlement:?}");
        assert_eq!(settled("delete_room", settlement), deleted, "{settlement:?}");
    }
    for function in ["create_room", "delete_room"] {
        for status in REFUSALS {
            let (outcome, _) = settled(function, Settlement::Status(status, CREATED));
            assert_eq!(outcome, Nothing, "{function} {status}");
        }
        for status in OPEN {
            let (outcome, _) = settled(function, Settlement::Status(status, CREATED));
            assert_eq!(outcome, Unknown, "{function} {status}");
        }
    }
}

#[test]
fn an_attempt_that_changed_nothing_keeps_the_outcome_of_an_earlier_one() {
    for settlement in
        [Settlement::NotSent, Settlement::Status(403, b""), Settlement::Status(429, b"")]
    {
        let mut grant = grant("delete_room", json!({"room_name": "daily"}));
        let list = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily").expect("list");
        grant.settle(&list, Settlement::Status(200, LISTING));
        let first = admit(&mut grant, "DELETE /meetings/1").expect("the first");
        grant.settle(&first, Settlement::Lost);
        let second = admit(&mut grant, "DELETE /meetings/1").expect("the second");
        grant.settle(&second, settlement);
        assert_eq!(grant.outcome(), WriteOutcome::Unknown, "{settlement:?}");
    }
}

#[test]
fn a_body_says_exactly_what_was_asked_for() {
    let arguments = json!({
        "room_mode": "group",
        "room_name_prefix": "Stand Up-",
        "end_date": "2099-01-01T02:00:00+02:00",
        "fields": ["viewerRoomUrl", "isLocked", {"roomNamePattern": "human-short"},
            {"recording": {"type": "cloud", "startTrigger": "automatic-second-participant",
                "destination": {"provider": "s3", "authenticationType": "access-key",
                    "accessKeySecret": "s"}}},
            {"liveTranscription": {"language": "en-gb", "liveCaptions": false}}],
    });
    let good = json!({
        "endDate": "2099-01-01T00:00:00.0Z", "roomMode": "group", "roomNamePrefix": "standup-",
        "isLocked": true, "roomNamePattern": "human-short", "fields": ["viewerRoomUrl"],
        "recording": {"type": "cloud", "startTrigger": "automatic-2nd-participant",
            "destination": {"provider": "s3", "authenticationType": "accessKey",
                "accessKeySecret": "s"}},
        "liveTranscription": {"destination": null, "startTrigger": null, "language": "en-GB",
            "liveCaptions": false},
    });
    let admitted = admit(
        &mut grant("create_room", arguments.clone()),
        &format!("POST /meetings {}", compact(&good)),
    )
    .expect("the body");
    let sent: Value =
        serde_json::from_slice(admitted.body.as_deref().expect("a body")).expect("JSON");
    assert_eq!(sent["endDate"], "2099-01-01T00:00:00Z", "rebuilt");
    let mut expected = good.clone();
    expected["endDate"] = sent["endDate"].clone();
    assert_eq!(sent, expected);

    let change = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        changed
    };
    let mut added = good.clone();
    added["extra"] = json!(1);
    let mut removed = good.clone();
    removed.as_object_mut().expect("an object").remove("isLocked");
    for (what, body) in [
        ("an added member", added),
        ("a member left out", removed),
        ("another mode", change("/roomMode", json!("normal"))),
        ("a host key", change("/fields", json!(["viewerRoomUrl", "hostRoomUrl"]))),
        ("another end", change("/endDate", json!("2099-01-01T00:00:01Z"))),
        ("no end", change("/endDate", json!(null))),
        ("another bucket", change("/recording/destination", json!({"provider": "whereby"}))),
        ("not an object", json!([])),
    ] {
        let line = format!("POST /meetings {}", compact(&body));
        assert!(admit(&mut grant("create_room", arguments.clone()), &line).is_err(), "{what}");
    }
}

fn compact(value: &Value) -> String {
    value.to_string().replace(' ', "\\u0020")
}

#[test]
fn a_default_end_is_near_the_documented_one() {
    let start = now().to_milliseconds().plus_seconds(7 * 24 * 3600);
    let until = |end: Timestamp| format!(r#"POST /meetings {{"endDate":"{}"}}"#, end.to_rfc3339());
    let from = |end: Timestamp| {
        let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
        format!(r#"POST /meetings {{"startDate":"{start}","endDate":"{end}"}}"#)
    };
    let now = now();
    for (arguments, line, allowed) in [
        (json!({}), until(now.plus_seconds(24 * 3600)), true),
        (json!({}), until(now.plus_seconds(30 * 24 * 3600)), false),
        (json!({}), until(now), false),
        (json!({"start_date": start.to_rfc3339()}), from(start.plus_seconds(3600)), true),
        (json!({"start_date": start.to_rfc3339()}), from(start.plus_seconds(24 * 3600)), false),
        (json!({"start_date": start.to_rfc3339()}), until(start.plus_seconds(3600)), false),
    ] {
        let admitted = admit(&mut grant("create_room", arguments.clone()), &line);
        assert_eq!(admitted.is_ok(), allowed, "{arguments} and {line}");
    }
}

/// The component reads the clock later, or after a retry delay, so a start close to now may have passed.
#[test]
fn a_start_close_to_now_may_be_in_the_future_or_in_the_past() {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    let now = Timestamp::parse("2026-03-02T09:00:00Z").expect("a date");
    let post = |start: Timestamp, end: Timestamp| {
        let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
        format!(r#"POST /meetings {{"startDate":"{start}","endDate":"{end}"}}"#)
    };
    for (start, after_start, after_now) in [
        (-DAY, false, true),
        (-901, false, true),
        (-900, true, true),
        (-1, true, true),
        (0, true, true),
        (5, true, true),
        (900, true, true),
        (901, true, false),
        (7 * DAY, true, false),
    ] {
        let starts = now.plus_seconds(start);
        for (end, allowed) in [
            (starts.plus_seconds(HOUR), after_start),
            (starts.plus_seconds(HOUR + 900), after_start),
            (starts.plus_seconds(HOUR - 900), after_start),
            (starts.plus_seconds(HOUR + 901), false),
            (starts.plus_seconds(HOUR - 901), false),
            (now.plus_seconds(DAY), after_now),
            (now.plus_seconds(DAY + 900), after_now),
            (now.plus_seconds(DAY - 900), after_now),
            (now.plus_seconds(DAY + 901), false),
            (now.plus_seconds(DAY - 901), false),
            (now.plus_seconds(30 * DAY), false),
            (starts, false),
        ] {
            let arguments = json!({"start_date": starts.to_rfc3339()});
            let mut grant = grant_at(now, "create_room", arguments);
            let line = post(starts, end);
            assert_eq!(admit(&mut grant, &line).is_ok(), allowed, "start {start}: {line}");
        }
    }
}

#[test]
fn the_host_chooses_a_default_end_to_the_second_for_every_attempt() {
    let now = Timestamp::parse("2026-03-02T09:00:00.123456789Z").expect("a date");
    let start = Timestamp::parse("2026-03-02T10:00:00Z").expect("a date");
    let (day, hour) = ("2026-03-03T09:00:00Z", "2026-03-02T11:00:00Z");
    for (arguments, start, end) in
        [(json!({}), None, day), (json!({"start_date": start.to_rfc3339()}), Some(start), hour)]
    {
        let mut grant = grant_at(now, "create_room", arguments);
        // The component's spellings of the default.
        for (seconds, fraction) in [(0, "Z"), (311, ".123456789Z"), (-311, ".987654321Z")] {
            let near = Timestamp::parse(end).expect("a date").plus_seconds(seconds);
            let mut body = json!({ "endDate": near.to_rfc3339().replace('Z', fraction) });
            if let Some(start) = start {
                body["startDate"] = start.to_rfc3339().into();
            }
            let attempt = admit(&mut grant, &format!("POST /meetings {}", compact(&body)));
            let attempt = attempt.expect("a default end");
            let sent: Value =
                serde_json::from_slice(attempt.body.as_deref().expect("a body")).expect("JSON");
            assert_eq!(sent["endDate"], end);
            grant.settle(&attempt, Settlement::Status(429, b""));
        }
    }
}

#[test]
fn an_impossible_end_is_refused() {
    let now = Timestamp::parse("2026-03-02T09:00:00Z").expect("a date");
    let function = whereby_catalog::function("create_room").expect("a function");
    for (arguments, words) in [
        (json!({"end_date": "2026-03-02T09:00:00Z"}), None),
        (json!({"end_date": "2026-03-02T08:59:59Z"}), Some("is in the past")),
        (
            json!({"start_date": "2026-03-02T11:00:00Z", "end_date": "2026-03-02T10:59:59Z"}),
            Some("is before start_date"),
        ),
        (json!({"start_date": "2026-03-02T11:00:00Z", "end_date": "2026-03-02T11:00:00Z"}), None),
    ] {
        let checked = Arguments::check(function, arguments.clone()).expect("good arguments");
        match (FunctionRule::of(function).scope(&checked, now), words) {
            (Ok(_), None) => {}
            (Err(Error::InvalidArgument { message }), Some(words)) => {
                assert!(message.contains(words), "{arguments}: {message}");
            }
            (other, _) => panic!("{arguments}: {other:?}"),
        }
    }
}

#[test]
fn the_number_of_requests_is_limited() {
    let function = whereby_catalog::function("get_room").expect("a function");
    let mut grant = issue(function, json!({"room_name": "daily"}), now(), 2, now());
    let line = "GET /meetings?roomName[startsWith]=/daily";
    assert!(admit(&mut grant, line).is_ok());
    assert!(admit(&mut grant, line).is_ok());
    let refusal = admit(&mut grant, line).expect_err("the third");
    assert!(refusal.message.contains("more than 2 requests"), "{}", refusal.message);
    assert_eq!(grant.sent(), 2);
}

fn meeting_grant(people: View) -> Grant {
    let function = whereby_catalog::function("get_meeting").expect("a function");
    let arguments = Arguments::check(function, json!({"meeting_id": "daily:s-1"}));
    let arguments = arguments.expect("good arguments");
    let rule = FunctionRule::of(function);
    let scope = rule.scope(&arguments, now()).expect("a scope");
    Grant::issue(Permit::for_tests(), rule, scope, Facts::at(now(), None), people, 64, now())
}

/// What the component reads of a page of people with this cursor.
fn page_of_people(grant: &mut Grant, admitted: &Admitted, cursor: &str) -> Value {
    let row = json!({"displayName": "Ines Falk", "userId": "u-1", "roleName": "host"});
    let body = json!({"results": [row], "cursor": cursor}).to_string().into_bytes();
    let seen = grant.filtered(admitted, body);
    serde_json::from_slice(&seen).expect("JSON")
}

#[test]
fn a_cursor_of_people_is_a_number_unless_names_are_shown() {
    let first = "GET /insights/participants?roomSessionId=s-1";
    let next = |cursor: &str| format!("{first}&cursor={cursor}");
    let mut grant = meeting_grant(View::Names);
    let admitted = admit(&mut grant, first).expect("the first page");
    assert_eq!(admitted.shape, Shape::Page(answer::PARTICIPANT));
    assert!(!admitted.hides_people);
    assert_eq!(page_of_people(&mut grant, &admitted, "Ines")["cursor"], "Ines");
    let admitted = admit(&mut grant, &next("Ines")).expect("the next page");
    assert_eq!(admitted.path_and_query, "/insights/participants?roomSessionId=s-1&cursor=Ines");

    let mut grant = meeting_grant(View::Hidden);
    let refused = |grant: &mut Grant, cursor: &str| {
        let refusal = admit(grant, &next(cursor)).expect_err(cursor);
        assert!(refusal.message.contains("with a cursor that it was not given"), "{refusal:?}");
    };
    ["Ines", "0", "1", "-1"].into_iter().for_each(|cursor| refused(&mut grant, cursor));
    let admitted = admit(&mut grant, first).expect("the first page");
    assert!(admitted.hides_people);
    let seen = page_of_people(&mut grant, &admitted, "Ines");
    let row = json!({"displayName": null, "roleName": "host"});
    assert_eq!(seen, json!({"results": [row], "cursor": "1"}));
    // The same cursor again is the same number, so that a component sees that pages repeat.
    for (cursor, number) in [("Ines", "1"), ("Tom", "2"), ("Ines", "1"), ("a\u{1}b", "0"), ("", "")]
    {
        assert_eq!(page_of_people(&mut grant, &admitted, cursor)["cursor"], number);
    }
    let admitted = admit(&mut grant, &next("2")).expect("a page");
    assert_eq!(admitted.path_and_query, "/insights/participants?roomSessionId=s-1&cursor=Tom");
    ["0", "3", "Tom"].into_iter().for_each(|cursor| refused(&mut grant, cursor));
    // Cursors of other lists stay what they are.
    let other = "GET /recordings?roomName=/daily&cursor=x";
    let admitted = admit(&mut grant, other).expect("recordings");
    assert_eq!(admitted.path_and_query, "/recordings?roomName=%2Fdaily&cursor=x");
    assert!(admitted.hides_people);
}

#[test]
fn the_host_alone_reads_user_ids() {
    let view = View::Pseudonyms(Box::new(crate::people::Pseudonyms::new(&[7; 32], "work")));
    let mut grant = meeting_grant(view);
    let admitted = admit(&mut grant, "GET /insights/participants?roomSessionId=s-1");
    let admitted = admitted.expect("the first page");
    assert_eq!(admitted.shape, Shape::Page(answer::PARTICIPANT_AND_USER));
    let seen = page_of_people(&mut grant, &admitted, "x");
    assert!(seen["results"][0].get("userId").is_none(), "{seen}");
    // Nothing else is different.
    let own: Vec<_> =
        answer::PARTICIPANT_AND_USER.iter().filter(|member| member.name != "userId").collect();
    assert!(own.into_iter().eq(answer::PARTICIPANT));
}

#[test]
fn a_default_end_counts_from_the_permission_and_not_from_the_question() {
    let asked = now();
    let given = asked.plus_seconds(3600);
    let function = whereby_catalog::function("create_room").expect("a function");
    for (from, allowed) in [(given, true), (asked, false)] {
        let mut grant = issue(function, json!({}), asked, 64, given);
        let end = from.plus_seconds(24 * 3600).to_rfc3339();
        let admitted = admit(&mut grant, &format!(r#"POST /meetings {{"endDate":"{end}"}}"#));
        assert_eq!(admitted.is_ok(), allowed, "{admitted:?}");
    }
}

/// A grant that relies on conditions.
fn relying_on(function: &str, arguments: Value, conditions: Vec<Condition>, facts: Facts) -> Grant {
    let function = whereby_catalog::function(function).expect("a function");
    let mut grant = issue(function, arguments, now(), 64, now());
    (grant.relies_on, grant.facts) = (conditions, facts);
    grant
}

fn condition(name: &str, value: &Value) -> Condition {
    Condition::parse(name, value, None).expect("a condition")
}

#[test]
fn a_room_of_the_same_name_that_somebody_else_created_is_not_deleted() {
    let own = |id: &str| {
        let mut facts = Facts::at(now(), Some("assistant"));
        let id = Id::parse(id).expect("an id");
        facts.created = Ok(vec![CreatedRoom { id, agent: Some("assistant".into()) }]);
        facts
    };
    for (id, allowed) in [("1", true), ("7", false)] {
        let conditions = vec![condition("created_by", &json!("agent"))];
        let mut grant =
            relying_on("delete_room", json!({"room_name": "daily"}), conditions, own(id));
        let list = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily").expect("list");
        grant.settle(&list, Settlement::Status(200, LISTING));
        let deleted = admit(&mut grant, "DELETE /meetings/1");
        assert_eq!(deleted.is_ok(), allowed, "{id}");
        if let Err(refusal) = deleted {
            assert!(refusal.is_denial, "{}", refusal.message);
            assert!(refusal.message.contains("created_by: agent"), "{}", refusal.message);
        }
        assert_eq!(
            grant.outcome(),
            if allowed { WriteOutcome::Unknown } else { WriteOutcome::None }
        );
    }
}

#[test]
fn conditions_hold_where_each_request_leaves() {
    let facts = || Facts::at(now(), None);
    let creation = json!({"room_name_prefix": "bot-", "end_date": "2026-03-01T14:00:00Z"});
    let body = r#"POST /meetings {"endDate":"2026-03-01T14:00:00Z","roomNamePrefix":"bot-"}"#;
    for (name, value, allowed) in [
        ("rooms", json!(["bot-*"]), true),
        ("rooms", json!(["team-*"]), false),
        ("max_duration", json!("2h"), true),
        ("max_duration", json!("1h"), false),
        ("room_modes", json!(["normal"]), true),
        ("room_modes", json!(["group"]), false),
        ("fields", json!([]), true),
        ("max_per_day", json!(1), true),
        ("valid_until", json!("2026-03-01T12:00:01Z"), true),
        ("valid_until", json!("2026-03-01T12:00:00Z"), false),
    ] {
        let conditions = vec![condition(name, &value)];
        let mut grant = relying_on("create_room", creation.clone(), conditions, facts());
        assert_eq!(admit(&mut grant, body).is_ok(), allowed, "{name} {value}");
        assert_eq!(grant.sent(), usize::from(allowed), "{name} {value}");
    }
    // A permission that ends during the call is no fault of the component.
    let conditions = vec![condition("valid_until", &json!("2026-03-01T12:00:30Z"))];
    let mut grant = relying_on("list_rooms", json!({}), conditions, facts());
    let asked = Asked { method: "GET", path: "/meetings", query: None, body: b"" };
    assert!(grant.admit(asked, now()).is_ok());
    let refusal = grant.admit(asked, now().plus_seconds(30)).expect_err("over");
    assert!(refusal.is_denial && refusal.message.contains("was allowed until"), "{refusal:?}");
    // Also for a request that was admitted, and waits.
    assert!(grant.check_time(now().plus_seconds(29)).is_ok());
    assert_eq!(grant.check_time(now().plus_seconds(30)), Err(refusal));
}

#[test]
fn only_rooms_that_the_conditions_name_are_shown() {
    let rooms = |patterns: &[&str]| condition("rooms", &json!(patterns));
    for (patterns, shown) in [(&["daily"][..], &["1"][..]), (&["daily*"], &["1", "2"])] {
        let arguments = json!({"room_name": "daily"});
        let facts = Facts::at(now(), None);
        let mut grant = relying_on("get_room", arguments, vec![rooms(patterns)], facts);
        let asked = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily").expect("list");
        let page: Value =
            serde_json::from_slice(&grant.filtered(&asked, LISTING.to_vec())).expect("JSON");
        let ids: Vec<&str> = page["results"]
            .as_array()
            .expect("rooms")
            .iter()
            .filter_map(|room| room["meetingId"].as_str())
            .collect();
        assert_eq!(ids, shown, "{patterns:?}");
    }
    // Without such a condition, nothing is changed.
    let mut grant = grant("get_room", json!({"room_name": "daily"}));
    let asked = admit(&mut grant, "GET /meetings?roomName[startsWith]=/daily").expect("list");
    assert_eq!(grant.filtered(&asked, LISTING.to_vec()), LISTING);
}

#[test]
fn a_meeting_is_withheld_until_it_is_listed_in_its_room() {
    let session = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
    let arguments = json!({"meeting_id": format!("bot-1:{session}")});
    let conditions = || vec![condition("rooms", &json!(["bot-*"]))];
    let line = format!("GET /insights/room-sessions?roomName=/bot-1&roomSessionId={session}");
    for (body, listed) in [
        (json!({"results": [{"roomSessionId": session, "roomName": "/bot-1"}]}), true),
        (json!({"results": [{"roomSessionId": session}]}), true),
        (json!({"results": [{"roomSessionId": session, "roomName": "/other"}]}), false),
        (json!({"results": [{"roomSessionId": "another", "roomName": "/bot-1"}]}), false),
        (json!({"results": []}), false),
        (json!("no page"), false),
    ] {
        let facts = Facts::at(now(), None);
        let mut grant = relying_on("get_meeting", arguments.clone(), conditions(), facts);
        assert!(grant.withheld().is_some());
        let asked = admit(&mut grant, &line).expect("sessions");
        grant.settle(&asked, Settlement::Status(200, body.to_string().as_bytes()));
        assert_eq!(grant.withheld().is_none(), listed, "{body}");
    }
    let grant = grant("get_meeting", arguments);
    assert!(grant.withheld().is_none(), "nothing relies on the room");
}
