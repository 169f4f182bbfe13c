//! Writes a component's metadata for registries and tools.

use anyhow::Result;
use wasm_metadata::AddMetadataField::Set;
use wasm_metadata::{AddMetadata, Description, Homepage, Licenses, Source, Version};

/// Adds a name and a description to a component, and the workspace's version, license, homepage and source.
pub(crate) fn describe(component: &[u8], name: &str, description: &str) -> Result<Vec<u8>> {
    let mut add = AddMetadata::default();
    add.name = Set(name.to_owned());
    add.description = Set(Description::new(description.to_owned()));
    add.version = Set(Version::new(env!("CARGO_PKG_VERSION")));
    add.licenses = Set(Licenses::new(env!("CARGO_PKG_LICENSE"))?);
    add.homepage = Set(Homepage::new(env!("CARGO_PKG_HOMEPAGE"))?);
    add.source = Set(Source::new(env!("CARGO_PKG_REPOSITORY"))?);
    add.to_wasm(component)
}
