//! The words that every display has for times, and for who asks and who allowed.

use crate::store::{AuditDecision, AuditRow};
use jiff::tz::TimeZone;
use serde_json::Value;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Outlook, Permission};

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
        let year = |ms| self.exact(ms, "%Y");
        self.exact(
            unix_ms,
            match unix_ms {
                ms if day(ms) == day(self.now) => "%H:%M:%S",
                ms if year(ms) == year(self.now) => "%-d %b, %H:%M",
                _ => "%-d %b %Y, %H:%M",
            },
        )
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

/// Returns the conditions of a permission in groups, each with what holds for a call that does not meet it.
/// When an agent expires is left out.
pub(super) fn conditions_in_words(outlook: &Outlook) -> Vec<(String, &'static str)> {
    let group = |(otherwise, conditions): &(Permission, Vec<Condition>)| {
        let words = conditions.iter().map(|own| own.to_string().replacen('_', " ", 2));
        let otherwise = match otherwise {
            Permission::Ask => "asks you",
            _ => "denied",
        };
        (words.collect::<Vec<_>>().join("; "), otherwise)
    };
    outlook.otherwise().iter().map(group).collect()
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

/// Returns who did what a row of the log says, in a few words: who decided, or else the agent or the front
/// end of a call.
pub(super) fn actor(row: &AuditRow) -> String {
    match &row.decision {
        Some(decision) => decider(&decision.user, &decision.place),
        None => row.agent.as_ref().unwrap_or(&row.front_end).clone(),
    }
}

/// Returns what the log says about a decision besides its columns, and what a passkey signed for it, which
/// is long and only for those who verify it.
pub(super) fn decision_details(decision: &AuditDecision) -> (Value, Option<Value>) {
    let mut details = decision.details.clone();
    let members = details.as_object_mut().filter(|_| decision.passkey.is_some());
    let signed = members.and_then(|members| members.remove("passkey"));
    if let Some(members) = details.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    (details, signed)
}

/// Returns who decided, and where, in a few words.
pub(super) fn decider(user: &str, place: &str) -> String {
    let place = match place {
        "program" => "in a program",
        place => decided_in(place),
    };
    format!("{user}, {place}")
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
        for (ms, told) in
            [(HOUR, "01:00:00"), (2 * DAY + HOUR, "3 Jan, 01:00"), (-DAY, "31 Dec 1969, 00:00")]
        {
            assert_eq!(times.clock(ms), told);
        }
    }
}
