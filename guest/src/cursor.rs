//! The cursor of `list-meetings`: a string that marks where the next page starts.
//!
//! Whereby lists sessions by room only, so Whereby's own cursor is not enough. The order of rooms
//! changes while meetings take place: a room with a new meeting moves to the front. So a cursor names
//! its room instead of an index on a page, and remembers the rooms that were read.
//!
//! The string is base64url of JSON. It is not secret and grants nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::argument::{check_length, invalid};
use crate::date::Moment;
use crate::json::Object;
use crate::prelude::*;
use crate::response::{self, MAX_CURSOR_BYTES};
use crate::room_name::is_name;
use crate::types::Error;

/// The maximum length of a cursor, in characters.
const MAX_LENGTH: usize = 4096;

/// The version of the JSON. Cursors with another version are refused.
const VERSION: u64 = 2;

/// The maximum length of a meeting id in bytes: 300 characters.
const MAX_ID_BYTES: usize = 1200;

/// The maximum offset within a page: more rows than any page of Whereby's API has.
const MAX_OFFSET: usize = 100_000;

/// The maximum number of rooms that a cursor remembers: a page of Whereby's API has at most 100. With two
/// cursors of the maximum length and a room name of 200 bytes, 109 would fit.
pub(crate) const MAX_DONE: usize = 100;

/// The number of rooms that it still remembers on the next page, so that rooms which others pushed onto
/// that page are not read again.
const KEPT_DONE: usize = 8;

/// The length of a room's mark, in bytes. Among thousands of rooms, the chance that two have the same
/// mark is less than one in a million.
const MARK_BYTES: usize = 5;

/// A position in a listing of meetings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    version: u64,
    /// The fingerprint of the listing's filter.
    filter: u64,
    /// The page size for sessions. It stays the same for the whole listing, so that `offset` keeps its
    /// meaning.
    pub(crate) page_size: u32,
    /// Whereby's cursor for the page of rooms.
    pub(crate) rooms: Option<String>,
    /// The room whose sessions are being read, in a listing of all rooms. `None` between two rooms.
    room: Option<String>,
    /// In a listing of all rooms, the rooms that were read: those of this page and the last ones of the
    /// page before.
    done: Vec<u8>,
    /// Whereby's cursor for the page of the room's sessions.
    pub(crate) sessions: Option<String>,
    /// The session on that page.
    pub(crate) offset: usize,
    /// In a listing by date, the last meeting that was listed. The next page starts after it.
    before: Option<String>,
    /// Whether the listing goes room by room.
    pub(crate) by_room: bool,
    /// Whether Whereby refused to sort rooms. The order must not change within a listing.
    pub(crate) rooms_unsorted: bool,
    /// Whether Whereby refused to sort sessions.
    pub(crate) sessions_unsorted: bool,
}

impl Cursor {
    /// Returns the start of a listing.
    pub(crate) fn start(filter: u64, page_size: u32) -> Self {
        Self { version: VERSION, filter, page_size, ..Self::default() }
    }

    /// Returns the start and the id of the last meeting listed by date.
    pub(crate) fn before(&self) -> Option<(Moment, &str)> {
        let (start, id) = self.before.as_deref()?.split_once(' ')?;
        Some((Moment::parse(start)?, id))
    }

    /// Continues by date after a meeting.
    pub(crate) fn continue_after(&mut self, start: Moment, id: &str) {
        self.before = Some(format!("{} {id}", start.format()));
    }

    /// Returns whether the listing continues by date.
    pub(crate) fn is_by_date(&self) -> bool {
        self.before.is_some() && !self.by_room
    }

