//! `get_meeting`: one session with its people and recordings.

use crate::wire::{daily_world, hours, kind, meeting, message, sent_sorted};
use serde_json::{Value, json};
use std::time::Duration;
use time::macros::datetime;
use whereby::simulator::switches::{BlankText, BotRows, RecordingRoomName};
use whereby::simulator::{
    Options, OrganizationSeed, ParticipantSeed, Reply, RoomSeed, Seed, SeededRoom, SessionSeed,
    Switches,
};
use whereby_tests::World;

async fn world(session: SessionSeed) -> (World, SeededRoom) {
    let options = Options {
        organizations: vec![OrganizationSeed::new("acme-demo", Seed::Rooms(Vec::new()))],
        now: Some(datetime!(2026-03-02 12:00 UTC)),
        ..Options::default()
    };
    let world = World::with(options).await;
    let room = RoomSeed::named("daily").created(hours(48)).session(session);
    let room = world.simulator.add_room(0, &room);
    (world, room)
}

async fn read(world: &World, id: &str) -> Value {
    let outcome = world.call("get_meeting", json!({"meeting_id": id})).await;
    outcome.result.unwrap_or_else(|error| panic!("{id}: {error}"))
}

#[tokio::test]
async fn a_meeting_is_read_with_its_people_and_recordings() {
    let (world, room) = world(meeting(hours(24)).recorded().transcribed()).await;
    let session = &room.sessions[0];
    let id = format!("daily:{session}");
    let read = read(&world, &id).await;
    let ids: Vec<&Value> = (0..2).map(|i| &read["participants"][i]["participantId"]).collect();
    let recording = &read["recordings"][0];
    assert_eq!(
        read,
        json!({
            "id": id,
            "roomName": "daily",
            "startDate": "2026-03-01T12:01:00.000Z",
            "endDate": "2026-03-01T12:30:00.000Z",
            "duration": 29 * 60,
            "estimated": false,
            "participantCount": 2,
            "recorderMinutes": 29,
            "participants": [
                {
                    "name": "Ines Falk", "nameRedacted": false,
                    "joinedAt": "2026-03-01T12:00:00.000Z", "leftAt": "2026-03-01T12:30:00.000Z",
                    "role": "host", "externalId": "crm-118", "participantId": ids[0],
                },
                {
                    "name": "Tomasz Wren", "nameRedacted": false,
                    "joinedAt": "2026-03-01T12:01:00.000Z", "leftAt": "2026-03-01T12:30:00.000Z",
                    "role": "visitor", "externalId": null, "participantId": ids[1],
                },
            ],
            "participantsComplete": true,
            "recording": "available",
            "recordings": [{
                "recordingId": recording["recordingId"],
                "filename": recording["filename"],
                "startDate": "2026-03-01T12:01:00.000Z",
                "endDate": "2026-03-01T12:30:00.000Z",
                "sizeInMegaBytes": recording["sizeInMegaBytes"],
            }],
        })
    );
    assert_eq!(
        sent_sorted(&world),
        [
            format!(
                "GET /v1/insights/participants roomSessionId={session} sortBy=joinedAt:asc limit=100"
            ),
            format!("GET /v1/insights/room-sessions roomName=/daily roomSessionId={session}"),
            "GET /v1/recordings roomName=/daily limit=100".to_owned(),
        ]
    );
}

#[tokio::test]
async fn ids_are_taken_in_every_spelling_and_returned_in_one() {
    let (world, room) = world(meeting(hours(24))).await;
    let session = &room.sessions[0];
    for id in
        [format!("daily:{session}"), format!("/Daily:{session}"), format!(" daily:{session} ")]
    {
        assert_eq!(read(&world, &id).await["id"], format!("daily:{session}"), "{id}");
    }
}

