//! Reads enums and variants. Only functions that write take them.

use super::{FromJson, Path, shown, wrong_type};
use crate::json::{Json, Text};
use crate::prelude::*;

/// Returns the enum value that a string names.
pub(crate) fn choose<T: Copy>(
    value: Json,
    path: &Path<'_>,
    cases: &[(&'static str, T)],
) -> Result<T, String> {
    let Json::Text(text) = value else {
        return Err(wrong_type("a string", &value, path));
    };
    match cases.iter().find(|(name, _)| *name == text) {
        Some((_, case)) => Ok(*case),
        None => {
            let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
            Err(unknown_case(&text, path, &names))
        }
    }
}

/// A variant whose cases appear in an array.
pub(crate) trait FromCase: Sized {
    /// Reads a case; `None` if the caller switched it off.
    fn from_case(case: Case<'_>) -> Result<Option<Self>, String>;
}

/// A case that a string or a member of an object names.
pub(crate) struct Case<'a> {
    name: Text,
    payload: Option<Json>,
    path: &'a Path<'a>,
}

/// Returns the cases in an array. An item is a string, or an object that may name several cases.
pub(crate) fn cases<T: FromCase>(value: Json, path: &Path<'_>) -> Result<Vec<T>, String> {
    let Json::List(items) = value else { return Err(wrong_type("an array", &value, path)) };
    let mut read = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let path = &Path::Item(path, index);
        match item {
            Json::Text(name) => read.extend(T::from_case(Case { name, payload: None, path })?),
            Json::Object(given) => {
                let given: Vec<_> =
                    given.into_iter().filter(|(_, payload)| *payload != Json::Null).collect();
                if given.is_empty() {
                    return Err(format!("{path}: an object must have at least one member"));
                }
                for (name, payload) in given {
                    read.extend(T::from_case(Case { name, payload: Some(payload), path })?);
                }
            }
            other => return Err(wrong_type("a string or an object", &other, path)),
        }
    }
    Ok(read)
}

impl Case<'_> {
    /// Returns the name of the case.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the case without a payload, unless the caller switched it off.
    pub(crate) fn bare<T>(self, name: &'static str, case: T) -> Result<Option<T>, String> {
        let path = Path::Member(self.path, name);
        let is_on = self.payload.map_or(Ok(true), |payload| bool::from_json(payload, &path))?;
        Ok(is_on.then_some(case))
    }

    /// Returns the case with its payload.
    pub(crate) fn carrying<P: FromJson, T>(
        self,
        name: &'static str,
        case: impl FnOnce(P) -> T,
    ) -> Result<Option<T>, String> {
        match self.payload {
            Some(payload) => {
                P::from_json(payload, &Path::Member(self.path, name)).map(case).map(Some)
            }
            None => Err(format!(
                "{}: `{name}` carries a value, so it is written {{\"{name}\": …}}",
                self.path
            )),
        }
    }

    /// Returns the error message for an unknown case.
    pub(crate) fn unknown(&self, names: &[&str]) -> String {
        unknown_case(&self.name, self.path, names)
    }
}

fn unknown_case(text: &str, path: &Path<'_>, names: &[&str]) -> String {
    format!("{path}: `{}` is not known; it must be one of {}", shown(text), names.join(", "))
}
