//! Tests of reading one meeting.

use proptest::prelude::*;

use super::get_meeting;
use crate::prelude::*;
use crate::transport::fake::{Fake, failure};
use crate::transport::{Method, Reply, SendErrorKind};
use crate::types::{Error, Participant, RecordingStatus};

const SESSION: &str = "/insights/room-sessions?roomName=%2Fdaily&roomSessionId=s1";
const PEOPLE: &str = "/insights/participants?roomSessionId=s1&sortBy=joinedAt%3Aasc&limit=100";
const RECORDINGS: &str = "/recordings?roomName=%2Fdaily&limit=100";
const ALL_RECORDINGS: &str = "/recordings?limit=100";
const TRANSCRIPTIONS: &str = "/transcriptions?limit=100";
const NONE: &str = r#"{"results":[],"cursor":null}"#;
const FACTS: &str = r#"{"results":[{"roomSessionId":"s1","roomName":"/daily","startedAt":"2026-03-02T09:00:10.000Z","endedAt":"2026-03-02T09:32:45.000Z","totalUniqueParticipants":2,"totalRecorderMinutes":0}],"cursor":null}"#;

fn visit(name: &str, role: &str, joined: &str, left: &str) -> String {
    format!(
        r#"{{"roomSessionId":"s1","participantId":"p-{name}","roleName":"{role}","displayName":"{name}","joinedAt":"2026-03-02T{joined}Z","leftAt":"2026-03-02T{left}Z","externalId":null}}"#
    )
}

