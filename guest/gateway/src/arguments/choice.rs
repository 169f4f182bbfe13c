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

/// A variant, of which a list of arguments has cases.
pub(crate) trait FromCase: Sized {
    /// Reads a case; none where it is not wanted.
    fn from_case(case: Case<'_>) -> Result<Option<Self>, String>;
}

/// A case that is named: by a text, or by a member of an object.
pub(crate) struct Case<'a> {
    name: Text,
    payload: Option<Json>,
    place: &'a Place<'a>,
}

/// The cases of a list. An item is a text, or an object that may name several.
pub(crate) fn cases<T: FromCase>(value: Json, place: &Place<'_>) -> Result<Vec<T>, String> {
    let Json::List(items) = value else { return Err(misfit("a list", &value, place)) };
    let mut read = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = &Place::Item(place, index);
        match item {
            Json::Text(name) => read.extend(T::from_case(Case { name, payload: None, place })?),
            Json::Object(given) => {
                let given: Vec<_> =
                    given.into_iter().filter(|(_, payload)| *payload != Json::Null).collect();
                if given.is_empty() {
                    return Err(format!("{place}: an object here has at least one member"));
                }
                for (name, payload) in given {
                    read.extend(T::from_case(Case { name, payload: Some(payload), place })?);
                }
            }
            other => return Err(misfit("a text or an object", &other, place)),
        }
    }
    Ok(read)
}

impl Case<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The case, which carries nothing.
    pub(crate) fn bare<T>(self, name: &'static str, case: T) -> Result<Option<T>, String> {
        let place = Place::Member(self.place, name);
        let is_wanted =
            self.payload.map_or(Ok(true), |payload| bool::from_json(payload, &place))?;
        Ok(is_wanted.then_some(case))
    }

    /// The case with what it carries.
    pub(crate) fn carrying<P: FromJson, T>(
        self,
        name: &'static str,
        case: impl FnOnce(P) -> T,
    ) -> Result<Option<T>, String> {
        match self.payload {
            Some(payload) => {
                P::from_json(payload, &Place::Member(self.place, name)).map(case).map(Some)
            }
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
