//! What a component is, found out without running it.

use crate::cache::sha256;
use crate::engine::compile;
use crate::error::Error;
use crate::text;
use serde_json::{Value, json};
use std::fmt::Write as _;
use wasmtime::component::types::ComponentItem;

/// What a component imports and exports.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
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
        Ok(Self {
            bytes: bytes.len(),
            sha256: sha256(bytes),
            imports: ty.imports(&engine).map(|(import, _)| name(import)).collect(),
            exports: exports.collect(),
        })
    }

    /// The inspection as people read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("size    {} bytes\nsha256  {}\nimports\n", self.bytes, self.sha256);
        for import in &self.imports {
            // Writing to a String does not fail.
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
            "bytes": self.bytes,
            "sha256": self.sha256,
            "imports": self.imports,
            "exports": exports.collect::<Vec<_>>(),
        })
    }
}
