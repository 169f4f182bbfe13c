//! The bodies of the fuzz targets in `tests/fuzz`: each takes bytes from outside and panics if a
//! promise of this crate is broken.

use crate::config::edit::{Change, edited};
use crate::config::limits::Limits;
use crate::config::reader;
use crate::error::Error;
use crate::session::fuzzing::{check_component, from_val, to_val};
use crate::session::inspect::{self, Inspection};
use serde_json::Value;
use std::path::Path;
use whereby_authority::arguments::Arguments;
use whereby_authority::arguments::example;
use whereby_authority::conditions::Facts;
use whereby_authority::policy::{Permission, Policy, Subject};
use whereby_authority::table::FunctionRule;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::{FUNCTIONS, Function, Type};

/// Reads a function's name, a space, and its arguments as JSON.
fn call(line: &str) -> Option<(&'static Function, Result<Arguments, Error>)> {
    let (name, given) = line.split_once(' ').unwrap_or((line, "{}"));
    let given: Value = serde_json::from_str(given).ok()?;
    let function = whereby_catalog::function(name)?;
    Some((function, Arguments::check(function, given).map_err(Error::from)))
}

/// Fuzzes the conversion of arguments to component values and back. The input is a function's name, a
/// space, and its arguments as JSON.
///
/// # Panics
///
/// If checked arguments change when they are checked again, cannot be converted, or are different after
/// the conversion back; and if an error has another kind or no message.
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
        let val = to_val(&param.ty, arguments.get(param.json));
        let back = from_val(&param.ty, val.expect("checked arguments are of the type"));
        let back = back.expect("a value has a JSON form");
        assert!(is_same(&param.ty, arguments.get(param.json), &back), "{normal} became {back}");
    }
}

/// Whether a value is the same after conversion. Absent members become null, and floats may become
/// integers.
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
            let same = |member: &whereby_catalog::Member| {
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

/// Fuzzes the reading of configuration files and project files.
///
/// # Panics
///
/// If reading panics or an error has no message, if a project file makes a rule less strict, and if a
/// change to a valid file changes anything else.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let path = Path::new("/home/someone/config.toml");
    let project = reader::rules(path, &text);
    if let Err(error) = &project {
        assert_eq!(error.kind(), "configuration");
        assert_message(error);
    }
    let settings = match reader::settings(path, &text) {
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
        let now = Timestamp::parse("2026-03-01T12:00:00Z").expect("a time");
        let facts = Facts::at(now, None);
        for (function, has_destination) in FUNCTIONS.iter().flat_map(|f| [(f, false), (f, true)]) {
            let arguments = Arguments::check(function, example(function)).expect("an example");
            let scope = FunctionRule::of(function).scope(&arguments, now).expect("a scope");
            let subject = Subject::of("work", function);
            let decide = |policy: &Policy| policy.decide(subject, has_destination, &scope, &facts);
            let (own, both) = (decide(&settings.policy), decide(&tightened));
            assert!(own.permission <= both.permission, "{} became laxer", function.json);
            assert!(own.force_denied_by.is_none() || both.force_denied_by.is_some());
            assert!(own.elicitation_denied_by.is_none() || both.elicitation_denied_by.is_some());
            let participants = |policy: &Policy| policy.participants("work", None);
            assert!(participants(&settings.policy) <= participants(&tightened));
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
    let after = reader::settings(path, &set).expect("what was written can be read");
    let rule = after.policy.own.all.functions.get("delete_room");
    assert_eq!(rule.map(|rule| rule.permission), Some(Permission::Deny));
    assert_eq!(after.accounts.len(), settings.accounts.len());
    assert_eq!(after.limits, settings.limits);
    let unset = edited(path, &set, &[change(key, None)]).expect("a rule can be removed");
    let after = reader::settings(path, &unset).expect("what was written can be read");
    assert!(!after.policy.own.all.functions.contains_key("delete_room"));
}

/// Fuzzes the reading of capability tokens. The input is a token, as text or in binary, or the content of
/// one block.
///
/// # Panics
///
/// If a token of unknown origin is verified, if narrowing one changes what it said, or if what was read
/// from a block is read differently after it is written.
pub fn tokens(data: &[u8]) {
    crate::token::fuzzing::tokens(data);
}

/// Fuzzes the reading and the verification of what browsers and authenticators send for passkeys. The input
/// is a response, a stored passkey or record, or binary data of an authenticator.
///
/// # Panics
///
/// If a response is accepted whose record does not verify again, if what was stored is read differently, or
/// if an error has no message.
pub fn passkeys(data: &[u8]) {
    crate::passkey::fuzzing::passkeys(data);
}

/// Fuzzes the check and the inspection of components.
///
/// # Panics
///
/// If either panics or an error has no message, and if a component that may be compiled cannot be inspected.
pub fn components(data: &[u8]) {
    let functions = inspect::functions(data);
    let inspected = Inspection::of(data);
    match check_component(data, &Limits::default()) {
        Ok(()) => drop((functions.expect("its functions"), inspected.expect("a valid component"))),
        Err(error) => {
            assert_eq!(error.kind(), "component-fault");
            assert_message(&error);
        }
    }
}

/// Checks that an error has a message in one line without control characters.
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
        replay("configuration", configuration);
        replay("tokens", tokens);
        replay("passkeys", passkeys);
        replay("components", components);
    }
}
