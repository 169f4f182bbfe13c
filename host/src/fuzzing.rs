//! What the fuzz targets of `tests/fuzz` run: each takes bytes from outside, and panics where a
//! promise of this crate does not hold.

use crate::arguments::Arguments;
use crate::catalog::{self, FUNCTIONS, Function, Type};
use crate::config_edit::{Change, edited};
use crate::error::{Error, WriteOutcome};
use crate::grant::{Admitted, Answer, Bounds, Grant, permitted_requests};
use crate::inspect::{self, Inspection};
use crate::limits::Limits;
use crate::names::MeetingRef;
use crate::policy::{Effect, Entry, Permission, Policy, has_destination};
use crate::request::{Asked, Request};
use crate::timestamp::Timestamp;
use crate::{config_file, json, preflight};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// When calls are made, so that a run can be repeated.
fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").expect("a moment")
}

/// A function's name, a space, and its arguments as JSON.
fn call(line: &str) -> Option<(&'static Function, Result<Arguments, Error>)> {
    let (name, given) = line.split_once(' ').unwrap_or((line, "{}"));
    let given: Value = serde_json::from_str(given).ok()?;
    let function = catalog::function(name)?;
    Some((function, Arguments::check(function, given)))
}

/// Arguments to the values that a component is called with, and back: a function's name, a space,
/// and its arguments as JSON.
///
/// # Panics
///
/// Where checked arguments change when they are checked again, cannot be made values, or come back
/// from them as others; and where a refusal is of another kind or says nothing.
pub fn values(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((function, checked)) = call(&text) else { return };
    let arguments = match checked {
        Ok(arguments) => arguments,
        Err(error) => {
            assert_eq!(error.kind(), "invalid-argument", "{error}");
            assert_message(&error);
            return;
        }
    };
    let normal = arguments.to_json();
    let again = Arguments::check(function, normal.clone()).map(|again| again.to_json());
    assert_eq!(again.expect("what was checked passes"), normal);
    for param in function.params {
        let val = json::to_val(&param.ty, arguments.get(param.json));
        let back = json::from_val(&param.ty, val.expect("checked arguments are of the type"));
        let back = back.expect("a value has a JSON form");
        assert!(is_same(&param.ty, arguments.get(param.json), &back), "{normal} became {back}");
    }
}

/// Whether a value came back as it was, where members that were left out come back as null, and a
/// float that is whole as a whole number.
fn is_same(ty: &Type, before: Option<&Value>, after: &Value) -> bool {
    match (ty, before, after) {
        (_, None, after) => after.is_null(),
        (Type::Option(inner), before, after) => is_same(inner, before, after),
        (Type::F64, Some(before), after) => before.as_f64() == after.as_f64(),
        (Type::List(inner), Some(Value::Array(before)), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(b, a)| is_same(inner, Some(b), a))
        }
        (Type::Record(record), Some(Value::Object(before)), Value::Object(after)) => {
            let same = |member: &catalog::Member| {
                is_same(&member.ty, before.get(member.json), &after[member.json])
            };
            record.members.iter().all(same)
        }
        (Type::Variant(variant), Some(Value::Object(before)), Value::Object(after)) => {
            variant.cases.iter().any(|case| {
                let both = (before.get(case.json), after.get(case.json), &case.payload);
                matches!(both, (Some(b), Some(a), Some(ty)) if is_same(ty, Some(b), a))
            })
        }
        (_, Some(before), after) => before == after,
    }
}

/// What a grant lets go: a call as in [`values`] on the first line, then what its component asks
/// to send and what comes of that. `GET /meetings?limit=1 BODY` asks; `= 200 BODY` answers the
/// oldest request under way, `lost` and `unsent` for a status that it came to nothing.
///
/// # Panics
///
/// Where something is let go that the table does not have, that is read back as another request,
/// or that breaks a rule of writes.
pub fn grants(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let Some((function, Ok(arguments))) = lines.next().and_then(call) else { return };
    let Ok(bounds) = Bounds::of(function, &arguments, now()) else { return };
    let mut policy = Policy::default();
    for effect in Effect::ALL {
        policy.own.all.effects.insert(effect, Entry { permission: Permission::Allow, line: 1 });
    }
    let permit = policy.decide("work", function, has_destination(&arguments)).permit(None);
    let mut grant =
        Grant::issue(permit.expect("everything is allowed"), function, bounds, 64, now());
    let mut history = History::default();
    for line in lines {
        if let Some(answer) = line.strip_prefix("= ") {
            history.answer(&mut grant, answer);
        } else {
            history.ask(&mut grant, function, line);
        }
    }
    if !history.tried_write {
        assert_eq!(grant.outcome(), WriteOutcome::None);
    }
}

/// What was let go and what came of it, kept apart from the grant's own notes.
#[derive(Default)]
struct History {
    under_way: Vec<Admitted>,
    sent: usize,
    tried_write: bool,
    /// Whether the write may not be tried again, whatever is asked.
    spent: bool,
    /// The paths and bodies of writes.
    writes: BTreeSet<(String, Option<Vec<u8>>)>,
}

