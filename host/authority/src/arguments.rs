//! Arguments: checked against the catalog and normalized.
//!
//! The policy, approvals and the grant use the normal form, so two spellings of a call are the same
//! call: null and empty values are left out, times are in UTC, a prefix is as Whereby makes it, a room
//! has one name, and members and `fields` are in the order of the WIT.

use crate::Error;
use crate::names::{MeetingRef, RoomRef};
use crate::prelude::*;
use crate::suggest;
use crate::timestamp::Timestamp;
#[cfg(feature = "std")]
use crate::{find_in, split_at};
use serde_json::{Map, Value};
use whereby_catalog::{Case, Facts, Function, Member, Type, Variant};

/// The maximum size of a call's arguments as compact JSON, in bytes.
pub const MAX_ARGUMENTS_BYTES: usize = 64 * 1024;

/// The checked and normalized arguments of one function.
#[derive(Clone, PartialEq)]
pub struct Arguments {
    /// Normalized, except for the names of rooms, which are as the caller spelled them.
    values: Map<String, Value>,
}

#[cfg(feature = "std")]
impl core::fmt::Debug for Arguments {
    /// Masks secrets.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Arguments").field(&crate::secrets::masked(&self.to_json())).finish()
    }
}

impl Arguments {
    /// Checks and normalizes the arguments of a call. Null and an empty array, which some languages
    /// write for an empty object, mean no arguments.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], which names the argument and says what is expected.
    pub fn check(function: &'static Function, given: Value) -> Result<Self, Error> {
        // Before the other checks, to bound their cost. Few arguments are so large that they must be written.
        if most_bytes(&given) > MAX_ARGUMENTS_BYTES {
            let size = crate::text::to_json(&given).len();
            if size > MAX_ARGUMENTS_BYTES {
                return Err(Error::invalid(format!(
                    "the arguments have {size} bytes; at most {MAX_ARGUMENTS_BYTES} are allowed"
                )));
            }
        }
        let given = match given {
            Value::Object(given) => given,
            Value::Null => Map::new(),
            Value::Array(list) if list.is_empty() => Map::new(),
            other => {
                #[cfg(feature = "std")]
                let such_as = format!(", such as {},", example(function));
                #[cfg(not(feature = "std"))]
                let such_as = "";
                return Err(Error::invalid(format!(
                    "{} takes a JSON object{such_as} not {}",
                    function.json,
                    kind(&other)
                )));
            }
        };
        let values = members(function.params, given, &Location::Call(function))?;
        Ok(Self { values })
    }

    /// Returns the normalized arguments as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut values = self.values.clone();
        for name in ["room_name", "meeting_id"] {
            if let Some(Value::String(text)) = values.get_mut(name) {
                // The session, which follows the room in a meeting's id, keeps its letter case.
                let end = if name == "meeting_id" { text.rfind(':') } else { Some(text.len()) };
                if let Some(room) = text.get_mut(..end.unwrap_or_default()) {
                    room.make_ascii_lowercase();
                }
            }
        }
        Value::Object(values)
    }

    /// Returns an argument, or `None` if it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Returns an argument that is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Returns an argument that is a non-negative integer.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// Returns the items of an argument that is an array; empty if it is absent.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Returns a number of bytes that the value does not exceed as compact JSON: each byte of a string may be written
/// as six, and a number is shorter than 32.
fn most_bytes(value: &Value) -> usize {
    let string = |text: &str| 6 * text.len() + 2;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => string(text),
        Value::Array(items) => items.iter().map(|item| most_bytes(item) + 1).sum::<usize>() + 2,
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| string(name) + most_bytes(value) + 2;
            members.iter().map(member).sum::<usize>() + 2
        }
    }
}

/// Returns example arguments for a function, from the examples in the WIT.
#[cfg(feature = "std")]
#[must_use]
pub fn example(function: &Function) -> Value {
    let mut map = Map::new();
    for param in function.params {
        if let Some(example) = param.facts.example
            && (!param.is_optional() || map.is_empty())
        {
            map.insert(
                param.json.to_owned(),
                whereby_catalog::schema::fact_value(&param.ty, example),
            );
        }
    }
    Value::Object(map)
}

