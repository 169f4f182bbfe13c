//! `whereby completions` and `whereby man`: what a shell and a reader of manuals want.

use super::{Failure, Output, command};
use crate::error::Error;
use clap_complete::Shell;
use serde_json::json;

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  whereby completions bash > ~/.local/share/bash-completion/completions/whereby"
)]
pub(super) struct CompletionsOpts {
    /// The shell
    shell: Shell,
}

impl CompletionsOpts {
    pub(super) fn run(self) -> Result<Output, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "whereby", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let document = json!({"shell": self.shell.to_string(), "script": script});
        Ok(Output::Text(script, document))
    }
}

/// Prints the manual page, in the format of man(7)
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  whereby man > ~/.local/share/man/man1/whereby.1")]
pub(super) struct ManOpts {}

impl ManOpts {
    pub(super) fn run(self) -> Result<Output, Failure> {
        let mut page = Vec::new();
        let failed = |error: std::io::Error| Error::Internal { message: error.to_string() };
        clap_mangen::Man::new(command()).render(&mut page).map_err(failed)?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let document = json!({"page": page});
        Ok(Output::Text(page, document))
    }
}
