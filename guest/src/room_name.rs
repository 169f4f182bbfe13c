//! Parses room names as callers write them: with or without a leading slash, or as the room's URL.

use crate::argument::{check_length, invalid};
use crate::error::clean;
use crate::prelude::*;
use crate::types::Error;

/// The maximum length of a name or URL, in characters.
const MAX_LENGTH: usize = 2000;

/// A parsed room name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoomName {
    /// The name as the caller spelled it, without the leading slash.
    pub(crate) name: String,
    /// The name with the caller's surrounding spaces, which may belong to it.
    pub(crate) padded: Option<String>,
    /// The host of the URL, if the caller gave one: in lower case, with the port, if any.
    pub(crate) host: Option<String>,
}

impl RoomName {
    /// Parses the argument `room_name`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        check_length("room_name", text, MAX_LENGTH)?;
        if let Some(name) = Self::parse_name(text) {
            return Ok(name);
        }
        let text = text.trim();
        // The host has the same messages, because callers need not know which one refused.
        let refuse = || {
            invalid(
                "room_name",
                "not a room's name as list_rooms shows it, such as daily-standup, nor a room's URL, \
                 such as https://example.whereby.com/daily-standup",
            )
        };
        let Some(url) = after_scheme(text) else {
            if let Some(room) = room_of_meeting(text) {
                let room = clean(room);
                let what = format!("this is the id of a meeting; the name of its room is `{room}`");
                return Err(invalid("room_name", what));
            }
            if begins_with_host(text) && !has(text, b"://") {
                // The rest after the path may contain a room key.
                let link = clean(text.split(['?', '#']).next().unwrap_or_default());
                let what = format!(
                    "a room's URL without `https://`, not a name such as daily-standup; write \
                     https://{link}"
                );
                return Err(invalid("room_name", what));
            }
            return Err(refuse());
        };
        // The query and the fragment are dropped unread, because they may contain a host's key.
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = url.split_once('/').ok_or_else(refuse)?;
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let name = decoded(path).ok_or_else(refuse)?;
        if !is_host(host) || name.is_empty() || url.contains(char::is_control) {
            return Err(refuse());
        }
        Ok(Self { name, padded: None, host: Some(host.to_ascii_lowercase()) })
    }

    /// Parses a name that is not in a URL. After a slash, every string is a name. Without one, strings that
    /// are more likely URLs, meeting ids or links with a room key are refused.
    pub(crate) fn parse_name(text: &str) -> Option<Self> {
        let trimmed = text.trim();
        let mut name = trimmed;
        if trimmed.starts_with('/') {
            let text = if text.starts_with('/') { text } else { trimmed };
            name = text.strip_prefix('/').filter(|name| !name.is_empty())?;
        } else if trimmed.is_empty()
            || has(trimmed, b"://")
            || is_link(trimmed)
            || room_of_meeting(trimmed).is_some()
        {
            return None;
        }
        let padded = (name == trimmed && trimmed != text).then(|| text.to_owned());
        Some(Self { name: name.to_owned(), padded, host: None })
    }

    /// Returns the spellings that Whereby may list, the most likely one first.
    pub(crate) fn spellings(&self) -> Vec<String> {
        let padded = self.padded.as_deref().map(spellings).unwrap_or_default();
        let mut all = spellings(&self.name);
        all.extend(padded);
        all
    }
}

/// Returns a name in the form that [`RoomName::parse`] reads as the same name.
pub(crate) fn shown(name: &str) -> String {
    // Whereby's own names need no parsing.
    if !name.is_empty() && is_whereby_s(name) {
        return name.to_owned();
    }
    let is_same = |read: RoomName| read.name == name && read.padded.is_none();
    let slash = if RoomName::parse_name(name).is_some_and(is_same) { "" } else { "/" };
    format!("{slash}{name}")
}

/// Returns whether a string starts with a Whereby host and a path.
fn begins_with_host(text: &str) -> bool {
    let host = text.split_once('/').map(|(host, _)| host.to_ascii_lowercase());
    host.is_some_and(|host| host.ends_with(".whereby.com"))
}

/// Returns whether a string is a link to a room without its scheme, or contains a room key.
fn is_link(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    begins_with_host(text)
        || lower.split_once('?').is_some_and(|(_, query)| has(query, b"roomkey="))
}