/// The location of a value in the arguments, for messages.
enum Location<'a> {
    Call(&'static Function),
    Member(&'a Location<'a>, &'a str),
    Item(&'a Location<'a>, usize),
}

impl core::fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Call(function) => f.write_str(function.json),
            Self::Member(Self::Call(_), name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn members(
    declared: &'static [Member],
    mut given: Map<String, Value>,
    place: &Location<'_>,
) -> Result<Map<String, Value>, Error> {
    let is_unknown = |key: &str| declared.iter().all(|member| member.json != key);
    if let Some((unknown, value)) = given.iter().find(|(key, _)| is_unknown(key)) {
        return Err(unknown_member(unknown, value, declared, place));
    }
    let mut normal = Map::new();
    for member in declared {
        // Taken, not removed: removing takes more room than the guarded component has.
        match given.get_mut(member.json).map(Value::take) {
            None | Some(Value::Null) if member.is_optional() => {}
            None | Some(Value::Null) => {
                #[cfg(feature = "std")]
                let what = format!(": {}", first_sentence(member.docs));
                #[cfg(not(feature = "std"))]
                let what = "";
                return Err(Error::invalid(format!("{place} needs `{}`{what}", member.json)));
            }
            // Some clients send empty values for arguments that they don't use.
            Some(value) if member.is_optional() && is_empty(&member.ty, &value) => {}
            Some(value) => {
                let place = Location::Member(place, member.json);
                let value = check(&member.ty, member.facts, value, &place)?;
                if !(member.is_optional() && is_empty(&member.ty, &value)) {
                    normal.insert(member.json.to_owned(), value);
                }
            }
        }
    }
    Ok(normal)
}

/// Whether an empty value means an absent one.
fn is_empty(ty: &Type, value: &Value) -> bool {
    match (ty, value) {
        (Type::Option(inner), value) => is_empty(inner, value),
        (_, Value::String(text)) => text.is_empty(),
        // Lua writes an empty array and an empty object the same way.
        (Type::Record(_) | Type::List(_), Value::Array(items)) => items.is_empty(),
        (Type::Record(_) | Type::List(_), Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}

/// Returns the error for an undeclared name.
#[cfg(not(feature = "std"))]
fn unknown_member(unknown: &str, _: &Value, _: &'static [Member], place: &Location<'_>) -> Error {
    Error::invalid(format!("{place}: unknown name `{}`", crate::text::printable(unknown, 80)))
}

/// Returns the error for an undeclared name. For the item of an array, such as `isLocked` outside of
/// `fields`, it says where the item belongs.
#[cfg(feature = "std")]
fn unknown_member(
    unknown: &str,
    value: &Value,
    declared: &'static [Member],
    place: &Location<'_>,
) -> Error {
    let items: Vec<(&str, &Case)> = declared.iter().flat_map(items_of).collect();
    let names: Vec<&str> = declared.iter().map(|member| member.json).collect();
    let all: Vec<&str> = names.iter().copied().chain(items.iter().map(|(_, c)| c.json)).collect();
    let what = match place {
        Location::Call(_) => "argument",
        _ => "member",
    };
    let shown = crate::text::printable(unknown, 80);
    let nearest = suggest::nearest(unknown, &all);
    if let Some((list, case)) = items.iter().find(|(_, case)| Some(case.json) == nearest) {
        // The value may be a secret, unless it is true or false.
        let item = match (&case.payload, value) {
            (None, Value::Bool(wanted)) => format!("{{\"{}\": {wanted}}}", case.json),
            _ => format!("{{\"{}\": …}}", case.json),
        };
        return Error::invalid(format!(
            "unknown {what} `{shown}`: it goes into `{list}`, as in {{\"{list}\": [{item}]}}"
        ));
    }
    let takes =
        if names.is_empty() { "nothing".to_owned() } else { crate::text::join(&names, ", ") };
    let suggestion = suggest::did_you_mean(unknown, &names);
    Error::invalid(format!("unknown {what} `{shown}`{suggestion}: {place} takes {takes}"))
}

/// Returns the items that an array of variants takes, each with the array's name.
#[cfg(feature = "std")]
fn items_of(member: &'static Member) -> Vec<(&'static str, &'static Case)> {
    match &member.ty {
        Type::Option(Type::List(Type::Variant(variant))) => {
            variant.cases.iter().map(|case| (member.json, case)).collect()
        }
        _ => Vec::new(),
    }
}

/// An item with two names, and the name in the normal form.
pub(crate) const SYNONYM: (&str, &str) = ("isLocked", "lockRoomOnJoin");

/// Returns the normal form of a case without a value.
fn bare(case: &Case) -> Value {
    let name = if case.json == SYNONYM.0 { SYNONYM.1 } else { case.json };
    name.into()
}

/// Sorts items by their ranks. They are few, and the sort of the standard library takes more room than the
/// guarded component has.
fn ranked(cases: &[Case], items: Vec<Value>) -> Vec<Value> {
    let mut sorted: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        let own = rank(cases, &item);
        let at = sorted.iter().filter(|other| rank(cases, other) <= own).count();
        sorted.insert(at, item);
    }
    sorted
}

/// Returns the position of an item in the normal form. The order of items has no meaning.
fn rank(cases: &[Case], item: &Value) -> Option<usize> {
    let name = item.as_str().or_else(|| item.as_object()?.keys().next().map(String::as_str));
    cases.iter().position(|case| Some(case.json) == name)
}

fn check(ty: &Type, facts: &Facts, value: Value, place: &Location<'_>) -> Result<Value, Error> {
    match (ty, value) {
        (Type::Option(inner), value) => check(inner, facts, value, place),
        (Type::Bool, value @ Value::Bool(_)) => Ok(value),
        (Type::U16 | Type::U32 | Type::U64, value) => number(ty, facts, &value, place),
        (Type::F64, value @ Value::Number(_)) => Ok(value),
        (Type::String, Value::String(text)) => string(facts, text, place),
        (Type::List(inner), Value::Array(items)) => {
            if let Some(most) = facts.max_items
                && items.len() as u64 > most
            {
                return Err(Error::invalid(format!(
                    "{place} has {} items; at most {most} are allowed",
                    items.len()
                )));
            }
            let mut normal = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let place = Location::Item(place, index);
                match (inner, item) {
                    (Type::Variant(variant), Value::Object(given)) => {
                        normal.append(&mut cases(variant, given, &place)?);
                    }
                    (inner, item) => normal.push(check(inner, &Facts::NONE, item, &place)?),
                }
            }
            if let Type::Variant(variant) = inner {
                normal = ranked(variant.cases, normal);
            }
            Ok(Value::Array(normal))
        }
        (Type::Record(record), Value::Object(given)) => {
            members(record.members, given, place).map(Value::Object)
        }
        (Type::Enum(choice), Value::String(text)) => {
            if choice.cases.iter().any(|case| case.json == text) {
                return Ok(Value::String(text));
            }
            Err(unknown_case(&text, choice.cases, place))
        }
        (Type::Variant(variant), Value::String(text)) => {
            match variant.cases.iter().find(|case| case.json == text) {
                Some(case @ Case { payload: None, .. }) => Ok(bare(case)),
                Some(case) => Err(Error::invalid(format!(
                    "{place}: `{0}` needs a value; write {{\"{0}\": …}}",
                    case.json
                ))),
                None => Err(unknown_case(&text, variant.cases, place)),
            }
        }
        (Type::Variant(variant), Value::Object(given)) => {
            let mut cases = cases(variant, given, place)?.into_iter();
            match (cases.next(), cases.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Error::invalid(format!("{place} must have exactly one member"))),
            }
        }
        (_, value) => {
            Err(Error::invalid(format!("{place} must be {}, not {}", describe(ty), kind(&value))))
        }
    }
}

/// Returns the normal form of the cases that an object names. Members that are false or null are left
/// out.
fn cases(
    variant: &'static Variant,
    given: Map<String, Value>,
    place: &Location<'_>,
) -> Result<Vec<Value>, Error> {
    if given.values().all(Value::is_null) {
        let names: Vec<&str> = variant.cases.iter().map(|case| case.json).collect();
        return Err(Error::invalid(format!(
            "{place} needs at least one of {}",
            crate::text::join(&names, ", ")
        )));
    }
    let mut normal = Vec::with_capacity(given.len());
    for (name, payload) in given {
        let Some(case) = variant.cases.iter().find(|case| case.json == name) else {
            return Err(unknown_case(&name, variant.cases, place));
        };
        let place = Location::Member(place, case.json);
        match (&case.payload, payload) {
            (_, Value::Null) => {}
            (None, wanted) => {
                if check(&Type::Bool, &Facts::NONE, wanted, &place)? == Value::Bool(true) {
                    normal.push(bare(case));
                }
            }
            (Some(ty), payload) => {
                let payload = check(ty, &Facts::NONE, payload, &place)?;
                let mut object = Map::new();
                object.insert(name, payload);
                normal.push(Value::Object(object));
            }
        }
    }
    Ok(normal)
}

fn number(ty: &Type, facts: &Facts, value: &Value, place: &Location<'_>) -> Result<Value, Error> {
    let type_max = match ty {
        Type::U16 => u64::from(u16::MAX),
        Type::U32 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let (low, high) = facts.range.unwrap_or((0, type_max));
    // 10.0 is the integer 10 in JSON Schema, and in languages with one type of number.
    let integer = value.as_u64().or_else(|| {
        let whole = value.as_f64().filter(|n| (0.0..=9e15).contains(n)).map(|n| (n, n as u64));
        whole.filter(|(number, whole)| *whole as f64 == *number).map(|(_, whole)| whole)
    });
    match integer {
        Some(number) if (low..=high).contains(&number) => Ok(Value::from(number)),
        _ => Err(Error::invalid(format!(
            "{place} must be an integer from {low} to {high}, not {}",
            kind(value)
        ))),
    }
}

fn string(facts: &Facts, text: String, place: &Location<'_>) -> Result<Value, Error> {
    if let Some((least, most)) = facts.length {
        let length = text.chars().count() as u64;
        if !(least..=most).contains(&length) {
            return Err(Error::invalid(format!(
                "{place} must have {least} to {most} characters; it has {length}"
            )));
        }
    }
    let argument = match place {
        Location::Member(Location::Call(_), name) => *name,
        _ => "",
    };
    // Whereby may list a room under any name.
    let names_a_room = matches!(argument, "room_name" | "meeting_id");
    if !names_a_room && let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!(
            "{place} contains the control character U+{:04X}; remove it",
            u32::from(bad)
        )));
    }
    let wrong = |reason: String| Error::argument(place, &reason);
    if facts.formats.contains(&"date-time") {
        let moment = match argument {
            // A date without a time means the end of the day here, and its beginning elsewhere.
            "to_date" => Timestamp::parse_last(&text),
            _ => Timestamp::parse_argument(&text, facts.formats.contains(&"date")),
        };
        // Whereby keeps milliseconds.
        return Ok(moment.map_err(wrong)?.to_milliseconds().to_rfc3339().into());
    }
    let normal = match argument {
        "room_name" => RoomRef::parse(&text).map_err(wrong)?.to_string(),
        "meeting_id" => MeetingRef::parse(&text).map_err(wrong)?.to_string(),
        "room_name_prefix" => prefix(&text),
        _ => return Ok(Value::String(text)),
    };
    // A URL is percent-encoded, which can make it longer.
    let length = normal.chars().count() as u64;
    match facts.length {
        Some((_, most)) if length > most => Err(Error::invalid(format!(
            "{place} must have at most {most} characters when percent-encoded; it has {length}"
        ))),
        _ => Ok(Value::String(normal)),
    }
}