#[tokio::test]
async fn a_bare_session_id_finds_its_room_in_the_lists_that_name_it() {
    for (session, included, known) in [
        (meeting(hours(24)).recorded(), RecordingRoomName::Included, true),
        (meeting(hours(24)).recorded(), RecordingRoomName::Absent, false),
        (meeting(hours(24)).transcribed(), RecordingRoomName::Absent, true),
        (meeting(hours(24)), RecordingRoomName::Included, false),
    ] {
        let (world, room) = world(session).await;
        world
            .simulator
            .set_switches(Switches { recording_room_name: included, ..Switches::default() });
        let id = &room.sessions[0];
        let read = read(&world, id).await;
        assert_eq!(read["estimated"], !known);
        let (name, full) = match known {
            true => (json!("daily"), format!("daily:{id}")),
            false => (Value::Null, id.clone()),
        };
        assert_eq!((&read["roomName"], &read["id"]), (&name, &json!(full)));
        let start = if known { "2026-03-01T12:01:00.000Z" } else { "2026-03-01T12:00:00.000Z" };
        assert_eq!(read["startDate"], start, "an estimate goes from the first to join");
        assert_eq!(read["endDate"], "2026-03-01T12:30:00.000Z");
        assert_eq!(read["duration"], if known { 29 * 60 } else { 30 * 60 });
        assert!(!world.requests().iter().any(|r| r.path == "/v1/insights/rooms"), "no scan");
    }
}

