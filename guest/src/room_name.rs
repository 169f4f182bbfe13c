//! Reads a room's name as callers write it: with a slash, without one, or as the room's URL.

use crate::argument::{check_length, invalid};
use crate::prelude::*;
use crate::types::Error;

/// The longest text that is taken, in characters: a URL may have a key behind it.
const LONGEST: usize = 2000;

/// The longest name, which Whereby makes of 39 characters and a random part.
const LONGEST_NAME: usize = 200;

/// A room that a caller named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoomName {
    /// The name without the leading slash: lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// The host of the URL, where one was given; lower case, with its port if it names one.
    pub(crate) host: Option<String>,
}

impl RoomName {
    /// Reads the argument `room_name`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        check_length("room_name", text, LONGEST)?;
        let lower = text.trim().to_ascii_lowercase();
        let refuse = || {
            invalid(
                "room_name",
                "must be a room's name of letters, digits and hyphens, or its URL such as \
                 https://example.whereby.com/daily-standup",
            )
        };
        let url = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
        let Some(url) = url else {
            let name = lower.strip_prefix('/').unwrap_or(&lower);
            return match is_name(name) {
                true => Ok(Self { name: name.to_owned(), host: None }),
                false => Err(refuse()),
            };
        };
        // What follows the path is dropped unread, as it may hold a host's key.
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = url.split_once('/').ok_or_else(refuse)?;
        let name = path.strip_suffix('/').unwrap_or(path);
        if !is_host(host) || !is_name(name) {
            return Err(refuse());
        }
        Ok(Self { name: name.to_owned(), host: Some(host.to_owned()) })
    }
}

/// Whether a text can be a room's name, without the slash.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The host and the path of a room's URL as Whereby writes it.
pub(crate) fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let rest = rest.split(['?', '#']).next()?;
    rest.split_once('/')
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

    use super::{RoomName, host_and_path, is_name};

    #[test]
    fn names_and_urls_are_read() {
        for (text, name, host) in [
            ("daily", "daily", None),
            ("/daily", "daily", None),
            (" Daily-1 ", "daily-1", None),
            ("https://acme.whereby.com/daily", "daily", Some("acme.whereby.com")),
            ("HTTPS://Acme.Whereby.com/Daily/", "daily", Some("acme.whereby.com")),
            ("https://acme.whereby.com/daily?roomKey=x/y", "daily", Some("acme.whereby.com")),
            ("https://acme.whereby.com/daily#x", "daily", Some("acme.whereby.com")),
            ("http://127.0.0.1:80/daily", "daily", Some("127.0.0.1:80")),
        ] {
            let room = RoomName::parse(text).unwrap();
            assert_eq!((room.name.as_str(), room.host.as_deref()), (name, host), "{text}");
        }
    }

    #[test]
    fn what_is_no_room_is_refused() {
        for text in [
            "",
            " ",
            "/",
            "//daily",
            "daily/",
            "a/b",
            "a b",
            "a_b",
            "a.b",
            "caf\u{e9}",
            "a?roomKey=x",
            "acme.whereby.com/daily",
            "ftp://acme.whereby.com/daily",
            "https://acme.whereby.com",
            "https://acme.whereby.com/",
            "https://acme.whereby.com/?x=/daily",
            "https:///daily",
            "https://me@acme.whereby.com/daily",
            "https://acme.whereby.com/a/b",
            "https://acme.whereby.com/a%2fb",
            // The Kelvin sign, which becomes an ordinary k when all of Unicode is lowered.
            "\u{212a}",
        ] {
            assert!(RoomName::parse(text).is_err(), "{text} was taken");
        }
        assert!(RoomName::parse(&"a".repeat(200)).is_ok());
        assert!(RoomName::parse(&"a".repeat(201)).is_err());
        let url = |length: usize| format!("https://a.whereby.com/b?{}", "x".repeat(length - 24));
        assert!(RoomName::parse(&url(2000)).is_ok());
        assert!(RoomName::parse(&url(2001)).is_err());
    }

    #[test]
    fn urls_of_whereby_are_taken_apart() {
        assert_eq!(host_and_path("https://a.whereby.com/b?c=/d"), Some(("a.whereby.com", "b")));
        assert_eq!(host_and_path("a.whereby.com/b"), None);
        assert_eq!(host_and_path("https://a.whereby.com"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_a_name(text in "\\PC{0,60}", near in "(https?:/)?/?[a-zA-Z./?#:-]{0,20}") {
            for text in [text, near] {
                if let Ok(room) = RoomName::parse(&text) {
                    prop_assert!(is_name(&room.name));
                    prop_assert_eq!(&RoomName::parse(&room.name).unwrap().name, &room.name);
                }
                let _ = host_and_path(&text);
            }
        }
    }
}
