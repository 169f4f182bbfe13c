//! The bodies of the fuzz targets in `tests/fuzz`: each takes bytes from outside and panics if a
//! promise of this crate is broken.

use crate::answer::{self, Complaint, Redactor, Shape};
use crate::arguments::Arguments;
use crate::conditions::{Condition, Facts, Pattern};
use crate::grant::{Admitted, Grant, Settlement, WriteOutcome};
use crate::names::MeetingRef;
use crate::people::View;
use crate::policy::{Effect, Entry, Permission, Policy, Stated, Subject, has_destination};
use crate::request::{Asked, Request};
use crate::table::FunctionRule;
use crate::timestamp::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use whereby_catalog::Function;

/// Returns the time of every call. It is fixed, so that runs can be repeated.
fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").expect("a moment")
}

/// Reads a function's name, a space, and its arguments as JSON.
fn call(line: &str) -> Option<(&'static Function, Arguments)> {
    let (name, given) = line.split_once(' ').unwrap_or((line, "{}"));
    let given: Value = serde_json::from_str(given).ok()?;
    let function = whereby_catalog::function(name)?;
    Some((function, Arguments::check(function, given).ok()?))
}

/// Fuzzes grants. The first line is a function's name and its arguments as JSON. Each other line is a
/// request of the component, such as `GET /meetings?limit=1 BODY`, or the response to the oldest request
/// in flight, such as `= 200 BODY`. The status `lost` or `unsent` means that no response came.
///
/// # Panics
///
/// If the grant admits a request that is not in the table, that is read back as another request, or
/// that breaks a rule for writes.
pub fn grants(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let Some((function, arguments)) = lines.next().and_then(call) else { return };
    let rule = FunctionRule::of(function);
    let Ok(scope) = rule.scope(&arguments, now()) else { return };
    let mut policy = Policy::default();
    for effect in Effect::ALL {
        policy.own.all.effects.insert(effect, Entry::new(Permission::Allow, 1));
    }
    let (subject, facts) = (Subject::of("work", function), Facts::at(now(), None));
    let verdict = policy.decide(subject, has_destination(&arguments), &scope, &facts);
    let permit = verdict.permit(None).expect("everything is allowed");
    let mut grant = Grant::issue(permit, rule, scope, facts, View::Names, 64, now());
    let mut history = History::default();
    for line in lines {
        if let Some(answer) = line.strip_prefix("= ") {
            history.answer(&mut grant, answer);
        } else {
            history.ask(&mut grant, rule, line);
        }
    }
    if !history.tried_write {
        assert_eq!(grant.outcome(), WriteOutcome::None);
    }
}

/// The admitted requests and their outcomes, recorded independently of the grant.
#[derive(Default)]
struct History {
    under_way: Vec<Admitted>,
    sent: usize,
    tried_write: bool,
    /// Whether the write must not be sent again.
    spent: bool,
    /// The paths and bodies of writes.
    writes: BTreeSet<(String, Option<Vec<u8>>)>,
}

impl History {
    fn ask(&mut self, grant: &mut Grant, rule: &FunctionRule, line: &str) {
        let mut parts = line.splitn(3, ' ');
        let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let body = parts.next().unwrap_or("").as_bytes();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let Ok(admitted) = grant.admit(Asked { method, path, query, body }, now()) else { return };
        self.sent += 1;
        assert!(self.sent <= 64, "more requests than the limit");
        let written = &admitted.path_and_query;
        assert!(written.is_ascii() && !written.contains([' ', '\r', '\n', '#']), "{written}");
        let is_known = rule.requests.iter().any(|known| {
            let (method, path) = known.split_once(' ').expect("a method and a path");
            let fits = match path.strip_suffix("{meetingId}") {
                Some(folder) => admitted.path().starts_with(folder),
                None => admitted.path() == path,
            };
            admitted.method == method && fits
        });
        assert!(is_known, "{} {written}", admitted.method);
        // The server reads the request as the grant did.
        let query = written.split_once('?').map(|(_, query)| query);
        let method = admitted.method;
        let body = admitted.body.as_deref().unwrap_or_default();
        let again = Request::read(Asked { method, path: admitted.path(), query, body });
        assert_eq!(again.expect("what is written can be read").path_and_query(), *written);
        if admitted.method != "GET" {
            assert!(!self.spent, "a write after it was spent");
            let is_write = |other: &Admitted| other.method != "GET";
            assert!(!self.under_way.iter().any(is_write), "two writes at a time");
            self.tried_write = true;
            self.writes.insert((written.clone(), admitted.body.clone()));
            assert_eq!(self.writes.len(), 1, "writes that are not the same");
        }
        self.under_way.push(admitted);
    }

