//! The names by which rooms and meetings are addressed, each checked once and then trusted.
//!
//! The component reads the same forms by itself, for hosts other than this one. This is the host's
//! own reading: a grant is bound to it, whatever the component makes of the text.

use std::fmt;
use url::Url;

/// The greatest length of a room's name, in characters.
const MAX_NAME: usize = 200;

/// The greatest length of a host's name, in characters, RFC 1035.
const MAX_HOST: usize = 253;

/// A room's name: lower-case letters, digits and hyphens, without the leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomName(String);

impl RoomName {
    /// Reads a name in its normal form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    /// Reads a name as Whereby writes it: with a leading slash.
    pub(crate) fn parse_with_slash(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('/')?)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A room as a caller names it: by its name alone, or by its URL, whose host is then part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomRef {
    pub(crate) name: RoomName,
    pub(crate) host: Option<String>,
}

impl RoomRef {
    /// Reads `name`, `/name` or a room's URL, in either case; what follows a `?` in a URL is
    /// dropped, as it may be a room key. The error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (host, name) = if text.contains("://") {
            let url = Url::parse(text).map_err(|error| format!("not a room's URL: {error}"))?;
            let plain = url.scheme() == "https"
                && url.username().is_empty()
                && url.password().is_none()
                && url.port().is_none();
            let host = url.host_str().filter(|host| host.len() <= MAX_HOST);
            let (Some(host), true) = (host, plain) else {
                return Err("a room's URL has the form https://subdomain.whereby.com/name".into());
            };
            (Some(host.to_owned()), url.path().trim_end_matches('/').to_owned())
        } else {
            (None, text.to_owned())
        };
        let name = name.strip_prefix('/').unwrap_or(&name).to_ascii_lowercase();
        match RoomName::parse(&name) {
            Some(name) => Ok(Self { name, host }),
            None => Err(format!(
                "not a room's name: it has 1 to {MAX_NAME} letters, digits and hyphens, such as \
                 daily-standup, or is a room's URL"
            )),
        }
    }
}

impl fmt::Display for RoomRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "https://{host}/")?;
        }
        f.write_str(self.name.as_str())
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
            let room = RoomRef::parse(room).ok().filter(|room| room.host.is_none());
            let room = room.ok_or_else(wrong)?;
            let session = Id::parse(session).ok_or_else(wrong)?;
            return Ok(Self { room: Some(room.name), session });
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
            (" Daily-1 ", "daily-1"),
            ("https://acme.whereby.com/Daily?roomKey=secret#x", "https://acme.whereby.com/daily"),
            ("https://ACME.whereby.com/daily", "https://acme.whereby.com/daily"),
        ] {
            assert_eq!(RoomRef::parse(text).map(|room| room.to_string()).as_deref(), Ok(normal));
        }
        for text in [
            "",
            "/",
            "//daily",
            "a/b",
            "a b",
            "ä",
            "..",
            "%2e%2e",
            "daily?x=1",
            "https://acme.whereby.com/",
            "https://acme.whereby.com/a/b",
            "https://user@acme.whereby.com/daily",
            "https://acme.whereby.com:444/daily",
            "http://acme.whereby.com/daily",
            "ftp://acme.whereby.com/daily",
            // As DNS writes it, the name is longer than any may be.
            &format!("https://{}.whereby.com/daily", "ä".repeat(250)),
        ] {
            assert!(RoomRef::parse(text).is_err(), "{text}");
        }
        assert!(RoomRef::parse(&"a".repeat(MAX_NAME + 1)).is_err());
    }

    #[test]
    fn a_meeting_is_named_with_or_without_its_room() {
        let uuid = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
        let both = MeetingRef::parse(&format!("/Daily:{uuid}")).expect("both");
        assert_eq!(both.room.as_ref().map(RoomName::as_str), Some("daily"));
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
            "a:b:c/d",
        ] {
            assert!(MeetingRef::parse(text).is_err(), "{text}");
        }
    }
}
