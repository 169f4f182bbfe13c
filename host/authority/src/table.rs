//! The table of functions: what each may do, whatever a component claims.
//!
//! This is the only place that tells functions apart. A new function needs a row here, and a variant
//! of [`Scope`] if no existing one fits.

use crate::Error;
use crate::arguments::Arguments;
use crate::conditions::{
    CREATED_BY, FIELDS, MAX_DURATION, MAX_PER_DAY, MAX_PER_HOUR, ROOM_MODES, ROOMS, VALID_UNTIL,
};
use crate::policy::Effect;
use crate::scope::Scope;
#[cfg(feature = "std")]
use crate::sentence::{self, Sentence};
use crate::timestamp::Timestamp;
#[cfg(feature = "std")]
use serde_json::Value;
use whereby_catalog::Function;

/// What one function may do.
#[derive(Debug)]
#[non_exhaustive]
pub struct FunctionRule {
    /// The function's name in JSON; empty for a function without a row.
    pub name: &'static str,
    /// The effect of every call. Never [`Effect::Destination`], which depends on the arguments.
    pub effect: Effect,
    /// Whether the function destroys something permanently.
    pub is_destructive: bool,
    /// Whether the component gets the claims of the API key, without its signature.
    pub reads_key_claims: bool,
    /// The requests that the function may send, for people: `GET /meetings`.
    pub requests: &'static [&'static str],
    /// The names of the conditions that a permission of the function can have.
    pub conditions: &'static [&'static str],
    /// What a call will do, from its arguments, which may be masked.
    #[cfg(feature = "std")]
    pub(crate) sentence: fn(&Value) -> Sentence,
    scope: fn(&Arguments, Timestamp) -> Result<Scope, Error>,
}

impl FunctionRule {
    /// Returns the row of a function. A function without a row is destructive and may send nothing.
    #[must_use]
    pub fn of(function: &Function) -> &'static Self {
        RULES.iter().find(|rule| rule.name == function.json).unwrap_or(&NO_RULE)
    }

    /// Returns the requests that a call may send.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the arguments fit the schema but are invalid;
    /// [`Error::NoRule`] if the function has no row.
    pub fn scope(&self, arguments: &Arguments, now: Timestamp) -> Result<Scope, Error> {
        (self.scope)(arguments, now)
    }
}

/// The conditions of a function that reads one room.
const OF_A_ROOM: &[&str] = &[ROOMS, CREATED_BY, VALID_UNTIL];

/// The defaults of a row.
const READS: FunctionRule = FunctionRule {
    name: "",
    effect: Effect::Read,
    is_destructive: false,
    reads_key_claims: false,
    requests: &[],
    conditions: &[VALID_UNTIL],
    #[cfg(feature = "std")]
    sentence: |_| Sentence::words("Calls a function that this program does not know."),
    scope: |_, _| Err(Error::NoRule { message: "no rule says what this function may send".into() }),
};

/// The row of an unknown function.
static NO_RULE: FunctionRule =
    FunctionRule { effect: Effect::Write, is_destructive: true, ..READS };

/// The rows of all functions, in the order of the WIT.
pub static RULES: [FunctionRule; whereby_catalog::FUNCTIONS.len()] = [
    FunctionRule {
        name: "list_rooms",
        requests: &["GET /meetings"],
        #[cfg(feature = "std")]
        sentence: |_| Sentence::words("Reads the list of rooms."),
        scope: |arguments, _| Scope::rooms(arguments),
        ..READS
    },
    FunctionRule {
        name: "get_room",
        requests: &["GET /meetings"],
        conditions: OF_A_ROOM,
        #[cfg(feature = "std")]
        sentence: sentence::get_room,
        scope: |arguments, _| Scope::one_room(arguments),
        ..READS
    },
    FunctionRule {
        name: "list_meetings",
        requests: &["GET /insights/rooms", "GET /insights/room-sessions"],
        conditions: OF_A_ROOM,
        #[cfg(feature = "std")]
        sentence: sentence::list_meetings,
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
        conditions: OF_A_ROOM,
        #[cfg(feature = "std")]
        sentence: sentence::get_meeting,
        scope: |arguments, _| Scope::meeting(arguments),
        ..READS
    },
    FunctionRule {
        name: "get_current_user",
        reads_key_claims: true,
        requests: &["GET /meetings"],
        #[cfg(feature = "std")]
        sentence: |_| Sentence::words("Reads which organization the API key belongs to."),
        scope: |_, _| Ok(Scope::CurrentUser),
        ..READS
    },
    FunctionRule {
        name: "create_room",
        effect: Effect::Write,
        requests: &["POST /meetings"],
        conditions: &[
            ROOMS,
            ROOM_MODES,
            MAX_DURATION,
            FIELDS,
            MAX_PER_HOUR,
            MAX_PER_DAY,
            VALID_UNTIL,
        ],
        #[cfg(feature = "std")]
        sentence: sentence::create_room,
        scope: Scope::new_room,
        ..READS
    },
    FunctionRule {
        name: "delete_room",
        effect: Effect::Write,
        is_destructive: true,
        requests: &["GET /meetings", "DELETE /meetings/{meetingId}"],
        conditions: &[ROOMS, CREATED_BY, MAX_PER_HOUR, MAX_PER_DAY, VALID_UNTIL],
        #[cfg(feature = "std")]
        sentence: sentence::delete_room,
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
            assert_eq!(rule.is_destructive, function.is_destructive, "{}", rule.name);
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
