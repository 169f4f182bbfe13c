//! Tests sessions, participants, recordings and transcriptions, and the demonstration.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_session_has_totals_participants_a_recording_and_a_transcription() {
    let (simulator, mut client) = start(options(vec![])).await;
    let room = simulator.add_room(0, &RoomSeed::named("review").session(review()));
    let [session] = &room.sessions[..] else { unreachable!() };
    let sessions = client.get("/insights/room-sessions?roomName=%2Freview").await.json();
    assert_eq!(
        sessions,
        json!({ "results": [{
            "roomSessionId": session,
            "roomName": "/review",
            "startedAt": "2026-02-28T08:15:16.118Z",
            "endedAt": "2026-02-28T08:45:04.118Z",
            "totalParticipantMinutes": 30 + 20 + 25,
            "totalRecorderMinutes": 29,
            "totalStreamerMinutes": 0,
            "totalUniqueParticipants": 3,
            "totalUniqueRecorders": 1,
            "totalUniqueStreamers": 0,
            "rating": null,
            "totalRatings": null,
        }], "cursor": null })
    );
    let insights = client.get("/insights/rooms?roomName[exact]=/review").await.json();
    assert_eq!(
        insights,
        json!({ "results": [{
            "roomName": "/review",
            "createdAt": "2026-03-01T08:15:04.118Z",
            "endAt": "2026-03-09T08:15:04.118Z",
            "firstSessionStartedAt": "2026-02-28T08:15:16.118Z",
            "lastSessionStartedAt": "2026-02-28T08:15:16.118Z",
            "totalParticipantMinutes": 75,
            "totalRecorderMinutes": 29,
            "totalStreamerMinutes": 0,
            "totalUniqueParticipants": 3,
            "totalUniqueRecorders": 1,
            "totalUniqueStreamers": 0,
            "totalSessions": 1,
            "rating": null,
            "totalRatings": null,
        }], "cursor": null })
    );
    let people = client.get(&format!("/insights/participants?roomSessionId={session}")).await;
    assert_eq!(people.column("displayName"), ["Ines Falk", "Jonas Imai", "", "", ""]);
    assert_eq!(people.column("roleName"), ["host", "visitor", "recorder", "captioner", "visitor"]);
    assert_eq!(people.column("externalId"), ["crm-118", "", "", "", ""]);
    assert_eq!(people.column("leftAt")[1], "2026-02-28T08:35:04.118Z");
    let ines = people.column("participantId")[0].as_str().unwrap().to_owned();
    let details = client
        .get(&format!("/insights/participant?roomSessionId={session}&participantId={ines}"))
        .await
        .json();
    assert_eq!(details[0]["displayName"], "Ines Falk");
    assert!(details[0]["events"].is_array() && details[0]["samples"]["bitrateSend"].is_array());

    let recordings = client.get("/recordings?roomName=%2Freview").await;
    let recording = json!({
        "recordingId": recordings.column("recordingId")[0],
        "roomSessionId": session,
        "roomName": "/review",
        "filename": "review-2026-02-28T08-15-16.mp4",
        "startDate": "2026-02-28T08:15:16.118Z",
        "endDate": "2026-02-28T08:45:04.118Z",
        "sizeInMegaBytes": 137,
    });
    assert_eq!(recordings.json(), json!({ "results": [recording], "cursor": null }));
    let id = recording["recordingId"].as_str().unwrap();
    assert_eq!(client.get(&format!("/recordings/{id}")).await.json(), recording);
    assert_eq!(client.get("/recordings/x").await.status, 404);
    assert_eq!(client.get("/recordings?roomName=review").await.json()["results"], json!([]));

    let transcriptions = client.get("/transcriptions?roomName=%2Freview").await.json();
    let transcription = &transcriptions["results"][0];
    assert_eq!(transcription["state"], "ready");
    assert_eq!(transcription["durationInSeconds"], 1788);
    let id = transcription["transcriptionId"].as_str().unwrap();
    assert_eq!(&client.get(&format!("/transcriptions/{id}")).await.json(), transcription);
    assert_eq!(client.get("/transcriptions/x").await.status, 404);
}

