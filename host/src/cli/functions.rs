//! Function names on the command line: accepted in any spelling, and completed.

use crate::error::Error;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use std::ffi::OsStr;
use whereby_authority::arguments::first_sentence;
use whereby_catalog::{FUNCTIONS, Function};

/// Accepts any string, because a function has several spellings. Offers the names as completions.
#[derive(Clone)]
pub(super) struct Name;

impl TypedValueParser for Name {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |f: &Function| PossibleValue::new(f.json).help(first_sentence(f.docs));
        Some(Box::new(FUNCTIONS.iter().map(value)))
    }
}

/// Finds a function by any of the spellings that `call` accepts.
pub(super) fn find(name: &str) -> Result<&'static Function, Error> {
    let (_, function) = super::call::split_name(name);
    Ok(whereby_authority::find(&function.replace('-', "_"))?)
}
