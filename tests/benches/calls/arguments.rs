//! The command line of the benchmark.

/// What to measure.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Whether the run should take a tenth of the time.
    pub(crate) is_quick: bool,
    /// Whether only to count instructions.
    pub(crate) counts_only: bool,
}

impl Arguments {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// Fails for an unknown argument. The message lists the known ones.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--quick" => read.is_quick = true,
                "--instructions" => read.counts_only = true,
                // Cargo adds this flag.
                "--bench" => {}
                other => {
                    return Err(format!(
                        "unknown argument `{other}`; this benchmark takes --quick and --instructions"
                    ));
                }
            }
        }
        Ok(read)
    }
}
