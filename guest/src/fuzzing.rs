//! What the fuzz targets of `tests/fuzz` run: each takes bytes from outside, and panics where a
//! promise of this crate does not hold.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::answer::LONGEST_CURSOR;
use crate::cursor::Place;
use crate::meeting_id::{self, MeetingId};
use crate::prelude::*;
use crate::settings::Settings;
use crate::transport::fake::{Fake, failure};
use crate::transport::{Failure, FailureKind, Reply, Request};
use crate::types::{Error, MeetingPage};
use crate::{account, meetings, rooms};

const MEETING: &str = "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";

/// When creations are made, so that a run can be repeated: 2026-03-01T12:00:00Z.
const NOW: u64 = 1_772_366_400;

/// Runs a function on answers: its name on the first line, then answers, each a status and a body,
/// divided by blank lines. After the last one the network fails.
///
/// # Panics
///
/// Where an answer makes the function panic or send without end, where its error says nothing or
/// holds control characters, and where a cursor that it gives is not taken back.
pub fn answers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (function, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let replies = RefCell::new(rest.split("\n\n"));
    let answer = |_: &Request| -> Result<Reply, Failure> {
        let next = replies.borrow_mut().next();
        let Some(reply) = next else { return Err(failure(FailureKind::Unavailable)) };
        let (status, body) = reply.split_once(' ').unwrap_or((reply, ""));
        Ok(Fake::reply(status.trim().parse().unwrap_or(200), body))
    };
    let mut transport = Fake::new(answer);
    let failed = match function {
        "list_rooms" => rooms::list_rooms(&mut transport, Some(2), None).err(),
        "get_room" => rooms::get_room(&mut transport, "daily").err(),
        #[cfg(feature = "write")]
        "create_room" => {
            use crate::types::RoomField;
            let fields = vec![RoomField::HostRoomUrl, RoomField::ViewerRoomUrl];
            let wish = rooms::Wish {
                room_mode: None,
                room_name_prefix: None,
                start_date: None,
                end_date: None,
                fields: Some(fields),
            };
            let now = crate::date::Moment::from_unix(NOW, 0).expect("a moment");
            rooms::create_room(&mut transport, now, &wish).err()
        }
        #[cfg(feature = "write")]
        "delete_room" => rooms::delete_room(&mut transport, "daily").err(),
        "list_meetings" => list_meetings(&mut transport, None),
        "list_meetings daily" => list_meetings(&mut transport, Some("daily")),
        "get_meeting" => meetings::get_meeting(&mut transport, MEETING).err(),
        "get_meeting alone" => meetings::get_meeting(&mut transport, &MEETING[6..]).err(),
        "get_current_user" => {
            // The claims of a key are from outside as well.
            let claims = replies.borrow_mut().next().map(str::to_owned);
            let settings = Settings { key_claims: claims, ..Settings::default() };
            account::get_current_user(&mut transport, &settings).err()
        }
        _ => return,
    };
    assert!(transport.requests.len() <= 64, "{} requests", transport.requests.len());
    if let Some(error) = failed {
        let text = text_of(&error);
        assert!(text.is_none_or(|text| !text.is_empty()), "an error that says nothing");
        let text = text.unwrap_or_default();
        assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
        assert!(text.len() < 4096, "an error of {} bytes", text.len());
    }
}

/// Reads a page, and the next one by its cursor.
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

fn text_of(error: &Error) -> Option<&str> {
    match error {
        Error::RateLimited(_) => None,
        // Whereby's own text, which may be empty.
        Error::Rejected(_) => None,
        Error::InvalidArgument(text)
        | Error::Unauthorized(text)
        | Error::AccessDenied(text)
        | Error::NotFound(text)
        | Error::Timeout(text)
        | Error::Unavailable(text)
        | Error::UnexpectedResponse(text) => Some(text),
    }
}

/// Reads a cursor, as a text and as the JSON inside one, and goes on from where it says.
///
/// # Panics
///
/// Where reading panics, and where a place is another one after it was written and read again.
pub fn cursor(data: &[u8]) {
    const FILTER: u64 = 7;
    let outside = String::from_utf8_lossy(data);
    for text in [outside.as_ref(), &URL_SAFE_NO_PAD.encode(data)] {
        let Ok(place) = Place::parse(text, FILTER) else { continue };
        let mut entered = place.clone();
        entered.enter_room("daily");
        let mut finished = entered.clone();
        finished.finish_room("daily");
        assert!(finished.is_done("daily"));
        let mut moved = finished.clone();
        moved.move_to_rooms(Some("x".repeat(LONGEST_CURSOR)));
        for place in [place, entered, finished, moved] {
            // One that would be too long is not given.
            if let Some(written) = place.write() {
                assert_eq!(Place::parse(&written, FILTER), Ok(place));
            }
        }
    }
}

/// Reads the id of a meeting: its room, if it names one, and its session.
///
/// # Panics
///
/// Where reading panics, and where an id is another one after it was written and read again.
#[must_use]
pub fn meeting_id(text: &str) -> Option<(Option<String>, String)> {
    let MeetingId { room, session } = MeetingId::parse(text).ok()?;
    let room = room.map(|room| room.name);
    if let Some(room) = &room {
        let again = MeetingId::parse(&meeting_id::format(room, &session)).expect("an id");
        assert_eq!(again.session, session);
        // With a room whose name is too long it is the id of the session alone.
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
