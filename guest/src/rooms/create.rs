//! Creates a room.

#[cfg(test)]
mod tests;

use core::mem::discriminant;

use super::body::Body;
use super::{name, shown};
use crate::answer::{self, Names};
use crate::argument::{check_length, invalid};
use crate::date::{self, Moment};
use crate::error::{from_failed_write, from_reply_to_write, unexpected, with_remark};
use crate::prelude::*;
use crate::transport::{FailureKind, Method, Request, Transport, send};
use crate::types::{CreatedRoom, Error, RoomField, RoomMode};

const POST_MEETINGS: &str = "POST /meetings";

const ROOM_MEMBERS: Names =
    &["meetingId", "roomName", "roomUrl", "startDate", "endDate", "hostRoomUrl", "viewerRoomUrl"];

/// In seconds.
const HOUR: i64 = 60 * 60;

/// The maximum length of a prefix, which is Whereby's.
const LONGEST_PREFIX: usize = 39;

/// The maximum number of items in `fields`.
const MOST_FIELDS: usize = 16;

/// The arguments of `create-room`.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) room_mode: Option<RoomMode>,
    pub(crate) room_name_prefix: Option<String>,
    pub(crate) start_date: Option<String>,
    pub(crate) end_date: Option<String>,
    pub(crate) fields: Option<Vec<RoomField>>,
}

/// Creates a room; `now` is the current time.
pub(crate) fn create_room(
    transport: &mut dyn Transport,
    now: Moment,
    wish: &Wish,
) -> Result<CreatedRoom, Error> {
    let fields = wish.fields.as_deref().unwrap_or_default();
    check_fields(fields)?;
    let prefix = wish.room_name_prefix.as_deref().map(prefix).transpose()?;
    let dates = Dates::choose(now, wish.start_date.as_deref(), wish.end_date.as_deref())?;

    let prefix = prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let body = Body::new(&dates.end, dates.start.as_deref(), wish.room_mode, prefix, fields);
    let request = Request {
        method: Method::Post,
        target: "/meetings".to_owned(),
        body: body.write(),
        wants_rate_limit: false,
    };

    let reply = match send(transport, request) {
        Ok(reply) if (200..300).contains(&reply.status) => reply,
        Ok(reply) => return Err(from_reply_to_write(POST_MEETINGS, &reply, MAYBE_CREATED)),
        Err(failure) => {
            let error = from_failed_write(POST_MEETINGS, &failure, MAYBE_CREATED);
            return Err(match failure.kind {
                FailureKind::RateLimited(_) | FailureKind::Denied => error,
                _ if failure.maybe_sent => error,
                _ => with_remark(error, "the request was not sent, so no room was created"),
            });
        }
    };
    let asked = Asked::of(fields);
    let mut room = decode(&reply.body, asked).map_err(|what| {
        let remark = if is_room(&reply.body) { CREATED } else { MAYBE_CREATED };
        with_remark(unexpected(POST_MEETINGS, &what), remark)
    })?;
    room.end_date_defaulted = wish.end_date.is_none();
    room.notes = notes(wish, fields, &dates, asked, &room);
    Ok(room)
}

const CREATED: &str = "the room exists: look at list_rooms";

const MAYBE_CREATED: &str =
    "the room may exist all the same: look at list_rooms before trying again";

/// The start and the end of the room, as the request writes them.
struct Dates {
    start: Option<String>,
    end: String,
    /// Whether the default end is relative to a future start instead of now.
    is_from_start: bool,
}

impl Dates {
    fn choose(now: Moment, start: Option<&str>, end: Option<&str>) -> Result<Self, Error> {
        let start = start.map(|text| date::argument("start_date", text)).transpose()?;
        let end = end.map(|text| date::argument("end_date", text)).transpose()?;
        let future_start = start.filter(|start| *start > now);
        let end = match end {
            Some(end) if end < now => {
                return Err(invalid("end_date", "is in the past; a room must end now or later"));
            }
            Some(end) if start.is_some_and(|start| end < start) => {
                return Err(invalid("end_date", "is before start_date"));
            }
            Some(end) => end,
            None => match future_start {
                Some(start) => start.whole_seconds_later(HOUR),
                None => now.whole_seconds_later(24 * HOUR),
            }
            .ok_or_else(|| invalid("start_date", "is too far in the future"))?,
        };
        Ok(Self {
            start: start.map(Moment::format),
            end: end.format(),
            is_from_start: future_start.is_some(),
        })
    }
}

/// Which secret URLs the caller asked for.
#[derive(Clone, Copy)]
struct Asked {
    host_url: bool,
    viewer_url: bool,
}

impl Asked {
    fn of(fields: &[RoomField]) -> Self {
        let has = |wanted: &RoomField| {
            fields.iter().any(|field| {
                discriminant(field) == discriminant(wanted)
                    || matches!(field, RoomField::ViewerMode)
            })
        };
        Self { host_url: has(&RoomField::HostRoomUrl), viewer_url: has(&RoomField::ViewerRoomUrl) }
    }
}

