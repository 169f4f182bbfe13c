//! Creates a room.

#[cfg(test)]
mod tests;

use core::mem::discriminant;

use super::body::body;
use super::{name, shown};
use crate::argument::{check_length, invalid};
use crate::date::{self, Moment};
use crate::error::{from_write, unexpected, with_remark};
use crate::prelude::*;
use crate::response::{self, Names};
use crate::transport::{Method, Request, SendErrorKind, Transport, send};
use crate::types::{CreatedRoom, Error, RoomField, RoomMode};

const POST_MEETINGS: &str = "POST /meetings";

const ROOM_MEMBERS: Names =
    &["meetingId", "roomName", "roomUrl", "startDate", "endDate", "hostRoomUrl", "viewerRoomUrl"];

/// One hour, in seconds.
const HOUR: i64 = 60 * 60;

/// Whereby's maximum length of a prefix, in characters.
const MAX_PREFIX_LENGTH: usize = 39;

/// The maximum number of items in `fields`.
const MAX_FIELDS: usize = 16;

/// The arguments of `create-room`.
#[derive(Default)]
pub(crate) struct CreateArguments {
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
    arguments: &CreateArguments,
) -> Result<CreatedRoom, Error> {
    let fields = arguments.fields.as_deref().unwrap_or_default();
    check_fields(fields)?;
    let prefix = arguments.room_name_prefix.as_deref().map(prefix).transpose()?;
    let dates = Dates::choose(now, arguments.start_date.as_deref(), arguments.end_date.as_deref())?;

    let prefix = prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let request = Request {
        method: Method::Post,
        body: body(&dates.end, dates.start.as_deref(), arguments.room_mode, prefix, fields),
        ..Request::get("/meetings")
    };

    let reply = match send(transport, request) {
        Ok(reply) if (200..300).contains(&reply.status) => reply,
        result => {
            let error = from_write(POST_MEETINGS, &result, MAYBE_CREATED);
            let is_unsent = result.is_err_and(|failure| {
                !failure.maybe_sent
                    && !matches!(
                        failure.kind,
                        SendErrorKind::RateLimited(_) | SendErrorKind::Denied
                    )
            });
            let remark = "the request was not sent, so no room was created";
            return Err(if is_unsent { with_remark(error, remark) } else { error });
        }
    };
    let asked = Asked::of(fields);
    let mut room = decode(&reply.body, asked).map_err(|what| {
        let remark = if is_room(&reply.body) { CREATED } else { MAYBE_CREATED };
        with_remark(unexpected(POST_MEETINGS, &what), remark)
    })?;
    room.end_date_defaulted = arguments.end_date.is_none();
    room.notes = notes(arguments, fields, &dates, asked, &room);
    Ok(room)
}

const CREATED: &str = "the room exists: look at list_rooms";

const MAYBE_CREATED: &str =
    "the room may exist all the same: look at list_rooms before trying again";

/// The start and the end of the room, as sent in the request.
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

/// The secret URLs that the caller asked for.
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

/// Checks the rules for `fields` that its type does not express.
fn check_fields(fields: &[RoomField]) -> Result<(), Error> {
    if fields.len() > MAX_FIELDS {
        return Err(invalid("fields", format!("must not have more than {MAX_FIELDS} items")));
    }
    for (at, field) in fields.iter().enumerate() {
        let setting = setting_name(field);
        if fields.iter().take(at).any(|earlier| setting_name(earlier) == setting) {
            return Err(invalid("fields", format!("{setting} is given twice")));
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

/// Returns the name of a field's setting. Synonyms share a name.
fn setting_name(field: &RoomField) -> &'static str {
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
            "must contain only letters a to z, digits and hyphens",
        ));
    }
    if prefix.len() > MAX_PREFIX_LENGTH {
        return Err(invalid(
            "room_name_prefix",
            format!("must not be longer than {MAX_PREFIX_LENGTH} characters"),
        ));
    }
    Ok(prefix)
}

/// Returns whether a body is a room, even if some of its members are malformed. An HTML page, for example,
/// does not show whether the room exists.
fn is_room(body: &[u8]) -> bool {
    response::object(body, ROOM_MEMBERS).is_ok_and(|room| {
        room.required_id("meetingId").is_ok() && room.required_text("roomUrl").is_ok()
    })
}

fn decode(body: &[u8], asked: Asked) -> Result<CreatedRoom, String> {
    let room = response::object(body, ROOM_MEMBERS)?;
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

/// Returns notes about effects that a caller might not expect.
fn notes(
    arguments: &CreateArguments,
    fields: &[RoomField],
    dates: &Dates,
    asked: Asked,
    room: &CreatedRoom,
) -> Vec<String> {
    let mut notes = Vec::new();
    if arguments.end_date.is_none() {
        let why =
            if dates.is_from_start { "an hour after start_date" } else { "24 hours from now" };
        let end = room.end_date.as_ref().unwrap_or(&dates.end);
        notes.push(format!("No end_date was given, so the room ends {why}, at {end}."));
    }
    if arguments.start_date.is_some() {
        notes.push("Whereby ignores start_date: the room is open from now on.".to_owned());
    }
    if arguments.room_mode == Some(RoomMode::Normal)
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
