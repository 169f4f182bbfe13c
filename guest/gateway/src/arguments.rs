//! Reads arguments from JSON into the types of the WIT. The functions themselves check what a type does not
//! express, such as a range.

#[cfg(feature = "write")]
pub(crate) mod choice;

use crate::json::{self, Json};
use crate::prelude::*;
use core::fmt;

/// The path of a value within the arguments.
pub(crate) enum Path<'a> {
    /// The arguments of a function.
    Call(&'static str),
    Member(&'a Path<'a>, &'static str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(function) => f.write_str(function),
            Self::Member(Self::Call(_), name) => f.write_str(name),
            Self::Member(path, name) => write!(f, "{path}.{name}"),
            Self::Item(path, index) => write!(f, "{path}[{index}]"),
        }
    }
}

/// A type that can be read from JSON.
pub(crate) trait FromJson: Sized {
    /// The JSON form, for messages.
    const WANTED: &'static str;

    /// Returns the value of an absent argument, if the type allows absence.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads a value. The error names its path and the expected form.
    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String>;
}

impl FromJson for bool {
    const WANTED: &'static str = "true or false";

    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {
        match value {
            Json::Bool(value) => Ok(value),
            other => Err(wrong_type(Self::WANTED, &other, path)),
        }
    }
}

impl FromJson for u32 {
    const WANTED: &'static str = "an integer";

    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {
        let number = match value {
            Json::Integer(number) => Some(number),
            Json::Float(number) => whole(number),
            _ => None,
        };
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| wrong_type(Self::WANTED, &value, path))
    }
}

/// Returns a float as an integer: to JSON Schema, and to languages with one type of number, 10.0 is 10.
fn whole(number: f64) -> Option<u64> {
    let is_whole = (0.0..=9e15).contains(&number) && number as u64 as f64 == number;
    is_whole.then_some(number as u64)
}

impl FromJson for String {
    const WANTED: &'static str = "a string";

    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {
        match value {
            Json::Text(text) => Ok(text.into_owned()),
            other => Err(wrong_type(Self::WANTED, &other, path)),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {
        T::from_json(value, path).map(Some)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    const WANTED: &'static str = "an array";

    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {
        let Json::List(items) = value else { return Err(wrong_type(Self::WANTED, &value, path)) };
        let read = |(index, item)| T::from_json(item, &Path::Item(path, index));
        items.into_iter().enumerate().map(read).collect()
    }
}

/// The members of an object, taken out one by one.
pub(crate) struct Members<'a> {
    given: json::Members,
    path: &'a Path<'a>,
}

impl<'a> Members<'a> {
    /// Returns the members of an object. Fails if the value is not an object or has an unknown member.
    pub(crate) fn of(value: Json, path: &'a Path<'a>, known: &[&str]) -> Result<Self, String> {
        let Json::Object(given) = value else { return Err(wrong_type("an object", &value, path)) };
        let mut names = given.iter().map(|(name, _)| name.as_ref());
        if let Some(unknown) = names.find(|name| !known.contains(name)) {
            let what = if matches!(path, Path::Call(_)) { "argument" } else { "member" };
            let takes = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(format!("unknown {what} `{}`: {path} takes {takes}", shown(unknown)));
        }
        Ok(Self { given, path })
    }

    /// Takes the member with this name.
    pub(crate) fn take<T: FromJson>(&mut self, name: &'static str) -> Result<T, String> {
        match json::take(&mut self.given, name) {
            None | Some(Json::Null) => {
                T::absent().ok_or_else(|| format!("{} needs `{name}`: {}", self.path, T::WANTED))
            }
            Some(value) => match T::absent().filter(|_| is_empty(&value, T::WANTED)) {
                // Clients send empty values for arguments that they do not use.
                Some(absent) => Ok(absent),
                None => T::from_json(value, &Path::Member(self.path, name)),
            },
        }
    }
}

/// Returns whether a value counts as absent.
fn is_empty(value: &Json, wanted: &str) -> bool {
    match value {
        Json::Text(text) => text.is_empty(),
        Json::Object(members) => members.is_empty() && wanted == "an object",
        _ => false,
    }
}

/// Returns the error message for a value of the wrong type.
fn wrong_type(wanted: &str, value: &Json, path: &Path<'_>) -> String {
    format!("{path} must be {wanted}, not {}", kind(value))
}

/// Returns the type of a value, for messages. The value itself may be a secret.
fn kind(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(_) | Json::Integer(_) | Json::Negative(_) | Json::Float(_) => value.compact(),
        Json::Text(_) => "a string".to_owned(),
        Json::List(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// The maximum length of a name in a message, in characters.
const MAX_NAME_LENGTH: usize = 80;

/// Returns a name from outside in a form that is safe to show: shortened, with escapes for all characters
/// except printable ASCII.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(MAX_NAME_LENGTH) {
        match c {
            ' '..='~' => shown.push(c),
            other => shown.extend(other.escape_unicode()),
        }
    }
    shown
}
