//! The crate's error.

use crate::prelude::*;
use crate::suggest;
use crate::text;
use whereby_catalog::{FUNCTIONS, Function};

/// Why a call is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No function has this name.
    #[error("{message}")]
    UnknownFunction {
        /// The name, the nearest known name, and all known names.
        message: String,
    },
    /// An argument is invalid.
    #[error("{message}")]
    InvalidArgument {
        /// Which argument, and what is expected.
        message: String,
    },
    /// The WIT has a function or an item that this crate has no rule for.
    #[error("{message}")]
    NoRule {
        /// Which function or item.
        message: String,
    },
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidArgument { message: message.into() }
    }

    /// Returns the error for the argument of this name.
    pub(crate) fn argument(name: impl core::fmt::Display, reason: &str) -> Self {
        Self::invalid(format!("{name}: {reason}"))
    }
}

/// Finds a function by its name in JSON.
///
/// # Errors
///
/// [`Error::UnknownFunction`], which suggests the nearest name.
pub fn find(name: &str) -> Result<&'static Function, Error> {
    whereby_catalog::function(name).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.json).collect();
        Error::UnknownFunction {
            message: format!(
                "unknown function `{}`{}; the functions are {}",
                text::printable(name, 80),
                suggest::did_you_mean(name, &names),
                text::join(&names, ", ")
            ),
        }
    })
}
