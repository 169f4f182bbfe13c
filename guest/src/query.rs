//! Writes the path and query of a request.

use crate::prelude::*;

use core::fmt::{Display, Write};

/// Builds a path and query, percent-encoded.
pub(crate) struct Query {
    target: String,
    separator: char,
}

impl Query {
    /// Starts with a path, which is not encoded.
    pub(crate) fn new(path: &str) -> Self {
        let mut target = String::with_capacity(path.len() + 96);
        target.push_str(path);
        Self { target, separator: '?' }
    }

    /// Adds a query parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.begin(name);
        encode(value, &mut self.target);
        self
    }

    /// Adds a query parameter whose value is a number, which needs no encoding.
    pub(crate) fn with_number(mut self, name: &str, value: impl Display) -> Self {
        self.begin(name);
        // Writing to a string cannot fail.
        let _ = write!(self.target, "{value}");
        self
    }

    /// Adds a query parameter whose value is a room name, with the leading slash that Whereby requires.
    pub(crate) fn with_room(mut self, name: &str, room: &str) -> Self {
        self.begin(name);
        self.target.push_str("%2F");
        encode(room, &mut self.target);
        self
    }

    /// Adds a query parameter if it has a value.
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Returns the path and query.
    pub(crate) fn finish(self) -> String {
        self.target
    }

    fn begin(&mut self, name: &str) {
        self.target.push(self.separator);
        self.separator = '&';
        encode(name, &mut self.target);
        self.target.push('=');
    }
}

/// Appends a string, encoding all but the unreserved characters of RFC 3986.
fn encode(text: &str, onto: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            onto.push(char::from(byte));
        } else {
            onto.push('%');
            onto.push(hex_digit(byte >> 4));
            onto.push(hex_digit(byte & 15));
        }
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn parameters_are_encoded_and_joined() {
        let target = Query::new("/meetings")
            .with_room("roomName[startsWith]", "a-1")
            .with_number("limit", 100)
            .with_some("cursor", Some("a&b=c d\u{e9}/+%"))
            .with_some("absent", None)
            .finish();
        assert_eq!(
            target,
            "/meetings?roomName%5BstartsWith%5D=%2Fa-1&limit=100&cursor=a%26b%3Dc%20d%C3%A9%2F%2B%25"
        );
    }

    #[test]
    fn a_path_alone_has_no_question_mark() {
        assert_eq!(Query::new("/meetings").finish(), "/meetings");
    }
}
