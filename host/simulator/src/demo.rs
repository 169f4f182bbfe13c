//! The organization for demonstrations, with fictitious people and rooms.

use std::time::Duration;

use super::seed::{ParticipantSeed, RoomSeed, SessionSeed};

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn host(name: &str, external_id: &str) -> ParticipantSeed {
    ParticipantSeed::named(name).role("host").external_id(external_id)
}

/// Returns rooms that are in use, ended and deleted, with meetings that are recorded, in progress, and have
/// anonymous participants.
pub(super) fn rooms() -> Vec<RoomSeed> {
    vec![webinar(), office_hours(), standup(), design_review(), interview(), planning()]
}

/// Deleted a week ago. It was recorded and streamed, but the recording is not listed.
fn webinar() -> RoomSeed {
    let mut session = SessionSeed::began(days(10) - hours(2))
        .lasting(minutes(62))
        .participant(host("Ines Falk", "staff-ines"))
        .participant(
            ParticipantSeed::named("Tomasz Wren").role("granted_visitor").joined_after(minutes(2)),
        );
    for (name, joined) in
        [("Aiko Brandt", 4), ("Lior Castellan", 5), ("Maren Oduya", 5), ("Pilar Nyqvist", 11)]
    {
        session = session
            .participant(ParticipantSeed::named(name).role("viewer").joined_after(minutes(joined)));
    }
    let session = session
        .participant(ParticipantSeed::bot("recorder").joined_after(minutes(3)))
        .participant(ParticipantSeed::bot("streamer").joined_after(minutes(3)));
    RoomSeed::prefixed("webinar-").created(days(12)).ended(days(9)).session(session).deleted()
}

/// A short name, and a session in progress.
fn office_hours() -> RoomSeed {
    let past = SessionSeed::began(days(3))
        .lasting(minutes(48))
        .participant(host("Maren Oduya", "staff-maren"))
        .participant(
            ParticipantSeed::named("Jonas Imai").joined_after(minutes(3)).left_after(minutes(20)),
        )
        .participant(ParticipantSeed::anonymous().joined_after(minutes(25)));
    let running = SessionSeed::began(minutes(40))
        .running()
        .participant(host("Maren Oduya", "staff-maren"))
        .participant(ParticipantSeed::named("Aiko Brandt").joined_after(minutes(1)));
    RoomSeed::short("office-hours-").created(days(8)).ends(days(20)).session(past).session(running)
}

/// The same three people on two days. One of them reconnected.
fn standup() -> RoomSeed {
    let day = |ago: Duration| {
        SessionSeed::began(ago)
            .lasting(minutes(16))
            .participant(host("Tomasz Wren", "staff-tomasz"))
            .participant(
                ParticipantSeed::named("Ines Falk")
                    .role("member")
                    .joined_after(Duration::from_secs(12)),
            )
    };
    let earlier =
        day(days(2)).participant(ParticipantSeed::named("Lior Castellan").joined_after(minutes(1)));
    let later = day(days(1))
        .participant(
            ParticipantSeed::named("Lior Castellan")
                .joined_after(minutes(2))
                .left_after(minutes(7)),
        )
        .participant(ParticipantSeed::named("Lior Castellan").joined_after(minutes(8)));
    RoomSeed::prefixed("standup-").created(days(6)).ends(days(8)).session(earlier).session(later)
}

/// Recorded and transcribed, with a guest who gave no name.
fn design_review() -> RoomSeed {
    let session = SessionSeed::began(days(2) - hours(5))
        .lasting(minutes(55))
        .participant(host("Ines Falk", "crm-118"))
        .participant(
            ParticipantSeed::named("Pilar Nyqvist")
                .external_id("crm-204")
                .joined_after(Duration::from_secs(40)),
        )
        .participant(
            ParticipantSeed::named("Jonas Imai").joined_after(minutes(4)).left_after(minutes(50)),
        )
        .participant(ParticipantSeed::anonymous().joined_after(minutes(9)).left_after(minutes(31)))
        .recorded()
        .transcribed();
    RoomSeed::prefixed("design-review-").created(days(3)).ends(hours(6)).session(session)
}

/// Ended a few hours ago, so still listed; the candidate's name was redacted.
fn interview() -> RoomSeed {
    let session = SessionSeed::began(hours(5))
        .lasting(minutes(44))
        .participant(host("Maren Oduya", "staff-maren"))
        .participant(
            ParticipantSeed::named("a candidate")
                .redacted()
                .role("granted_visitor")
                .joined_after(minutes(1)),
        );
    RoomSeed::prefixed("interview-").created(hours(30)).ended(hours(3)).session(session)
}

/// Made today and not used yet.
fn planning() -> RoomSeed {
    RoomSeed::prefixed("planning-").created(hours(1)).ends(days(1))
}
