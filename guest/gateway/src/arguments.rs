//! Arguments from JSON, by the types of the WIT. What a type cannot say of a value, such as a range, is
//! checked by the functions themselves.

use crate::prelude::*;
use core::fmt;
use serde_json::{Map, Value};

/// Where in the arguments a value stands.
pub(crate) enum Place<'a> {
    /// The arguments of a function.
    Call(&'static str),
    Member(&'a Place<'a>, &'static str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(function) => f.write_str(function),
            Self::Member(Self::Call(_), name) => f.write_str(name),
            Self::Member(place, name) => write!(f, "{place}.{name}"),
            Self::Item(place, index) => write!(f, "{place}[{index}]"),
        }
    }
}

/// A type that arguments have.
pub(crate) trait FromJson: Sized {
    /// What it looks like in JSON, for messages.
    const WANTED: &'static str;

    /// What it means that there is no value, where that means anything.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads a value; the error names its place and says what would be right.
    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String>;
}

impl FromJson for bool {
    const WANTED: &'static str = "true or false";

    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| misfit::<Self>(&value, place))
    }
}

impl FromJson for u32 {
    const WANTED: &'static str = "a whole number";

    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String> {
        let number = value.as_u64().or_else(|| value.as_f64().and_then(whole));
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| misfit::<Self>(&value, place))
    }
}

/// 10.0 is the whole number 10 to JSON Schema, and to languages that know one kind of number.
fn whole(number: f64) -> Option<u64> {
    let is_whole = (0.0..=9e15).contains(&number) && number as u64 as f64 == number;
    is_whole.then_some(number as u64)
}

impl FromJson for String {
    const WANTED: &'static str = "a text";

    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(misfit::<Self>(&other, place)),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String> {
        T::from_json(value, place).map(Some)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    const WANTED: &'static str = "a list";

    fn from_json(value: Value, place: &Place<'_>) -> Result<Self, String> {
        let Value::Array(items) = value else { return Err(misfit::<Self>(&value, place)) };
        let read = |(index, item)| T::from_json(item, &Place::Item(place, index));
        items.into_iter().enumerate().map(read).collect()
    }
}

/// The members of an object, which are taken out one by one.
pub(crate) struct Members<'a> {
    given: Map<String, Value>,
    place: &'a Place<'a>,
}

impl<'a> Members<'a> {
    /// The members of a value, all of which must be known.
    pub(crate) fn of(value: Value, place: &'a Place<'a>, known: &[&str]) -> Result<Self, String> {
        match value {
            Value::Object(given) => Self::of_object(given, place, known),
            other => Err(format!("{place} must be an object, not {}", kind(&other))),
        }
    }

    /// The arguments of a function, all of which must be known.
    pub(crate) fn of_object(
        given: Map<String, Value>,
        place: &'a Place<'a>,
        known: &[&str],
    ) -> Result<Self, String> {
        if let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str())) {
            let what = if matches!(place, Place::Call(_)) { "argument" } else { "member" };
            let takes = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(format!("unknown {what} `{}`: {place} takes {takes}", shown(unknown)));
        }
        Ok(Self { given, place })
    }

    /// The member with this name.
    pub(crate) fn take<T: FromJson>(&mut self, name: &'static str) -> Result<T, String> {
        match self.given.remove(name) {
            None | Some(Value::Null) => {
                T::absent().ok_or_else(|| format!("{} needs `{name}`: {}", self.place, T::WANTED))
            }
            Some(value) => T::from_json(value, &Place::Member(self.place, name)),
        }
    }
}

/// The value of an enum that a text names.
pub(crate) fn choose<T: Copy>(
    value: Value,
    place: &Place<'_>,
    cases: &[(&'static str, T)],
) -> Result<T, String> {
    let Value::String(text) = value else {
        return Err(format!("{place} must be a text, not {}", kind(&value)));
    };
    match cases.iter().find(|(name, _)| *name == text) {
        Some((_, case)) => Ok(*case),
        None => {
            let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
            Err(unknown_case(&text, place, &names))
        }
    }
}

/// A case of a variant: a text, or an object with one member.
pub(crate) struct Case<'a> {
    name: String,
    payload: Option<Value>,
    place: &'a Place<'a>,
}

impl<'a> Case<'a> {
    /// The case that a value names.
    pub(crate) fn of(value: Value, place: &'a Place<'a>) -> Result<Self, String> {
        match value {
            Value::String(name) => Ok(Self { name, payload: None, place }),
            Value::Object(given) => {
                let mut entries = given.into_iter();
                match (entries.next(), entries.next()) {
                    (Some((name, payload)), None) => {
                        Ok(Self { name, payload: Some(payload), place })
                    }
                    _ => Err(format!("{place}: an object here has exactly one member")),
                }
            }
            other => Err(format!(
                "{place} must be a text or an object with one member, not {}",
                kind(&other)
            )),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The case, which carries nothing.
    pub(crate) fn bare<T>(self, case: T) -> Result<T, String> {
        match self.payload {
            None => Ok(case),
            Some(_) => Err(format!(
                "{}: `{1}` carries no value, so it is written \"{1}\"",
                self.place, self.name
            )),
        }
    }

    /// The case with what it carries.
    pub(crate) fn carrying<P: FromJson, T>(
        self,
        name: &'static str,
        case: impl FnOnce(P) -> T,
    ) -> Result<T, String> {
        match self.payload {
            Some(payload) => P::from_json(payload, &Place::Member(self.place, name)).map(case),
            None => Err(format!(
                "{}: `{name}` carries a value, so it is written {{\"{name}\": …}}",
                self.place
            )),
        }
    }

    /// What is said of a case that there is not.
    pub(crate) fn unknown(&self, names: &[&str]) -> String {
        unknown_case(&self.name, self.place, names)
    }
}

fn unknown_case(text: &str, place: &Place<'_>, names: &[&str]) -> String {
    format!("{place}: `{}` is not known; it must be one of {}", shown(text), names.join(", "))
}

fn misfit<T: FromJson>(value: &Value, place: &Place<'_>) -> String {
    format!("{place} must be {}, not {}", T::WANTED, kind(value))
}

/// What a value is, for messages; the value itself may be a secret.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The longest name that is repeated, in characters.
const LONGEST_NAME: usize = 80;

/// A name from outside, fit to be shown: shortened, and what acts on a display as its code point.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect()
}
