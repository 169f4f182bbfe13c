//! Puts a guard between a component's functions and the API key and the network, for runtimes without the
//! host's protection.

#[path = "../../../build/compose.rs"]
mod compose;
#[path = "../../../build/metadata.rs"]
mod metadata;
#[path = "wiring.rs"]
mod wiring;

use crate::error::Error;
use crate::session::sandbox::built_in::{
    BUILT_IN_COMPONENT, BUILT_IN_FRONT, BUILT_IN_GATEWAY, BUILT_IN_GUARD, BUILT_IN_READER,
    BUILT_IN_READER_FRONT, BUILT_IN_READER_GATEWAY,
};
use crate::session::sandbox::guarded::{self, READ, TYPES, WRITE};
use crate::session::sandbox::inspect::Inspection;
use crate::session::sandbox::preflight;
use wasmparser::component_types::{ComponentEntityType, ComponentItem};

/// Which guarded component to make.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variant {
    /// Without the functions that write.
    pub(crate) is_reader: bool,
    /// As an MCP server over HTTP.
    pub(crate) is_gateway: bool,
}

/// Composes a guarded component from the built-in functions, or from another component's.
///
/// # Errors
///
/// [`Error::ComponentFault`] if the other component cannot be guarded. The message says why, and what to
/// do.
pub(crate) fn make(variant: Variant, other: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let Variant { is_reader, is_gateway } = variant;
    let (built_in, front, gateway) = if is_reader {
        (BUILT_IN_READER, BUILT_IN_READER_FRONT, BUILT_IN_READER_GATEWAY)
    } else {
        (BUILT_IN_COMPONENT, BUILT_IN_FRONT, BUILT_IN_GATEWAY)
    };
    let functions = other.unwrap_or(built_in);
    if other.is_some() {
        check_functions(functions, is_reader)?;
    }
    // The built-in components fit together, so the other one is at fault.
    let fault = |why: String| {
        let message = format!("the component cannot be guarded: {why}");
        if other.is_some() { Error::component_fault(message) } else { Error::internal(message) }
    };
    let failed = |error: anyhow::Error| fault(format!("{error:#}"));
    let unproven = |guarded::Unproven(why): guarded::Unproven| fault(why);
    let mut composed = wiring::guard(BUILT_IN_GUARD, front, functions).map_err(failed)?;
    if is_gateway {
        let handler = guarded::handler(gateway).map_err(unproven)?;
        composed = compose::compose(handler.to_vec(), composed).map_err(failed)?;
    }
    let (name, description) = describe(variant);
    let composed = metadata::describe(&composed, name, description).map_err(failed)?;
    // Nothing is handed out whose wiring is not proven.
    guarded::check(&composed).map_err(unproven)?;
    Ok(composed)
}

fn describe(variant: Variant) -> (&'static str, &'static str) {
    match (variant.is_gateway, variant.is_reader) {
        (false, false) => (
            "whereby-guarded",
            "Whereby video meetings for AI agents: functions behind a guard that has the API key and \
             the rules",
        ),
        (false, true) => (
            "whereby-reader-guarded",
            "Whereby video meetings for AI agents: functions that only read, behind a guard that has \
             the API key and the rules",
        ),
        (true, false) => (
            "whereby-guarded-gateway",
            "Whereby video meetings for AI agents: a stateless MCP server over HTTP, with a guard that \
             has the API key and the rules",
        ),
        (true, true) => (
            "whereby-reader-guarded-gateway",
            "Whereby video meetings for AI agents: a stateless MCP server over HTTP that only reads, \
             with a guard that has the API key and the rules",
        ),
    }
}

/// Checks that another component has the functions, and wants only what the guard or the runtime gives.
fn check_functions(component: &[u8], is_reader: bool) -> Result<(), Error> {
    let refuse =
        |why| Err(Error::component_fault(format!("the component cannot be guarded: {why}")));
    let found = Inspection::of(component)?;
    let exports = |name: &str| found.exports.iter().any(|(export, _)| export == name);
    if !is_reader && exports(READ) && !exports(WRITE) {
        return refuse(format!("it does not export {WRITE}; if it only reads, add --reader"));
    }
    let needed = [TYPES, READ, WRITE].into_iter().filter(|name| !(is_reader && *name == WRITE));
    let missing: Vec<&str> = needed.filter(|name| !exports(name)).collect();
    if !missing.is_empty() {
        return refuse(format!(
            "it does not export {}; build it from the worlds of the WIT package whereby:agent",
            missing.join(", ")
        ));
    }
    let others = found.exports.iter().map(|(export, _)| export.as_str());
    let others: Vec<&str> =
        others.filter(|export| ![TYPES, READ, WRITE].contains(export)).collect();
    if !others.is_empty() {
        return refuse(format!(
            "it also exports {}; build it from the worlds of the WIT package whereby:agent",
            others.join(", ")
        ));
    }
    let guard = Inspection::of(BUILT_IN_GUARD)?;
    let mut allowed = guarded::FROM_RUNTIME.to_vec();
    allowed.extend(guard.exports.iter().filter_map(|(export, _)| guarded::wasi(export)));
    allowed.sort_unstable();
    let is_allowed =
        |import: &str| guarded::wasi(import).is_some_and(|interface| allowed.contains(&interface));
    let refused: Vec<&str> =
        found.imports.iter().map(String::as_str).filter(|import| !is_allowed(import)).collect();
    if !refused.is_empty() {
        return refuse(format!(
            "it imports {}; build it with nothing but {}, in a version up to 0.2.{}",
            refused.join(", "),
            allowed.join(", "),
            guarded::LATEST_PATCH
        ));
    }
    // Composing panics on anything else.
    let types = preflight::validate(component)?;
    let is_interface = |item: Option<&ComponentItem>| {
        let Some(ComponentEntityType::Instance(instance)) = item.map(|item| item.ty) else {
            return false;
        };
        types.as_ref().get(instance).is_some_and(|instance| {
            instance.exports.values().all(|item| {
                matches!(item.ty, ComponentEntityType::Func(_) | ComponentEntityType::Type { .. })
            })
        })
    };
    let imports = found.imports.iter().map(|name| (name, types.component_item_for_import(name)));
    let exports =
        found.exports.iter().map(|(name, _)| (name, types.component_item_for_export(name)));
    match imports.chain(exports).find(|(_, item)| !is_interface(*item)) {
        Some((name, _)) => refuse(format!(
            "{name} must consist of functions and types only; build it from the worlds of the WIT \
             package whereby:agent"
        )),
        None => Ok(()),
    }
}
