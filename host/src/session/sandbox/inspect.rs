//! Inspects a component without compiling or running it.

use crate::error::Error;
use crate::session::sandbox::guarded::{self, Guarded};
use crate::session::sandbox::preflight;
use crate::system::digest::sha256;
use serde_json::{Value, json};
use std::fmt::Write as _;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmparser::{
    BinaryReaderError, ComponentName, ComponentNameSectionReader, KnownCustom, Payload,
};
use whereby_authority::text;
use whereby_catalog::{FUNCTIONS, Function};

/// The name, imports and exports of a component.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The name in its metadata, if any.
    pub name: Option<String>,
    /// The version in its metadata, if any.
    pub version: Option<String>,
    /// The size in bytes.
    pub bytes: usize,
    /// The SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// The names of the imports.
    pub imports: Vec<String>,
    /// The names of the exports, each with the functions if it is an interface.
    pub exports: Vec<(String, Vec<String>)>,
    /// What is guarded, if the file proves that its functions reach the API key and the network only
    /// through this version's guard; otherwise, why it does not.
    pub guarded: Result<Guarded, String>,
}

impl Inspection {
    /// Validates and inspects a component.
    ///
    /// # Errors
    ///
    /// [`Error::ComponentFault`] if the bytes are not a component.
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        let types = preflight::validate(bytes)?;
        let outline = Outline::read(bytes).map_err(|error| preflight::not_a_component(&error))?;
        let name = |name: &str| text::printable(name, 200);
        // An imported type is only an alias, unless it is a resource.
        let is_needed = |import: &&str| {
            let item = types.component_item_for_import(import);
            let ty = item.map(|item| &item.ty);
            let Some(ComponentEntityType::Type { created, .. }) = ty else { return true };
            !matches!(created, ComponentAnyTypeId::Defined(_))
        };
        let functions = |export: &str| match types.component_item_for_export(export)?.ty {
            ComponentEntityType::Instance(instance) => {
                let items = types.as_ref().get(instance)?.exports.iter();
                let functions =
                    items.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
                Some(functions.map(|(function, _)| name(function)).collect())
            }
            _ => None,
        };
        let exports = outline.exports.iter();
        Ok(Self {
            name: outline.name.map(name),
            version: outline.version.map(name),
            bytes: bytes.len(),
            sha256: sha256(bytes),
            imports: outline.imports.iter().copied().filter(|i| is_needed(i)).map(name).collect(),
            exports: exports.map(|e| (name(e), functions(e).unwrap_or_default())).collect(),
            guarded: guarded::check(bytes).map_err(|guarded::Unproven(why)| why),
        })
    }

    /// Returns the inspection as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (label, word) in [("name", &self.name), ("version", &self.version)] {
            if let Some(word) = word {
                // Writing to memory does not fail.
                let _ = writeln!(out, "{label:7} {word}");
            }
        }
        let _ = writeln!(out, "size    {} bytes\nsha256  {}", self.bytes, self.sha256);
        let _ = match &self.guarded {
            Ok(Guarded { is_built_in: true, .. }) => {
                writeln!(out, "guarded yes, the built-in functions; the wiring was checked")
            }
            Ok(Guarded { functions, .. }) => {
                let what = "yes, another component; the wiring was checked";
                writeln!(out, "guarded {what}\n        its SHA-256 is {functions}")
            }
            Err(why) => writeln!(out, "guarded no: {why}"),
        };
        out.push_str("imports\n");
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

    /// Returns the inspection as JSON.
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
            "guarded": match &self.guarded {
                Ok(Guarded { is_gateway, is_built_in, functions }) => json!({
                    "proven": true,
                    "gateway": is_gateway,
                    "functions": {"builtIn": is_built_in, "sha256": functions},
                }),
                Err(reason) => json!({"proven": false, "reason": reason}),
            },
        })
    }
}

/// Returns the functions of the catalog that a component exports.
///
/// # Errors
///
/// [`Error::ComponentFault`] if the bytes are not a component.
pub(crate) fn functions(bytes: &[u8]) -> Result<Vec<&'static Function>, Error> {
    let outline = Outline::read(bytes).map_err(|error| {
        let what = text::printable(&error.to_string(), 200);
        Error::component_fault(format!("the file is not a WebAssembly component: {what}"))
    })?;
    let has =
        |function: &&Function| outline.exports.contains(&function.interface.export().as_str());
    Ok(FUNCTIONS.iter().filter(has).collect())
}

/// The outermost sections of a component, which are not validated.
#[derive(Default)]
struct Outline<'a> {
    /// The name and the version in its metadata. Nothing depends on them, so they are absent if they
    /// cannot be read.
    name: Option<&'a str>,
    version: Option<&'a str>,
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
}

impl<'a> Outline<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let (mut outline, mut depth) = (Self::default(), 0_usize);
        for payload in wasmparser::Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        outline.imports.push(import?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        outline.exports.push(export?.name.name);
                    }
                }
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::ComponentName(names) => {
                        outline.name = outline.name.or_else(|| component_name(names));
                    }
                    _ if section.name() == "version" => {
                        let version = || str::from_utf8(section.data()).ok();
                        outline.version = outline.version.or_else(version);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(outline)
    }
}

fn component_name(names: ComponentNameSectionReader<'_>) -> Option<&str> {
    names.into_iter().map_while(Result::ok).find_map(|part| match part {
        ComponentName::Component { name, .. } => Some(name),
        _ => None,
    })
}
