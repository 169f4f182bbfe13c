//! The command line of the benchmark.

/// Returns whether the run should take a tenth of the time.
///
/// # Errors
///
/// Fails for an unknown argument. The message lists the known ones.
pub(crate) fn is_quick(arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut quick = false;
    for argument in arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            // Cargo adds this flag.
            "--bench" => {}
            other => {
                return Err(format!("unknown argument `{other}`; this benchmark takes --quick"));
            }
        }
    }
    Ok(quick)
}
