//! Arguments from JSON, by the types of the WIT. What a type cannot say of a value, such as a range, is
//! checked by the functions themselves.

#[cfg(feature = "write")]
pub(crate) mod choice;

use crate::json::{self, Json};
use crate::prelude::*;
use core::fmt;

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
    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String>;
}

impl FromJson for bool {
    const WANTED: &'static str = "true or false";

    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String> {
        match value {
            Json::Bool(value) => Ok(value),
            other => Err(misfit(Self::WANTED, &other, place)),
        }
    }
}

impl FromJson for u32 {
    const WANTED: &'static str = "a whole number";

    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String> {
        let number = match value {
            Json::Integer(number) => Some(number),
            Json::Float(number) => whole(number),
            _ => None,
        };
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| misfit(Self::WANTED, &value, place))
    }
}

/// 10.0 is the whole number 10 to JSON Schema, and to languages that know one kind of number.
fn whole(number: f64) -> Option<u64> {
    let is_whole = (0.0..=9e15).contains(&number) && number as u64 as f64 == number;
    is_whole.then_some(number as u64)
}

impl FromJson for String {
    const WANTED: &'static str = "a text";

    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String> {
        match value {
            Json::Text(text) => Ok(text.into_owned()),
            other => Err(misfit(Self::WANTED, &other, place)),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String> {
        T::from_json(value, place).map(Some)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    const WANTED: &'static str = "a list";

    fn from_json(value: Json, place: &Place<'_>) -> Result<Self, String> {
        let Json::List(items) = value else { return Err(misfit(Self::WANTED, &value, place)) };
        let read = |(index, item)| T::from_json(item, &Place::Item(place, index));
        items.into_iter().enumerate().map(read).collect()
    }
}

/// The members of an object, which are taken out one by one.
pub(crate) struct Members<'a> {
    given: json::Members,
    place: &'a Place<'a>,
}

impl<'a> Members<'a> {
    /// The members of a value, all of which must be known.
    pub(crate) fn of(value: Json, place: &'a Place<'a>, known: &[&str]) -> Result<Self, String> {
        let Json::Object(given) = value else { return Err(misfit("an object", &value, place)) };
        let mut names = given.iter().map(|(name, _)| name.as_ref());
        if let Some(unknown) = names.find(|name| !known.contains(name)) {
            let what = if matches!(place, Place::Call(_)) { "argument" } else { "member" };
            let takes = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(format!("unknown {what} `{}`: {place} takes {takes}", shown(unknown)));
        }
        Ok(Self { given, place })
    }

    /// The member with this name.
    pub(crate) fn take<T: FromJson>(&mut self, name: &'static str) -> Result<T, String> {
        match json::take(&mut self.given, name) {
            None | Some(Json::Null) => {
                T::absent().ok_or_else(|| format!("{} needs `{name}`: {}", self.place, T::WANTED))
            }
            Some(value) => match T::absent().filter(|_| is_empty(&value, T::WANTED)) {
                // Clients leave empty what they do not use.
                Some(absent) => Ok(absent),
                None => T::from_json(value, &Place::Member(self.place, name)),
            },
        }
    }
}

/// Whether a value says no more than that there is none.
fn is_empty(value: &Json, wanted: &str) -> bool {
    match value {
        Json::Text(text) => text.is_empty(),
        Json::Object(members) => members.is_empty() && wanted == "an object",
        _ => false,
    }
}

/// What is said of a value that is something else than is wanted.
fn misfit(wanted: &str, value: &Json, place: &Place<'_>) -> String {
    format!("{place} must be {wanted}, not {}", kind(value))
}

/// What a value is, for messages; the value itself may be a secret.
fn kind(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(_) | Json::Integer(_) | Json::Negative(_) | Json::Float(_) => value.compact(),
        Json::Text(_) => "a text".to_owned(),
        Json::List(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// The longest name that is repeated, in characters.
const LONGEST_NAME: usize = 80;

/// A name from outside, fit to be shown: shortened, and what is not ASCII as its code point.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(LONGEST_NAME) {
        match c {
            ' '..='~' => shown.push(c),
            other => shown.extend(other.escape_unicode()),
        }
    }
    shown
}