#[tokio::test]
async fn the_id_of_a_room_and_whatever_is_no_id_are_refused_and_nothing_is_sent() {
    let (world, room) = world(meeting(hours(24))).await;
    let outcome = world.call("get_meeting", json!({"meeting_id": room.meeting_id})).await;
    assert_eq!(kind(&outcome), "invalid-argument");
    assert!(message(&outcome).contains("list_meetings"), "{}", message(&outcome));
    for id in ["daily", "daily:", ":x", "daily:a/b", "https://a/b:c", "", "daily:../x"] {
        let outcome = world.call("get_meeting", json!({"meeting_id": id})).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{id}");
        assert!(message(&outcome).contains("meeting_id"), "{}", message(&outcome));
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_meeting_that_nobody_knows_is_not_found() {
    let (world, room) = world(meeting(hours(24))).await;
    let unknown = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
    let session = &room.sessions[0];
    let listed = "list_meetings lists meetings with their ids, 10 to 15 minutes after they ended";
    for (id, words) in [
        (
            format!("daily:{unknown}"),
            format!("there is no meeting `{unknown}` in the room `daily`; {listed}"),
        ),
        (unknown.to_owned(), format!("there is no meeting `{unknown}`; {listed}")),
        // It is the room that is wrong.
        (
            format!("other:{session}"),
            format!(
                "there is a meeting `{session}`, but Whereby does not list it in the room `other`; \
                 use `{session}` alone as meeting_id to read it without naming a room"
            ),
        ),
    ] {
        let outcome = world.call("get_meeting", json!({"meeting_id": id})).await;
        assert_eq!(kind(&outcome), "not-found", "{id}");
        assert_eq!(message(&outcome), words, "{id}");
    }
    let alone = world.call("get_meeting", json!({"meeting_id": session})).await;
    assert!(alone.result.is_ok(), "{:?}", alone.result);
}

#[tokio::test]
async fn bots_are_no_participants_and_names_are_told_from_their_absence() {
    let session = meeting(hours(24))
        .participant(ParticipantSeed::anonymous().joined_after(Duration::from_mins(2)))
        .participant(ParticipantSeed::named("Aiko").redacted().joined_after(Duration::from_mins(3)))
        .participant(ParticipantSeed::bot("streamer"))
        .participant(ParticipantSeed::bot("captioner"));
    for blank in [BlankText::Empty, BlankText::Null] {
        let (world, room) = world(session.clone()).await;
        world.simulator.set_switches(Switches { blank_text: blank, ..Switches::default() });
        let read = read(&world, &format!("daily:{}", room.sessions[0])).await;
        let people: Vec<_> = read["participants"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|person| (person["name"].as_str(), person["nameRedacted"] == true))
            .collect();
        assert_eq!(
            people,
            [(Some("Ines Falk"), false), (Some("Tomasz Wren"), false), (None, false), (None, true)]
        );
        assert_eq!(read["participants"][2]["externalId"], Value::Null);
    }
}

#[tokio::test]
async fn what_is_known_of_a_recording_is_said_in_four_words() {
    let unlisted = meeting(hours(24)).participant(ParticipantSeed::bot("recorder"));
    for (session, bots, failing, expected) in [
        (meeting(hours(24)), BotRows::Listed, false, "none"),
        (meeting(hours(24)).recorded(), BotRows::Hidden, false, "available"),
        (unlisted.clone(), BotRows::Listed, false, "recorded-not-listed"),
        (unlisted, BotRows::Hidden, false, "recorded-not-listed"),
        (meeting(hours(24)).recorded(), BotRows::Listed, true, "unknown"),
    ] {
        let (world, room) = world(session).await;
        world.simulator.set_switches(Switches { bot_rows: bots, ..Switches::default() });
        if failing {
            world.simulator.script("GET", "/v1/recordings", 1, Reply::status(500));
        }
        let read = read(&world, &format!("daily:{}", room.sessions[0])).await;
        assert_eq!(read["recording"], expected);
        assert_eq!(read["recordings"].as_array().map(Vec::is_empty), Some(expected != "available"));
    }
}

#[tokio::test]
async fn a_failure_to_read_recordings_fails_nothing_and_any_other_fails_the_call() {
    let (world, meeting) = daily_world().await;
    for reply in [
        Reply::status(401),
        Reply::status(500).body("<html>"),
        Reply::status(200).body("not JSON"),
        Reply::status(200).json(&json!({"results": [{"roomSessionId": 1}], "cursor": null})),
        crate::wire::later(429),
    ] {
        world.simulator.script("GET", "/v1/recordings", 1, reply.clone());
        let read = read(&world, &meeting).await;
        assert_eq!(read["recording"], "unknown", "{reply:?}");
        assert_eq!(read["participants"].as_array().map(Vec::len), Some(2));
    }
    for path in ["/v1/insights/room-sessions", "/v1/insights/participants"] {
        world.simulator.script("GET", path, 1, Reply::status(500));
        let outcome = world.call("get_meeting", json!({"meeting_id": meeting})).await;
        assert_eq!(kind(&outcome), "unavailable", "{path}");
    }
}

#[tokio::test]
async fn a_meeting_that_goes_on_has_no_end() {
    let (world, room) = world(meeting(hours(2)).running()).await;
    let read = read(&world, &format!("daily:{}", room.sessions[0])).await;
    assert_eq!((&read["endDate"], &read["duration"]), (&Value::Null, &Value::Null));
    assert_eq!(read["participants"][0]["leftAt"], Value::Null);
}

#[tokio::test]
async fn all_pages_of_participants_are_read() {
    let mut session = meeting(hours(24));
    for index in 0..248 {
        let name = format!("Guest {index}");
        session = session.participant(
            ParticipantSeed::named(&name).joined_after(Duration::from_secs(90 + index)),
        );
    }
    let (world, room) = world(session).await;
    let read = read(&world, &format!("daily:{}", room.sessions[0])).await;
    assert_eq!(read["participants"].as_array().map(Vec::len), Some(250));
    assert_eq!(read["participantsComplete"], true);
    let pages = world.requests().iter().filter(|r| r.path == "/v1/insights/participants").count();
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn after_a_thousand_visits_the_list_is_cut_off_and_says_so() {
    let mut session = meeting(hours(24));
    for index in 0..1050 {
        let seconds = Duration::from_secs(90 + index / 2);
        session =
            session.participant(ParticipantSeed::named(&format!("G{index}")).joined_after(seconds));
    }
    let (world, room) = world(session).await;
    let read = read(&world, &format!("daily:{}", room.sessions[0])).await;
    assert_eq!(read["participants"].as_array().map(Vec::len), Some(1000));
    assert_eq!(read["participantsComplete"], false);
}