/// Returns a prefix as Whereby makes it: in lower case, and without white space.
fn prefix(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

fn unknown_case(text: &str, cases: &'static [Case], place: &Location<'_>) -> Error {
    let names: Vec<&str> = cases.iter().map(|case| case.json).collect();
    Error::invalid(format!(
        "{place}: unknown value `{}`{}; it must be one of {}",
        crate::text::printable(text, 80),
        suggest::did_you_mean(text, &names),
        crate::text::join(&names, ", ")
    ))
}

/// Returns the JSON type that a WIT type is written as, for messages.
fn describe(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::U16 | Type::U32 | Type::U64 => "an integer",
        Type::F64 => "a number",
        Type::String | Type::Enum(_) => "a string",
        Type::Option(inner) => describe(inner),
        Type::List(_) => "an array",
        Type::Record(_) => "an object",
        Type::Variant(_) => "a string or an object",
    }
}

/// Returns a number or boolean as it is, and the type of any other value, which may contain a secret.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// Returns the first sentence of a documentation comment.
#[cfg(feature = "std")]
pub fn first_sentence(docs: &str) -> &str {
    let paragraph = split_at(docs, "\n\n").map_or(docs, |(paragraph, _)| paragraph);
    match find_in(paragraph, ". ") {
        Some(end) => paragraph.get(..=end).unwrap_or(paragraph),
        None => paragraph,
    }
}
