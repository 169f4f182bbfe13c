//! Connects a component's imports directly.
//!
//! Most imports need the memory and the function `cabi_realloc` of the main module, but must exist before it.
//! So the linker adds two modules: a shim, whose functions call through a table, and one that fills the table
//! when the main module exists.
//!
//! Here, memory, its contents and `cabi_realloc` become a module that comes first, and the linker's two go. An
//! instance takes less time to make, and an import less time to call.
//!
//! Resources that the component exports must exist before the main module too, and have destructors in it. So
//! the first module also has a table of destructors, which the main module fills, and functions that call
//! through it.
//!
//! The functions free their memory as a whole, so their post-return functions are empty. These go too.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::{iter, mem};
use wasm_encoder::reencode::{
    Error, Reencode, ReencodeComponent, RoundtripReencoder, component_utils,
};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CodeSection, Component, ComponentAliasSection,
    ComponentSectionId, ConstExpr, ElementSection, Elements, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, InstanceSection, Module, ModuleArg, ModuleSection, RawSection,
    RefType, TableSection, TableType,
};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentAliasSectionReader, ComponentType,
    CustomSectionReader, ElementItems, ElementSectionReader, ExternalKind, ImportSectionReader,
    Instance, Operator, Parser, Payload, TypeRef, Validator,
};

/// The linker's modules, in its order.
const MAIN: u32 = 0;
const SHIM: u32 = 1;
const FILLER: u32 = 2;

/// The exports of the main module that imports need.
const MEMORY: &str = "memory";
const REALLOC: &str = "cabi_realloc";

/// The module that has them instead, and its instance.
const FIRST: u32 = 0;

/// The prefix of the names of post-return functions.
const POST_RETURN: &str = "cabi_post_";

/// The first module's table of destructors.
const DESTRUCTORS: &str = "destructors";

/// Returns the same component with its imports connected directly.
pub(crate) fn connect(component: &[u8]) -> Result<Vec<u8>> {
    let destructors = destructors(component)?;
    let (mut connector, mut new) =
        (Connector { destructors, ..Connector::default() }, Component::new());
    connector.parse_component(&mut new, Parser::new(0), component).map_err(
        |error| match error {
            Error::UserError(error) => error,
            other => anyhow!("{other}"),
        },
    )?;
    let modules = connector.modules;
    ensure!(modules == FILLER + 1, "the component has {modules} modules, not the linker's three");
    let new = new.finish();
    Validator::new().validate_all(&new).context("the connected component is invalid")?;
    Ok(new)
}

/// Where the new component has what the linker made. Only modules, their instances and their functions move.
#[derive(Default)]
struct Connector {
    modules: u32,
    instances: Vec<Place>,
    functions: Vec<Core>,
    new_instances: u32,
    new_functions: u32,
    /// The functions that fill the table, by the name of the shim's function that calls them.
    table: BTreeMap<String, u32>,
    destructors: Vec<Destructor>,
    /// The instance of the main module.
    main: u32,
    /// The empty post-return functions of the main module, which go.
    empty: BTreeSet<String>,
}

/// A destructor of a resource that the component exports.
struct Destructor {
    /// The name of the shim's function that calls it. The one in the first module has the same.
    shim: String,
    /// The name that the main module exports it as.
    export: String,
}

/// An instance that the linker made.
enum Place {
    Shim,
    /// These functions, which are an instance when all imports exist.
    Functions(Vec<(String, u32)>),
    /// The main module, which imports these instances and follows them.
    Main(Vec<(String, u32)>),
    /// This instance of the new component.
    New(u32),
    /// None that anything needs.
    Gone,
}

/// A function of a module, or an import in its form.
enum Core {
    /// This function of the new component.
    New(u32),
    /// The function of this name in the shim.
    Shim(String),
    /// A destructor that the main module exports under this name, and puts in the table itself.
    Destructor(String),
    /// An empty post-return function with this name.
    Empty(String),
}

