//! Composes two components into one.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, plug};

/// The component `socket` with what it imports of `plug` supplied by that. What is left to import must
/// be WASI, in one version of each interface.
pub(crate) fn compose(socket: Vec<u8>, plugged: Vec<u8>) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str, component| -> Result<_> {
        let package = Package::from_bytes(name, None, component, graph.types_mut())
            .with_context(|| format!("{name} is no component"))?;
        Ok(graph.register_package(package)?)
    };
    let (socket, plugged) =
        (register("whereby:socket", socket)?, register("whereby:plug", plugged)?);
    plug(&mut graph, vec![plugged], socket)?;
    // An import whose type does not fit is left over without a word.
    let mut versions = BTreeMap::new();
    for (name, ..) in graph.imports() {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        ensure!(interface.starts_with("wasi:"), "nothing that is composed exports {name}");
        if let Some(other) = versions.insert(interface, version).filter(|other| *other != version) {
            bail!("{interface} is imported in the versions {other} and {version}");
        }
    }
    Ok(graph.encode(EncodeOptions::default())?)
}
