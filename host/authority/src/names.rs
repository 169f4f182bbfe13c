//! The names of rooms and meetings.
//!
//! The component reads the same forms, because it also runs under other hosts. The grant is bound to
//! the host's reading, whatever the component's is.

use crate::prelude::*;
use crate::request::ESCAPED;
use crate::url::Url;
use crate::{find_in, split_at};
use core::fmt;
use percent_encoding::{percent_decode_str, utf8_percent_encode};

/// The maximum length of a room's name, in characters, as for the argument `room_name`.
const MAX_NAME: usize = 2000;

/// The maximum length of a host name, in characters (RFC 1035).
const MAX_HOST: usize = 253;

/// A room's name as Whereby lists it, without the leading slash.
///
/// Whereby makes names of lower-case letters, digits and hyphens, but lists others too. Every character
/// is allowed, because a name is only sent as an escaped value in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomName {
    name: String,
    /// The name with the white space that the caller wrote around it, which may be part of the name.
    padded: Option<String>,
}

impl RoomName {
    /// Reads a name without a slash before it.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.chars().count() <= MAX_NAME;
        fits.then(|| Self { name: text.to_owned(), padded: None })
    }

    /// Reads a name as Whereby writes it: with a leading slash.
    pub fn parse_with_slash(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('/')?)
    }

    /// Reads the name in the path of a room's URL.
    pub fn parse_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        Self::parse(&percent_decode_str(path).decode_utf8().ok()?)
    }

    /// Reads a name as a caller writes it. After a slash, every string is a name. Without a slash, strings
    /// that are more likely URLs, meeting ids or links with a room key are refused.
    fn parse_argument(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.starts_with('/') {
            let text = if text.starts_with('/') { text } else { trimmed };
            return Self::parse_with_slash(text).ok_or_else(not_a_name);
        }
        if let Some((room, session)) = trimmed.rsplit_once(':')
            && is_uuid(session)
        {
            return Err(format!(
                "this is the id of a meeting; the name of its room is `{}`",
                crate::text::printable(room, 100)
            ));
        }
        if begins_with_host(trimmed) && find_in(trimmed, "://").is_none() {
            // A query may contain a room key.
            let link = trimmed.split(['?', '#']).next().unwrap_or_default();
            return Err(format!(
                "a room's URL without `https://`, not a name such as daily-standup; write https://{}",
                crate::text::printable(link, 200)
            ));
        }
        if find_in(trimmed, "://").is_some() || is_link(trimmed) {
            return Err(not_a_name());
        }
        let mut name = Self::parse(trimmed).ok_or_else(not_a_name)?;
        name.padded = (trimmed != text).then(|| text.to_owned());
        Ok(name)
    }

    /// Whether Whereby may list this room under the other name: as the caller spelled it, or in lower
    /// case.
    pub fn may_be(&self, listed: &Self) -> bool {
        [Some(&self.name), self.padded.as_ref()]
            .into_iter()
            .flatten()
            .any(|name| *name == listed.name || name.to_ascii_lowercase() == listed.name)
    }

    /// Whether it can be read in one way only.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.padded.is_none()
    }

    /// Returns the spellings of the name that a request may have, apart from its letter case.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &str> {
        core::iter::once(self.name.as_str()).chain(self.padded.as_deref())
    }

    /// Whether approvals show this name as the other one, which is in lower case.
    pub fn is_shown_as(&self, other: &Self) -> bool {
        self.padded.as_ref().unwrap_or(&self.name).to_ascii_lowercase() == other.name
    }

    /// Returns the name without a slash before it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for RoomName {
    /// Writes the name so that it is read as the same name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.padded.as_ref().unwrap_or(&self.name);
        if Self::parse_argument(text).as_ref() != Ok(self) {
            f.write_str("/")?;
        }
        f.write_str(text)
    }
}

/// Whether a string begins with a subdomain of whereby.com and a slash.
fn begins_with_host(text: &str) -> bool {
    let host = text.split_once('/').map(|(host, _)| host.to_ascii_lowercase());
    host.is_some_and(|host| host.ends_with(".whereby.com"))
}