    /// Reads the argument `cursor`. It must come from a listing with the same filter.
    pub(crate) fn parse(text: &str, filter: u64) -> Result<Self, Error> {
        check_length("cursor", text, MAX_LENGTH)?;
        let cursor = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| Self::decode(&json).ok())
            .filter(Self::is_valid)
            .ok_or_else(|| invalid("cursor", "is not a nextCursor from list_meetings"))?;
        if cursor.filter != filter {
            return Err(invalid(
                "cursor",
                "belongs to a listing with a different from_date, to_date or room_name; pass the same \
                 values, or omit the cursor to start over",
            ));
        }
        Ok(cursor)
    }

    /// Writes the cursor. Returns `None` if it would be too long.
    pub(crate) fn write(&self) -> Option<String> {
        let done = Some(URL_SAFE_NO_PAD.encode(&self.done)).filter(|done| !done.is_empty());
        // Only numbers and strings are read back, so true is 1.
        let mut json = Object::new();
        json.number("v", self.version);
        json.number("f", self.filter);
        json.number("n", self.page_size.into());
        json.text("r", self.rooms.as_deref());
        json.text("m", self.room());
        json.text("d", done.as_deref());
        json.text("s", self.sessions.as_deref());
        json.number("o", self.offset as u64);
        json.text("b", self.before.as_deref());
        json.number("g", self.by_room.into());
        json.number("ur", self.rooms_unsorted.into());
        json.number("us", self.sessions_unsorted.into());
        let text = URL_SAFE_NO_PAD.encode(json.finish());
        (text.len() <= MAX_LENGTH).then_some(text)
    }

    /// Returns the room that is being read, in a listing of all rooms. The session cursor and the offset
    /// belong to it.
    pub(crate) fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    /// Returns whether a room was read to its end.
    pub(crate) fn is_done(&self, room: &str) -> bool {
        self.done.chunks(MARK_BYTES).any(|other| other == mark(room))
    }

    /// Returns whether this is the start of a listing of all rooms.
    pub(crate) fn is_at_first_room(&self) -> bool {
        self.rooms.is_none() && self.room.is_none() && self.done.is_empty()
    }

    /// Continues in this room, or starts it if it is a different one.
    pub(crate) fn enter_room(&mut self, room: &str) {
        if self.room() != Some(room) {
            self.leave_room();
            self.room = Some(room.to_owned());
        }
    }

    /// Leaves a room that was read to its end, and remembers it.
    pub(crate) fn finish_room(&mut self, room: &str) {
        self.leave_room();
        self.remember(MAX_DONE - 1);
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
        let rest = self.done.len().saturating_sub(rooms * MARK_BYTES);
        self.done.drain(..rest);
    }

    fn leave_room(&mut self) {
        self.room = None;
        self.sessions = None;
        self.offset = 0;
    }

    /// Returns whether this is the start of a room's sessions.
    pub(crate) fn is_at_first_session(&self) -> bool {
        self.sessions.is_none() && self.offset == 0
    }

    fn decode(json: &[u8]) -> Result<Self, String> {
        let json = response::object(
            json,
            &["v", "f", "n", "r", "m", "d", "s", "o", "b", "g", "ur", "us"],
        )?;
        let number = |name| json.whole(name).map(Option::unwrap_or_default);
        let text = |name| json.text(name).map(|text| text.map(str::to_owned));
        Ok(Self {
            version: number("v")?,
            filter: number("f")?,
            // A value that is too large for the type is also too large for `is_valid`.
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

    fn is_valid(&self) -> bool {
        let is_cursor = |cursor: &Option<String>| {
            cursor.as_ref().is_none_or(|text| {
                !text.is_empty()
                    && text.len() <= MAX_CURSOR_BYTES
                    && !text.contains(char::is_control)
            })
        };
        self.version == VERSION
            && (1..=100).contains(&self.page_size)
            && self.room.as_deref().is_none_or(is_name)
            && self.done.len() <= MAX_DONE * MARK_BYTES
            && self.done.len().is_multiple_of(MARK_BYTES)
            && self.offset <= MAX_OFFSET
            && (self.before.is_none()
                || self.before().is_some_and(|(_, id)| id.len() <= MAX_ID_BYTES))
            && is_cursor(&self.rooms)
            && is_cursor(&self.sessions)
    }
}

/// Returns a hash that tells filters apart: FNV-1a over their parts.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff never occurs in UTF-8, so it ends a part unambiguously.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// Returns the fingerprint that a cursor keeps of a room that was read.
fn mark(room: &str) -> [u8; MARK_BYTES] {
    let [a, b, c, d, e, ..] = fingerprint(&[room]).to_le_bytes();
    [a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::{Cursor, KEPT_DONE, MARK_BYTES, MAX_DONE, fingerprint};
    use crate::types::Error;

    #[test]
    fn a_cursor_with_another_filter_is_refused() {
        let text = Cursor::start(1, 20).write().unwrap();
        let Err(Error::InvalidArgument(text)) = Cursor::parse(&text, 2) else {
            panic!("the cursor was accepted");
        };
        assert!(text.starts_with("cursor: ") && text.contains("room_name"), "{text}");
    }

    #[test]
    fn malformed_cursors_are_refused() {
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let start = encoded(r#"{"v":2,"f":1,"n":20}"#);
        assert_eq!(Cursor::parse(&start, 1), Ok(Cursor::start(1, 20)));
        for valid in [
            r#""m":"daily","o":3"#,
            r#""m":"Team_Sync & caf\u00e9""#,
            r#""d":"AAAAAAA""#,
            r#""d":"""#,
        ] {
            let text = encoded(&format!(r#"{{"v":2,"f":1,"n":20,{valid}}}"#));
            assert!(Cursor::parse(&text, 1).is_ok(), "{valid}");
        }
        let many = URL_SAFE_NO_PAD.encode([7; 5 * (MAX_DONE + 1)]);
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
            assert!(matches!(Cursor::parse(&text, 1), Err(Error::InvalidArgument(_))), "{text}");
        }
    }

    #[test]
    fn a_cursor_that_is_too_long_is_not_returned() {
        let mut cursor = Cursor::start(1, 20);
        cursor.rooms = Some("\"".repeat(1024));
        cursor.sessions = Some("\"".repeat(1024));
        assert_eq!(cursor.write(), None);
    }

    #[test]
    fn the_longest_cursor_fits() {
        let mut cursor = Cursor::start(u64::MAX, 100);
        cursor.move_to_rooms(Some("x".repeat(1024)));
        for room in 0..=MAX_DONE {
            cursor.finish_room(&room.to_string());
        }
        cursor.enter_room(&"x".repeat(200));
        cursor.sessions = Some("x".repeat(1024));
        (cursor.offset, cursor.rooms_unsorted, cursor.sessions_unsorted) = (100_000, true, true);
        let text = cursor.write().unwrap();
        assert_eq!(Cursor::parse(&text, u64::MAX), Ok(cursor));
    }

    #[test]
    fn sessions_and_offset_stay_with_their_room() {
        let mut cursor = Cursor::start(1, 20);
        cursor.enter_room("a");
        (cursor.sessions, cursor.offset) = (Some("s".to_owned()), 3);
        let inside = cursor.clone();
        cursor.enter_room("a");
        assert_eq!(cursor, inside);
        cursor.enter_room("b");
        assert!(cursor.is_at_first_session() && cursor.room() == Some("b"));
        let mut cursor = inside;
        cursor.finish_room("a");
        assert!(cursor.is_at_first_session() && cursor.room().is_none() && cursor.is_done("a"));
    }

    #[test]
    fn the_rooms_that_were_read_last_are_remembered() {
        let mut cursor = Cursor::start(1, 20);
        for room in 0..=MAX_DONE {
            assert!(!cursor.is_done(&room.to_string()));
            cursor.finish_room(&room.to_string());
        }
        let remembered = |cursor: &Cursor| {
            (0..=MAX_DONE).filter(|room| cursor.is_done(&room.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(remembered(&cursor), (1..=MAX_DONE).collect::<Vec<_>>());
        cursor.move_to_rooms(Some("next".to_owned()));
        assert_eq!(remembered(&cursor), (MAX_DONE - KEPT_DONE + 1..=MAX_DONE).collect::<Vec<_>>());
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
            done in proptest::collection::vec(any::<[u8; MARK_BYTES]>(), 0..=MAX_DONE), sessions in proptest::option::of("\\PC{1,60}"), offset in 0_usize..1000,
            rooms_unsorted in any::<bool>(), sessions_unsorted in any::<bool>(),
        ) {
            let start = Cursor::start(filter, page_size);
            let cursor = Cursor {
                rooms, room, done: done.concat(), sessions, offset, rooms_unsorted, sessions_unsorted, ..start
            };
            prop_assert_eq!(Cursor::parse(&cursor.write().unwrap(), filter), Ok(cursor));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", json in any::<Vec<u8>>(), at in 0_usize..60, byte in any::<u8>()) {
            let _ = Cursor::parse(&text, 0);
            let _ = Cursor::parse(&URL_SAFE_NO_PAD.encode(json), 0);
            // A valid cursor with one byte changed.
            let mut given = Cursor::start(0, 20).write().unwrap().into_bytes();
            let at = at % given.len();
            given[at] = byte;
            let _ = Cursor::parse(&String::from_utf8_lossy(&given), 0);
        }
    }
}
