//! The program `whereby`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(whereby::cli::run_process())
}
