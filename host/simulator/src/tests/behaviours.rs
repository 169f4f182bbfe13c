//! Tests the effect of every value of every switch.

use serde_json::{Value, json};

use super::client::Response;
use super::*;

/// The effects: switch, value, outcome of the probe.
const OUTCOMES: &[(&str, &str, &str)] = &[
    ("error-body", "json", r#"{"error":"Not found"}"#),
    ("error-body", "empty", ""),
    ("error-body", "html", "<!DOCTYPE html>"),
    ("room-name-filter", "honoured", "1 rooms"),
    ("room-name-filter", "ignored", "3 rooms"),
    ("sort-by-dates", "accepted", "200 200 200"),
    ("sort-by-dates", "rejected", "400 400 200"),
    ("unknown-session", "empty", "200 200 200"),
    ("unknown-session", "404", "404 404 404"),
    ("running-end", "null", "Some(Null) Some(Null)"),
    ("running-end", "absent", "None None"),
    ("session-dates", "startedAt", "startedAt endedAt"),
    ("session-dates", "createdAt", "createdAt endAt"),
    ("insights-of-deleted", "kept", "3 rooms 1 sessions 1 recordings"),
    ("insights-of-deleted", "dropped", "2 rooms 0 sessions 1 recordings"),
    ("meeting-id", "decimal", "8"),
    ("meeting-id", "uuid", "36"),
    ("recording-room-name", "included", r#"Some(String("/review"))"#),
    ("recording-room-name", "absent", "None"),
    ("ms-left", "msLeft", r#"{"msLeft":60000}"#),
    ("ms-left", "ms_left", r#"{"ms_left":60000}"#),
    ("limit-out-of-range", "clamped", "200 200"),
    ("limit-out-of-range", "rejected", "400 400"),
    ("bot-rows", "listed", "5 rows"),
    ("bot-rows", "hidden", "3 rows"),
    ("display-names", "shown", r#"["Ines Falk","Jonas Imai","","",""]"#),
    ("display-names", "redacted", r#"["[[redacted]]","[[redacted]]","","","[[redacted]]"]"#),
    ("blank-text", "empty", r#"["crm-118","","","",""]"#),
    ("blank-text", "null", r#"["crm-118",null,null,null,null]"#),
    ("meeting-members", "all", "meetingId startDate endDate roomName roomUrl"),
    ("meeting-members", "required", "meetingId endDate roomUrl"),
    ("date-format", "milliseconds", "2026-03-01T08:15:04.118Z"),
    ("date-format", "seconds", "2026-03-01T08:15:04Z"),
    ("unknown-members", "ignored", "201"),
    ("unknown-members", "rejected", "400"),
    ("unknown-fields", "rejected", "400 400"),
    ("unknown-fields", "ignored", "201 200"),
    ("delete-unknown", "204", "204"),
    ("delete-unknown", "404", "404"),
    ("recording-plan", "included", "201 201 201"),
    ("recording-plan", "missing", "403 403 201"),
    ("rate-limit-costs", "complexity", "997 994 991 986"),
    ("rate-limit-costs", "method", "999 996 994 993"),
    ("rate-limit-headers", "always", "Some(\"997\")"),
    ("rate-limit-headers", "limited", "None"),
    (
        "rate-limit-reset",
        "javascript",
        "Mon Mar 02 2026 08:16:04 GMT+0000 (Coordinated Universal Time)",
    ),
    ("rate-limit-reset", "iso", "2026-03-02T08:16:04.118Z"),
    ("rate-limit-reset", "epoch", "1772439364"),
    ("retry-after", "whole", "Some(\"60\")"),
    ("retry-after", "decimal", "Some(\"60.000\")"),
    ("retry-after", "absent", "None"),
    ("rate-limit", "1000", "200 Some(\"1000\")"),
    ("rate-limit", "2", "429 Some(\"2\")"),
    ("rate-limit", "0", "200 None"),
    ("insights-lag", "12", "Null"),
    ("insights-lag", "5", "String(\"2026-03-02T08:10:04.118Z\")"),
    ("room-removal", "24", "3 rooms"),
    ("room-removal", "2", "2 rooms"),
    ("latency", "20", "at least 20 ms"),
];

#[tokio::test]
async fn every_switch_has_its_effect() {
    for (name, value, outcome) in OUTCOMES {
        let mut options = options(rooms());
        options.switches.set(name, value).unwrap();
        assert_eq!(probe(name, options).await, *outcome, "{name}={value}");
    }
}

#[test]
fn every_value_of_every_switch_is_in_the_table() {
    for switch in SWITCHES {
        let tested: Vec<_> = OUTCOMES
            .iter()
            .filter(|(name, ..)| *name == switch.name)
            .map(|(_, value, _)| *value)
            .collect();
        match switch.values {
            SwitchValues::Choice(words) => assert_eq!(tested, words, "{}", switch.name),
            SwitchValues::Number { .. } => assert!(!tested.is_empty(), "{}", switch.name),
        }
    }
}

fn rooms() -> Vec<RoomSeed> {
    let lately = SessionSeed::began(minutes(20))
        .lasting(minutes(15))
        .participant(ParticipantSeed::named("Ines Falk"))
        .participant(ParticipantSeed::named("Jonas Imai"));
    vec![
        RoomSeed::named("review").session(review()),
        RoomSeed::named("running").session(running()).ended(Duration::from_hours(3)),
        RoomSeed::named("lately").session(lately),
    ]
}

/// Shows the effect of a switch.
async fn probe(name: &str, mut options: Options) -> String {
    if matches!(name, "ms-left" | "retry-after") {
        // Even the cheapest request exceeds the limit.
        options.switches.rate_limit = 1;
    }
    let (_simulator, mut client) = start(options).await;
    let wish = json!({ "endDate": "2099-01-01T00:00:00Z" });
    let with = |name: &str, value: Value| {
        let mut wish = wish.clone();
        wish[name] = value;
        wish
    };
    let rows = |response: &Response| response.json()["results"].as_array().unwrap().len();
    let member = |response: &Response, name: &str| response.json()["results"][0].get(name).cloned();
    match name {
        "error-body" => {
            client.get("/meetings/1").await.text().lines().next().unwrap_or("").to_owned()
        }
        "room-name-filter" => {
            format!("{} rooms", rows(&client.get("/meetings?roomName[startsWith]=/rev").await))
        }
        "sort-by-dates" => {
            statuses(
                &mut client,
                &[
                    "/insights/rooms?sortBy=lastSessionStartedAt:desc",
                    "/insights/room-sessions?roomName=/review&sortBy=startedAt:desc",
                    "/insights/room-sessions?roomName=/review",
                ],
            )
            .await
        }
        "unknown-session" => {
            statuses(
                &mut client,
                &[
                    "/insights/room-sessions?roomName=/review&roomSessionId=x",
                    "/insights/participants?roomSessionId=x",
                    "/insights/participant?roomSessionId=x&participantId=y",
                ],
            )
            .await
        }
        "running-end" => {
            let session = client.get("/insights/room-sessions?roomName=/running").await;
            let id = member(&session, "roomSessionId").unwrap();
            let people = client
                .get(&format!("/insights/participants?roomSessionId={}", id.as_str().unwrap()))
                .await;
            format!("{:?} {:?}", member(&session, "endedAt"), member(&people, "leftAt"))
        }
        "session-dates" => {
            let session = client.get("/insights/room-sessions?roomName=/review").await.json();
            let names =
                session["results"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            names.into_iter().filter(|name| name.ends_with("At")).collect::<Vec<_>>().join(" ")
        }
        "insights-of-deleted" => {
            let room = client.get("/meetings?roomName[startsWith]=/review").await;
            let id = member(&room, "meetingId").unwrap();
            client.delete(&format!("/meetings/{}", id.as_str().unwrap())).await;
            format!(
                "{} rooms {} sessions {} recordings",
                rows(&client.get("/insights/rooms").await),
                rows(&client.get("/insights/room-sessions?roomName=/review").await),
                rows(&client.get("/recordings").await),
            )
        }
        "meeting-id" => {
            client.post(&wish).await.json()["meetingId"].as_str().unwrap().len().to_string()
        }
        "recording-room-name" => {
            format!("{:?}", member(&client.get("/recordings").await, "roomName"))
        }
        "ms-left" => client.get("/meetings").await.json()["data"].to_string(),
        "limit-out-of-range" => {
            statuses(&mut client, &["/meetings?limit=0", "/insights/rooms?limit=101"]).await
        }
        "bot-rows" | "display-names" | "blank-text" => {
            let session = client.get("/insights/room-sessions?roomName=/review").await;
            let id = member(&session, "roomSessionId").unwrap();
            let people = client
                .get(&format!("/insights/participants?roomSessionId={}", id.as_str().unwrap()))
                .await;
            match name {
                "bot-rows" => format!("{} rows", rows(&people)),
                "display-names" => Value::from(people.column("displayName")).to_string(),
                _ => Value::from(people.column("externalId")).to_string(),
            }
        }
        "meeting-members" => {
            let room = client.get("/meetings").await.json()["results"][0].clone();
            room.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        }
        "date-format" => member(&client.get("/meetings").await, "startDate")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned(),
        "unknown-members" => client.post(&with("somethingNew", json!(1))).await.status.to_string(),
        "unknown-fields" => {
            let created = client.post(&with("fields", json!(["somethingNew"]))).await.status;
            format!("{created} {}", client.get("/meetings?fields=somethingNew").await.status)
        }
        "delete-unknown" => client.delete("/meetings/1").await.status.to_string(),
        "recording-plan" => {
            let recording =
                |kind| json!({ "type": kind, "destination": null, "startTrigger": null });
            let streaming =
                json!({ "destination": { "url": "rtmp://a.example/key" }, "startTrigger": "none" });
            let cloud = client.post(&with("recording", recording("cloud"))).await.status;
            let streamed = client.post(&with("streaming", streaming)).await.status;
            format!(
                "{cloud} {streamed} {}",
                client.post(&with("recording", recording("none"))).await.status
            )
        }
        "rate-limit-costs" => {
            let mut left = Vec::new();
            for (method, target) in [
                ("GET", "/meetings"),
                ("POST", "/meetings"),
                ("DELETE", "/meetings/1"),
                ("GET", "/insights/rooms"),
            ] {
                let answer = client.send(method, target, "").await;
                left.push(answer.header("x-ratelimit-remaining").unwrap().to_owned());
            }
            left.join(" ")
        }
        "rate-limit-headers" => {
            format!("{:?}", client.get("/meetings").await.header("x-ratelimit-remaining"))
        }
        "rate-limit-reset" => {
            client.get("/meetings").await.header("x-ratelimit-reset").unwrap().to_owned()
        }
        "retry-after" => format!("{:?}", client.get("/meetings").await.header("retry-after")),
        "rate-limit" => {
            let answer = client.get("/meetings").await;
            format!("{} {:?}", answer.status, answer.header("x-ratelimit-limit"))
        }
        "insights-lag" => {
            let session = client.get("/insights/room-sessions?roomName=/lately").await;
            format!("{:?}", member(&session, "endedAt").unwrap())
        }
        "room-removal" => format!("{} rooms", rows(&client.get("/meetings").await)),
        "latency" => {
            // Only a lower bound, because the rest depends on the machine.
            let sent = std::time::Instant::now();
            client.get("/meetings").await;
            assert!(sent.elapsed() >= Duration::from_millis(20));
            "at least 20 ms".to_owned()
        }
        _ => panic!("there is no probe for the switch {name}"),
    }
}

async fn statuses(client: &mut Client, targets: &[&str]) -> String {
    let mut statuses = Vec::new();
    for target in targets {
        statuses.push(client.get(target).await.status.to_string());
    }
    statuses.join(" ")
}
