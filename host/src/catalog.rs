//! The functions, their types and their documentation, as the WIT has them.

use crate::error::Error;
use crate::{suggest, text};

#[doc(inline)]
pub use whereby_catalog::{
    Case, ERROR, Enum, FUNCTIONS, Facts, Function, Interface, Member, Record, Secret, Type,
    Variant, function, secret,
};

/// The function with this name, or an error that names the nearest one.
pub(crate) fn find(json: &str) -> Result<&'static Function, Error> {
    function(json).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.json).collect();
        Error::Usage {
            message: format!(
                "no function is called `{}`{}; there is {}",
                text::printable(json, 80),
                suggest::did_you_mean(json, &names),
                names.join(", ")
            ),
        }
    })
}
