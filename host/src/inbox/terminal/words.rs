//! Text for the screen: what may be shown, how it is wrapped, and the words for times and people.
//!
//! Widths are those of grapheme clusters, as the screen counts them.

use jiff::tz::TimeZone;
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;
use whereby_authority::text;

/// The maximum length of a name or a message, in characters. Arguments are never cut.
const MAX_TEXT: usize = 400;

/// The maximum length of the name of an agent or a client, in characters.
const MAX_NAME: usize = 60;

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

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

/// The current time, and the user's time zone.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) now: i64,
    pub(super) zone: TimeZone,
}

impl Times {
    pub(super) fn exact(&self, unix_ms: i64, format: &str) -> String {
        let moment = jiff::Timestamp::from_millisecond(unix_ms);
        moment.map_or_else(
            |_| "an unknown time".into(),
            |moment| moment.to_zoned(self.zone.clone()).strftime(format).to_string(),
        )
    }

    /// Returns a time of the day, with the day if it is another one.
    pub(super) fn clock(&self, unix_ms: i64) -> String {
        let day = |ms| self.exact(ms, "%F");
        let is_today = day(unix_ms) == day(self.now);
        self.exact(unix_ms, if is_today { "%H:%M:%S" } else { "%-d %b, %H:%M" })
    }

    /// Returns how long ago a time was, or how far away it is.
    pub(super) fn relative(&self, unix_ms: i64) -> String {
        let distance = unix_ms.saturating_sub(self.now);
        let ms = distance.saturating_abs();
        let (count, unit) = match ms {
            _ if ms < MINUTE / 2 => return "just now".into(),
            _ if ms < 2 * HOUR => ((ms + MINUTE / 2) / MINUTE, "minute"),
            _ if ms < 2 * DAY => ((ms + HOUR / 2) / HOUR, "hour"),
            _ if ms < 60 * DAY => ((ms + DAY / 2) / DAY, "day"),
            _ => return format!("on {}", self.exact(unix_ms, "%-d %B %Y")),
        };
        let s = if count == 1 { "" } else { "s" };
        if distance > 0 {
            format!("in {count} {unit}{s}")
        } else {
            format!("{count} {unit}{s} ago")
        }
    }

    /// Returns the minutes until a time, for a column.
    pub(super) fn left(&self, unix_ms: i64) -> String {
        match unix_ms.saturating_sub(self.now).saturating_add(MINUTE / 2) / MINUTE {
            ..1 => "< 1 min".into(),
            minutes => format!("{minutes} min"),
        }
    }
}

/// Returns who makes a call: the agent, or else the front end.
pub(super) fn who(front_end: &str, client: Option<&str>, agent: Option<&str>) -> String {
    let through = match front_end {
        "cli" => "the command line".into(),
        "mcp" => "MCP".into(),
        "lua" => "a Lua script".into(),
        other => foreign(other),
    };
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
    fn times_are_told_from_now() {
        let times = Times { now: 0, zone: TimeZone::UTC };
        for (ms, told) in [
            (0, "just now"),
            (58 * MINUTE, "in 58 minutes"),
            (-MINUTE, "1 minute ago"),
            (3 * HOUR, "in 3 hours"),
            (-3 * DAY, "3 days ago"),
            (100 * DAY, "on 11 April 1970"),
        ] {
            assert_eq!(times.relative(ms), told);
        }
        assert_eq!(times.left(59 * MINUTE - 1), "59 min");
        assert_eq!(times.left(1), "< 1 min");
    }
}
