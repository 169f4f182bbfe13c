//! Builds the embedded components from the workspace.

use super::component::Build;
use super::{compose, direct, documentation, metadata, short};
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
    /// Builds the component with the functions, and the same functions composed with the gateway.
    pub(crate) fn build(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let functions = self.functions(&self.package("whereby-guest", false, self.writes)?)?;
        let handler = self.package("whereby-gateway", false, self.writes)?;
        let gateway = self.gateway(handler, &functions)?;
        Ok((functions, gateway))
    }

    /// Builds the guard of guarded components, and the front for these functions.
    pub(crate) fn guard(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let made = |package, writes| {
            short::shorten(&direct::connect(&self.package(package, true, writes)?)?)
        };
        Ok((made("whereby-guard", false)?, made("whereby-front", self.writes)?))
    }

    /// Builds a package. It is read at once, because the next one with other features takes its place.
    fn package(&self, package: &str, guards: bool, writes: bool) -> Result<Vec<u8>> {
        let Self { workspace, target_dir, .. } = *self;
        Ok(std::fs::read(Build { workspace, package, guards, writes, target_dir }.run()?)?)
    }

    fn functions(&self, built: &[u8]) -> Result<Vec<u8>> {
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
        let connected = direct::connect(built)?;
        let documented = documentation::document(&connected, &self.workspace.join("wit"), world)?;
        metadata::describe(&documented, name, description)
    }

    fn gateway(&self, handler: Vec<u8>, functions: &[u8]) -> Result<Vec<u8>> {
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
        metadata::describe(&compose::compose(handler, functions.to_owned())?, name, description)
    }
}
