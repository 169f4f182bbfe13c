//! Why a call is not understood.

use crate::suggest;
use crate::text;
use whereby_catalog::{FUNCTIONS, Function};

/// Why a call stands for no requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No function has this name.
    #[error("{message}")]
    UnknownFunction {
        /// The name, the nearest one, and all that there are.
        message: String,
    },
    /// An argument is not acceptable.
    #[error("{message}")]
    InvalidArgument {
        /// Which one, and what would be right.
        message: String,
    },
    /// The WIT has a function or an item that this crate has no rule for.
    #[error("{message}")]
    NoRule {
        /// Which one.
        message: String,
    },
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
                "no function is called `{}`{}; there is {}",
                text::printable(name, 80),
                suggest::did_you_mean(name, &names),
                names.join(", ")
            ),
        }
    })
}
