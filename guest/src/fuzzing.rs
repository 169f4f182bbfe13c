//! The functions that the fuzz targets in `tests/fuzz` run. Each takes bytes from outside, and panics if
//! this crate breaks a promise.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cursor::Cursor;
use crate::error::message;
use crate::meeting_id::{self, MeetingId};
use crate::prelude::*;
use crate::response::MAX_CURSOR_BYTES;
use crate::settings::Settings;
use crate::transport::fake::{Fake, failure};
use crate::transport::{Reply, Request, SendError, SendErrorKind};
use crate::types::{Error, MeetingPage};
use crate::{account, meetings, rooms};

const MEETING: &str = "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";

/// The time at which rooms are created, 2026-03-01T12:00:00Z, so that runs are reproducible.
const NOW: u64 = 1_772_366_400;

/// Runs a function on responses. The input has the function's name on the first line, then responses
/// separated by blank lines, each with a status and a body. After the last one, the network fails.
///
/// # Panics
///
/// If a response makes the function panic or send requests endlessly, if its error is empty or contains
/// control characters, or if it rejects a cursor that it returned.
pub fn answers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (function, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let replies = RefCell::new(rest.split("\n\n"));
    let respond = |_: &Request| -> Result<Reply, SendError> {
        let next = replies.borrow_mut().next();
        let Some(reply) = next else { return Err(failure(SendErrorKind::Unavailable)) };
        let (status, body) = reply.split_once(' ').unwrap_or((reply, ""));
        Ok(Fake::reply(status.trim().parse().unwrap_or(200), body))
    };
    let mut transport = Fake::new(respond);
    let failed = match function {
        "list_rooms" => rooms::list_rooms(&mut transport, Some(2), None).err(),
        "get_room" => rooms::get_room(&mut transport, "daily").err(),
        #[cfg(feature = "write")]
        "create_room" => {
            use crate::types::RoomField;
            let fields = vec![RoomField::HostRoomUrl, RoomField::ViewerRoomUrl];
            let arguments = rooms::CreateArguments {
                room_mode: None,
                room_name_prefix: None,
                start_date: None,
                end_date: None,
                fields: Some(fields),
            };
            let now = crate::date::Moment::from_unix(NOW, 0).expect("a moment");
            rooms::create_room(&mut transport, now, &arguments).err()
        }
        #[cfg(feature = "write")]
        "delete_room" => rooms::delete_room(&mut transport, "daily").err(),
        "list_meetings" => list_meetings(&mut transport, None),
        "list_meetings daily" => list_meetings(&mut transport, Some("daily")),
        "get_meeting" => meetings::get_meeting(&mut transport, MEETING).err(),
        "get_meeting alone" => meetings::get_meeting(&mut transport, &MEETING[6..]).err(),
        "get_current_user" => {
            // The claims of a key also come from outside.
            let claims = replies.borrow_mut().next().map(str::to_owned);
            let settings = Settings { key_claims: claims, ..Settings::default() };
            account::get_current_user(&mut transport, &settings).err()
        }
        _ => return,
    };
    assert!(transport.requests.len() <= 64, "{} requests", transport.requests.len());
    if let Some(mut error) = failed {
        // Whereby's own message may be empty.
        let may_be_empty = matches!(error, Error::Rejected(_));
        let Some(text) = message(&mut error) else { return };
        assert!(may_be_empty || !text.is_empty(), "an empty error message");
        assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
        assert!(text.len() < 4096, "an error of {} bytes", text.len());
    }
}

/// Reads a page, then the next one through its cursor.
fn list_meetings(transport: &mut Fake<'_>, room: Option<&str>) -> Option<Error> {
    let mut read = |cursor: Option<&str>| -> Result<MeetingPage, Error> {
        meetings::list_meetings(transport, Some(2), cursor, Some("2026-01-01"), None, room)
    };
    let page = match read(None) {
        Ok(page) => page,
        Err(error) => return Some(error),
    };
    let cursor = page.meta.next_cursor?;
    let failed = read(Some(&cursor)).err();
    assert!(!matches!(failed, Some(Error::InvalidArgument(_))), "{failed:?} of {cursor}");
    failed
}

/// Parses a cursor, from the string and from the JSON inside one, and continues from there.
///
/// # Panics
///
/// If parsing panics, or if a cursor changes when it is written and parsed again.
pub fn cursor(data: &[u8]) {
    const FILTER: u64 = 7;
    let outside = String::from_utf8_lossy(data);
    for text in [outside.as_ref(), &URL_SAFE_NO_PAD.encode(data)] {
        let Ok(cursor) = Cursor::parse(text, FILTER) else { continue };
        let mut entered = cursor.clone();
        entered.enter_room("daily");
        let mut finished = entered.clone();
        finished.finish_room("daily");
        assert!(finished.is_done("daily"));
        let mut moved = finished.clone();
        moved.move_to_rooms(Some("x".repeat(MAX_CURSOR_BYTES)));
        for cursor in [cursor, entered, finished, moved] {
            // A cursor that would be too long is not returned.
            if let Some(written) = cursor.write() {
                assert_eq!(Cursor::parse(&written, FILTER), Ok(cursor));
            }
        }
    }
}

/// Parses the id of a meeting into its room, if it names one, and its session.
///
/// # Panics
///
/// If parsing panics, or if an id changes when it is written and parsed again.
#[must_use]
pub fn meeting_id(text: &str) -> Option<(Option<String>, String)> {
    let MeetingId { room, session } = MeetingId::parse(text).ok()?;
    let room = room.map(|room| room.name);
    if let Some(room) = &room {
        let again = MeetingId::parse(&meeting_id::format(room, &session)).expect("an id");
        assert_eq!(again.session, session);
        // If the room's name is too long, the id is that of the session alone.
        assert!(again.room.is_none_or(|again| again.name == *room && again.padded.is_none()));
    }
    Some((room, session))
}

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpora_hold() {
        replay("answers", super::answers);
        replay("cursors", super::cursor);
        replay("meeting_ids", |data| drop(super::meeting_id(&String::from_utf8_lossy(data))));
    }
}
