//! Replaces unpaired surrogates in JSON.
//!
//! JavaScript cuts strings by UTF-16 units, so a name that ends in an emoji can arrive as `"\ud83d"`,
//! which is not a character. JSON parsers reject the whole document.

use crate::prelude::*;

/// The length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// The replacement for an unpaired surrogate: U+FFFD.
const REPLACEMENT: &[u8; ESCAPE] = b"\\ufffd";

/// Returns the JSON with every unpaired surrogate replaced; `None` if there is none.
pub(crate) fn without_halves(json: &[u8]) -> Option<Vec<u8>> {
    let mut whole: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match (unit(json, at), unit(json, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                let whole = whole.get_or_insert_with(|| json.to_vec());
                whole[at..at + ESCAPE].copy_from_slice(REPLACEMENT);
                ESCAPE
            }
            // An escaped backslash does not begin another escape.
            _ => 2,
        };
        if at > json.len() {
            break;
        }
    }
    whole
}

/// Returns the UTF-16 unit escaped at this position, if any.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = core::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::without_halves;

    #[test]
    fn halves_are_replaced_and_whole_pairs_are_kept() {
        for (json, whole) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""a\uDE00b""#, r#""a\ufffdb""#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#"{"\ud83d":"\ud83d\n"}"#, r#"{"\ufffd":"\ufffd\n"}"#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
        ] {
            let found = without_halves(json.as_bytes()).expect(json);
            assert_eq!(core::str::from_utf8(&found), Ok(whole), "{json}");
        }
        for json in [
            "",
            "\\",
            r#""\""#,
            r#""\u""#,
            r#""\ud83""#,
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#""\u+d83""#,
            r#""\u00e4\n""#,
            "\"\u{d7ff}\"",
        ] {
            assert_eq!(without_halves(json.as_bytes()), None, "{json}");
        }
    }
}
