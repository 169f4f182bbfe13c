//! Text for the screen: what may be shown, how it is wrapped, and the words for people.
//!
//! Widths are those of grapheme clusters, as the screen counts them.

use crate::inbox::words::{MINUTE, Times, through};
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;
use whereby_authority::text;

/// The maximum length of a name or a message, in characters. Arguments are never cut.
const MAX_TEXT: usize = 400;

/// The maximum length of the name of an agent or a client, in characters.
const MAX_NAME: usize = 60;

/// Returns text from outside, safe to show.
pub(super) fn foreign(text: &str) -> String {
    text::printable(text, MAX_TEXT)
}

/// Returns the pieces of a text that each take whole columns. What would take none is shown as its code
/// points, because the screen would drop it.
fn pieces(text: &str) -> impl Iterator<Item = (Cow<'_, str>, usize)> {
    text.graphemes(true).map(|piece| match piece.width() {
        0 => {
            let escaped: String =
                piece.chars().map(|c| format!("\\u{{{:x}}}", u32::from(c))).collect();
            let width = escaped.len();
            (Cow::Owned(escaped), width)
        }
        width => (Cow::Borrowed(piece), width),
    })
}

/// Returns how many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    pieces(text).map(|(_, width)| width).sum()
}

/// Returns lines of at most `most` columns, broken at spaces where there are some.
pub(super) fn wrap(text: &str, most: usize) -> Vec<String> {
    let most = most.max(2);
    let mut lines = Vec::new();
    let (mut line, mut taken) = (String::new(), 0);
    for (piece, width) in pieces(text) {
        if taken + width > most {
            if piece == " " {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                taken = 0;
                continue;
            }
            let rest = line.rfind(' ').map(|at| line.split_off(at + 1)).unwrap_or_default();
            lines.push(std::mem::replace(&mut line, rest).trim_end().to_owned());
            taken = self::width(&line);
        }
        line.push_str(&piece);
        taken += width;
    }
    lines.push(line);
    lines
}

/// Returns lines of at most `most` columns that together are the text, every space included.
pub(super) fn fold(text: &str, most: usize) -> Vec<String> {
    let most = most.max(2);
    let mut lines = Vec::new();
    let (mut line, mut taken) = (String::new(), 0);
    for (piece, width) in pieces(text) {
        if taken + width > most {
            lines.push(std::mem::take(&mut line));
            taken = 0;
        }
        line.push_str(&piece);
        taken += width;
    }
    lines.push(line);
    lines
}

/// Returns the beginning of a text, with a mark if something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return pieces(text).map(|(piece, _)| piece).collect();
    }
    let (mut line, mut taken) = (String::new(), 0);
    for (piece, width) in pieces(text) {
        if taken + width + 1 > most {
            break;
        }
        line.push_str(&piece);
        taken += width;
    }
    if most > 0 {
        line.push('…');
    }
    line
}

/// Returns the minutes until a time, for a column.
pub(super) fn left(times: &Times, unix_ms: i64) -> String {
    match unix_ms.saturating_sub(times.now).saturating_add(MINUTE / 2) / MINUTE {
        ..1 => "< 1 min".into(),
        minutes => format!("{minutes} min"),
    }
}

/// Returns who makes a call: the agent, or else the front end.
pub(super) fn who(front_end: &str, client: Option<&str>, agent: Option<&str>) -> String {
    let through = foreign(through(front_end));
    let name = |name| text::printable(name, MAX_NAME);
    let who = agent.map_or_else(|| "a call without an agent".into(), name);
    let client = client.map(|client| format!(", in {}", name(client))).unwrap_or_default();
    format!("{who} through {through}{client}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_by_columns() {
        for (text, most, lines) in [
            ("one two three", 7, vec!["one two", "three"]),
            ("one two  three", 8, vec!["one two", "three"]),
            ("unbreakable", 4, vec!["unbr", "eaka", "ble"]),
            ("会议会议", 5, vec!["会议", "会议"]),
            // Two characters that take two columns together.
            ("🇩🇪🇩🇪", 3, vec!["🇩🇪", "🇩🇪"]),
            ("❤\u{fe0f}❤\u{fe0f}", 3, vec!["❤\u{fe0f}", "❤\u{fe0f}"]),
            ("", 5, vec![""]),
        ] {
            assert_eq!(wrap(text, most), lines, "{text:?}");
        }
        assert_eq!(fold("a    b  c", 4), ["a   ", " b  ", "c"]);
        assert_eq!(fold("\u{301}a", 20), ["\\u{301}a"]);
        assert_eq!(cut("会议会议", 5), "会议…");
        assert_eq!(cut("会议", 4), "会议");
    }

    #[test]
    fn nothing_is_lost_in_folding() {
        for text in ["{\"a\": \"  x  \"}", "会 议\u{301} 🇩🇪 e\u{301}  ", "a\\u{1b}[2J"] {
            for most in 2..12 {
                let lines = fold(text, most);
                assert_eq!(lines.concat(), text, "{most}");
                assert!(lines.iter().all(|line| width(line) <= most), "{lines:?}");
            }
        }
    }

    #[test]
    fn what_is_left_is_told_in_minutes() {
        let times = Times { now: 0, zone: jiff::tz::TimeZone::UTC };
        assert_eq!(left(&times, 59 * MINUTE - 1), "59 min");
        assert_eq!(left(&times, 1), "< 1 min");
    }
}
