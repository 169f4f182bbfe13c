//! Halves of surrogate pairs in JSON.
//!
//! JavaScript cuts texts by UTF-16 units, so a name that ends in an emoji may come as `"\ud83d"`, which
//! stands for no character. Readers of JSON refuse all of such a text. The component has the same, with
//! its tests, for the runtimes that pass answers on as they come.

/// The length of an escape by number: `\ud83d`.
const ESCAPE: usize = 6;

/// What an escape that stands for no character is replaced by: U+FFFD.
const REPLACEMENT: &[u8; ESCAPE] = b"\\ufffd";

/// The JSON with every half of a pair replaced by U+FFFD; `None` where there is none.
#[must_use]
pub fn without_halves(json: &[u8]) -> Option<Vec<u8>> {
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
            // An escaped backslash begins no further escape.
            _ => 2,
        };
        if at > json.len() {
            break;
        }
    }
    whole
}

/// The UTF-16 unit that is escaped at a place, where one is.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = core::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}
