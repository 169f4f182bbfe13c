//! Writes a component's metadata for registries and tools.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use wasm_encoder::{CustomSection, Section as _};
use wasm_metadata::AddMetadataField::Set;
use wasm_metadata::{AddMetadata, Description, Homepage, Licenses, Source, Version};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{PackageMetadata, Resolve};

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

/// Adds the documentation of a component's world, which the linker omits.
///
/// The section can only document the synthetic package of the component's own world: parsers refuse a
/// section that names an interface of another package.
pub(crate) fn document(component: &[u8], wit: &Path, world: &str) -> Result<Vec<u8>> {
    let mut source = Resolve::default();
    let (package, _) = source.push_dir(wit)?;
    let world = source.packages[package].worlds.get(world).context("the WIT has no such world")?;
    let docs = source.worlds[*world].docs.clone();

    let DecodedWasm::Component(mut resolve, root) = decode(component)? else {
        bail!("not a component");
    };
    resolve.worlds[root].docs = docs;
    let package = resolve.worlds[root].package.context("a world belongs to a package")?;
    let section = CustomSection {
        name: PackageMetadata::SECTION_NAME.into(),
        data: PackageMetadata::extract(&resolve, package).encode()?.into(),
    };
    let mut documented = component.to_owned();
    section.append_to(&mut documented);
    Ok(documented)
}
