//! Unpaired surrogates in JSON.
//!
//! JavaScript truncates strings by UTF-16 units, so a name that ends in an emoji may arrive as
//! `"\ud83d"`, which is not a character. JSON parsers refuse the whole document. The component has the
//! same code, and its tests, for runtimes that pass responses on unchanged.

use crate::prelude::*;

/// The length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// Replaces an unpaired surrogate: U+FFFD.
const REPLACEMENT: &[u8; ESCAPE] = b"\\ufffd";

/// Returns the JSON with every unpaired surrogate replaced by U+FFFD, or `None` if it has none.
#[must_use]
pub fn without_halves(json: &[u8]) -> Option<Vec<u8>> {
    let mut whole: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = backslash(&json[at..]) {
        at += found;
        at += match (unit(json, at), unit(json, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                let whole = whole.get_or_insert_with(|| json.to_vec());
                whole[at..at + ESCAPE].copy_from_slice(REPLACEMENT);
                ESCAPE
            }
            // Skips an escaped backslash, which does not begin another escape.
            _ => 2,
        };
        if at > json.len() {
            break;
        }
    }
    whole
}

/// Returns where the first backslash is.
fn backslash(json: &[u8]) -> Option<usize> {
    #[cfg(feature = "std")]
    let found = memchr::memchr(b'\\', json);
    // Most responses have none. `contains` finds that out by words, and `position` by bytes.
    #[cfg(not(feature = "std"))]
    let found = if json.contains(&b'\\') { json.iter().position(|b| *b == b'\\') } else { None };
    found
}

/// Returns the UTF-16 unit that is escaped at an offset, if any.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = core::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}
