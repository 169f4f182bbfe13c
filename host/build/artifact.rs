//! Builds the embedded components from the workspace.

use super::component::Build;
use super::{compose, metadata};
use anyhow::Result;
use std::path::Path;

/// A pair of components: the functions, and the functions with the gateway.
pub(crate) struct Artifact<'a> {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) workspace: &'a Path,
    /// As for [`Build::target_dir`].
    pub(crate) target_dir: &'a Path,
    /// Whether they can write.
    pub(crate) writes: bool,
}

impl Artifact<'_> {
    /// Builds the component with the functions.
    pub(crate) fn functions(&self) -> Result<Vec<u8>> {
        let (name, description, world) = if self.writes {
            (
                "whereby",
                "Whereby video meetings for AI agents: functions that list, create and delete rooms \
                 and read past meetings",
                "integration",
            )
        } else {
            (
                "whereby-reader",
                "Whereby video meetings for AI agents: functions that list rooms and read past \
                 meetings, without those that write",
                "reader",
            )
        };
        let built = self.build("whereby-guest")?;
        let documented = metadata::document(&built, &self.workspace.join("wit"), world)?;
        metadata::describe(&documented, name, description)
    }

    /// Builds the component with these functions and the gateway.
    pub(crate) fn gateway(&self, functions: &[u8]) -> Result<Vec<u8>> {
        let (name, description) = if self.writes {
            (
                "whereby-gateway",
                "Whereby video meetings for AI agents: a stateless MCP server over HTTP",
            )
        } else {
            (
                "whereby-reader-gateway",
                "Whereby video meetings for AI agents: a stateless MCP server over HTTP that only reads",
            )
        };
        let handler = self.build("whereby-gateway")?;
        metadata::describe(&compose::compose(handler, functions.to_owned())?, name, description)
    }

    fn build(&self, package: &str) -> Result<Vec<u8>> {
        let features: &[&str] = if self.writes { &["write"] } else { &[] };
        let Self { workspace, target_dir, .. } = *self;
        // Read it now, because the next build replaces it.
        let built = Build { workspace, package, features, target_dir }.run()?;
        Ok(std::fs::read(built)?)
    }
}