#[tokio::test]
async fn it_takes_two_people_to_make_a_session() {
    let (simulator, mut client) = start(options(vec![RoomSeed::named("a")])).await;
    let alone = SessionSeed::began(minutes(90)).participant(ParticipantSeed::named("Ines Falk"));
    assert_eq!(simulator.add_session(0, "a", &alone), None);
    let with_a_bot = alone.recorded();
    assert_eq!(simulator.add_session(0, "a", &with_a_bot), None);
    assert!(simulator.add_session(0, "/a", &running()).is_some());
    assert_eq!(simulator.add_session(0, "b", &running()), None);
    assert_eq!(
        client.get("/insights/room-sessions?roomName=/a").await.column("totalUniqueParticipants"),
        [2]
    );
    assert_eq!(client.get("/recordings").await.json()["results"], json!([]));
}

#[tokio::test]
async fn insights_lag_behind_the_clock() {
    let (simulator, mut client) = start(options(vec![RoomSeed::named("a")])).await;
    let lately = SessionSeed::began(minutes(10))
        .lasting(minutes(10))
        .participant(ParticipantSeed::named("Ines Falk"))
        .participant(ParticipantSeed::named("Jonas Imai"));
    let id = simulator.add_session(0, "a", &lately).unwrap();
    let target = "/insights/room-sessions?roomName=/a";
    let people = format!("/insights/participants?roomSessionId={id}");
    assert_eq!(client.get(target).await.json()["results"], json!([]));
    assert_eq!(client.get(&people).await.json()["results"], json!([]));
    simulator.advance(minutes(5));
    assert_eq!(
        client.get(target).await.column("endedAt"),
        [Value::Null],
        "as it was twelve minutes ago"
    );
    assert_eq!(client.get(&people).await.column("leftAt"), [Value::Null, Value::Null]);
    simulator.advance(minutes(10));
    assert_eq!(client.get(target).await.column("endedAt"), ["2026-03-02T08:15:04.118Z"]);
    let wish = json!({ "endDate": "2099-01-01T00:00:00Z" });
    client.post(&wish).await;
    assert_eq!(
        client.get("/insights/rooms").await.column("roomName"),
        ["/a"],
        "insights do not have the new room yet"
    );
}

