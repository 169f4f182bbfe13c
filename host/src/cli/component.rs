//! `whereby component`: what a component is, and the built-in one as a file.

use super::{Context, Document, Failure, Output};
use crate::error::Error;
use crate::session::inspect::Inspection;
use crate::session::resources::{
    BUILT_IN_COMPONENT, BUILT_IN_GATEWAY, BUILT_IN_READER, BUILT_IN_READER_GATEWAY, read_component,
};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;
use whereby_authority::text;

/// Inspects a component, or exports the built-in one for other runtimes.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby component inspect\n  whereby component export whereby.wasm\n  whereby component export --gateway gateway.wasm"
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
        /// The component as an MCP server over HTTP, for runtimes that serve
        /// wasi:http/incoming-handler
        ///
        /// It is composed of the functions and a gateway, which answers POST /mcp and is set up by
        /// environment variables: WHEREBY_GATEWAY_TOKEN (required, at least 16 characters: the bearer
        /// token that clients bring), WHEREBY_GATEWAY_ALLOW_WRITES (true or false, the default) and
        /// WHEREBY_GATEWAY_ALLOWED_ORIGINS (with commas between; none by default). The functions take
        /// WHEREBY_ACCESS_TOKEN and WHEREBY_API_URL. There are no rules, approvals or audit log: whoever
        /// serves it limits where its requests may go.
        #[arg(long)]
        gateway: bool,
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
                let inspection = Inspection::of(&bytes).map_err(|error| {
                    // No call would run a file that is only looked at.
                    let document = Document { no_hint: file.is_some(), ..Document::default() };
                    Failure { error, document: Box::new(document) }
                })?;
                Ok(Output::Text(inspection.to_text(), inspection.to_json()))
            }
            Command::Export { file, reader, gateway } => {
                let bytes = match (gateway, reader) {
                    (false, false) => BUILT_IN_COMPONENT,
                    (false, true) => BUILT_IN_READER,
                    (true, false) => BUILT_IN_GATEWAY,
                    (true, true) => BUILT_IN_READER_GATEWAY,
                };
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
                let digest = crate::system::digest::sha256(bytes);
                Ok(Output::Text(
                    format!("{shown}: {} bytes, SHA-256 {digest}\n", bytes.len()),
                    json!({"file": file, "bytes": bytes.len(), "sha256": digest}),
                ))
            }
        }
    }
}
