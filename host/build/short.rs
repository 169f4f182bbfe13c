//! Makes a component small: what its modules import and export gets short names, and nothing else has names.
//!
//! Only the component itself knows what its modules call things. The linker names them after the interfaces, and
//! writes each name four times.

use super::merge;
use anyhow::{Context as _, Result, anyhow};
use std::collections::BTreeMap;
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Alias, Component, ComponentImportSection, ComponentInstanceSection, ExportSection,
    ImportSection, InstanceSection, Module, ModuleArg,
};
use wasmparser::{
    ComponentAlias, ComponentImportSectionReader, ComponentInstance, CustomSectionReader, Export,
    ImportSectionReader, Instance, Parser, Validator,
};

/// Returns the same component with short names.
pub(crate) fn shorten(component: &[u8]) -> Result<Vec<u8>> {
    let (mut names, mut new) = (Names::default(), Component::new());
    names.parse_component(&mut new, Parser::new(0), component).map_err(|error| match error {
        Error::UserError(error) => error,
        other => anyhow!("{other}"),
    })?;
    let new = new.finish();
    Validator::new().validate_all(&new).context("the component with short names is invalid")?;
    Ok(new)
}

/// The short names, by what they are short for. Different names stay different, and equal ones equal.
#[derive(Default)]
struct Names {
    short: BTreeMap<String, &'static str>,
    /// The number of components that the current one is in.
    depth: usize,
}

impl Names {
    fn short(&mut self, name: &str) -> &'static str {
        let count = self.short.len();
        // A component's names begin with a letter.
        self.short.entry(name.to_owned()).or_insert_with(|| format!("x{count:x}").leak())
    }
}

type Done = Result<(), Error<anyhow::Error>>;

impl Reencode for Names {
    type Error = anyhow::Error;

    fn parse_import_section(
        &mut self,
        section: &mut ImportSection,
        imports: ImportSectionReader<'_>,
    ) -> Done {
        for import in imports.into_imports() {
            let import = import?;
            let ty = self.entity_type(import.ty)?;
            section.import(self.short(import.module), self.short(import.name), ty);
        }
        Ok(())
    }

    fn parse_export(&mut self, section: &mut ExportSection, export: Export<'_>) -> Done {
        let index = self.external_index(export.kind, export.index)?;
        section.export(self.short(export.name), self.export_kind(export.kind)?, index);
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Done {
        Ok(())
    }
}

impl ReencodeComponent for Names {
    fn parse_component_submodule(
        &mut self,
        new: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Done {
        let merged = merge::merge(module).map_err(Error::UserError)?;
        component_utils::parse_component_submodule(self, new, parser, &merged)
    }

    /// A component in the component only adds types to exports. What it imports, it gets from the outer one.
    fn parse_component_subcomponent(
        &mut self,
        new: &mut Component,
        parser: Parser,
        data: &[u8],
        whole: &[u8],
    ) -> Done {
        self.depth += 1;
        let done = component_utils::parse_component_subcomponent(self, new, parser, data, whole);
        self.depth -= 1;
        done
    }

    fn parse_component_import_section(
        &mut self,
        section: &mut ComponentImportSection,
        imports: ComponentImportSectionReader<'_>,
    ) -> Done {
        for import in imports {
            let import = import?;
            let ty = self.component_type_ref(import.ty)?;
            let name = import.name.name;
            section.import(if self.depth == 0 { name } else { self.short(name) }, ty);
        }
        Ok(())
    }

    fn parse_component_instance(
        &mut self,
        section: &mut ComponentInstanceSection,
        instance: ComponentInstance<'_>,
    ) -> Done {
        let ComponentInstance::Instantiate { component_index, args } = instance else {
            return component_utils::parse_component_instance(self, section, instance);
        };
        let args: Vec<_> =
            args.iter().map(|arg| (self.short(arg.name), arg.kind.into(), arg.index)).collect();
        section.instantiate(component_index, args);
        Ok(())
    }

    fn parse_component_custom_section(
        &mut self,
        _: &mut Component,
        _: CustomSectionReader<'_>,
    ) -> Done {
        Ok(())
    }

    fn component_alias<'a>(
        &mut self,
        alias: ComponentAlias<'a>,
    ) -> Result<Alias<'a>, Error<anyhow::Error>> {
        let mut alias = component_utils::component_alias(self, alias)?;
        if let Alias::CoreInstanceExport { name, .. } = &mut alias {
            *name = self.short(name);
        }
        Ok(alias)
    }

    fn parse_instance(&mut self, section: &mut InstanceSection, instance: Instance<'_>) -> Done {
        match instance {
            Instance::Instantiate { module_index, args } => {
                let args: Vec<_> = args
                    .iter()
                    .map(|arg| (self.short(arg.name), ModuleArg::Instance(arg.index)))
                    .collect();
                section.instantiate(module_index, args);
            }
            Instance::FromExports(exports) => {
                let mut all = Vec::new();
                for export in exports.iter() {
                    let index = self.external_index(export.kind, export.index)?;
                    all.push((self.short(export.name), self.export_kind(export.kind)?, index));
                }
                section.export_items(all);
            }
        }
        Ok(())
    }
}