impl Connector {
    /// Adds the instances that need imports. The one at this index fills the table.
    fn add_instances(&mut self, section: &mut InstanceSection, table: usize) -> Result<()> {
        let table = self.instances.get_mut(table).context("the table is filled with nothing")?;
        let Place::Functions(functions) = mem::replace(table, Place::Gone) else {
            bail!("the table is not filled with functions");
        };
        for (name, function) in functions {
            if let Some(Core::Destructor(export)) = self.functions.get(function as usize) {
                let is_same = |known: &Destructor| known.shim == name && known.export == *export;
                ensure!(self.destructors.iter().any(is_same), "{name} is another destructor");
                continue;
            }
            let function = self.function(function)?;
            self.table.insert(name, function);
        }
        for index in 0..self.instances.len() {
            match &self.instances[index] {
                Place::Functions(functions) => {
                    let functions = functions.iter().map(|(name, function)| {
                        Ok((name.as_str(), ExportKind::Func, self.function(*function)?))
                    });
                    section.export_items(functions.collect::<Result<Vec<_>>>()?);
                }
                Place::Main(imports) => {
                    let imports = imports.iter().map(|(name, instance)| {
                        match self.instances.get(*instance as usize) {
                            Some(Place::New(new)) => Ok((name.as_str(), ModuleArg::Instance(*new))),
                            _ => Err(anyhow!("{name} is imported from another module")),
                        }
                    });
                    let memory = Ok((MEMORY, ModuleArg::Instance(FIRST)));
                    let imports = imports.chain([memory]).collect::<Result<Vec<_>>>()?;
                    section.instantiate(FIRST + 1, imports);
                }
                _ => continue,
            }
            self.instances[index] = Place::New(self.new_instances);
            self.new_instances += 1;
        }
        Ok(())
    }

    fn add_function(&mut self) {
        self.functions.push(Core::New(self.new_functions));
        self.new_functions += 1;
    }

    /// Returns the new index of a function.
    fn function(&self, function: u32) -> Result<u32> {
        match self.functions.get(function as usize).context("a function is missing")? {
            Core::New(new) => Ok(*new),
            Core::Shim(name) => self.table.get(name).copied().context("the table lacks a function"),
            Core::Destructor(export) => bail!("{export} is more than a destructor"),
            Core::Empty(name) => bail!("{name} is called, and not only after a function"),
        }
    }
}

impl Reencode for Connector {
    type Error = anyhow::Error;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<anyhow::Error>> {
        self.function(function).map_err(Error::UserError)
    }
}

