//! Checks of arguments that several functions take.

use crate::prelude::*;
use crate::types::Error;

/// Returns an error that names the argument as callers spell it and says what is valid.
pub(crate) fn invalid(name: &str, what: impl AsRef<str>) -> Error {
    Error::InvalidArgument(format!("{name}: {}", what.as_ref()))
}

/// Checks the argument `limit`.
pub(crate) fn check_limit(limit: Option<u32>) -> Result<(), Error> {
    match limit {
        Some(limit) if !(1..=100).contains(&limit) => {
            Err(invalid("limit", format!("must be an integer from 1 to 100, not {limit}")))
        }
        _ => Ok(()),
    }
}

/// Checks the length of a string, in characters.
pub(crate) fn check_length(name: &str, text: &str, longest: usize) -> Result<(), Error> {
    // There are never more characters than bytes, so most strings need no counting.
    if text.is_empty() {
        Err(invalid(name, "must not be empty"))
    } else if text.len() > longest && text.chars().count() > longest {
        Err(invalid(name, format!("must not be longer than {longest} characters")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{check_length, check_limit};
    use crate::types::Error;

    #[test]
    fn a_limit_is_from_1_to_100() {
        for limit in [None, Some(1), Some(100)] {
            assert_eq!(check_limit(limit), Ok(()));
        }
        for limit in [0, 101, u32::MAX] {
            let Err(Error::InvalidArgument(text)) = check_limit(Some(limit)) else {
                panic!("{limit} was accepted");
            };
            assert!(text.starts_with("limit: ") && text.contains("1 to 100"), "{text}");
        }
    }

    #[test]
    fn a_length_is_counted_in_characters() {
        assert_eq!(check_length("cursor", "\u{e9}\u{e9}", 2), Ok(()));
        assert_eq!(
            check_length("cursor", "\u{e9}\u{e9}\u{e9}", 2),
            Err(Error::InvalidArgument("cursor: must not be longer than 2 characters".to_owned()))
        );
        assert_eq!(
            check_length("cursor", "", 2),
            Err(Error::InvalidArgument("cursor: must not be empty".to_owned()))
        );
    }
}
