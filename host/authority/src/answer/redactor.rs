//! Removes the access token from texts.

use crate::prelude::*;
use crate::{find_in, split_at};
use alloc::borrow::Cow;
use percent_encoding::percent_decode;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// Replaces the access token.
pub const REDACTED: &str = "[redacted]";

/// Replaces the access token in strings.
pub struct Redactor {
    token: SecretString,
    /// The token's letters and digits, in lower case.
    folded: SecretSlice<u8>,
}

impl Redactor {
    /// A token with fewer letters and digits is recognized only in its exact spelling.
    const LEAST: usize = 8;

    /// Returns a redactor for one access token. An empty token redacts nothing.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { token: token.into(), folded: fold(token).into() }
    }

    /// Returns the text with the token replaced by [`REDACTED`]. If the text contains the token in another spelling
    /// (other letter case, percent-encoded, broken up by other characters), the whole text is replaced.
    pub fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let (token, folded) = (self.token.expose_secret(), self.folded.expose_secret());
        // No spelling is shorter than its letters and digits.
        if text.len() < folded.len() || token.is_empty() {
            return text;
        }
        let text =
            if find_in(&text, token).is_some() { without(&text, token).into() } else { text };
        let is_spelled = folded.len() >= Self::LEAST && contains(&fold(&text), folded);
        if is_spelled { REDACTED.into() } else { text }
    }
}

/// Returns the letters and digits of a string after percent-decoding, in lower case.
fn fold(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let mut folded =
        if text.contains(&b'%') { percent_decode(text).collect() } else { text.to_vec() };
    folded.retain_mut(|byte| {
        // The letter in lower case. The bit is already set in a digit.
        let lower = *byte | 0x20;
        let is_kept = lower.is_ascii_lowercase() || byte.is_ascii_digit();
        *byte = lower;
        is_kept
    });
    folded
}

/// Replaces each exact occurrence of the token.
fn without(mut text: &str, token: &str) -> String {
    let mut redacted = String::new();
    while let Some((before, after)) = split_at(text, token) {
        redacted.push_str(before);
        redacted.push_str(REDACTED);
        text = after;
    }
    redacted.push_str(text);
    redacted
}

/// Returns whether `bytes` contains `others`, which must not be empty.
fn contains(bytes: &[u8], others: &[u8]) -> bool {
    #[cfg(feature = "std")]
    return memchr::memmem::find(bytes, others).is_some();
    #[cfg(not(feature = "std"))]
    bytes.windows(others.len()).any(|window| window == others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_in_another_spelling_redacts_the_whole_text() {
        let redactor = Redactor::new("hunter2-hunter2-hunter2");
        for text in [
            "HUNTER2-hunter2-Hunter2",
            "https://a/%68unter2%2Dhunter2%2dhunter2",
            "hunter2-hunt\0er2-hun\u{fffd}ter2",
            "hunter2-hunt.er2-hunter2",
            "hunter2-hunter2-hunter2 and HUNTER2-HUNTER2-HUNTER2",
        ] {
            assert_eq!(redactor.apply(text.into()), REDACTED, "{text}");
        }
        for text in ["", "hunter2", "hunter2-hunter2-hunter", "a room of hunters, all 22 of them"] {
            assert_eq!(redactor.apply(text.into()), text);
        }
        assert_eq!(Redactor::new("").apply("text".into()), "text");
    }

    proptest! {
        #[test]
        fn letters_are_those_of_the_decoded_text(text in "([%0-9a-fA-FxZ ._-]|\\PC){0,30}") {
            let decoded = percent_encoding::percent_decode_str(&text);
            let letters = decoded.filter(u8::is_ascii_alphanumeric);
            let expected: Vec<u8> = letters.map(|byte| byte.to_ascii_lowercase()).collect();
            prop_assert_eq!(fold(&text), expected);
        }
    }
}
