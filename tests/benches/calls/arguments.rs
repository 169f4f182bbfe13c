//! The command line of the benchmark.

/// Returns whether the run is to take a tenth of the time.
///
/// # Errors
///
/// An argument that is not known, and what is.
pub(crate) fn is_quick(arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut quick = false;
    for argument in arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            // Cargo adds it.
            "--bench" => {}
            other => {
                return Err(format!("unknown argument `{other}`; this benchmark takes --quick"));
            }
        }
    }
    Ok(quick)
}