/// Whether a string is a link to a room without its scheme, or contains a room key.
fn is_link(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    begins_with_host(text)
        || lower.split_once('?').is_some_and(|(_, query)| find_in(query, "roomkey=").is_some())
}

/// A room as a caller names it: by its name, or by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRef {
    /// The name as the caller spelled it.
    pub name: RoomName,
    /// The host of the URL, if the caller gave a URL.
    pub host: Option<String>,
}

impl RoomRef {
    /// Reads `name`, `/name` or a room's URL. The query of a URL is dropped, because it may contain a room
    /// key.
    ///
    /// # Errors
    ///
    /// Says which form is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.starts_with('/') || find_in(trimmed, "://").is_none() {
            return Ok(Self { name: RoomName::parse_argument(text)?, host: None });
        }
        let url = Url::parse(trimmed).map_err(|error| format!("not a room's URL: {error}"))?;
        let plain = url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none();
        let host = url.host_str().filter(|host| host.len() <= MAX_HOST);
        let (Some(host), true) = (host, plain) else {
            return Err("a room's URL has the form https://subdomain.whereby.com/name".into());
        };
        // From the text, because the URL parser removes `..` and `%2e%2e`.
        let name = path_of(trimmed)
            .map(|path| path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path))
            .and_then(RoomName::parse_path)
            .ok_or_else(not_a_name)?;
        Ok(Self { name, host: Some(host.to_owned()) })
    }
}

/// Returns the path of a URL as it is spelled, or `None` if the URL parser changes more than the path.
fn path_of(url: &str) -> Option<&str> {
    if url.contains(|c: char| c.is_control() || c == '\\') {
        return None;
    }
    let (_, rest) = split_at(url, "://")?;
    let rest = rest.split(['?', '#']).next()?;
    rest.find('/').filter(|at| *at > 0).and_then(|at| rest.get(at..))
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
            None => self.name.fmt(f),
        }
    }
}

/// Whereby's id of a room or of a session: 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned()))
    }

    /// Returns the id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A past meeting: a session and, if the caller knows it, its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingRef {
    /// The room, if the id names one.
    pub room: Option<RoomName>,
    /// The id of the room session.
    pub session: Id,
}

