//! The cursor of `list-meetings`: a string that says where the next page starts.
//!
//! Whereby lists sessions by room only, so Whereby's own cursor is not enough. The order of rooms
//! changes while meetings take place: a room with a new meeting moves to the front. So a place names
//! its room instead of an index on a page, and remembers the rooms that were read.
//!
//! The string is base64url of JSON. It is not secret and grants nothing: it only says where to continue.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use crate::answer::{self, LONGEST_CURSOR};
use crate::argument::{check_length, invalid};
use crate::date::Moment;
use crate::prelude::*;
use crate::room_name::is_name;
use crate::types::Error;

/// The maximum length of a cursor, in characters.
const LONGEST: usize = 4096;

/// The version of the JSON. Cursors with another version are refused.
const VERSION: u64 = 2;

/// The maximum length of a meeting id in bytes: 300 characters.
const LONGEST_ID: usize = 1200;

/// More rows than any page of Whereby's API has.
const MOST_ROWS: usize = 100_000;

/// How many rooms a place remembers: a page of Whereby's API has at most a hundred. With two cursors of
/// the maximum length and a room name of 200 bytes, 109 would fit.
pub(crate) const MOST_DONE: usize = 100;

/// How many of them it still remembers on the next page, so that rooms which others pushed onto that
/// page are not read again.
const KEPT_DONE: usize = 8;

/// How many bytes of a name's fingerprint are kept. Among thousands of rooms, the chance that two have
/// the same one is less than one in a million.
const MARK: usize = 5;

/// A place in a listing of meetings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    #[serde(rename = "v")]
    version: u64,
    /// The fingerprint of the filter that the listing is made with.
    #[serde(rename = "f")]
    filter: u64,
    /// The page size for sessions. It stays the same for the whole listing, so that `offset` keeps its
    /// meaning.
    #[serde(rename = "n")]
    pub(crate) page_size: u32,
    /// Whereby's cursor for the page of rooms.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub(crate) rooms: Option<String>,
    /// The room whose sessions are being read, in a listing of all rooms. `None` between two rooms.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// In a listing of all rooms, the rooms that were read: those of this page and the last ones of the
    /// page before.
    #[serde(rename = "d", skip_serializing_if = "Vec::is_empty", serialize_with = "as_text")]
    done: Vec<u8>,
    /// Whereby's cursor for the page of the room's sessions.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<String>,
    /// The session on that page.
    #[serde(rename = "o", skip_serializing_if = "is_zero")]
    pub(crate) offset: usize,
    /// In a listing by date, the last meeting that was listed. The next page starts after it.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// Whether the listing goes room by room.
    #[serde(rename = "g", skip_serializing_if = "is_false", serialize_with = "as_number")]
    by_room: bool,
    /// Whether Whereby refused to sort rooms. The order must not change within a listing.
    #[serde(rename = "ur", skip_serializing_if = "is_false", serialize_with = "as_number")]
    pub(crate) rooms_unsorted: bool,
    /// Whether Whereby refused to sort sessions.
    #[serde(rename = "us", skip_serializing_if = "is_false", serialize_with = "as_number")]
    pub(crate) sessions_unsorted: bool,
}

impl Place {
    /// Returns the start of a listing.
    pub(crate) fn start(filter: u64, page_size: u32) -> Self {
        Self {
            version: VERSION,
            filter,
            page_size,
            rooms: None,
            room: None,
            done: Vec::new(),
            sessions: None,
            offset: 0,
            before: None,
            by_room: false,
            rooms_unsorted: false,
            sessions_unsorted: false,
        }
    }

    /// Returns the start and the id of the last meeting that was listed by date.
    pub(crate) fn before(&self) -> Option<(Moment, &str)> {
        let (start, id) = self.before.as_deref()?.split_once(' ')?;
        Some((Moment::parse(start)?, id))
    }

