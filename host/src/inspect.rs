//! What a component is, found out without running it.

use crate::cache::sha256;
use crate::catalog::{FUNCTIONS, Function};
use crate::engine::compile;
use crate::error::Error;
use crate::text;
use serde_json::{Value, json};
use std::fmt::Write as _;
use wasmparser::{ComponentName, ComponentNameSectionReader, KnownCustom, Payload};
use wasmtime::component::types::ComponentItem;

/// What a component imports and exports, and what it calls itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Its name, where it gives itself one.
    pub name: Option<String>,
    /// Its version, where it gives itself one.
    pub version: Option<String>,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// The names of what it imports.
    pub imports: Vec<String>,
    /// The names of what it exports, with the functions of an interface.
    pub exports: Vec<(String, Vec<String>)>,
}

impl Inspection {
    /// Inspects a component.
    ///
    /// # Errors
    ///
    /// [`Error::ComponentFault`] where it is none.
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        let (engine, component) = compile(bytes)?;
        let ty = component.component_type();
        let name = |name: &str| text::printable(name, 200);
        let exports = ty.exports(&engine).map(|(export, item)| {
            let functions = match item.ty {
                ComponentItem::ComponentInstance(instance) => instance
                    .exports(&engine)
                    .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                    .map(|(function, _)| name(function))
                    .collect(),
                _ => Vec::new(),
            };
            (name(export), functions)
        });
        let (own_name, version) = own_words(bytes);
        Ok(Self {
            name: own_name.map(name),
            version: version.map(name),
            bytes: bytes.len(),
            sha256: sha256(bytes),
            imports: ty.imports(&engine).map(|(import, _)| name(import)).collect(),
            exports: exports.collect(),
        })
    }

    /// The inspection as people read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (label, word) in [("name", &self.name), ("version", &self.version)] {
            if let Some(word) = word {
                // Writing to a String does not fail.
                let _ = writeln!(out, "{label:7} {word}");
            }
        }
        let _ = writeln!(out, "size    {} bytes\nsha256  {}\nimports", self.bytes, self.sha256);
        for import in &self.imports {
            let _ = writeln!(out, "  {import}");
        }
        out.push_str("exports\n");
        for (export, functions) in &self.exports {
            let _ = writeln!(out, "  {export}");
            for function in functions {
                let _ = writeln!(out, "    {function}");
            }
        }
        out
    }

    /// The inspection as a JSON document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let exports = self
            .exports
            .iter()
            .map(|(name, functions)| json!({"name": name, "functions": functions}));
        json!({
            "name": self.name,
            "version": self.version,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "imports": self.imports,
            "exports": exports.collect::<Vec<_>>(),
        })
    }
}

/// Returns the functions of the catalogue that a component exports, found out without compiling it.
///
/// # Errors
///
/// [`Error::ComponentFault`] where it is no component.
pub(crate) fn functions(bytes: &[u8]) -> Result<Vec<&'static Function>, Error> {
    let (mut exports, mut depth) = (Vec::new(), 0_usize);
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| no_component(&error))?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(|error| no_component(&error))?.name.name);
                }
            }
            _ => {}
        }
    }
    let has = |function: &&Function| exports.contains(&function.interface.export().as_str());
    Ok(FUNCTIONS.iter().filter(has).collect())
}

fn no_component(error: &wasmparser::BinaryReaderError) -> Error {
    let what = text::printable(&error.to_string(), 200);
    Error::ComponentFault { message: format!("the file is no WebAssembly component: {what}") }
}

/// The name and the version that a component gives itself, in the outermost of its custom sections.
///
/// They say nothing about what it does, and nothing depends on them: what cannot be read is left out.
fn own_words(bytes: &[u8]) -> (Option<&str>, Option<&str>) {
    let (mut name, mut version) = (None, None);
    let mut depth = 0_usize;
    for payload in wasmparser::Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => match section.as_known() {
                KnownCustom::ComponentName(names) => name = name.or_else(|| component_name(names)),
                _ if section.name() == "version" => {
                    version = version.or_else(|| str::from_utf8(section.data()).ok());
                }
                _ => {}
            },
            _ => {}
        }
    }
    (name, version)
}

fn component_name(names: ComponentNameSectionReader<'_>) -> Option<&str> {
    names.into_iter().map_while(Result::ok).find_map(|part| match part {
        ComponentName::Component { name, .. } => Some(name),
        _ => None,
    })
}
