//! The words that every display has for times, and for who asks and who allowed.

use jiff::tz::TimeZone;

pub(super) const MINUTE: i64 = 60 * 1000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

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
}

/// Returns the front end that a call came through. A name that this version does not know stays as it is.
pub(super) fn through(front_end: &str) -> &str {
    match front_end {
        "cli" => "the command line",
        "mcp" => "MCP",
        "lua" => "a Lua script",
        other => other,
    }
}

/// Returns who or what allowed a call. A name that this version does not know stays as it is.
pub(super) fn allowed_by(by: &str) -> &str {
    match by {
        "rule" => "a rule",
        "force" => "--force",
        "terminal" => "a person at the terminal",
        "elicitation" => "a person, as the MCP client says",
        "program" => "the program that embeds whereby",
        "approval" => "an approval",
        "standing" => "a standing approval",
        other => other,
    }
}

/// Returns where a person decided. A name that this version does not know stays as it is.
pub(super) fn decided_in(place: &str) -> &str {
    match place {
        "terminal" => "on a terminal",
        "page" => "on the page",
        "client" => "in an MCP client",
        "program" => "in a program that embeds whereby",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
