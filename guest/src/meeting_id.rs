//! The id of a past meeting: the room's name, a colon and the session's id.
//!
//! The session's id alone is not enough to find a session, because Whereby lists sessions by room only.

use crate::argument::{check_length, invalid};
use crate::prelude::*;
use crate::room_name::{RoomName, shown};
use crate::types::Error;

/// The maximum length of a meeting id, in characters.
const MAX_LENGTH: usize = 300;

/// The maximum length of Whereby's own ids, in characters.
const MAX_PART_LENGTH: usize = 64;

/// A parsed meeting id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MeetingId {
    /// The room as the caller named it; absent if the caller gave only the session's id.
    pub(crate) room: Option<RoomName>,
    pub(crate) session: String,
}

impl MeetingId {
    /// Parses the argument `meeting_id`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        check_length("meeting_id", text, MAX_LENGTH)?;
        let text = text.trim_end();
        let refuse = || {
            invalid(
                "meeting_id",
                "not a meeting's id: it is the `id` of a meeting from list_meetings, \
                 room-name:session-id, or the UUID of a session",
            )
        };
        let Some((room, session)) = text.rsplit_once(':') else {
            let text = text.trim_start();
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(invalid(
                    "meeting_id",
                    format!(
                        "{text} is the id of a room; list_meetings with its room_name lists the \
                         meetings that took place in it, with their ids"
                    ),
                ));
            }
            return if is_id(text) {
                Ok(Self { room: None, session: text.to_owned() })
            } else {
                Err(refuse())
            };
        };
        let room = RoomName::parse_name(room).filter(|_| is_id(session)).ok_or_else(refuse)?;
        Ok(Self { room: Some(room), session: session.to_owned() })
    }
}

/// Returns the id of a session in a room, or the session's id alone if that would be too long to be
/// accepted.
pub(crate) fn format(room: &str, session: &str) -> String {
    let mut id = shown(room);
    id.push(':');
    id.push_str(session);
    if check_length("meeting_id", &id, MAX_LENGTH).is_err() {
        session.clone_into(&mut id);
    }
    id
}

/// Returns whether a string can be Whereby's id of a session or a room: a UUID or a number. Such an id has
/// no characters with a special meaning in a URL.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_PART_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MeetingId, format};
    use crate::types::Error;

    #[test]
    fn ids_are_read() {
        for (text, room, session) in [
            ("daily:7be3d6c2-0a41", Some("daily"), "7be3d6c2-0a41"),
            ("daily:7be3:1", Some("daily:7be3"), "1"),
            ("a/b?c#d:1", Some("a/b?c#d"), "1"),
            ("//a:1", Some("/a"), "1"),
            ("/Daily_1:7BE3", Some("Daily_1"), "7BE3"),
            (" daily:12 ", Some("daily"), "12"),
            ("7be3d6c2-0a41", None, "7be3d6c2-0a41"),
        ] {
            let id = MeetingId::parse(text).unwrap();
            let name = id.room.as_ref().map(|room| room.name.as_str());
            assert_eq!((name, id.session.as_str()), (room, session), "{text}");
        }
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in ["", " ", ":", "daily:", ":7be3", "https://a/b:7be3", "a:b/c", "a/b", "x?y=1"] {
            assert!(MeetingId::parse(text).is_err(), "{text} was accepted");
        }
        assert_eq!(format(&"a".repeat(300), "7be3"), "7be3");
        assert!(MeetingId::parse(&"a".repeat(64)).is_ok());
        assert!(MeetingId::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn the_id_of_a_room_is_explained() {
        let Err(Error::InvalidArgument(text)) = MeetingId::parse("90411275") else {
            panic!("the id was accepted");
        };
        assert!(text.contains("id of a room") && text.contains("list_meetings"), "{text}");
    }

    proptest! {
        #[test]
        fn written_ids_are_read_back(room in "[ -~]{1,80}", session in "[a-zA-Z0-9_-]{1,40}") {
            let id = MeetingId::parse(&format(&room, &session)).unwrap();
            prop_assert_eq!((id.room.unwrap().name, id.session), (room, session));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = MeetingId::parse(&text);
        }
    }
}
