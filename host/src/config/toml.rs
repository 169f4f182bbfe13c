//! Errors about a TOML file.

use crate::error::Error;
use std::path::Path;
use whereby_authority::{text, toml};

/// Returns the file and the line, for messages.
pub(crate) fn place(path: &Path, line: usize) -> String {
    format!("{}, line {line}", shown(path))
}

/// Returns a configuration error at a line of a file.
pub(crate) fn at(path: &Path, toml::Error { line, message }: &toml::Error) -> Error {
    Error::Configuration { message: format!("{}: {message}", place(path, *line)) }
}

/// Returns a configuration error about a whole file.
pub(crate) fn in_file(path: &Path, message: &str) -> Error {
    Error::Configuration { message: format!("{}: {message}", shown(path)) }
}

fn shown(path: &Path) -> String {
    text::printable(&path.display().to_string(), 300)
}
