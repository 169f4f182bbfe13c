//! Random bytes from the operating system.

use crate::error::Error;

/// Returns random bytes.
///
/// # Errors
///
/// [`Error::Internal`] if the system has none.
pub(crate) fn random<const COUNT: usize>() -> Result<[u8; COUNT], Error> {
    let mut bytes = [0; COUNT];
    let filled = getrandom::fill(&mut bytes);
    filled
        .map_err(|error| Error::internal(format!("the system has no random numbers: {error}")))?;
    Ok(bytes)
}
