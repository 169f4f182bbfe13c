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
    /// The functions, and the same functions composed with the gateway.
    pub(crate) fn build(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let Self { workspace, target_dir, writes } = *self;
        let packages = ["whereby-guest", "whereby-gateway"];
        let features = packages.map(|package| format!("{package}/write"));
        let features = if writes { &features[..] } else { &[] };
        // One build of both compiles once what they share.
        let [functions, handler] = Build { workspace, packages, features, target_dir }.run()?;
        // Read at once, because the next pair that is built takes their place.
        let (functions, handler) = (std::fs::read(functions)?, std::fs::read(handler)?);
        let functions = self.functions(&functions)?;
        let gateway = self.gateway(handler, &functions)?;
        Ok((functions, gateway))
    }

    fn functions(&self, built: &[u8]) -> Result<Vec<u8>> {
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
        let documented = metadata::document(built, &self.workspace.join("wit"), world)?;
        metadata::describe(&documented, name, description)
    }

    fn gateway(&self, handler: Vec<u8>, functions: &[u8]) -> Result<Vec<u8>> {
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
        metadata::describe(&compose::compose(handler, functions.to_owned())?, name, description)
    }
}
