//! Reads the URLs that a call may name: those that every parser reads the same way.
//!
//! The tables of the crate `url`, which reads hosts in all languages, would make the guarded component too
//! large. What this parser reads, that crate reads too, and as the same; a test compares them.

use crate::prelude::*;
use crate::text::{is_path, is_plain};

/// A URL of ASCII letters, with a host, and without a user, an address as its host, or dots as a folder.
#[derive(Debug)]
pub(crate) struct Url {
    text: String,
    scheme: &'static str,
    host: String,
    port: Option<u16>,
    path: String,
    fragment: Option<String>,
}

/// The schemes, and whether the host has no letter case and the path is never empty.
const SCHEMES: [(&str, bool); 4] =
    [("https", true), ("http", true), ("rtmps", false), ("rtmp", false)];

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Says what it must consist of.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).ok_or("it must be https://host/path, in ASCII letters")
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = crate::split_at(text, "://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (scheme, is_special) = SCHEMES.into_iter().find(|(known, _)| *known == scheme)?;
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (host, port) = match authority.split_once(':') {
            // The default port would be left out.
            Some((host, port)) if !is_special => (host, Some(port_of(port)?)),
            Some(_) => return None,
            None => (authority, None),
        };
        let is_whole = is_host(host)
            && is_path(path)
            && query.bytes().all(|byte| is_plain(byte) && byte != b'\'' || byte == b'?')
            && fragment.unwrap_or_default().bytes().all(|byte| is_plain(byte) || byte == b'?');
        let path = if path.is_empty() && is_special { "/" } else { path };
        is_whole.then(|| Self {
            text: text.to_owned(),
            scheme,
            host: if is_special { host.to_ascii_lowercase() } else { host.to_owned() },
            port,
            path: path.to_owned(),
            fragment: fragment.map(str::to_owned),
        })
    }

    pub(crate) fn scheme(&self) -> &str {
        self.scheme
    }

    /// Returns the empty string: no URL has a user.
    pub(crate) fn username(&self) -> &str {
        ""
    }

    /// Returns `None`: no URL has a password.
    pub(crate) fn password(&self) -> Option<&str> {
        None
    }

    pub(crate) fn host_str(&self) -> Option<&str> {
        Some(&self.host)
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads a port as every parser writes it: without a sign or leading zeros.
fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text == "0" || !text.starts_with(['+', '0']))
}

/// Whether it is a host name that is neither an address nor an encoded name of another language.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.to_ascii_lowercase().starts_with("xn--")
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.split('.').all(is_label)
        && last.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_same(text: &str) {
        let Ok(own) = Url::parse(text) else { return };
        let theirs = url::Url::parse(text).expect(text);
        assert_eq!(own.scheme(), theirs.scheme(), "{text}");
        assert_eq!(own.username(), theirs.username(), "{text}");
        assert_eq!(own.password(), theirs.password(), "{text}");
        assert_eq!(own.host_str(), theirs.host_str(), "{text}");
        assert_eq!(own.port(), theirs.port(), "{text}");
        assert_eq!(own.path(), theirs.path(), "{text}");
        assert_eq!(own.fragment(), theirs.fragment(), "{text}");
        if matches!(own.scheme(), "rtmp" | "rtmps") && !text.contains(char::is_uppercase) {
            assert_eq!(own.as_str(), theirs.as_str(), "{text}");
        }
    }

    #[test]
    fn urls_of_rooms_and_streams_are_read() {
        for text in [
            "https://acme.whereby.com/daily-standup",
            "HTTPS://Acme.Whereby.com/Daily_1%20%c3%A4?roomKey=a.b#more",
            "https://acme.whereby.com",
            "rtmp://live.example.com:1935/app/key",
            "rtmps://Live.example.com/app/key?x=1",
            "rtmp://live.example.com:0/app/key",
        ] {
            assert!(Url::parse(text).is_ok(), "{text}");
            assert_same(text);
        }
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for text in [
            "",
            "daily",
            "ftp://a.example/x",
            "https:///x",
            "https://user@a.example/x",
            "https://a.example:443/x",
            "https://127.1/x",
            "https://0x7f.1/x",
            "https://a.0x1/x",
            "https://xn--e1afmkfd.example/x",
            "https://пример.example/x",
            "https://a..example/x",
            "https://a.example/../x",
            "https://a.example/%2E%2e/x",
            "https://a.example\\x",
            "https://a.example/a b",
            "https://a.example/\u{7f}",
            "rtmp://[::1]/x",
            "rtmp://a.example:+80/x",
            "rtmp://a.example:0080/x",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_read_the_same_by_the_host(
            scheme in "https|http|rtmp|RTMPS|ftp", host in "[a-zA-Z0-9.:@+\\-]{0,16}",
            path in "(/[ -~]{0,6}){0,3}", query in "([?#][ -~]{0,8}){0,2}",
        ) {
            assert_same(&format!("{scheme}://{host}{path}{query}"));
        }
    }
}
