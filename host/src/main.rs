//! The program `whereby`.

use std::process::ExitCode;
use whereby::cli::{Streams, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let environment = whereby::Environment::of_process()?;
    let arguments = std::env::args_os().skip(1);
    Ok(ExitCode::from(run(arguments, environment, Streams::of_process()).await))
}
