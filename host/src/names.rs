//! The names by which rooms and meetings are addressed, each checked once and then trusted.
//!
//! The component reads the same forms by itself, for hosts other than this one. This is the host's
//! own reading: a grant is bound to it, whatever the component makes of the text.

use crate::request::ESCAPED;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use std::fmt;
use url::Url;

/// The greatest length of a room's name, in bytes.
const MAX_NAME: usize = 200;

/// The greatest length of a host's name, in characters, RFC 1035.
const MAX_HOST: usize = 253;

/// A room's name as Whereby lists it, without the leading slash.
///
/// Whereby makes names of lower-case letters, digits and hyphens, and lists others too. Only what
/// means something else in a URL or in the id of a meeting is in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomName(String);

impl RoomName {
    /// Reads a name as it is spelled.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&text.len())
            && text.trim() == text
            && !matches!(text, "." | "..")
            && !text.contains(|c: char| c.is_control() || matches!(c, '/' | '?' | '#' | ':'));
        fits.then(|| Self(text.to_owned()))
    }

    /// Reads a name as Whereby writes it: with a leading slash.
    pub(crate) fn parse_with_slash(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('/')?)
    }

    /// Reads the name in the path of a room's URL.
    pub(crate) fn parse_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        Self::parse(&percent_decode_str(path).decode_utf8().ok()?)
    }

    /// Whether the other name is this one as it is spelled, or in lower case, which is what Whereby
    /// makes of a name.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        self == other || self.0.to_ascii_lowercase() == other.0
    }

    /// Whether it is in lower case, as approvals show it.
    pub(crate) fn is_lower_case(&self) -> bool {
        !self.0.contains(|c: char| c.is_ascii_uppercase())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A room as a caller names it: by its name alone, or by its URL, whose host is then part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomRef {
    /// The name as the caller spelled it.
    pub(crate) name: RoomName,
    pub(crate) host: Option<String>,
}

impl RoomRef {
    /// Reads `name`, `/name` or a room's URL; what follows a `?` in a URL is dropped, as it may be a
    /// room key. The error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.contains("://") {
            let name = text.strip_prefix('/').unwrap_or(text);
            if let Some(room) = name.split_once(':').and_then(|(room, _)| RoomName::parse(room)) {
                return Err(format!(
                    "this is the id of a meeting; the name of its room is `{}`",
                    crate::text::printable(room.as_str(), 100)
                ));
            }
            let name = RoomName::parse(name).ok_or_else(not_a_name)?;
            return Ok(Self { name, host: None });
        }
        let url = Url::parse(text).map_err(|error| format!("not a room's URL: {error}"))?;
        let plain = url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none();
        let host = url.host_str().filter(|host| host.len() <= MAX_HOST);
        let (Some(host), true) = (host, plain) else {
            return Err("a room's URL has the form https://subdomain.whereby.com/name".into());
        };
        let name = RoomName::parse_path(url.path().trim_end_matches('/')).ok_or_else(not_a_name)?;
        Ok(Self { name, host: Some(host.to_owned()) })
    }
}

fn not_a_name() -> String {
    "not a room's name as list_rooms shows it, such as daily-standup, nor a room's URL, such as \
     https://example.whereby.com/daily-standup"
        .into()
}

impl fmt::Display for RoomRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => {
                write!(f, "https://{host}/{}", utf8_percent_encode(self.name.as_str(), ESCAPED))
            }
            None => f.write_str(self.name.as_str()),
        }
    }
}

/// Whereby's id of a room or of a session: opaque, but never more than letters, digits, `-`, `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id(String);

impl Id {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A past meeting: a session, and the room that it took place in where the caller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeetingRef {
    pub(crate) room: Option<RoomName>,
    pub(crate) session: Id,
}

impl MeetingRef {
    /// Reads `room-name:session-id` or a session id alone. The error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || {
            "not a meeting's id: it is the `id` of a meeting from list_meetings, \
             room-name:session-id, or the UUID of a session"
                .to_owned()
        };
        if let Some((room, session)) = text.rsplit_once(':') {
            let room = RoomName::parse(room.strip_prefix('/').unwrap_or(room)).ok_or_else(wrong)?;
            let session = Id::parse(session).ok_or_else(wrong)?;
            return Ok(Self { room: Some(room), session });
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "{} is the id of a room; list_meetings with its room_name lists the meetings that \
                 took place in it, with their ids",
                crate::text::printable(text, 40)
            ));
        }
        let session = Id::parse(text).filter(|_| is_uuid(text)).ok_or_else(wrong)?;
        Ok(Self { room: None, session })
    }
}