impl History {
    fn ask(&mut self, grant: &mut Grant, function: &Function, line: &str) {
        let mut parts = line.splitn(3, ' ');
        let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let body = parts.next().unwrap_or("").as_bytes();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let Ok(admitted) = grant.admit(Asked { method, path, query, body }) else { return };
        self.sent += 1;
        assert!(self.sent <= 64, "more requests than the limit");
        let written = &admitted.path_and_query;
        assert!(written.is_ascii() && !written.contains([' ', '\r', '\n', '#']), "{written}");
        let is_known = permitted_requests(function).iter().any(|known| {
            let (method, path) = known.split_once(' ').expect("a method and a path");
            let fits = match path.strip_suffix("{meetingId}") {
                Some(folder) => admitted.path().starts_with(folder),
                None => admitted.path() == path,
            };
            admitted.method == *method && fits
        });
        assert!(is_known, "{} {written}", admitted.method);
        // What leaves is read by the other side as it was by this one.
        let query = written.split_once('?').map(|(_, query)| query);
        let method = admitted.method.as_str();
        let body = admitted.body.as_deref().unwrap_or_default();
        let again = Request::read(Asked { method, path: admitted.path(), query, body });
        assert_eq!(again.expect("what is written can be read").path_and_query(), *written);
        if admitted.method != http::Method::GET {
            assert!(!self.spent, "a write after it was spent");
            let is_write = |other: &Admitted| other.method != http::Method::GET;
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
        let answer = match status {
            "lost" => Answer::Lost,
            "unsent" => Answer::NotSent,
            status => Answer::Status(status.parse().unwrap_or(500), body.as_bytes()),
        };
        // The table of the design: which ends leave a write unused.
        self.spent |= match (admitted.method.as_str(), answer) {
            ("POST", Answer::Status(429, _)) => false,
            ("POST", _) => true,
            ("DELETE", Answer::Status(429 | 502..=504, _) | Answer::NotSent | Answer::Lost) => {
                false
            }
            ("DELETE", _) => true,
            _ => false,
        };
        grant.settle(&admitted, answer);
    }
}

/// The text of a configuration file, and of a project's file.
///
/// # Panics
///
/// Where reading panics or fails without saying why, where a project's file makes a rule laxer, and
/// where changing a file that works makes another change than the one that was asked for.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let path = Path::new("/home/someone/config.toml");
    let project = config_file::rules(path, text.clone());
    if let Err(error) = &project {
        assert_eq!(error.kind(), "configuration");
        assert_message(error);
    }
    let settings = match config_file::settings(path, text.clone()) {
        Ok(settings) => settings,
        Err(error) => {
            assert_eq!(error.kind(), "configuration");
            assert_message(&error);
            return;
        }
    };
    if let Ok(rules) = project {
        let mut tightened = settings.policy.clone();
        tightened.tightening.push(rules);
        for (function, has_destination) in FUNCTIONS.iter().flat_map(|f| [(f, false), (f, true)]) {
            let decide = |policy: &Policy| policy.decide("work", function, has_destination);
            let (own, both) = (decide(&settings.policy), decide(&tightened));
            assert!(own.permission <= both.permission, "{} became laxer", function.json);
            assert!(own.force_denied_by.is_none() || both.force_denied_by.is_some());
            assert!(own.elicitation_denied_by.is_none() || both.elicitation_denied_by.is_some());
        }
    }
    let change = |key: &str, value: Option<&str>| {
        let keys = key.split('.').map(str::to_owned).collect();
        match value {
            Some(value) => Change::Set(keys, value.into()),
            None => Change::Unset(keys),
        }
    };
    let key = "permissions.functions.delete_room";
    let set = edited(path, &text, &[change(key, Some("deny"))]).expect("a rule can be set");
    let after = config_file::settings(path, set.clone()).expect("what was written can be read");
    let rule = after.policy.own.all.functions.get("delete_room");
    assert_eq!(rule.map(|rule| rule.permission), Some(Permission::Deny));
    assert_eq!(after.accounts.len(), settings.accounts.len());
    assert_eq!(after.limits, settings.limits);
    let unset = edited(path, &set, &[change(key, None)]).expect("a rule can be taken away");
    let after = config_file::settings(path, unset).expect("what was written can be read");
    assert!(!after.policy.own.all.functions.contains_key("delete_room"));
}

/// The bytes of a component, checked before it is compiled, and inspected.
///
/// # Panics
///
/// Where either panics or fails without saying why, and where what may be compiled cannot be inspected.
pub fn components(data: &[u8]) {
    let functions = inspect::functions(data);
    let inspected = Inspection::of(data);
    match preflight::check(data, &Limits::default()) {
        Ok(()) => drop((functions.expect("its functions"), inspected.expect("a valid component"))),
        Err(error) => {
            assert_eq!(error.kind(), "component-fault");
            assert_message(&error);
        }
    }
}

/// Reads the id of a meeting: its room, if it names one, and its session.
#[must_use]
pub fn meeting_id(text: &str) -> Option<(Option<String>, String)> {
    let MeetingRef { room, session } = MeetingRef::parse(text).ok()?;
    Some((room.map(|room| room.as_str().to_owned()), session.as_str().to_owned()))
}

/// An error says something, in one line that does nothing to a terminal.
fn assert_message(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 4096, "{} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
}

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpora_hold() {
        replay("values", values);
        replay("grants", grants);
        replay("configuration", configuration);
        replay("components", components);
        replay("meeting_ids", |data| drop(meeting_id(&String::from_utf8_lossy(data))));
    }
}