impl ReencodeComponent for Connector {
    fn parse_component_submodule(
        &mut self,
        new: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result<(), Error<anyhow::Error>> {
        let done = match self.modules {
            MAIN => split(module, &self.destructors).map(|parts| {
                new.section(&ModuleSection(&parts.first)).section(&ModuleSection(&parts.main));
                self.empty = parts.empty;
            }),
            // The others go.
            SHIM => check_shim(module),
            FILLER => check_filler(module),
            _ => Ok(()),
        };
        self.modules += 1;
        done.map_err(Error::UserError)
    }

    /// Copies a component that adds types to the exports.
    fn parse_component_subcomponent(
        &mut self,
        new: &mut Component,
        _: Parser,
        data: &[u8],
        _: &[u8],
    ) -> Result<(), Error<anyhow::Error>> {
        new.section(&RawSection { id: ComponentSectionId::Component.into(), data });
        Ok(())
    }

    /// Copies a custom section, but not the names of functions that move.
    fn parse_component_custom_section(
        &mut self,
        new: &mut Component,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<anyhow::Error>> {
        if section.name() != "component-name" {
            component_utils::parse_component_custom_section(self, new, section)?;
        }
        Ok(())
    }

    fn parse_instance(
        &mut self,
        section: &mut InstanceSection,
        instance: Instance<'_>,
    ) -> Result<(), Error<anyhow::Error>> {
        let place = match instance {
            Instance::FromExports(exports) => {
                let functions = exports.iter().filter(|export| export.kind == ExternalKind::Func);
                Place::Functions(
                    functions.map(|export| (export.name.to_owned(), export.index)).collect(),
                )
            }
            Instance::Instantiate { module_index: MAIN, args } => {
                self.main = self.instances.len() as u32;
                Place::Main(args.iter().map(|arg| (arg.name.to_owned(), arg.index)).collect())
            }
            Instance::Instantiate { module_index: SHIM, .. } => {
                section.instantiate(FIRST, iter::empty::<(&str, _)>());
                self.new_instances += 1;
                Place::Shim
            }
            Instance::Instantiate { module_index: FILLER, args } => {
                let [table] = args.as_ref() else {
                    let error = anyhow!("the table is filled from several instances");
                    return Err(Error::UserError(error));
                };
                self.add_instances(section, table.index as usize).map_err(Error::UserError)?;
                Place::Gone
            }
            Instance::Instantiate { .. } => Place::Gone,
        };
        self.instances.push(place);
        Ok(())
    }

    fn parse_component_alias_section(
        &mut self,
        section: &mut ComponentAliasSection,
        aliases: ComponentAliasSectionReader<'_>,
    ) -> Result<(), Error<anyhow::Error>> {
        for alias in aliases {
            let alias = alias?;
            let ComponentAlias::CoreInstanceExport { kind, instance_index, name } = alias else {
                section.alias(self.component_alias(alias)?);
                continue;
            };
            let is_function = kind == ExternalKind::Func;
            let is_destructor = |known: &Destructor| known.shim == name;
            let is_destroyed = |known: &Destructor| known.export == name;
            let instance = match self.instances.get(instance_index as usize) {
                Some(Place::Shim) if self.destructors.iter().any(is_destructor) => FIRST,
                Some(Place::Shim) => {
                    if is_function {
                        self.functions.push(Core::Shim(name.to_owned()));
                    }
                    continue;
                }
                Some(Place::Main(_)) if name == MEMORY || name == REALLOC => FIRST,
                Some(Place::Main(_)) if self.destructors.iter().any(is_destroyed) => {
                    self.functions.push(Core::Destructor(name.to_owned()));
                    continue;
                }
                Some(Place::New(_)) if instance_index == self.main && self.empty.contains(name) => {
                    self.functions.push(Core::Empty(name.to_owned()));
                    continue;
                }
                Some(Place::New(new)) => *new,
                _ => {
                    let error = anyhow!("{name} is needed before the main module exists");
                    return Err(Error::UserError(error));
                }
            };
            section.alias(Alias::CoreInstanceExport { instance, kind: kind.into(), name });
            if is_function {
                self.add_function();
            }
        }
        Ok(())
    }

    fn parse_component_canonical(
        &mut self,
        section: &mut CanonicalFunctionSection,
        function: CanonicalFunction,
    ) -> Result<(), Error<anyhow::Error>> {
        let CanonicalFunction::Lift { core_func_index, type_index, options } = function else {
            component_utils::parse_component_canonical(self, section, function)?;
            self.add_function();
            return Ok(());
        };
        let is_kept = |option: &CanonicalOption| match option {
            CanonicalOption::PostReturn(after) => {
                !matches!(self.functions.get(*after as usize), Some(Core::Empty(_)))
            }
            _ => true,
        };
        let options = options.into_iter().filter(is_kept).collect();
        let function = CanonicalFunction::Lift { core_func_index, type_index, options };
        component_utils::parse_component_canonical(self, section, function)
    }
}

/// Returns the destructors of a component's resources.
fn destructors(component: &[u8]) -> Result<Vec<Destructor>> {
    let (mut depth, mut functions, mut shims) = (0, Vec::new(), Vec::new());
    let mut table = BTreeMap::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ if depth > 0 => {}
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    if let ComponentAlias::CoreInstanceExport {
                        kind: ExternalKind::Func,
                        name,
                        ..
                    } = alias?
                    {
                        functions.push(Some(name));
                    }
                }
            }
            Payload::ComponentCanonicalSection(canonical) => {
                for function in canonical {
                    if !matches!(function?, CanonicalFunction::Lift { .. }) {
                        functions.push(None);
                    }
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    if let ComponentType::Resource { dtor: Some(dtor), .. } = ty? {
                        let function = functions.get(dtor as usize).copied().flatten();
                        shims.push(function.context("a destructor is not the shim's")?);
                    }
                }
            }
            // The functions that fill the shim's table come with it.
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    let Instance::FromExports(exports) = instance? else { continue };
                    if exports.iter().any(|export| export.kind == ExternalKind::Table) {
                        table.extend(exports.iter().map(|export| (export.name, export.index)));
                    }
                }
            }
            _ => {}
        }
    }
    let destructor = |shim: &str| {
        let function = table.get(shim).and_then(|index| functions.get(*index as usize));
        let export = function.copied().flatten();
        let export = export.with_context(|| format!("the table lacks the destructor {shim}"))?;
        Ok(Destructor { shim: shim.to_owned(), export: export.to_owned() })
    };
    shims.into_iter().map(destructor).collect()
}