/// Returns whether a string contains some bytes. The standard library's search would take 1 % of the
/// component's size.
fn has(text: &str, wanted: &[u8]) -> bool {
    text.as_bytes().windows(wanted.len()).any(|part| part == wanted)
}

/// Returns the room in a meeting id whose session is a UUID.
fn room_of_meeting(text: &str) -> Option<&str> {
    text.rsplit_once(':').filter(|(_, session)| is_uuid(session)).map(|(room, _)| room)
}

/// Returns a name in lower case, as Whereby makes names, and as the caller spelled it, the more likely one
/// first.
fn spellings(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    if lower == name {
        return vec![lower];
    }
    if is_whereby_s(&lower) { vec![lower, name.to_owned()] } else { vec![name.to_owned(), lower] }
}

/// Returns whether a name has only the characters that Whereby makes names of.
fn is_whereby_s(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Returns whether a string can be the name of a room, without the slash. Whereby makes names of
/// lower-case letters, digits and hyphens, but may list others. Hosts refuse longer ones.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_LENGTH
}

/// Returns whether a name looks like Whereby's id of a room or a meeting: a number or a UUID.
pub(crate) fn looks_like_id(name: &str) -> bool {
    is_uuid(name) || name.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Returns the host and the name in a room's URL.
pub(crate) fn host_and_name(url: &str) -> Option<(&str, String)> {
    let rest = after_scheme(url)?.split(['?', '#']).next()?;
    let (host, path) = rest.split_once('/')?;
    Some((host, decoded(path)?))
}

/// Returns the rest after `https://` or `http://`, in any case.
fn after_scheme(url: &str) -> Option<&str> {
    ["https://", "http://"].into_iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Decodes the path of a URL; `None` if the result is not UTF-8. A `%` without two hexadecimal digits
/// stays as it is.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        (bytes, rest) = match escaped {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                (bytes, after.get(2..).unwrap_or_default())
            }
            None => {
                bytes.push(*byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RoomName, host_and_name, looks_like_id, shown, spellings};

    #[test]
    fn names_and_urls_are_read() {
        for (text, name, host) in [
            ("daily", "daily", None),
            ("/daily", "daily", None),
            (" Daily_1 ", "Daily_1", None),
            ("a b", "a b", None),
            ("a.b", "a.b", None),
            ("a/b", "a/b", None),
            ("daily/", "daily/", None),
            ("what?x=1", "what?x=1", None),
            ("a#b", "a#b", None),
            ("team:sync", "team:sync", None),
            ("..", "..", None),
            ("a\u{7}b", "a\u{7}b", None),
            ("//daily", "/daily", None),
            ("/ a ", " a ", None),
            (" /a ", "a", None),
            ("/https://a/b", "https://a/b", None),
            ("https://acme.whereby.com/a/b", "a/b", Some("acme.whereby.com")),
            ("https://acme.whereby.com/a%2fb%3F", "a/b?", Some("acme.whereby.com")),
            ("https://acme.whereby.com/%20a%20", " a ", Some("acme.whereby.com")),
            ("https://acme.whereby.com/..", "..", Some("acme.whereby.com")),
            ("caf\u{e9}", "caf\u{e9}", None),
            ("https://acme.whereby.com/daily", "daily", Some("acme.whereby.com")),
            ("HTTPS://Acme.Whereby.com/Daily/", "Daily", Some("acme.whereby.com")),
            ("https://acme.whereby.com/caf%c3%A9", "caf\u{e9}", Some("acme.whereby.com")),
            ("https://acme.whereby.com/100%25%", "100%%", Some("acme.whereby.com")),
            ("https://acme.whereby.com/daily?roomKey=x/y", "daily", Some("acme.whereby.com")),
            ("https://acme.whereby.com/daily#x", "daily", Some("acme.whereby.com")),
            ("http://127.0.0.1:80/daily", "daily", Some("127.0.0.1:80")),
        ] {
            let room = RoomName::parse(text).unwrap();
            assert_eq!((room.name.as_str(), room.host.as_deref()), (name, host), "{text}");
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "",
            " ",
            "/",
            "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
            "a?roomKey=x",
            "acme.whereby.com/daily",
            "ftp://acme.whereby.com/daily",
            "https://acme.whereby.com",
            "https://acme.whereby.com/",
            "https://acme.whereby.com/?x=/daily",
            "https://acme.whereby.com/a\nb",
            "https:///daily",
            "https://me@acme.whereby.com/daily",
            "https://acme.whereby.com/%ff",
        ] {
            assert!(RoomName::parse(text).is_err(), "{text} was accepted");
        }
        assert!(RoomName::parse(&"a".repeat(2000)).is_ok());
        assert!(RoomName::parse(&"a".repeat(2001)).is_err());
        let url = |length: usize| format!("https://a.whereby.com/b?{}", "x".repeat(length - 24));
        assert!(RoomName::parse(&url(2000)).is_ok());
        assert!(RoomName::parse(&url(2001)).is_err());
    }

    #[test]
    fn errors_have_the_same_messages_as_the_host() {
        let not_a_name = "not a room's name as list_rooms shows it, such as daily-standup, nor a \
                          room's URL, such as https://example.whereby.com/daily-standup";
        let write = |link| {
            format!(
                "a room's URL without `https://`, not a name such as daily-standup; write \
                 https://{link}"
            )
        };
        for (text, words) in [
            (" ", not_a_name.to_owned()),
            ("/", not_a_name.to_owned()),
            ("a?roomKey=x", not_a_name.to_owned()),
            ("ftp://acme.whereby.com/daily", not_a_name.to_owned()),
            ("acme.whereby.com/daily", write("acme.whereby.com/daily")),
            (" Acme.Whereby.com/Daily?roomKey=s3cret ", write("Acme.Whereby.com/Daily")),
            ("acme.whereby.com/a#roomKey=s3cret", write("acme.whereby.com/a")),
            (
                "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
                "this is the id of a meeting; the name of its room is `daily`".to_owned(),
            ),
        ] {
            let error = RoomName::parse(text).expect_err(text);
            assert_eq!(error, crate::types::Error::InvalidArgument(format!("room_name: {words}")));
        }
    }

    #[test]
    fn urls_of_whereby_are_split() {
        let name = |url| host_and_name(url).map(|(host, name)| (host, name.leak() as &str));
        assert_eq!(name("https://a.whereby.com/b?c=/d"), Some(("a.whereby.com", "b")));
        assert_eq!(name("https://a.whereby.com/a%20B"), Some(("a.whereby.com", "a B")));
        assert_eq!(name("a.whereby.com/b"), None);
        assert_eq!(name("https://a.whereby.com"), None);
    }

    #[test]
    fn a_name_is_shown_as_it_is_read() {
        for (name, expected) in [
            ("daily", "daily"),
            ("a/b?c#d:e", "a/b?c#d:e"),
            ("/daily", "//daily"),
            (" daily", "/ daily"),
            ("daily\n", "/daily\n"),
            ("", "/"),
            ("https://a/b", "/https://a/b"),
        ] {
            assert_eq!(shown(name), expected);
        }
    }

    #[test]
    fn spaces_around_a_name_may_be_part_of_it() {
        let spellings = |text| RoomName::parse(text).unwrap().spellings();
        assert_eq!(spellings(" daily "), ["daily", " daily "]);
        assert_eq!(spellings("/ daily "), [" daily "]);
    }

    #[test]
    fn a_name_with_upper_case_has_two_spellings() {
        for (name, expected) in [
            ("daily", &["daily"][..]),
            ("daily_1", &["daily_1"]),
            ("Daily-1", &["daily-1", "Daily-1"]),
            ("Daily_1", &["Daily_1", "daily_1"]),
            // The Kelvin sign becomes an ordinary k only where all of Unicode is lowered.
            ("\u{212a}", &["\u{212a}"]),
        ] {
            assert_eq!(spellings(name), expected);
        }
    }

    #[test]
    fn ids_are_distinguished_from_names() {
        for (text, expected) in [
            ("70000007", true),
            ("7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10", true),
            ("standup-7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10", false),
            ("daily", false),
            ("2026-03-02", false),
        ] {
            assert_eq!(looks_like_id(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_string_is_a_name(text in "\\PC{0,60}", near in "(https?:/)?/?[a-zA-Z./?#:-]{0,20}") {
            for text in [text, near] {
                if let Ok(room) = RoomName::parse(&text) {
                    let again = RoomName::parse(&shown(&room.name)).unwrap();
                    prop_assert_eq!((again.name, again.padded), (room.name, None));
                }
                let _ = host_and_name(&text);
            }
        }
    }
}
