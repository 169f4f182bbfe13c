//! Text from outside, made fit to be shown.

use std::path::Path;

/// Returns the text without the byte order mark that some programs write before it.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text with everything that could act on a terminal or hide other text replaced by its code
/// point, and cut off after so many characters.
#[must_use]
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for (index, c) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        push_printable(&mut shown, c);
    }
    shown
}

/// The same for a text of several lines, which keeps its line breaks.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            c => push_printable(&mut shown, c),
        }
    }
    shown
}

/// The same for a JSON text, where an escape stands for the very character. Its control characters of
/// ASCII are escaped already, but for those between its values.
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

fn push_printable(shown: &mut String, c: char) {
    if acts_on_display(c) {
        shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
    } else {
        shown.push(c);
    }
}

/// Control characters (C0, C1, DEL), and the format characters that reorder or hide text: the
/// bidirectional controls, zero-width characters, blank letters, line and paragraph separators, tags,
/// and the variation selectors that come after them.
fn acts_on_display(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e01ef}')
}

/// A path as a shell takes it, and safe to show.
pub fn shell_word(path: &Path) -> String {
    format!("'{}'", printable(&path.display().to_string(), 300).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_its_code() {
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
    fn json_says_the_same_with_escapes() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}\u{7f}\u{202e}\u{e0041} ünïcode"});
        let json = printable_json(&value.to_string());
        assert_eq!(json, r#"{"a\u009b":"\u001b\u007f\u202e\udb40\udc41 ünïcode"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), value);
    }
}
