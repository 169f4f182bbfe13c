//! Function names on the command line: accepted in any spelling, and completed.

use crate::error::Error;
use clap::builder::{PossibleValue, TypedValueParser};
use std::ffi::OsStr;
use whereby_authority::arguments::first_sentence;
use whereby_catalog::{FUNCTIONS, Function};

/// Parses values with a function, and offers these completions.
#[derive(Clone)]
pub(super) struct Completed<T> {
    pub(super) parse: fn(&str) -> Result<T, String>,
    pub(super) values: fn() -> Vec<PossibleValue>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Completed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.values)().into_iter()))
    }
}

/// Accepts any string, because a function has several spellings. Offers the names as completions.
pub(super) fn name() -> Completed<String> {
    let values = || {
        let value = |f: &Function| PossibleValue::new(f.json).help(first_sentence(f.docs));
        FUNCTIONS.iter().map(value).collect()
    };
    Completed { parse: |name| Ok(name.to_owned()), values }
}

/// Finds a function by any of the spellings that `call` accepts.
pub(super) fn find(name: &str) -> Result<&'static Function, Error> {
    let (_, function) = super::call::split_name(name);
    Ok(whereby_authority::find(&function.replace('-', "_"))?)
}
