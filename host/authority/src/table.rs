//! The table of functions: what each may do, whatever a component claims.
//!
//! This is the only place that tells functions apart. A new function needs a row here, and a variant
//! of [`Scope`] where no present one fits what it sends.

use crate::Error;
use crate::arguments::Arguments;
use crate::policy::Effect;
use crate::scope::Scope;
use crate::timestamp::Timestamp;
use whereby_catalog::Function;

/// What one function may do.
#[derive(Debug)]
#[non_exhaustive]
pub struct FunctionRule {
    /// Its name in JSON; empty for a function that has no row.
    pub name: &'static str,
    /// What it does, whatever its arguments. Never [`Effect::Destination`], which arguments decide.
    pub effect: Effect,
    /// Whether it destroys something that cannot be made again.
    pub is_destructive: bool,
    /// Whether the component is told what the API key says about itself, without its signature.
    pub reads_key_claims: bool,
    /// The requests that it may send, for people: `GET /meetings`.
    pub requests: &'static [&'static str],
    scope: fn(&Arguments, Timestamp) -> Result<Scope, Error>,
}

impl FunctionRule {
    /// Returns the row of a function. One that has none writes, destroys, and may send nothing.
    #[must_use]
    pub fn of(function: &Function) -> &'static Self {
        RULES.iter().find(|rule| rule.name == function.json).unwrap_or(&NO_RULE)
    }

    /// Works out which requests a call may send.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the arguments fit the schema and still mean no request;
    /// [`Error::NoRule`] if the function has no row.
    pub fn scope(&self, arguments: &Arguments, now: Timestamp) -> Result<Scope, Error> {
        (self.scope)(arguments, now)
    }
}

/// A row of a function that reads, to be completed.
const READS: FunctionRule = FunctionRule {
    name: "",
    effect: Effect::Read,
    is_destructive: false,
    reads_key_claims: false,
    requests: &[],
    scope: |_, _| Err(Error::NoRule { message: "no rule says what this function may send".into() }),
};

/// What holds for a function that no row names.
static NO_RULE: FunctionRule =
    FunctionRule { effect: Effect::Write, is_destructive: true, ..READS };

/// Every function, in the order of the WIT.
pub static RULES: [FunctionRule; whereby_catalog::FUNCTIONS.len()] = [
    FunctionRule {
        name: "list_rooms",
        requests: &["GET /meetings"],
        scope: |arguments, _| Scope::rooms(arguments),
        ..READS
    },
    FunctionRule {
        name: "get_room",
        requests: &["GET /meetings"],
        scope: |arguments, _| Scope::room(arguments),
        ..READS
    },
    FunctionRule {
        name: "list_meetings",
        requests: &["GET /insights/rooms", "GET /insights/room-sessions"],
        scope: |arguments, _| Scope::meetings(arguments),
        ..READS
    },
    FunctionRule {
        name: "get_meeting",
        requests: &[
            "GET /insights/room-sessions",
            "GET /insights/participants",
            "GET /recordings",
            "GET /transcriptions",
        ],
        scope: |arguments, _| Scope::meeting(arguments),
        ..READS
    },
    FunctionRule {
        name: "get_current_user",
        reads_key_claims: true,
        requests: &["GET /meetings"],
        scope: |_, _| Ok(Scope::CurrentUser),
        ..READS
    },
    FunctionRule {
        name: "create_room",
        effect: Effect::Write,
        requests: &["POST /meetings"],
        scope: Scope::creation,
        ..READS
    },
    FunctionRule {
        name: "delete_room",
        effect: Effect::Write,
        is_destructive: true,
        requests: &["GET /meetings", "DELETE /meetings/{meetingId}"],
        scope: |arguments, _| Scope::deletion(arguments),
        ..READS
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use whereby_catalog::{FUNCTIONS, Interface};

    #[test]
    fn every_function_has_a_row_that_agrees_with_its_interface() {
        let names = |rule: &FunctionRule| rule.name;
        assert_eq!(
            RULES.each_ref().map(names).as_slice(),
            FUNCTIONS.iter().map(|f| f.json).collect::<Vec<_>>()
        );
        for function in FUNCTIONS {
            let rule = FunctionRule::of(function);
            let expected = match function.interface {
                Interface::Read => Effect::Read,
                Interface::Write => Effect::Write,
            };
            assert_eq!((rule.name, rule.effect), (function.json, expected));
            assert!(!rule.requests.is_empty(), "{}", rule.name);
            let writes = |request: &&str| !request.starts_with("GET ");
            assert_eq!(
                rule.requests.iter().any(writes),
                rule.effect == Effect::Write,
                "{}",
                rule.name
            );
        }
    }
}
