//! Enums and variants. Only functions that write take any.

use super::{FromJson, Place, misfit, shown};
use crate::json::{Json, Text};
use crate::prelude::*;

/// The value of an enum that a text names.
pub(crate) fn choose<T: Copy>(
    value: Json,
    place: &Place<'_>,
    cases: &[(&'static str, T)],
) -> Result<T, String> {
    let Json::Text(text) = value else {
        return Err(misfit("a text", &value, place));
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
    name: Text,
    payload: Option<Json>,
    place: &'a Place<'a>,
}

impl<'a> Case<'a> {
    /// The case that a value names.
    pub(crate) fn of(value: Json, place: &'a Place<'a>) -> Result<Self, String> {
        match value {
            Json::Text(name) => Ok(Self { name, payload: None, place }),
            Json::Object(given) => {
                let mut entries = given.into_iter();
                match (entries.next(), entries.next()) {
                    (Some((name, payload)), None) => {
                        Ok(Self { name, payload: Some(payload), place })
                    }
                    _ => Err(format!("{place}: an object here has exactly one member")),
                }
            }
            other => Err(misfit("a text or an object with one member", &other, place)),
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