fn page(rows: &[String]) -> String {
    format!(r#"{{"results":[{}],"cursor":null}}"#, rows.join(","))
}

/// Responds to each list by its path.
fn answers<'a>(
    facts: &'a str,
    people: &'a str,
    recordings: &'a str,
    transcriptions: &'a str,
) -> Fake<'a> {
    Fake::new(move |request| {
        let body = match request.target.split('?').next().unwrap_or_default() {
            "/insights/room-sessions" => facts,
            "/insights/participants" => people,
            "/recordings" => recordings,
            "/transcriptions" => transcriptions,
            other => panic!("unexpected request: {other}"),
        };
        match body.strip_prefix("HTTP ") {
            Some(status) => Ok(Fake::reply(status.parse().unwrap(), r#"{"error":"no"}"#)),
            None => Ok(Fake::reply(200, body)),
        }
    })
}

#[test]
fn a_meeting_takes_three_parallel_requests() {
    let people = page(&[
        visit("Ines", "host", "08:59:58", "09:32:45"),
        visit("", "visitor", "09:00:10.5", "09:30:00"),
        visit("[[redacted]]", "visitor", "09:00:10", "09:31:00"),
    ]);
    let mut fake = Fake::script([
        (Method::Get, SESSION, 200, FACTS),
        (Method::Get, PEOPLE, 200, &people),
        (Method::Get, RECORDINGS, 200, NONE),
    ]);
    let meeting = get_meeting(&mut fake, "/Daily:s1").unwrap();
    assert_eq!(fake.batches, [3]);
    fake.finish();
    assert_eq!((meeting.id.as_str(), meeting.room_name.as_deref()), ("daily:s1", Some("daily")));
    assert_eq!(meeting.start_date.as_deref(), Some("2026-03-02T09:00:10.000Z"));
    assert_eq!(meeting.end_date.as_deref(), Some("2026-03-02T09:32:45.000Z"));
    assert_eq!((meeting.duration, meeting.estimated), (Some(1955), false));
    assert_eq!((meeting.participant_count, meeting.recorder_minutes), (Some(2), Some(0)));
    assert!(meeting.participants_complete);
    assert_eq!(meeting.recording, RecordingStatus::None);
    let known: Vec<_> = meeting
        .participants
        .iter()
        .map(|person| (person.name.as_deref(), person.name_redacted, person.joined_at.as_deref()))
        .collect();
    assert_eq!(
        known,
        [
            (Some("Ines"), false, Some("2026-03-02T08:59:58Z")),
            (None, true, Some("2026-03-02T09:00:10Z")),
            (None, false, Some("2026-03-02T09:00:10.5Z")),
        ],
        "in the order they joined"
    );
}

#[test]
fn a_room_is_requested_in_both_spellings() {
    for (listed, batches) in [("Daily_1", &[3][..]), ("daily_1", &[3, 3])] {
        let mut fake = Fake::new(|request| {
            let is_listed = request.target.contains(&format!("=%2F{listed}&roomSessionId"));
            Ok(Fake::reply(200, if is_listed { FACTS } else { NONE }))
        });
        let meeting = get_meeting(&mut fake, "Daily_1:s1").unwrap();
        assert_eq!(meeting.room_name.as_deref(), Some(listed));
        assert_eq!(fake.batches, batches, "{listed}");
    }
}

#[test]
fn participants_may_have_no_details() {
    let people = r#"{"results":[{"roomSessionId":"s1","externalId":7},{"roomSessionId":"other","displayName":"x"}]}"#;
    let meeting = get_meeting(&mut answers(FACTS, people, NONE, NONE), "daily:s1").unwrap();
    assert_eq!(
        meeting.participants,
        [Participant {
            name: None,
            name_redacted: false,
            joined_at: None,
            left_at: None,
            role: None,
            external_id: Some("7".to_owned()),
            participant_id: None,
        }],
        "participants of another session are left out"
    );
}

#[test]
fn a_meeting_in_progress_has_no_end() {
    let facts = FACTS.replace("\"2026-03-02T09:32:45.000Z\"", "null");
    let meeting = get_meeting(&mut answers(&facts, NONE, NONE, NONE), "daily:s1").unwrap();
    assert_eq!((meeting.end_date, meeting.duration, meeting.estimated), (None, None, false));
}

#[test]
fn the_recording_status_follows_from_the_lists() {
    let file = r#"{"results":[
        {"recordingId":"r0","roomSessionId":"other"},
        {"recordingId":"r1","roomSessionId":"s1","filename":"a.mp4","startDate":"2026-03-02T09:01:00.000Z","endDate":"","sizeInMegaBytes":143}
    ]}"#;
    let recorded = FACTS.replace("Minutes\":0", "Minutes\":3");
    let silent = FACTS.replace("Minutes\":0", "Minutes\":null");
    let bot = page(&[visit("", "recorder", "09:00:00", "09:01:00")]);
    for (facts, people, recordings, expected) in [
        (FACTS, NONE, file, RecordingStatus::Available),
        (FACTS, NONE, NONE, RecordingStatus::None),
        (FACTS, NONE, "HTTP 404", RecordingStatus::None),
        (recorded.as_str(), NONE, NONE, RecordingStatus::RecordedNotListed),
        (FACTS, bot.as_str(), NONE, RecordingStatus::RecordedNotListed),
        (silent.as_str(), NONE, NONE, RecordingStatus::Unknown),
        (FACTS, NONE, "HTTP 500", RecordingStatus::Unknown),
        (FACTS, NONE, "{}", RecordingStatus::Unknown),
        (FACTS, NONE, r#"{"results":[{"roomSessionId":"s1"}]}"#, RecordingStatus::Unknown),
    ] {
        let mut fake = answers(facts, people, recordings, NONE);
        let meeting = get_meeting(&mut fake, "daily:s1").unwrap();
        assert_eq!(meeting.recording, expected, "{recordings}");
        assert!(meeting.participants.is_empty(), "Whereby's recorder is not a participant");
        match expected {
            RecordingStatus::Available => {
                let file = &meeting.recordings[0];
                assert_eq!((file.recording_id.as_str(), meeting.recordings.len()), ("r1", 1));
                assert_eq!(file.filename.as_deref(), Some("a.mp4"));
                assert_eq!(
                    (file.end_date.as_deref(), file.size_in_mega_bytes),
                    (None, Some(143.0))
                );
            }
            _ => assert!(meeting.recordings.is_empty()),
        }
    }
}

#[test]
fn an_unknown_meeting_is_not_found() {
    let other = FACTS.replace("s1", "s2");
    for (facts, people) in
        [(NONE, NONE), ("HTTP 404", "HTTP 500"), (NONE, "HTTP 404"), (other.as_str(), NONE)]
    {
        let result = get_meeting(&mut answers(facts, people, NONE, NONE), "daily:s1");
        let Err(Error::NotFound(text)) = result else { panic!("{result:?}") };
        assert_eq!(
            text,
            "there is no meeting `s1` in the room `daily`; list_meetings lists meetings with their \
             ids, 10 to 15 minutes after they ended"
        );
    }
    let result = get_meeting(&mut answers(NONE, "HTTP 404", NONE, NONE), "s1");
    let Err(Error::NotFound(text)) = result else { panic!("{result:?}") };
    assert!(text.starts_with("there is no meeting `s1`; list_meetings "), "{text}");
}

