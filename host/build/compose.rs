//! Composes components into one.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, plug};

/// Composes `socket` with `plugged`, which supplies its imports. The remaining imports must be WASI, with one
/// version of each interface.
pub(crate) fn compose(socket: Vec<u8>, plugged: Vec<u8>) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let socket = register(&mut graph, "socket", socket)?;
    let plugged = register(&mut graph, "plug", plugged)?;
    plug(&mut graph, vec![plugged], socket)?;
    // `plug` silently leaves imports whose types do not match.
    let mut versions = BTreeMap::new();
    for (name, ..) in graph.imports() {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        ensure!(interface.starts_with("wasi:"), "no composed component exports {name}");
        if let Some(other) = versions.insert(interface, version).filter(|other| *other != version) {
            bail!("{interface} is imported in the versions {other} and {version}");
        }
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

/// Adds a component to a graph.
pub(crate) fn register(
    graph: &mut CompositionGraph,
    name: &str,
    component: Vec<u8>,
) -> Result<PackageId> {
    let package =
        Package::from_bytes(&format!("whereby:{name}"), None, component, graph.types_mut())
            .with_context(|| format!("the {name} is not a component"))?;
    Ok(graph.register_package(package)?)
}
