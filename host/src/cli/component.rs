//! `whereby component`: what a component is, and the built-in one as a file.

use super::{Context, Failure, Output};
use crate::error::Error;
use crate::inspect::Inspection;
use crate::resources::{BUILT_IN_COMPONENT, BUILT_IN_READER, read_component};
use crate::text;
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

/// Inspects a component, or exports the built-in one for other runtimes.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby component inspect\n  whereby component export whereby.wasm"
)]
pub(super) struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows what a component imports and exports, its size and its SHA-256
    Inspect {
        /// The component; without it, the one that calls would run
        file: Option<PathBuf>,
    },
    /// Writes the built-in component to a file
    Export {
        /// The file, which must not be there yet
        file: PathBuf,
        /// The component that has only the functions that read
        #[arg(long)]
        reader: bool,
    },
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, Failure> {
        match self.command {
            Command::Inspect { file } => {
                let bytes = match file.as_ref().or(context.component.as_ref()) {
                    Some(file) => read_component(&context.environment.directory.join(file), None)?,
                    None => match context.settings()?.component {
                        Some(file) => read_component(&file.path, file.sha256.as_deref())?,
                        None => BUILT_IN_COMPONENT.to_vec(),
                    },
                };
                let inspection = Inspection::of(&bytes)?;
                Ok(Output::Text(inspection.to_text(), inspection.to_json()))
            }
            Command::Export { file, reader } => {
                let bytes = if reader { BUILT_IN_READER } else { BUILT_IN_COMPONENT };
                let path = context.environment.directory.join(&file);
                let written = std::fs::File::create_new(&path).and_then(|mut to| {
                    to.write_all(bytes).inspect_err(|_| {
                        // Half a component is of no use.
                        let _ = std::fs::remove_file(&path);
                    })
                });
                let shown = text::printable(&file.display().to_string(), 300);
                written.map_err(|error| Error::Usage {
                    message: format!("{shown} cannot be written: {error}"),
                })?;
                let digest = crate::cache::sha256(bytes);
                Ok(Output::Text(
                    format!("{shown}: {} bytes, SHA-256 {digest}\n", bytes.len()),
                    json!({"file": file, "bytes": bytes.len(), "sha256": digest}),
                ))
            }
        }
    }
}
