//! Writes the documentation of a component's world into the component.

use anyhow::{Context as _, Result, bail};
use std::path::Path;
use wasm_encoder::{CustomSection, Section as _};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{PackageMetadata, Resolve};

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