/// Checks that each function of the shim calls the function of the table that has its index, and that this
/// index is its name.
fn check_shim(module: &[u8]) -> Result<()> {
    let mut index = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let is_named = export.name == export.index.to_string();
                    ensure!(
                        export.kind != ExternalKind::Func || is_named,
                        "a shim has another name"
                    );
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                let called = loop {
                    match operators.read()? {
                        Operator::LocalGet { .. } => {}
                        Operator::I32Const { value } => break value,
                        _ => bail!("a shim does more than call"),
                    }
                };
                let is_call = matches!(operators.read()?, Operator::CallIndirect { .. })
                    && matches!(operators.read()?, Operator::End);
                ensure!(is_call && called == index, "a shim calls another function");
                index += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that a module only fills the table, with its imports in the order of their names, which are numbers.
///
/// The linker also puts a call of `_initialize` here, which would be lost.
fn check_filler(module: &[u8]) -> Result<()> {
    let (mut names, mut filled) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if matches!(import.ty, TypeRef::Func(_)) {
                        names.push(import.name.to_owned());
                    }
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    let ElementItems::Functions(functions) = element?.items else {
                        bail!("the table is filled with expressions");
                    };
                    filled.extend(functions.into_iter().collect::<Result<Vec<_>, _>>()?);
                }
            }
            Payload::Version { .. }
            | Payload::TypeSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => bail!("the linker's third module does more than fill the table"),
        }
    }
    let indexes: Vec<u32> = (0..).take(names.len()).collect();
    let is_in_order = indexes.iter().zip(&names).all(|(index, name)| *name == index.to_string());
    ensure!(filled == indexes && is_in_order, "the table is filled in another order");
    Ok(())
}

/// The two modules that the main module becomes.
struct Parts {
    first: Module,
    main: Module,
    /// The exports that the second one lacks.
    empty: BTreeSet<String>,
}

