//! Connects the parts of a guarded component.

use super::compose::register;
use crate::session::sandbox::guarded::TYPES;
use anyhow::{Context as _, Result};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

/// Composes a component's functions with a guard behind them and a front before them.
///
/// The functions get every interface of WASI that the guard has from the guard, and the others from the
/// runtime. The front gets the guard's grants and the functions. What is exported comes from the front,
/// except the types. `guarded.rs` proves it from the file.
pub(super) fn guard(guard: &[u8], front: &[u8], functions: &[u8]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let guard = Node::new(&mut graph, "guard", guard)?;
    let functions = Node::new(&mut graph, "functions", functions)?;
    let front = Node::new(&mut graph, "front", front)?;
    for import in &functions.imports {
        let is_same = |export: &&String| interface(export) == interface(import);
        if let Some(export) = guard.exports.iter().filter(|e| e.starts_with("wasi:")).find(is_same)
        {
            connect(&mut graph, &guard, export, &functions, import)?;
        }
    }
    for import in front.imports.iter().filter(|import| !import.starts_with("wasi:")) {
        let from = if guard.exports.contains(import) { &guard } else { &functions };
        connect(&mut graph, from, import, &front, import)?;
    }
    let types = graph.alias_instance_export(functions.instance, TYPES)?;
    graph.export(types, TYPES)?;
    for export in &front.exports {
        let function = graph.alias_instance_export(front.instance, export)?;
        graph.export(function, export)?;
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

/// A component in a graph, with its one instance.
struct Node {
    instance: NodeId,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Node {
    fn new(graph: &mut CompositionGraph, name: &str, component: &[u8]) -> Result<Self> {
        let package = register(graph, name, component.to_owned())?;
        let instance = graph.instantiate(package);
        let world = &graph.types()[graph[package].ty()];
        let imports = world.imports.keys().cloned().collect();
        let exports = world.exports.keys().cloned().collect();
        Ok(Self { instance, imports, exports })
    }
}

/// Makes an export of one component an import of another.
fn connect(
    graph: &mut CompositionGraph,
    from: &Node,
    export: &str,
    to: &Node,
    import: &str,
) -> Result<()> {
    let export = graph.alias_instance_export(from.instance, export)?;
    graph
        .set_instantiation_argument(to.instance, import, export)
        .with_context(|| format!("{import} does not have the types that it must have"))
}

/// Returns the name of an interface without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}