/// Checks what the type of `fields` does not rule out.
fn check_fields(fields: &[RoomField]) -> Result<(), Error> {
    if fields.len() > MOST_FIELDS {
        return Err(invalid("fields", format!("must not have more than {MOST_FIELDS} items")));
    }
    for (at, field) in fields.iter().enumerate() {
        let word = field_word(field);
        if fields.iter().take(at).any(|earlier| field_word(earlier) == word) {
            return Err(invalid("fields", format!("{word} is given twice")));
        }
        if let RoomField::Streaming(streaming) = field {
            let url = &streaming.destination.url;
            check_length("fields: streaming.destination.url", url, 2000)?;
            let rest = ["rtmp://", "rtmps://"].iter().find_map(|scheme| url.strip_prefix(scheme));
            if !rest.is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            }) {
                let what =
                    "is not the URL of an RTMP server, such as rtmps://live.example.com/app/key";
                return Err(invalid("fields: streaming.destination.url", what));
            }
        }
    }
    Ok(())
}

/// Returns the setting of a field. Synonyms have the same setting.
fn field_word(field: &RoomField) -> &'static str {
    match field {
        RoomField::HostRoomUrl => "hostRoomUrl",
        RoomField::ViewerRoomUrl => "viewerRoomUrl",
        RoomField::LockRoomOnJoin | RoomField::IsLocked => "lockRoomOnJoin (or isLocked)",
        RoomField::ViewerMode => "viewerMode",
        RoomField::RoomNamePattern(_) => "roomNamePattern",
        RoomField::Recording(_) => "recording",
        RoomField::Streaming(_) => "streaming",
        RoomField::LiveTranscription(_) => "liveTranscription",
    }
}

/// Normalizes a prefix as Whereby does, and checks it.
fn prefix(text: &str) -> Result<String, Error> {
    let prefix: String = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let is_allowed = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
    };
    if !prefix.chars().all(is_allowed) {
        return Err(invalid(
            "room_name_prefix",
            "may hold letters a to z, digits and hyphens only",
        ));
    }
    if prefix.len() > LONGEST_PREFIX {
        return Err(invalid(
            "room_name_prefix",
            format!("must not be longer than {LONGEST_PREFIX} characters"),
        ));
    }
    Ok(prefix)
}

/// Whether a body is a room, even if other members are malformed. A page of HTML, for example, does not
/// show whether the room exists.
fn is_room(body: &[u8]) -> bool {
    answer::object(body, ROOM_MEMBERS).is_ok_and(|room| {
        room.required_id("meetingId").is_ok() && room.required_text("roomUrl").is_ok()
    })
}

fn decode(body: &[u8], asked: Asked) -> Result<CreatedRoom, String> {
    let room = answer::object(body, ROOM_MEMBERS)?;
    let text = |name| room.text(name).map(|text| text.map(str::to_owned));
    let secret = |name, is_asked| if is_asked { text(name) } else { Ok(None) };
    Ok(CreatedRoom {
        room_name: shown(&name(&room)?),
        meeting_url: room.required_text("roomUrl")?.to_owned(),
        meeting_id: room.required_id("meetingId")?,
        start_date: text("startDate")?,
        end_date: text("endDate")?,
        end_date_defaulted: false,
        host_room_url: secret("hostRoomUrl", asked.host_url)?,
        viewer_room_url: secret("viewerRoomUrl", asked.viewer_url)?,
        notes: Vec::new(),
    })
}

/// What a caller might not expect.
fn notes(
    wish: &Wish,
    fields: &[RoomField],
    dates: &Dates,
    asked: Asked,
    room: &CreatedRoom,
) -> Vec<String> {
    let mut notes = Vec::new();
    if wish.end_date.is_none() {
        let why = match dates.is_from_start {
            true => "an hour after start_date",
            false => "24 hours from now",
        };
        let end = room.end_date.as_ref().unwrap_or(&dates.end);
        notes.push(format!("No end_date was given, so the room ends {why}, at {end}."));
    }
    if wish.start_date.is_some() {
        notes.push("Whereby ignores start_date: the room is open from now on.".to_owned());
    }
    if wish.room_mode == Some(RoomMode::Normal)
        && fields.iter().any(|field| matches!(field, RoomField::ViewerMode))
    {
        notes.push("A room in viewerMode is in group mode, whatever room_mode says.".to_owned());
    }
    for (is_asked, url, member) in [
        (asked.host_url, &room.host_room_url, "hostRoomUrl"),
        (asked.viewer_url, &room.viewer_room_url, "viewerRoomUrl"),
    ] {
        if is_asked && url.is_none() {
            notes.push(format!("Whereby did not return {member}."));
        }
    }
    notes
}