impl fmt::Display for MeetingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(room) = &self.room {
            write!(f, "{}:", room.as_str())?;
        }
        f.write_str(self.session.as_str())
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_named_in_three_ways() {
        for (text, normal) in [
            ("daily", "daily"),
            ("/daily", "daily"),
            (" Daily_1 ", "Daily_1"),
            ("a b", "a b"),
            ("a.b~c", "a.b~c"),
            ("ä", "ä"),
            ("%2e%2e", "%2e%2e"),
            ("https://acme.whereby.com/Daily?roomKey=secret#x", "https://acme.whereby.com/Daily"),
            ("https://ACME.whereby.com/daily/", "https://acme.whereby.com/daily"),
            ("https://acme.whereby.com/a b%c3%a4", "https://acme.whereby.com/a%20b%C3%A4"),
        ] {
            let room = RoomRef::parse(text).map(|room| room.to_string());
            assert_eq!(room.as_deref(), Ok(normal), "{text}");
            assert_eq!(RoomRef::parse(normal).map(|room| room.to_string()), room, "{text}");
        }
        for text in [
            "",
            "/",
            "//daily",
            "a/b",
            ".",
            "..",
            "a\u{7}b",
            "daily:7be3",
            "daily?x=1",
            "https://acme.whereby.com/",
            "https://acme.whereby.com/a/b",
            "https://acme.whereby.com/a%2fb",
            "https://acme.whereby.com/%2e%2e",
            "https://acme.whereby.com/%ff",
            "https://user@acme.whereby.com/daily",
            "https://acme.whereby.com:444/daily",
            "http://acme.whereby.com/daily",
            "ftp://acme.whereby.com/daily",
            // As DNS writes it, the name is longer than any may be.
            &format!("https://{}.whereby.com/daily", "ä".repeat(250)),
        ] {
            assert!(RoomRef::parse(text).is_err(), "{text}");
        }
        assert!(RoomRef::parse(&"a".repeat(MAX_NAME)).is_ok());
        assert!(RoomRef::parse(&"a".repeat(MAX_NAME + 1)).is_err());
    }

    #[test]
    fn a_name_may_be_listed_as_it_is_spelled_or_in_lower_case() {
        let name = |text: &str| RoomName::parse(text).expect(text);
        for (asked, listed, expected) in [
            ("daily", "daily", true),
            ("Daily", "Daily", true),
            ("Daily", "daily", true),
            ("daily", "Daily", false),
            ("Daily", "DAILY", false),
            // The Kelvin sign is an ordinary k only where all of Unicode is lowered.
            ("\u{212a}", "k", false),
        ] {
            assert_eq!(name(asked).may_be(&name(listed)), expected, "{asked} {listed}");
        }
    }

    #[test]
    fn a_meeting_is_named_with_or_without_its_room() {
        let uuid = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
        let both = MeetingRef::parse(&format!("/Daily:{uuid}")).expect("both");
        assert_eq!(both.room.as_ref().map(RoomName::as_str), Some("Daily"));
        assert_eq!(both.to_string(), format!("Daily:{uuid}"));
        assert_eq!(both.session.as_str(), uuid);
        assert_eq!(MeetingRef::parse(uuid).expect("alone").room, None);
        assert!(MeetingRef::parse("90411275").expect_err("a room").contains("list_meetings"));
        for text in [
            "",
            ":",
            "https://a.whereby.com/daily:x",
            "daily:",
            ":x",
            "daily",
            "daily:a/b",
            "daily:a b",
            "daily:1:2",
            "a:b:c/d",
        ] {
            assert!(MeetingRef::parse(text).is_err(), "{text}");
        }
    }
}