impl MeetingRef {
    /// Reads `room-name:session-id` or a session id.
    ///
    /// # Errors
    ///
    /// Says which form is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end();
        let wrong = || {
            "not a meeting's id: it is the `id` of a meeting from list_meetings, \
             room-name:session-id, or the UUID of a session"
                .to_owned()
        };
        if let Some((room, session)) = text.rsplit_once(':') {
            let room = RoomName::parse_argument(room).map_err(|_| wrong())?;
            let session = Id::parse(session).ok_or_else(wrong)?;
            return Ok(Self { room: Some(room), session });
        }
        let text = text.trim_start();
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
            write!(f, "{room}:")?;
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
    fn a_room_is_named_by_name_path_or_url() {
        for (text, normal) in [
            ("daily", "daily"),
            ("/daily", "daily"),
            (" Daily_1 ", " Daily_1 "),
            (" /Daily ", "Daily"),
            ("a b", "a b"),
            ("a.b~c", "a.b~c"),
            ("ä", "ä"),
            ("%2e%2e", "%2e%2e"),
            ("a/b", "a/b"),
            ("daily/", "daily/"),
            ("what?", "what?"),
            ("daily?x=1", "daily?x=1"),
            ("a#b", "a#b"),
            ("team:sync", "team:sync"),
            (".", "."),
            ("..", ".."),
            ("a\u{7}b\n", "a\u{7}b\n"),
            ("//daily", "//daily"),
            ("/ a ", "/ a "),
            ("/https://a/b", "/https://a/b"),
            (
                "/daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
                "/daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
            ),
            ("https://acme.whereby.com/a/b", "https://acme.whereby.com/a%2Fb"),
            ("https://acme.whereby.com/a%2fb%3F%23%3a", "https://acme.whereby.com/a%2Fb%3F%23%3A"),
            ("https://acme.whereby.com/%20a%20", "https://acme.whereby.com/%20a%20"),
            ("https://acme.whereby.com/..", "https://acme.whereby.com/.."),
            ("https://acme.whereby.com/%2e", "https://acme.whereby.com/."),
            ("https://acme.whereby.com//a", "https://acme.whereby.com/%2Fa"),
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
            " ",
            "/",
            "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
            "daily?roomKey=x",
            "acme.whereby.com/daily",
            "https://acme.whereby.com",
            "https://acme.whereby.com/",
            "https://acme.whereby.com/?x=/daily",
            "https://acme.whereby.com/%ff",
            "https://acme.whereby.com/da\nily",
            "https://acme.whereby.com\\daily",
            "https:///acme.whereby.com/daily",
            "https://user@acme.whereby.com/daily",
            "https://acme.whereby.com:444/daily",
            "http://acme.whereby.com/daily",
            "ftp://acme.whereby.com/daily",
            // Too long after the conversion to Punycode.
            &format!("https://{}.whereby.com/daily", "ä".repeat(250)),
        ] {
            assert!(RoomRef::parse(text).is_err(), "{text}");
        }
        for text in [" Acme.whereby.com/daily", "Acme.whereby.com/daily?roomKey=s3cret#x"] {
            let error = RoomRef::parse(text).expect_err(text);
            assert!(error.ends_with("; write https://Acme.whereby.com/daily"), "{error}");
        }
        assert!(RoomRef::parse(&"a".repeat(MAX_NAME)).is_ok());
        assert!(RoomRef::parse(&"a".repeat(MAX_NAME + 1)).is_err());
    }

    #[test]
    fn a_name_may_be_listed_as_it_is_spelled_or_in_lower_case() {
        let read = |text: &str| RoomRef::parse(text).expect(text).name;
        let name = |text: &str| RoomName::parse(text).expect(text);
        for (asked, listed, expected) in [
            ("daily", "daily", true),
            ("Daily", "Daily", true),
            ("Daily", "daily", true),
            ("daily", "Daily", false),
            ("Daily", "DAILY", false),
            // The Kelvin sign is lowered to k only in Unicode.
            ("\u{212a}", "k", false),
            (" Daily ", "daily", true),
            (" Daily ", " daily ", true),
            (" daily ", " daily", false),
            // After a slash, spaces are part of the name.
            ("/ daily ", " daily ", true),
            ("/ daily ", "daily", false),
            ("daily", " daily ", false),
        ] {
            assert_eq!(read(asked).may_be(&name(listed)), expected, "{asked} {listed}");
        }
    }

    #[test]
    fn an_approval_shows_the_name_in_lower_case_with_its_spaces() {
        for (asked, listed, expected) in [
            ("Daily", "daily", true),
            ("Daily", "Daily", false),
            (" daily", " daily", true),
            (" daily", "daily", false),
        ] {
            let name = RoomRef::parse(asked).expect(asked).name;
            assert_eq!(
                name.is_shown_as(&RoomName::parse(listed).expect(listed)),
                expected,
                "{asked}"
            );
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
        for (text, room) in [
            ("a:b:1", "a:b"),
            ("a/b?c#d:1", "a/b?c#d"),
            ("..:1", ".."),
            (" Daily:1 ", "Daily"),
            ("//a:1", "/a"),
            ("/ a :1", " a "),
        ] {
            let meeting = MeetingRef::parse(text).expect(text);
            assert_eq!(meeting.room.as_ref().map(RoomName::as_str), Some(room), "{text}");
            assert_eq!(MeetingRef::parse(&meeting.to_string()), Ok(meeting), "{text}");
        }
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
            "a:b:c/d",
            "https://acme.whereby.com/daily:1",
        ] {
            assert!(MeetingRef::parse(text).is_err(), "{text}");
        }
    }
}
