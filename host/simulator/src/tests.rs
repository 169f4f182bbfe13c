//! Tests the running simulator over TCP.

mod api;
mod behaviours;
mod client;
mod insights;
mod scripts;

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;
use client::Client;

/// Returns options with a clock that stands still at `2026-03-02T08:15:04.118Z`.
fn options(rooms: Vec<RoomSeed>) -> Options {
    Options {
        now: Some(OffsetDateTime::parse("2026-03-02T08:15:04.118Z", &Rfc3339).unwrap()),
        organizations: vec![OrganizationSeed::new("acme-demo", Seed::Rooms(rooms))],
        ..Options::default()
    }
}

async fn start(options: Options) -> (Simulator, Client) {
    let simulator = Simulator::start(options).await.unwrap();
    let client = Client::connect(&simulator).await;
    (simulator, client)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// Returns a session of half an hour, two days ago, with two named people, an anonymous guest and a recorder.
fn review() -> SessionSeed {
    SessionSeed::began(Duration::from_hours(48))
        .participant(ParticipantSeed::named("Ines Falk").role("host").external_id("crm-118"))
        .participant(
            ParticipantSeed::named("Jonas Imai")
                .joined_after(Duration::from_secs(12))
                .left_after(minutes(20)),
        )
        .participant(ParticipantSeed::anonymous().joined_after(minutes(5)))
        .recorded()
        .transcribed()
}

/// Returns a session with two people who joined an hour ago and are still there.
fn running() -> SessionSeed {
    SessionSeed::began(minutes(60))
        .running()
        .participant(ParticipantSeed::named("Ines Falk"))
        .participant(ParticipantSeed::named("Jonas Imai").joined_after(minutes(1)))
}
