//! Past meetings: sessions of rooms, `/insights` in Whereby's API.

mod list;
mod read;

pub(crate) use list::list_meetings;
pub(crate) use read::get_meeting;

use crate::date::Moment;
use crate::meeting_id::is_id;
use crate::prelude::*;
use crate::response::{Names, Object};

const ROOM_SESSIONS: &str = "/insights/room-sessions";
const GET_ROOM_SESSIONS: &str = "GET /insights/room-sessions";

/// Whereby documents `startedAt` and `endedAt`, and in one place `createdAt` and `endAt`.
const SESSION_MEMBERS: Names = &[
    "roomSessionId",
    "roomName",
    "startedAt",
    "createdAt",
    "endedAt",
    "endAt",
    "totalUniqueParticipants",
    "totalRecorderMinutes",
];

/// The used members of a session.
struct Session<'a> {
    id: &'a str,
    /// The room without the leading slash, if the row names it.
    room: Option<&'a str>,
    start: Stamp<'a>,
    /// Absent while the session is in progress.
    end: Option<Stamp<'a>>,
    participant_count: Option<u32>,
    recorder_minutes: Option<u32>,
}

/// A date as Whereby wrote it, and the same date parsed.
#[derive(Clone, Copy)]
struct Stamp<'a> {
    text: &'a str,
    time: Moment,
}

impl<'a> Session<'a> {
    fn decode(row: &'a Object) -> Result<Self, String> {
        let id = row.required_text("roomSessionId")?;
        if !is_id(id) {
            return Err(row.complaint("roomSessionId", "is not an id"));
        }
        let start = match stamp(row, "startedAt")? {
            Some(start) => Some(start),
            None => stamp(row, "createdAt")?,
        };
        let end = match stamp(row, "endedAt")? {
            Some(end) => Some(end),
            None => stamp(row, "endAt")?,
        };
        Ok(Self {
            id,
            room: row.text("roomName")?.map(without_slash),
            start: start.ok_or_else(|| row.complaint("startedAt", "is missing"))?,
            end,
            participant_count: row.count("totalUniqueParticipants")?,
            recorder_minutes: row.count("totalRecorderMinutes")?,
        })
    }
}

/// Returns a date from a row; `None` if it is absent or empty.
fn stamp<'a>(row: &'a Object, name: &str) -> Result<Option<Stamp<'a>>, String> {
    match row.text(name)? {
        None | Some("") => Ok(None),
        Some(text) => match Moment::parse(text) {
            Some(time) => Ok(Some(Stamp { text, time })),
            None => Err(row.complaint(name, "is not a date and time in RFC 3339")),
        },
    }
}

/// Returns the room's name as callers know it.
fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}
