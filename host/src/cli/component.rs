//! `whereby component`: inspects components, and exports and compiles the built-in one.

use super::{CommandError, Context, Document, Output};
use crate::error::Error;
use crate::session::built_in::{BUILT_IN_FRONT, BUILT_IN_GUARD, BUILT_IN_READER_FRONT};
use crate::session::guarding::{self, Variant};
use crate::session::inspect::Inspection;
use crate::session::packaged;
use crate::session::resources::{
    BUILT_IN_COMPONENT, BUILT_IN_GATEWAY, BUILT_IN_READER, BUILT_IN_READER_GATEWAY, read_component,
};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use whereby_authority::text;

/// Inspect a component, or export the built-in one for other runtimes
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby component inspect\n  whereby component export --guarded guarded.wasm\n  whereby component export --gateway --guarded gateway.wasm"
)]
pub(super) struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a component's imports, exports, size and SHA-256, and whether it is guarded
    ///
    /// A file is guarded if its functions reach the API key and the network only through the guard of
    /// this version of the program. The wiring of the file proves it; otherwise, the output says what
    /// is wrong.
    Inspect {
        /// The component file (default: the component that calls run)
        file: Option<PathBuf>,
    },
    /// Write the built-in component to a file
    ///
    /// Other runtimes limit neither the requests nor the writes of a component; use --guarded there.
    ///
    /// The functions read these environment variables: WHEREBY_ACCESS_TOKEN (the API key),
    /// WHEREBY_API_URL (another API), and WHEREBY_KEY_CLAIMS (the key's claims as JSON, which
    /// get_current_user shows if the component does not have the key). All are optional.
    Export {
        /// The file, which must not exist yet
        file: PathBuf,
        /// Export the component that has only the functions that read
        #[arg(long)]
        reader: bool,
        /// Export the component as an MCP server over HTTP, for runtimes that serve
        /// wasi:http/incoming-handler
        ///
        /// The file contains the functions and a gateway, which serves POST /mcp. The gateway reads
        /// these environment variables: WHEREBY_GATEWAY_TOKEN (required: the bearer token of clients,
        /// at least 16 characters), WHEREBY_GATEWAY_ALLOW_WRITES (true or false; default false) and
        /// WHEREBY_GATEWAY_ALLOWED_ORIGINS (separated by commas; default none). It has no rules,
        /// approvals or audit log. Configure your runtime to limit its outgoing requests.
        #[arg(long)]
        gateway: bool,
        /// Put a guard between the functions, and the API key and the network
        ///
        /// The file contains three components. The functions get neither the key nor the network. The
        /// guard has both, and the rules: it checks each request against the call's arguments, as this
        /// program does, and sends one of its own. The front decides about each call before the
        /// functions run.
        ///
        /// The guard reads these environment variables: WHEREBY_ACCESS_TOKEN, WHEREBY_API_URL, and
        /// WHEREBY_PERMISSIONS, which is TOML like the [permissions] table of the configuration: for
        /// example 'write = "allow"'. Without it, reading is allowed and writing is denied. With
        /// WHEREBY_PARTICIPANTS=hidden, nobody sees the people in meetings. WHEREBY_KEY_CLAIMS has the
        /// key's claims as JSON, if the runtime adds the key itself.
        ///
        /// The guard cannot ask a person, remember earlier calls, write an audit log, or limit time and
        /// memory. So it refuses every call if the rules have ask, force, elicitation, max_per_hour,
        /// max_per_day or created_by. Configure your runtime to limit time and memory.
        ///
        /// With --component FILE, it guards that component instead of the built-in one.
        #[arg(long)]
        guarded: bool,
        /// Export one part of the guarded component, for a package of the crate
        #[arg(long, hide = true, conflicts_with_all = ["gateway", "guarded"])]
        part: Option<Part>,
    },
    /// Compile the built-in component for a package of this program
    ///
    /// A package that puts the program into bin puts this file beside that folder, at
    /// lib/whereby/component.cwasm. Then the first call on a machine does not compile the component.
    /// The program uses the file only if it was made by the same version, and if only root and the
    /// user can change it, its folder and the folders above. `whereby doctor` says whether it is used.
    Compile {
        /// The file, which must not exist yet
        file: PathBuf,
    },
}

/// A part of a guarded component.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    Guard,
    Front,
}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        match self.command {
            Command::Inspect { file } => {
                let bytes = match file.as_ref().or(context.global.component.as_ref()) {
                    Some(file) => read_component(&context.environment.directory.join(file), None)?,
                    None => match context.settings()?.component {
                        Some(file) => read_component(&file.path, file.sha256.as_deref())?,
                        None => BUILT_IN_COMPONENT.to_vec(),
                    },
                };
                let inspection = Inspection::of(&bytes).map_err(|error| {
                    // The usual hint is about the component that calls run, not about this file.
                    let document = Document { no_hint: file.is_some(), ..Document::default() };
                    CommandError::of(error, document)
                })?;
                Ok(Output::text(inspection.to_text(), inspection.to_json()))
            }
            Command::Export { file, reader, gateway, guarded, part } => {
                let other = context.global.component.as_ref();
                if guarded {
                    let other = other.map(|other| {
                        read_component(&context.environment.directory.join(other), None)
                    });
                    let variant = Variant { is_reader: reader, is_gateway: gateway };
                    let made = guarding::make(variant, other.transpose()?.as_deref());
                    // The usual hint is about the component that calls run, not about this file.
                    let document = Document { no_hint: true, ..Document::default() };
                    let made = made.map_err(|error| CommandError::of(error, document))?;
                    return write(context, &file, &made);
                }
                if other.is_some() {
                    let message =
                        "--component is exported only with --guarded, which puts a guard around it";
                    return Err(Error::usage(message).into());
                }
                let bytes = match (part, gateway, reader) {
                    (Some(Part::Guard), ..) => BUILT_IN_GUARD,
                    (Some(Part::Front), _, false) => BUILT_IN_FRONT,
                    (Some(Part::Front), _, true) => BUILT_IN_READER_FRONT,
                    (None, false, false) => BUILT_IN_COMPONENT,
                    (None, false, true) => BUILT_IN_READER,
                    (None, true, false) => BUILT_IN_GATEWAY,
                    (None, true, true) => BUILT_IN_READER_GATEWAY,
                };
                write(context, &file, bytes)
            }
            Command::Compile { file } => {
                write(context, &file, &packaged::make(BUILT_IN_COMPONENT)?)
            }
        }
    }
}

/// Writes a new file, and says what is in it.
fn write(context: &Context, file: &Path, bytes: &[u8]) -> Result<Output, CommandError> {
    let path = context.environment.directory.join(file);
    let written = std::fs::File::create_new(&path).and_then(|mut to| {
        to.write_all(bytes).inspect_err(|_| {
            // Do not leave an incomplete file.
            let _ = std::fs::remove_file(&path);
        })
    });
    let shown = text::printable(&file.display().to_string(), 300);
    written.map_err(|error| Error::usage(format!("{shown} cannot be written: {error}")))?;
    let digest = crate::system::digest::sha256(bytes);
    Ok(Output::text(
        format!("{shown}: {} bytes, SHA-256 {digest}\n", bytes.len()),
        json!({"file": file, "bytes": bytes.len(), "sha256": digest}),
    ))
}