#[test]
fn a_meeting_of_another_room_is_not_said_to_be_unknown() {
    let people = page(&[visit("a", "host", "09:00:00", "09:10:00")]);
    for facts in [NONE, "HTTP 404"] {
        let result = get_meeting(&mut answers(facts, &people, NONE, NONE), "Daily_2:s1");
        let Err(Error::NotFound(text)) = result else { panic!("{result:?}") };
        assert_eq!(
            text,
            "there is a meeting `s1`, but Whereby does not list it in the room `Daily_2`; use `s1` \
             alone as meeting_id to read it without naming a room"
        );
    }
}

#[test]
fn an_ignored_filter_does_not_mean_an_unknown_meeting() {
    let other = FACTS.replace("s1", "s2").replace("\"cursor\":null", "\"cursor\":\"more\"");
    let result = get_meeting(&mut answers(&other, NONE, NONE, NONE), "daily:s1");
    assert!(matches!(result, Err(Error::UnexpectedResponse(_))), "{result:?}");
}

#[test]
fn other_failures_are_passed_on() {
    for (facts, people) in [("HTTP 503", NONE), (FACTS, "HTTP 503")] {
        let result = get_meeting(&mut answers(facts, people, NONE, NONE), "daily:s1");
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    }
    for (facts, people) in [
        ("{}", NONE),
        (FACTS, "{}"),
        (FACTS, r#"{"results":[{"roomSessionId":"s1","joinedAt":"soon"}]}"#),
        (FACTS, r#"{"results":[{"roomSessionId":"s1","displayName":7}]}"#),
        (r#"{"results":[{"roomSessionId":7}]}"#, NONE),
    ] {
        let result = get_meeting(&mut answers(facts, people, NONE, NONE), "daily:s1");
        assert!(matches!(result, Err(Error::UnexpectedResponse(_))), "{result:?}");
    }
    let mut fake = Fake::new(|_| Err(failure(SendErrorKind::RateLimited(4))));
    assert_eq!(get_meeting(&mut fake, "daily:s1"), Err(Error::RateLimited(4)));
    assert!(matches!(get_meeting(&mut Fake::silent(), "90411275"), Err(Error::InvalidArgument(_))));
}

#[test]
fn lists_are_read_to_their_end_or_limit() {
    let mut counts = [0, 0];
    let mut fake = Fake::new(|request| {
        let at = usize::from(request.target.starts_with("/recordings"));
        if request.target.starts_with("/insights/room-sessions") {
            return Ok(Fake::reply(200, FACTS));
        }
        counts[at] += 1;
        let row = visit(&counts[at].to_string(), "visitor", "09:00:00", "09:00:01");
        let row = if at == 0 { row } else { r#"{"roomSessionId":"s2"}"#.to_owned() };
        Ok(Fake::reply(200, &format!(r#"{{"results":[{row}],"cursor":"p{}"}}"#, counts[at])))
    });
    let meeting = get_meeting(&mut fake, "daily:s1").unwrap();
    assert_eq!(fake.batches, [3, 2, 2, 2, 2, 1, 1, 1, 1, 1]);
    drop(fake);
    assert_eq!(counts, [10, 5]);
    assert_eq!((meeting.participants.len(), meeting.participants_complete), (10, false));
    assert_eq!(meeting.recording, RecordingStatus::Unknown, "not all recordings were seen");
}

#[test]
fn a_bare_session_is_estimated_from_its_participants() {
    let people = page(&[
        visit("a", "host", "09:00:00", "09:10:00"),
        visit("b", "visitor", "08:59:00", "09:05:00.5"),
    ]);
    let mut fake = Fake::script([
        (Method::Get, PEOPLE, 200, people.as_str()),
        (Method::Get, TRANSCRIPTIONS, 200, NONE),
        (Method::Get, ALL_RECORDINGS, 200, NONE),
    ]);
    let meeting = get_meeting(&mut fake, "s1").unwrap();
    assert_eq!(fake.batches, [1, 2]);
    fake.finish();
    assert_eq!((meeting.id.as_str(), meeting.room_name), ("s1", None));
    assert!(meeting.estimated);
    assert_eq!(meeting.start_date.as_deref(), Some("2026-03-02T08:59:00Z"));
    assert_eq!(meeting.end_date.as_deref(), Some("2026-03-02T09:10:00Z"));
    assert_eq!(meeting.duration, Some(660));
    assert_eq!((meeting.participant_count, meeting.recorder_minutes), (None, None));
    assert_eq!(meeting.recording, RecordingStatus::Unknown);

    // Only one page of all recordings is searched for the session.
    let more = r#"{"results":[],"cursor":"more"}"#;
    let mut fake = answers(NONE, &people, more, more);
    get_meeting(&mut fake, "s1").unwrap();
    assert_eq!(fake.batches, [1, 2]);

    let there = people.replacen("\"2026-03-02T09:05:00.5Z\"", "null", 1);
    let meeting = get_meeting(&mut answers(NONE, &there, NONE, NONE), "s1").unwrap();
    assert_eq!((meeting.end_date, meeting.duration), (None, None), "somebody is still there");
}

#[test]
fn the_room_of_a_bare_session_comes_from_a_list() {
    let people = page(&[visit("a", "host", "09:00:00", "09:10:00")]);
    let transcription = r#"{"results":[{"roomSessionId":"s0","roomName":"/x"},{"roomSessionId":"s1","roomName":"/daily"}],"cursor":"more"}"#;
    let recording = r#"{"results":[{"recordingId":"r1","roomSessionId":"s1","roomName":"/daily"}],"cursor":null}"#;
    for (transcriptions, recordings, status) in [
        (transcription, NONE, RecordingStatus::None),
        (NONE, recording, RecordingStatus::Available),
        ("HTTP 500", recording, RecordingStatus::Available),
    ] {
        let mut fake = answers(FACTS, &people, recordings, transcriptions);
        let meeting = get_meeting(&mut fake, "s1").unwrap();
        assert_eq!(fake.batches, [1, 2, 1]);
        assert_eq!(fake.requests[3].target, SESSION);
        assert_eq!((meeting.id.as_str(), meeting.estimated), ("daily:s1", false));
        assert_eq!((meeting.duration, meeting.recording), (Some(1955), status));
    }
    // If the room's sessions are gone, the estimate remains.
    let meeting = get_meeting(&mut answers(NONE, &people, NONE, transcription), "s1").unwrap();
    assert_eq!((meeting.id.as_str(), meeting.estimated), ("daily:s1", true));
}

#[test]
fn a_room_with_an_invalid_name_stays_unknown() {
    let people = page(&[visit("a", "host", "09:00:00", "09:10:00")]);
    let list = |name: &str| {
        format!(
            r#"{{"results":[{{"recordingId":"r1","roomSessionId":"s1","roomName":"{name}"}}],"cursor":null}}"#
        )
    };
    let long = format!("/{}", "x".repeat(2001));
    for name in ["/", &long] {
        let lists = list(name);
        for (recordings, transcriptions) in [(lists.as_str(), NONE), (NONE, lists.as_str())] {
            let mut fake = answers(FACTS, &people, recordings, transcriptions);
            let meeting = get_meeting(&mut fake, "s1").unwrap();
            assert_eq!(fake.batches, [1, 2], "{name} is not asked for");
            assert_eq!((meeting.id.as_str(), meeting.room_name), ("s1", None), "{name}");
            assert!(meeting.estimated);
        }
        // The other list may have a valid name.
        let (bad, good) = (list(name), list("/daily"));
        for (recordings, transcriptions) in [(&bad, &good), (&good, &bad)] {
            let mut fake = answers(FACTS, &people, recordings, transcriptions);
            assert_eq!(get_meeting(&mut fake, "s1").unwrap().id, "daily:s1");
        }
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        bodies in prop::collection::vec(any::<Vec<u8>>(), 1..4),
        near in prop::collection::vec(r#"\{"results":\[\{"roomSessionId":"s1",("joinedAt":"[0-9TZ:-]{0,20}",|"leftAt":"2026-03-02T09:00:00Z",|"startedAt":"2026-03-02T09:00:00Z",){0,2}"roomName":"/?"\}\],"cursor":"[ab]?"\}"#, 1..4),
        status in prop_oneof![Just(200), 200_u16..600],
    ) {
        let near = near.into_iter().map(String::into_bytes);
        let mut bodies = bodies.into_iter().chain(near).cycle();
        let mut fake = Fake::new(|_| {
            Ok(Reply { status, body: bodies.next().unwrap_or_default(), ..Reply::default() })
        });
        for id in ["daily:s1", "s1"] {
            let _ = get_meeting(&mut fake, id);
        }
    }
}