#[tokio::test]
async fn insights_can_be_filtered_sorted_and_paged() {
    let mut rooms = RoomSeed::many("quiet-", 11);
    rooms.push(
        RoomSeed::named("busy")
            .created(Duration::from_hours(72))
            .session(review())
            .session(running()),
    );
    rooms.push(RoomSeed::named("calm").created(Duration::from_hours(60)).session(running()));
    let (simulator, mut client) = start(options(rooms)).await;
    simulator.advance(minutes(15));
    let first = client.get("/insights/rooms").await;
    assert_eq!(
        first.column("roomName")[..2],
        ["/calm", "/busy"],
        "the room used last, and the newer of two first"
    );
    assert_eq!(first.column("roomName").len(), 10, "the default limit");
    let cursor = first.json()["cursor"].as_str().unwrap().to_owned();
    let second = client.get(&format!("/insights/rooms?cursor={cursor}")).await;
    assert_eq!(second.column("roomName"), ["/quiet-0003", "/quiet-0002", "/quiet-0001"]);
    assert_eq!(second.column("lastSessionStartedAt")[0], Value::Null);
    for (query, names) in [
        ("sortBy=totalSessions:desc&limit=1", vec!["/busy"]),
        ("sortBy=createdAt:asc&limit=2", vec!["/busy", "/calm"]),
        ("sortBy=totalRecorderMinutes:desc&limit=1", vec!["/busy"]),
        ("roomName[contains]=al", vec!["/calm"]),
        ("roomName[startsWith]=/b", vec!["/busy"]),
        ("roomName[exact]=busy", vec![]),
        ("createdAt[to]=2026-02-28T00:00:00Z", vec!["/calm", "/busy"]),
        ("createdAt[from]=2026-02-27T09:00:00Z&createdAt[to]=2026-02-28T00:00:00Z", vec!["/calm"]),
    ] {
        assert_eq!(
            client.get(&format!("/insights/rooms?{query}")).await.column("roomName"),
            names,
            "{query}"
        );
    }
    for bad in [
        "rooms?sortBy=colour:asc",
        "rooms?sortBy=totalSessions",
        "rooms?createdAt[from]=yesterday",
        "room-sessions",
        "room-sessions?roomName=",
        "participants",
        "participants?roomSessionId=",
        "participant?roomSessionId=x",
    ] {
        assert_eq!(client.get(&format!("/insights/{bad}")).await.status, 400, "{bad}");
    }
    let sessions = client
        .get("/insights/room-sessions?roomName=/busy&sortBy=totalUniqueParticipants:desc&limit=1")
        .await;
    assert_eq!(sessions.column("totalUniqueParticipants"), [3]);
    let id = sessions.column("roomSessionId")[0].as_str().unwrap().to_owned();
    let narrowed = format!("/insights/room-sessions?roomName=/busy&roomSessionId={id}");
    assert_eq!(client.get(&narrowed).await.column("roomSessionId"), [id.as_str()]);
    let other_room = format!("/insights/room-sessions?roomName=/calm&roomSessionId={id}");
    assert_eq!(client.get(&other_room).await.json()["results"], json!([]));
    let by_external_id = client.get("/insights/participants?externalId=crm-118").await;
    assert_eq!(by_external_id.column("roomSessionId"), [id.as_str()]);
    let leaving = client
        .get(&format!("/insights/participants?roomSessionId={id}&sortBy=leftAt:asc&limit=1"))
        .await;
    assert_eq!(leaving.column("displayName"), ["Jonas Imai"]);
    assert!(leaving.json()["cursor"].is_string());
}

#[tokio::test]
async fn the_demonstration_has_every_kind_of_data() {
    let (_simulator, mut client) = start(Options::default()).await;
    let names = |response: &client::Response| {
        let names = response.column("roomName");
        names
            .iter()
            .map(|name| name.as_str().unwrap()[1..].split('-').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let rooms = client.get("/meetings").await;
    assert_eq!(names(&rooms), ["planning", "interview", "design", "standup", "office"]);
    let insights = client.get("/insights/rooms").await;
    assert_eq!(
        names(&insights),
        ["office", "interview", "standup", "design", "webinar", "planning"]
    );
    assert_eq!(insights.column("totalSessions"), [2, 1, 2, 1, 1, 0]);
    assert_eq!(names(&client.get("/recordings").await), ["design"]);
    assert_eq!(names(&client.get("/transcriptions").await), ["design"]);
    let mut seen = Vec::new();
    let mut running = 0;
    for name in insights.column("roomName") {
        let sessions = client
            .get(&format!("/insights/room-sessions?roomName={}", name.as_str().unwrap()))
            .await;
        running += sessions.column("endedAt").iter().filter(|end| end.is_null()).count();
        for id in sessions.column("roomSessionId") {
            let people = client
                .get(&format!("/insights/participants?roomSessionId={}", id.as_str().unwrap()))
                .await;
            seen.extend(people.column("displayName").into_iter().zip(people.column("roleName")));
        }
    }
    assert_eq!(running, 1);
    for (name, role) in [
        ("", "visitor"),
        ("[[redacted]]", "granted_visitor"),
        ("", "recorder"),
        ("", "streamer"),
        ("", "captioner"),
    ] {
        assert!(seen.contains(&(name.into(), role.into())), "{name} {role}");
    }
}