/// Splits the main module: the first module has memory, its contents, a copy of `cabi_realloc` and a table of
/// destructors; the second one imports that memory, and fills that table.
fn split(module: &[u8], destructors: &[Destructor]) -> Result<Parts> {
    let (mut sections, mut bodies, mut types) = (Vec::new(), Vec::new(), Vec::new());
    let (mut imports, mut memory, mut exported) = (0, None, BTreeMap::new());
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let is_function = matches!(import?.ty, TypeRef::Func(_));
                    ensure!(is_function, "the main module imports more than functions");
                    imports += 1;
                }
            }
            Payload::FunctionSection(section) => {
                types = section.clone().into_iter().collect::<Result<_, _>>()?;
            }
            Payload::MemorySection(section) => {
                memory = section.clone().into_iter().next().transpose()?;
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exported.insert(export.name, export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.clone()),
            _ => {}
        }
        sections.push(payload);
    }
    let memory = RoundtripReencoder.memory_type(memory.context("the module has no memory")?)?;

    let realloc = exported.get(REALLOC).context("the module has no cabi_realloc")?;
    let mut copied = Copied(vec![*realloc]);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut done = 0;
    while let Some(function) = copied.0.get(done) {
        let own = function.checked_sub(imports).context("cabi_realloc calls an import")? as usize;
        let body = bodies.get(own).context("a function has no body")?;
        for operator in body.get_operators_reader()? {
            if let Operator::Call { function_index: called } = operator?
                && !copied.0.contains(&called)
            {
                copied.0.push(called);
            }
        }
        functions.function(types[own]);
        copied.parse_function_body(&mut code, body.clone())?;
        done += 1;
    }
    let mut exports = ExportSection::new();
    exports.export(MEMORY, ExportKind::Memory, 0).export(REALLOC, ExportKind::Func, 0);

    let mut filled = Filled { destructors: Vec::new(), table: table(destructors.len()) };
    for (Destructor { shim, export }, place) in destructors.iter().zip(0..) {
        let destructor = exported.get(export.as_str());
        let destructor = *destructor.with_context(|| format!("the module has no {export}"))?;
        let own = destructor.checked_sub(imports).map(|own| types.get(own as usize));
        let ty = *own.flatten().context("a destructor is imported")?;
        let mut call = Function::new([]);
        call.instructions().local_get(0).i32_const(place).call_indirect(0, ty).end();
        exports.export(shim, ExportKind::Func, functions.len());
        functions.function(ty);
        code.function(&call);
        filled.destructors.push(destructor);
    }
    let mut empty = BTreeSet::new();
    for (name, function) in exported.iter().filter(|(name, _)| name.starts_with(POST_RETURN)) {
        let body = function.checked_sub(imports).and_then(|own| bodies.get(own as usize));
        let body = body.context("an exported function has no body")?;
        if matches!(body.get_operators_reader()?.read()?, Operator::End) {
            empty.insert((*name).to_owned());
        }
    }

    let mut tables = TableSection::new();
    if !destructors.is_empty() {
        tables.table(filled.table);
        exports.export(DESTRUCTORS, ExportKind::Table, 0);
    }

    let (mut first, mut main) = (Module::new(), Module::new());
    for payload in sections {
        let Some((id, range)) = payload.as_section() else { continue };
        let section = RawSection { id, data: &module[range.start as usize..range.end as usize] };
        match payload {
            Payload::TypeSection(_) => {
                first.section(&section).section(&functions);
                if !tables.is_empty() {
                    first.section(&tables);
                }
                main.section(&section);
            }
            Payload::ImportSection(imports) => {
                let mut all = ImportSection::new();
                RoundtripReencoder.parse_import_section(&mut all, imports)?;
                all.import(MEMORY, MEMORY, memory);
                main.section(&all);
            }
            Payload::MemorySection(_) => {
                first.section(&section).section(&exports).section(&code);
            }
            Payload::DataSection(_) => {
                first.section(&section);
            }
            Payload::DataCountSection { .. } => {}
            Payload::ExportSection(exports) => {
                let mut kept = ExportSection::new();
                for export in exports {
                    let export = export?;
                    if !empty.contains(export.name) {
                        RoundtripReencoder.parse_export(&mut kept, export)?;
                    }
                }
                main.section(&kept);
            }
            _ => {
                main.section(&section);
            }
        }
    }
    if destructors.is_empty() {
        return Ok(Parts { first, main, empty });
    }
    let mut filling = Module::new();
    filled.parse_core_module(&mut filling, Parser::new(0), &main.finish())?;
    ensure!(filled.destructors.is_empty(), "the main module fills no table");
    Ok(Parts { first, main: filling, empty })
}

/// Returns the type of the table of destructors.
fn table(destructors: usize) -> TableType {
    let size = destructors as u64;
    TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: size,
        maximum: Some(size),
        shared: false,
    }
}

/// Makes the main module import the table of destructors and fill it.
struct Filled {
    /// The destructors. Empty when they are in the table.
    destructors: Vec<u32>,
    table: TableType,
}

impl Reencode for Filled {
    type Error = Infallible;

    /// Imported tables come before the module's own.
    fn table_index(&mut self, table: u32) -> Result<u32, Error> {
        Ok(table + 1)
    }

    fn parse_import_section(
        &mut self,
        section: &mut ImportSection,
        imports: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        RoundtripReencoder.parse_import_section(section, imports)?;
        section.import(MEMORY, DESTRUCTORS, self.table);
        Ok(())
    }

    fn parse_element_section(
        &mut self,
        section: &mut ElementSection,
        elements: ElementSectionReader<'_>,
    ) -> Result<(), Error> {
        for element in elements {
            self.parse_element(section, element?)?;
        }
        let destructors = Elements::Functions(mem::take(&mut self.destructors).into());
        section.active(None, &ConstExpr::i32_const(0), destructors);
        Ok(())
    }
}

/// The functions that are copied, in their new order.
struct Copied(Vec<u32>);

impl Reencode for Copied {
    type Error = Infallible;

    /// The only table here is that of the destructors, which these functions don't know.
    fn table_index(&mut self, _: u32) -> Result<u32, Error> {
        // The validation refuses it.
        Ok(u32::MAX)
    }

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let new = self.0.iter().position(|copied| *copied == function);
        // The validation refuses an index that is too large.
        Ok(new.map_or(u32::MAX, |new| new as u32))
    }
}
