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
        let functions = self.functions(&read(self.package("whereby-guest"))?)?;
        let handler = read(self.package("whereby-gateway"))?;
        let gateway = self.gateway(handler, &functions)?;
        Ok((functions, gateway))
    }

    /// Builds the guard of guarded components, and the front for these functions.
    pub(crate) fn guard(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let made = |build| short::shorten(&direct::connect(&read(build)?)?);
        let guard = Build { guards: true, writes: false, ..self.package("whereby-guard") };
        let front = Build { guards: true, ..self.package("whereby-front") };
        Ok((made(guard)?, made(front)?))
    }

    /// Returns the build of a package that guards nothing.
    fn package<'p>(&'p self, package: &'p str) -> Build<'p> {
        let Self { workspace, target_dir, writes } = *self;
        Build { workspace, package, guards: false, writes, target_dir }
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

/// Builds a component. It is read at once, because the next one with other features takes its place.
fn read(build: Build<'_>) -> Result<Vec<u8>> {
    Ok(std::fs::read(build.run()?)?)
}