    /// Continues by date after a meeting.
    pub(crate) fn go_on_after(&mut self, start: Moment, id: &str) {
        self.before = Some(format!("{} {id}", start.format()));
    }

    /// Whether the listing continues by date.
    pub(crate) fn is_by_date(&self) -> bool {
        self.before.is_some() && !self.by_room
    }

    /// Whether the listing goes room by room.
    pub(crate) fn is_by_room(&self) -> bool {
        self.by_room
    }

    /// Continues room by room.
    pub(crate) fn go_on_by_room(&mut self) {
        self.by_room = true;
    }

    /// Reads the argument `cursor`. It must come from a listing with the same filter.
    pub(crate) fn parse(text: &str, filter: u64) -> Result<Self, Error> {
        check_length("cursor", text, LONGEST)?;
        let place = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| Self::decode(&json).ok())
            .filter(Self::is_sound)
            .ok_or_else(|| invalid("cursor", "is not a nextCursor of list_meetings"))?;
        if place.filter != filter {
            return Err(invalid(
                "cursor",
                "is of a listing with another from_date, to_date or room_name; pass the same ones, \
                 or leave the cursor out to begin anew",
            ));
        }
        Ok(place)
    }

    /// Writes the cursor. `None` if it would be too long.
    pub(crate) fn write(&self) -> Option<String> {
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        (text.len() <= LONGEST).then_some(text)
    }

    /// In a listing of all rooms, the room that is being read. The session cursor and the offset belong
    /// to it.
    pub(crate) fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    /// Whether a room was read to its end.
    pub(crate) fn is_done(&self, room: &str) -> bool {
        self.done.chunks(MARK).any(|other| other == mark(room))
    }

    /// Whether this is the beginning of a listing of all rooms.
    pub(crate) fn is_at_first_room(&self) -> bool {
        self.rooms.is_none() && self.room.is_none() && self.done.is_empty()
    }

    /// Continues in a room, or begins it if it is another one.
    pub(crate) fn enter_room(&mut self, room: &str) {
        if self.room() != Some(room) {
            self.leave_room();
            self.room = Some(room.to_owned());
        }
    }

    /// Leaves a room that was read, and remembers it.
    pub(crate) fn finish_room(&mut self, room: &str) {
        self.leave_room();
        self.remember(MOST_DONE - 1);
        self.done.extend_from_slice(&mark(room));
    }

    /// Moves to another page of rooms.
    pub(crate) fn move_to_rooms(&mut self, cursor: Option<String>) {
        self.leave_room();
        self.rooms = cursor;
        self.remember(KEPT_DONE);
    }

    /// Forgets all but the last `rooms` rooms.
    fn remember(&mut self, rooms: usize) {
        let rest = self.done.len().saturating_sub(rooms * MARK);
        self.done.drain(..rest);
    }

    fn leave_room(&mut self) {
        self.room = None;
        self.sessions = None;
        self.offset = 0;
    }

    /// Whether this is the beginning of a room's sessions.
    pub(crate) fn is_at_first_session(&self) -> bool {
        self.sessions.is_none() && self.offset == 0
    }

    fn decode(json: &[u8]) -> Result<Self, String> {
        let json =
            answer::object(json, &["v", "f", "n", "r", "m", "d", "s", "o", "b", "g", "ur", "us"])?;
        let number = |name| json.whole(name).map(Option::unwrap_or_default);
        let text = |name| json.text(name).map(|text| text.map(str::to_owned));
        Ok(Self {
            version: number("v")?,
            filter: number("f")?,
            // What is too large for the type is too large for `is_sound` as well.
            page_size: u32::try_from(number("n")?).unwrap_or(u32::MAX),
            rooms: text("r")?,
            room: text("m")?,
            done: URL_SAFE_NO_PAD
                .decode(json.text("d")?.unwrap_or_default())
                .map_err(|_| String::new())?,
            sessions: text("s")?,
            offset: usize::try_from(number("o")?).unwrap_or(usize::MAX),
            before: text("b")?,
            by_room: number("g")? > 0,
            rooms_unsorted: number("ur")? > 0,
            sessions_unsorted: number("us")? > 0,
        })
    }

    fn is_sound(&self) -> bool {
        let is_cursor = |cursor: &Option<String>| {
            cursor.as_ref().is_none_or(|text| {
                !text.is_empty() && text.len() <= LONGEST_CURSOR && !text.contains(char::is_control)
            })
        };
        self.version == VERSION
            && (1..=100).contains(&self.page_size)
            && self.room.as_deref().is_none_or(is_name)
            && self.done.len() <= MOST_DONE * MARK
            && self.done.len().is_multiple_of(MARK)
            && self.offset <= MOST_ROWS
            && (self.before.is_none()
                || self.before().is_some_and(|(_, id)| id.len() <= LONGEST_ID))
            && is_cursor(&self.rooms)
            && is_cursor(&self.sessions)
    }
}

