//! The components that the program brings along, made of the workspace's members.

use super::component::Build;
use super::{compose, metadata};
use anyhow::Result;
use std::path::Path;

/// One pair of components, and where they are built.
pub(crate) struct Artifact<'a> {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) workspace: &'a Path,
    /// As for [`Build::target_dir`].
    pub(crate) target_dir: &'a Path,
    /// Whether the functions that write are in them.
    pub(crate) writes: bool,
}

impl Artifact<'_> {
    /// The functions.
    pub(crate) fn functions(&self) -> Result<Vec<u8>> {
        let (name, description, world) = match self.writes {
            true => (
                "whereby",
                "Whereby video meetings for AI agents: seven functions that list, create and \
                 delete rooms and read past meetings",
                "integration",
            ),
            false => (
                "whereby-reader",
                "Whereby video meetings for AI agents: five functions that list rooms and read \
                 past meetings, and none that writes",
                "reader",
            ),
        };
        let built = self.build("whereby-guest")?;
        let documented = metadata::document(&built, &self.workspace.join("wit"), world)?;
        metadata::describe(&documented, name, description)
    }

    /// These functions composed with the gateway.
    pub(crate) fn gateway(&self, functions: &[u8]) -> Result<Vec<u8>> {
        let (name, description) = match self.writes {
            true => (
                "whereby-gateway",
                "Whereby video meetings for AI agents: seven functions as a stateless MCP server \
                 over HTTP",
            ),
            false => (
                "whereby-reader-gateway",
                "Whereby video meetings for AI agents: five functions that only read, as a \
                 stateless MCP server over HTTP",
            ),
        };
        let handler = self.build("whereby-gateway")?;
        metadata::describe(&compose::compose(handler, functions.to_owned())?, name, description)
    }

    fn build(&self, package: &str) -> Result<Vec<u8>> {
        let features: &[&str] = if self.writes { &["write"] } else { &[] };
        let Self { workspace, target_dir, .. } = *self;
        // It is read at once, because the next one that is built takes its place.
        let built = Build { workspace, package, features, target_dir }.run()?;
        Ok(std::fs::read(built)?)
    }
}
