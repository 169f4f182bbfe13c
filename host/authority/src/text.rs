//! Makes text from outside safe to show.

use crate::prelude::*;
use serde_json::Value;

/// Returns the text without the byte order mark that some programs write before it.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the parts as one text. The method of the standard library takes more room than the guarded component
/// has.
pub(crate) fn join(parts: &[impl AsRef<str>], separator: &str) -> String {
    let mut whole = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            whole.push_str(separator);
        }
        whole.push_str(part.as_ref());
    }
    whole
}

/// Returns the text with every character that could act on a terminal or hide other text replaced by its
/// code point, truncated after `most` characters.
#[must_use]
pub fn printable(text: &str, most: usize) -> String {
    // Nothing to replace or cut, as in most text.
    if text.len() <= most && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        if acts_on_display(c) {
            shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Like [`printable`], but keeps line breaks and does not truncate.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| printable(line, usize::MAX)).collect();
    join(&lines, "\n")
}

/// Like [`printable`], for JSON, which keeps its meaning. Control characters in ASCII are not replaced:
/// in strings, JSON escapes them.
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c > '~' && acts_on_display(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|u| shown += &format!("\\u{u:04x}"));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Reads JSON; `None` if it is not JSON.
pub(crate) fn parse_json(json: &[u8]) -> Option<Value> {
    // As text, so that one instance of the parser is enough.
    serde_json::from_str(core::str::from_utf8(json).ok()?).ok()
}

/// Writes a value as JSON.
pub(crate) fn to_json(value: &Value) -> Vec<u8> {
    // Writing a value to memory does not fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Returns a value as JSON.
pub(crate) fn json(value: &Value) -> String {
    String::from_utf8(to_json(value)).unwrap_or_default()
}

/// Returns JSON on one line, with spaces where it can be wrapped.
#[must_use]
pub fn spaced_json(value: &Value) -> String {
    let name = |name: &String| Value::from(name.as_str());
    match value {
        Value::Object(object) => {
            let members =
                object.iter().map(|(key, value)| format!("{}: {}", name(key), spaced_json(value)));
            format!("{{{}}}", join(&members.collect::<Vec<_>>(), ", "))
        }
        Value::Array(items) => {
            format!("[{}]", join(&items.iter().map(spaced_json).collect::<Vec<_>>(), ", "))
        }
        other => other.to_string(),
    }
}

/// Whether a character is a control character (C0, C1, DEL) or can reorder or hide text: bidirectional
/// controls, zero-width characters, blank letters, line and paragraph separators, tags, and the
/// supplementary variation selectors.
fn acts_on_display(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e01ef}')
}

/// Returns a path quoted for a shell, and safe to show.
#[cfg(feature = "std")]
pub fn shell_word(path: &std::path::Path) -> String {
    format!("'{}'", printable(&path.display().to_string(), 300).replace('\'', "'\\''"))
}

/// Returns whether every parser reads the path of a URL as it is.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.bytes().all(is_plain) && !path.as_bytes().split(|byte| *byte == b'/').any(is_dots)
}

/// Whether a byte stays as it is in a URL, after the host.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'$' | b'%' | b'&'..=b'/' | b':' | b';' | b'=' | b'@' | b'_' | b'~'
        )
}

/// Whether a parser removes this part of a path.
fn is_dots(part: &[u8]) -> bool {
    let dots = [".", "..", "%2e", ".%2e", "%2e.", "%2e%2e"];
    dots.iter().any(|dots| part.eq_ignore_ascii_case(dots.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_code_points() {
        for (text, shown) in [
            ("plain ünïcode 会议", "plain ünïcode 会议"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("line\nbreak\r", "line\\u{a}break\\u{d}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("toolong", "toolon…"),
        ] {
            assert_eq!(printable(text, if text == "toolong" { 6 } else { 100 }), shown);
        }
        assert_eq!(printable_lines("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn spaced_json_has_the_same_value() {
        let value = serde_json::json!({"a": [1, {"b\"": "x  y"}], "c": {}, "d": []});
        let json = spaced_json(&value);
        assert_eq!(json, r#"{"a": [1, {"b\"": "x  y"}], "c": {}, "d": []}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), value);
    }

    #[test]
    fn printable_json_has_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}\u{7f}\u{202e}\u{e0041} ünïcode"});
        let json = printable_json(&value.to_string());
        assert_eq!(json, r#"{"a\u009b":"\u001b\u007f\u202e\udb40\udc41 ünïcode"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), value);
    }
}