/// A number that tells filters apart: FNV-1a over their parts.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff is in no UTF-8 text, so it ends a part without doubt.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// What a room that was read is known again by.
fn mark(room: &str) -> [u8; MARK] {
    let [a, b, c, d, e, ..] = fingerprint(&[room]).to_le_bytes();
    [a, b, c, d, e]
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A truth value as 1: numbers and texts are all that is read back.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes members so")]
fn as_number<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::{KEPT_DONE, MARK, MOST_DONE, Place, fingerprint};
    use crate::types::Error;

    #[test]
    fn a_cursor_of_another_filter_is_refused() {
        let text = Place::start(1, 20).write().unwrap();
        let Err(Error::InvalidArgument(text)) = Place::parse(&text, 2) else {
            panic!("it was taken");
        };
        assert!(text.starts_with("cursor: ") && text.contains("room_name"), "{text}");
    }

    #[test]
    fn malformed_cursors_are_refused() {
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let start = encoded(r#"{"v":2,"f":1,"n":20}"#);
        assert_eq!(Place::parse(&start, 1), Ok(Place::start(1, 20)));
        for sound in [
            r#""m":"daily","o":3"#,
            r#""m":"Team_Sync & caf\u00e9""#,
            r#""d":"AAAAAAA""#,
            r#""d":"""#,
        ] {
            let text = encoded(&format!(r#"{{"v":2,"f":1,"n":20,{sound}}}"#));
            assert!(Place::parse(&text, 1).is_ok(), "{sound}");
        }
        let many = URL_SAFE_NO_PAD.encode([7; 5 * (MOST_DONE + 1)]);
        for text in [
            String::new(),
            "abc".to_owned(),
            "\u{e9}".to_owned(),
            format!("{start}="),
            encoded("null"),
            encoded("{}"),
            encoded(r#"{"v":1,"f":1,"n":20}"#),
            encoded(r#"{"v":3,"f":1,"n":20}"#),
            encoded(r#"{"v":2,"f":1,"n":0}"#),
            encoded(r#"{"v":2,"f":1,"n":101}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"o":-1}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"o":100001}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"o":99999999999999999999}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"s":""}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"s":"\n"}"#),
            encoded(&format!(r#"{{"v":2,"f":1,"n":20,"s":"{}"}}"#, "x".repeat(1025))),
            encoded(r#"{"v":2,"f":1,"n":20,"m":""}"#),
            encoded(&format!(r#"{{"v":2,"f":1,"n":20,"m":"{}"}}"#, "x".repeat(2001))),
            encoded(r#"{"v":2,"f":1,"n":20,"d":"AAAA"}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"d":"?"}"#),
            encoded(r#"{"v":2,"f":1,"n":20,"d":7}"#),
            encoded(&format!(r#"{{"v":2,"f":1,"n":20,"d":"{many}"}}"#)),
            "A".repeat(4097),
        ] {
            assert!(matches!(Place::parse(&text, 1), Err(Error::InvalidArgument(_))), "{text}");
        }
    }

    #[test]
    fn a_cursor_too_long_to_pass_back_is_not_given() {
        let mut place = Place::start(1, 20);
        place.rooms = Some("\"".repeat(1024));
        place.sessions = Some("\"".repeat(1024));
        assert_eq!(place.write(), None);
    }

    #[test]
    fn the_greatest_place_fits() {
        let mut place = Place::start(u64::MAX, 100);
        place.move_to_rooms(Some("x".repeat(1024)));
        for room in 0..=MOST_DONE {
            place.finish_room(&room.to_string());
        }
        place.enter_room(&"x".repeat(200));
        place.sessions = Some("x".repeat(1024));
        (place.offset, place.rooms_unsorted, place.sessions_unsorted) = (100_000, true, true);
        let text = place.write().unwrap();
        assert_eq!(Place::parse(&text, u64::MAX), Ok(place));
    }

    #[test]
    fn sessions_and_offset_stay_with_their_room() {
        let mut place = Place::start(1, 20);
        place.enter_room("a");
        (place.sessions, place.offset) = (Some("s".to_owned()), 3);
        let inside = place.clone();
        place.enter_room("a");
        assert_eq!(place, inside);
        place.enter_room("b");
        assert!(place.is_at_first_session() && place.room() == Some("b"));
        let mut place = inside;
        place.finish_room("a");
        assert!(place.is_at_first_session() && place.room().is_none() && place.is_done("a"));
    }

    #[test]
    fn the_rooms_that_were_read_last_are_remembered() {
        let mut place = Place::start(1, 20);
        for room in 0..=MOST_DONE {
            assert!(!place.is_done(&room.to_string()));
            place.finish_room(&room.to_string());
        }
        let remembered = |place: &Place| {
            (0..=MOST_DONE).filter(|room| place.is_done(&room.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(remembered(&place), (1..=MOST_DONE).collect::<Vec<_>>());
        place.move_to_rooms(Some("next".to_owned()));
        assert_eq!(remembered(&place), (MOST_DONE - KEPT_DONE + 1..=MOST_DONE).collect::<Vec<_>>());
    }

    #[test]
    fn fingerprints_tell_parts_apart() {
        let prints = [&["a", "b"][..], &["ab", ""], &["", "ab"], &["a", "b", ""], &["b", "a"]]
            .map(fingerprint);
        for (at, print) in prints.iter().enumerate() {
            assert!(!prints[at + 1..].contains(print), "{at}");
        }
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            filter in any::<u64>(), page_size in 1_u32..=100, rooms in proptest::option::of("\\PC{1,60}"),
            room in proptest::option::of("[a-z0-9-]{1,200}"),
            done in proptest::collection::vec(any::<[u8; MARK]>(), 0..=MOST_DONE), sessions in proptest::option::of("\\PC{1,60}"), offset in 0_usize..1000,
            rooms_unsorted in any::<bool>(), sessions_unsorted in any::<bool>(),
        ) {
            let start = Place::start(filter, page_size);
            let place = Place {
                rooms, room, done: done.concat(), sessions, offset, rooms_unsorted, sessions_unsorted, ..start
            };
            prop_assert_eq!(Place::parse(&place.write().unwrap(), filter), Ok(place));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", json in any::<Vec<u8>>(), at in 0_usize..60, byte in any::<u8>()) {
            let _ = Place::parse(&text, 0);
            let _ = Place::parse(&URL_SAFE_NO_PAD.encode(json), 0);
            // A cursor that was given, with one byte of it changed.
            let mut given = Place::start(0, 20).write().unwrap().into_bytes();
            let at = at % given.len();
            given[at] = byte;
            let _ = Place::parse(&String::from_utf8_lossy(&given), 0);
        }
    }
}