    fn answer(&mut self, grant: &mut Grant, line: &str) {
        if self.under_way.is_empty() {
            return;
        }
        let admitted = self.under_way.remove(0);
        let (status, body) = line.split_once(' ').unwrap_or((line, ""));
        let settlement = match status {
            "lost" => Settlement::Lost,
            "unsent" => Settlement::NotSent,
            status => Settlement::Status(status.parse().unwrap_or(500), body.as_bytes()),
        };
        // Which outcomes allow the write to be sent again.
        self.spent |= match (admitted.method, settlement) {
            ("POST", Settlement::Status(429, _)) => false,
            ("POST", _) => true,
            (
                "DELETE",
                Settlement::Status(429 | 502..=504, _) | Settlement::NotSent | Settlement::Lost,
            ) => false,
            ("DELETE", _) => true,
            _ => false,
        };
        grant.settle(&admitted, settlement);
    }
}

/// Fuzzes the rebuilding of responses, successful or not.
///
/// # Panics
///
/// If a rebuilt response changes when it is rebuilt again, is not JSON, or contains the access token.
pub fn responses(data: &[u8]) {
    const TOKEN: &str = "hunter2-hunter2";
    let redactor = Redactor::new(TOKEN);
    for shape in [
        Shape::Page(answer::ROOM),
        Shape::Page(answer::PARTICIPANT),
        Shape::Object { members: answer::CREATED_ROOM, left_out: &["hostRoomUrl"] },
        Shape::Nothing,
    ] {
        let Ok(once) = answer::rebuild(data, shape, &redactor) else { continue };
        assert_eq!(answer::rebuild(&once, shape, &redactor).as_ref(), Ok(&once));
        let text = String::from_utf8(once).expect("JSON is UTF-8");
        assert!(text.is_empty() || serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        assert!(!text.contains(TOKEN) && !text.contains("\"hostRoomUrl\":"), "{text}");
    }
    let complaint = Complaint::read(data, &redactor);
    assert!(!complaint.text.contains(TOKEN), "{}", complaint.text);
}

/// Fuzzes conditions. The first line is a function's name and its arguments as JSON. Each other line is a
/// condition: its key, a space, and its value as JSON.
///
/// # Panics
///
/// If a condition is not written as it is read, if its words contain control characters, or if it makes
/// a call freer.
pub fn conditions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let Some((function, arguments)) = lines.next().and_then(call) else { return };
    let rule = FunctionRule::of(function);
    let Ok(scope) = rule.scope(&arguments, now()) else { return };
    let facts = Facts::at(now(), Some("assistant"));
    let mut stated = Vec::new();
    let mut strictest = Permission::Allow;
    for line in lines.take(8) {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let _ = Condition::from_text(name, value, Some(rule));
        let Ok(value) = serde_json::from_str::<Value>(value) else { continue };
        let condition = match Condition::parse(name, &value, Some(rule)) {
            Ok(condition) => condition,
            Err(why) => {
                assert!(!why.contains(char::is_control), "{why:?}");
                continue;
            }
        };
        let again = Condition::parse(condition.name(), &condition.value(), Some(rule));
        assert_eq!(again.as_ref(), Ok(&condition));
        let shown = condition.to_string();
        let why = condition.unmet(&scope, &facts).unwrap_or_default();
        assert!(!format!("{shown}{why}").contains(char::is_control), "{shown:?} {why:?}");
        stated.push(Stated { condition, line: 1 });
        let mut policy = Policy::default();
        let entry = Entry::new(Permission::Allow, 1).when(stated.clone(), Permission::Ask);
        policy.own.all.functions.insert(function.json.into(), entry);
        let verdict = policy.decide(Subject::of("work", function), false, &scope, &facts);
        assert!(verdict.permission >= strictest, "{verdict:?}");
        strictest = verdict.permission;
    }
}

/// Fuzzes patterns of names: the first line is a pattern, and the others are names.
///
/// # Panics
///
/// If a pattern matches what it does not mean, or not what a prefix guarantees.
pub fn patterns(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines().map(|line| line.get(..40).unwrap_or_default());
    let Some(Ok(pattern)) = lines.next().map(Pattern::parse) else { return };
    let mut before = String::new();
    for name in lines.take(4) {
        let lower = name.to_ascii_lowercase();
        assert_eq!(pattern.matches(name), is_match(pattern.as_str().as_bytes(), lower.as_bytes()));
        before.push_str(name);
        assert!(!pattern.is_guaranteed_by(name) || pattern.matches(&format!("{name}{before}")));
    }
}

/// The meaning of a pattern, in a table of what each beginning of it matches.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let mut ends = vec![false; name.len() + 1];
    ends[0] = true;
    for &byte in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            let before = at.checked_sub(1);
            next[at] = if byte == b'*' {
                ends[at] || before.is_some_and(|before| next[before])
            } else {
                before.is_some_and(|before| ends[before] && name[before] == byte)
            };
        }
        ends = next;
    }
    ends[name.len()]
}

/// Reads the id of a meeting: its room, if it names one, and its session.
#[must_use]
pub fn meeting_id(text: &str) -> Option<(Option<String>, String)> {
    let MeetingRef { room, session } = MeetingRef::parse(text).ok()?;
    Some((room.map(|room| room.as_str().to_owned()), session.as_str().to_owned()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the kept inputs are files")]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay("grants", grants);
        replay("responses", responses);
        replay("conditions", conditions);
        replay("patterns", patterns);
        replay("meeting_ids", |data| drop(meeting_id(&String::from_utf8_lossy(data))));
    }
}
