//! Checks the size of a component's parts before it is compiled: a small file can take the compiler
//! minutes and gigabytes.
//!
//! Each bound is a generous multiple of what the built-in component needs. Together they keep the worst
//! known component at a few seconds and some hundred MiB; see `tests/it/preflight.rs`.

use crate::config::limits::Limits;
use crate::error::Error;
use crate::session::sandbox::engine::TABLE_ELEMENTS;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentValType,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentImport,
    ComponentInstance, ComponentOuterAliasKind, ComponentType, ComponentTypeDeclaration,
    ComponentTypeRef, CompositeInnerType, FuncValidator, FuncValidatorAllocations, FunctionBody,
    InstanceTypeDeclaration, ModuleArity as _, Operator, OperatorsReader, Parser, Payload,
    SectionLimited, TypeBounds, ValType, ValidPayload, Validator, ValidatorResources,
};
use whereby_authority::text;

/// A bound on something that is counted.
#[derive(Hash)]
struct Bound {
    what: &'static str,
    most: u64,
    /// The configuration key that sets it, if any.
    key: Option<&'static str>,
}

impl Bound {
    const fn fixed(what: &'static str, most: u64) -> Self {
        Self { what, most, key: None }
    }

    /// Adds to a count, and checks it.
    fn count(&self, found: &mut u64, more: u64) -> Result<(), Refusal> {
        *found = found.saturating_add(more);
        self.check(*found)
    }

    fn check(&self, found: u64) -> Result<(), Refusal> {
        let Self { what, most, key } = self;
        if found <= *most {
            return Ok(());
        }
        let advice = match key {
            Some(key) => format!("to allow it, raise limits.{key}"),
            None => "use a smaller component".to_owned(),
        };
        let message = format!(
            "the component is too large to compile: {found} {what}, limit {most}; {advice}"
        );
        Err(Refusal::new(message))
    }
}

const MODULES: Bound = Bound::fixed("core modules", 16);
const COMPONENTS: Bound = Bound::fixed("nested components", 100);
const CODE: Bound = Bound::fixed("bytes of code", 4 * 1024 * 1024);
const BODY: Bound = Bound::fixed("bytes of code in one function", 256 * 1024);
const NESTING: Bound = Bound::fixed("levels of nested blocks", 512);
const SIGNATURE: Bound = Bound::fixed("parameters and results of one function", 64);
const ELEMENTS: Bound = Bound::fixed("elements in one table", TABLE_ELEMENTS as u64);
const DECLARATIONS: Bound = Bound::fixed("bytes of types, imports and exports", 512 * 1024);

/// A component counts each time it is instantiated. Each value that a function passes between components
/// counts as well.
const INSTANTIATED: Bound =
    Bound::fixed("bytes of types, imports and exports in instances", 512 * 1024);

/// Each use of an instance's type makes new types for all resources in it.
const RESOURCES: Bound = Bound::fixed("resource types", 500);
const INSTANCES: Bound = Bound::fixed("uses of instance types", 300);
const INSTANCES_IN_TYPES: Bound = Bound::fixed("uses of instance types within types", 4);

/// One function may take the total steps divided by this number.
const SHARE: u64 = 30;

/// The bounds on the code of all functions and of one, which the configuration sets.
#[derive(Hash)]
struct CodeBounds {
    functions: Bound,
    steps: Bound,
    body_steps: Bound,
}

impl CodeBounds {
    fn of(limits: &Limits) -> Self {
        let set = |what, most, key| Bound { what, most, key: Some(key) };
        let (steps, key) = (limits.component_steps, "component_steps_millions");
        Self {
            functions: set("functions", limits.component_functions, "component_functions"),
            steps: set("steps of compiling", steps, key),
            body_steps: set("steps of compiling one function", steps / SHARE, key),
        }
    }
}

/// Hashes the bounds, which decide whether a component may be compiled.
pub(crate) fn hash(limits: &Limits, hasher: &mut impl Hasher) {
    [
        MODULES,
        COMPONENTS,
        CODE,
        BODY,
        NESTING,
        SIGNATURE,
        ELEMENTS,
        DECLARATIONS,
        INSTANTIATED,
        RESOURCES,
        INSTANCES,
        INSTANCES_IN_TYPES,
    ]
    .hash(hasher);
    CodeBounds::of(limits).hash(hasher);
}

/// Checks that a component is valid and can be compiled within bounds.
///
/// # Errors
///
/// [`Error::ComponentFault`], which says what exceeds its bound, or why the bytes are not a component.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    walk(bytes, Some(CodeBounds::of(limits))).map(drop).map_err(|Refusal(error)| error)
}

/// Checks that a component is valid, and returns the types of its imports and exports. The bounds on code
/// do not apply.
///
/// # Errors
///
/// [`Error::ComponentFault`], which says why the bytes are not a component, or that it has too many types.
pub(crate) fn validate(bytes: &[u8]) -> Result<Types, Error> {
    walk(bytes, None).map_err(|Refusal(error)| error)
}

/// Returns how many memories the modules in a component have. What cannot be read has none.
pub(crate) fn memories(bytes: &[u8]) -> u32 {
    let sections = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    sections.fold(0, |count, section| match section {
        Payload::MemorySection(memories) => memories.count().saturating_add(count),
        _ => count,
    })
}

/// Validates a component section by section. Each section is counted first, because types can make the
/// validator take long too.
fn walk(bytes: &[u8], compiled: Option<CodeBounds>) -> Result<Types, Refusal> {
    check_form(bytes)?;
    let mut validator = Validator::new();
    let mut allocations = FuncValidatorAllocations::default();
    let mut count = Count { compiled, ..Count::default() };
    let mut types = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        count.section(&payload)?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let validator = function.into_validator(allocations);
                allocations = count.body(validator, &body)?.into_allocations();
            }
            // The outermost component ends last.
            ValidPayload::End(ended) => types = Some(ended),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
        if let Payload::ComponentCanonicalSection(section) = payload
            && let Some(types) = validator.types(0)
        {
            count.passed(section, types)?;
        }
    }
    types.ok_or_else(|| Refusal::new("not a component: the file is truncated"))
}

/// Checks the header, with clearer messages than the validator's.
fn check_form(bytes: &[u8]) -> Result<(), Refusal> {
    let message = match bytes {
        // The magic bytes, the version, and the layer: 1 for components, 0 for core modules.
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => {
            "not a component: the file is a core WebAssembly module; convert it with `wasm-tools component new`"
        }
        _ => "not a component: the file is not WebAssembly",
    };
    Err(Refusal::new(message))
}

/// Returns the error for bytes that are not a valid component.
pub(crate) fn not_a_component(error: &BinaryReaderError) -> Error {
    let shown = text::printable(&error.to_string(), 500);
    Error::component_fault(format!("not a component: {shown}"))
}

/// Why a component is refused.
struct Refusal(Error);

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self(Error::component_fault(message))
    }
}

impl From<BinaryReaderError> for Refusal {
    fn from(error: BinaryReaderError) -> Self {
        Self(not_a_component(&error))
    }
}

/// The counts of everything that is bounded.
#[derive(Default)]
struct Count {
    /// The bounds on code; absent if the component is not compiled.
    compiled: Option<CodeBounds>,
    modules: u64,
    components: u64,
    declarations: u64,
    resources: u64,
    instances: u64,
    instances_in_types: u64,
    code: u64,
    functions: u64,
    steps: u64,
    /// The components and modules around `open`, the outermost first.
    around: Vec<Open>,
    open: Open,
    /// The known sizes of types.
    sizes: HashMap<ComponentDefinedTypeId, u64>,
}

/// A component or a module that is being read.
#[derive(Default)]
struct Open {
    is_module: bool,
    /// The bytes of its declarations, and of the declarations of its instances.
    instantiated: u64,
    /// The same count for each component in its index space.
    components: Vec<u64>,
}

/// The count of an imported component, whose declarations are unknown.
const UNKNOWN: u64 = u64::MAX;

/// The compiler's additional steps for each function, and for each type of functions.
const FUNCTION_STEPS: u64 = 100;
const TYPE_STEPS: u64 = 150;

/// The compiler's steps for each block.
const BLOCK_STEPS: u64 = 7;

impl Count {
    fn add_steps(&mut self, steps: u64) -> Result<(), Refusal> {
        let Some(bounds) = &self.compiled else { return Ok(()) };
        bounds.steps.count(&mut self.steps, steps)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        INSTANTIATED.count(&mut self.open.instantiated, bytes)
    }

    fn begin(&mut self, is_module: bool) {
        let begun = Open { is_module, ..Open::default() };
        self.around.push(std::mem::replace(&mut self.open, begun));
    }

    /// Counts a section before it is validated.
    fn section(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::ModuleSection { .. } => {
                MODULES.count(&mut self.modules, 1)?;
                self.begin(true);
                return Ok(());
            }
            Payload::ComponentSection { .. } => {
                COMPONENTS.count(&mut self.components, 1)?;
                self.begin(false);
                return Ok(());
            }
            Payload::End(_) => {
                if let Some(around) = self.around.pop() {
                    let ended = std::mem::replace(&mut self.open, around);
                    if !ended.is_module {
                        self.open.components.push(ended.instantiated);
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        let bytes = match payload {
            // These have their own bounds, or are fast.
            Payload::FunctionSection(_)
            | Payload::CodeSectionStart { .. }
            | Payload::DataSection(_)
            | Payload::CustomSection(_) => 0,
            payload => payload.as_section().map_or(0, |(_, range)| range.len() as u64),
        };
        if !self.open.is_module || self.compiled.is_some() {
            DECLARATIONS.count(&mut self.declarations, bytes)?;
        }
        if !self.open.is_module {
            self.take(bytes)?;
            return self.section_of_component(payload);
        }
        // The validator is fast within a module.
        if self.compiled.is_some() { self.section_of_module(payload) } else { Ok(()) }
    }

    fn section_of_module(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::FunctionSection(section) => {
                let count = u64::from(section.count());
                if let Some(bounds) = &self.compiled {
                    bounds.functions.count(&mut self.functions, count)?;
                }
                self.add_steps(count * FUNCTION_STEPS)?;
            }
            Payload::CodeSectionStart { size, .. } => {
                CODE.count(&mut self.code, u64::from(*size))?;
            }
            Payload::CodeSectionEntry(body) => BODY.check(body.range().len() as u64)?,
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group?.types() {
                        let CompositeInnerType::Func(ty) = &ty.composite_type.inner else {
                            continue;
                        };
                        let values = (ty.params().len() + ty.results().len()) as u64;
                        SIGNATURE.check(values)?;
                        self.add_steps(TYPE_STEPS + 2 * values)?;
                    }
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    ELEMENTS.check(table?.ty.initial)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn section_of_component(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::ComponentTypeSection(section) => {
                for ty in section.clone() {
                    self.component_type(&ty?)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let ty = import?.ty;
                    self.reference(ty)?;
                    if matches!(ty, ComponentTypeRef::Component(_)) {
                        self.open.components.push(UNKNOWN);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    if export?.kind == ComponentExternalKind::Component {
                        self.open.components.push(UNKNOWN);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let component = self.open.components.get(component_index as usize);
                        self.take(component.copied().unwrap_or(UNKNOWN))?;
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias? {
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => {
                            let open = match self.around.len().checked_sub(count as usize) {
                                Some(outer) => self.around.get(outer).unwrap_or(&self.open),
                                None => &self.open,
                            };
                            let component = open.components.get(index as usize).copied();
                            self.open.components.push(component.unwrap_or(UNKNOWN));
                        }
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Component,
                            ..
                        } => self.open.components.push(UNKNOWN),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts an import, or an export of a type.
    fn reference(&mut self, ty: ComponentTypeRef) -> Result<(), Refusal> {
        match ty {
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                RESOURCES.count(&mut self.resources, 1)
            }
            ComponentTypeRef::Instance(_) | ComponentTypeRef::Component(_) => {
                INSTANCES.count(&mut self.instances, 1)
            }
            _ => Ok(()),
        }
    }

    fn reference_in_type(&mut self, ty: ComponentTypeRef) -> Result<(), Refusal> {
        if matches!(ty, ComponentTypeRef::Instance(_) | ComponentTypeRef::Component(_)) {
            INSTANCES_IN_TYPES.count(&mut self.instances_in_types, 1)?;
        }
        self.reference(ty)
    }

    /// Counts the contents of a type. The parser limits the nesting of types.
    fn component_type(&mut self, ty: &ComponentType<'_>) -> Result<(), Refusal> {
        match ty {
            ComponentType::Resource { .. } => {
                RESOURCES.count(&mut self.resources, 1)?;
            }
            ComponentType::Instance(declarations) => {
                for declaration in declarations {
                    match declaration {
                        InstanceTypeDeclaration::Type(ty) => self.component_type(ty)?,
                        InstanceTypeDeclaration::Export { ty, .. } => {
                            self.reference_in_type(*ty)?
                        }
                        _ => {}
                    }
                }
            }
            ComponentType::Component(declarations) => {
                for declaration in declarations {
                    match declaration {
                        ComponentTypeDeclaration::Type(ty) => self.component_type(ty)?,
                        ComponentTypeDeclaration::Import(ComponentImport { ty, .. })
                        | ComponentTypeDeclaration::Export { ty, .. } => {
                            self.reference_in_type(*ty)?;
                        }
                        _ => {}
                    }
                }
            }
            ComponentType::Defined(_) | ComponentType::Func(_) => {}
        }
        Ok(())
    }

    /// Counts the values that functions pass between core modules and components, from a valid section.
    fn passed(
        &mut self,
        section: SectionLimited<'_, CanonicalFunction>,
        types: TypesRef<'_>,
    ) -> Result<(), Refusal> {
        for function in section {
            let ty = match function? {
                CanonicalFunction::Lift { type_index, .. } => {
                    match types.component_any_type_at(type_index) {
                        ComponentAnyTypeId::Func(ty) => ty,
                        _ => continue,
                    }
                }
                CanonicalFunction::Lower { func_index, .. } => {
                    types.component_function_at(func_index)
                }
                _ => continue,
            };
            let values = types[ty].params.iter().map(|(_, ty)| *ty).chain(types[ty].result);
            for value in values {
                let size = self.size_of(types, value);
                self.take(size)?;
            }
        }
        Ok(())
    }
}

impl Count {
    /// Validates a function's body, and counts the compiler's steps for it.
    fn body(
        &mut self,
        mut validator: FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<FuncValidator<ValidatorResources>, Refusal> {
        let Some(bounds) = &self.compiled else {
            validator.validate(body)?;
            return Ok(validator);
        };
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        let (mut steps, mut blocks, mut nesting) = (0, 1, 0);
        let (locals, mut passed) = (u64::from(validator.len_locals()), 0);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            // Before `op`, which changes the labels.
            let taken = operator.operator_arity(&validator);
            validator.op(offset, &operator)?;
            let (taken, given) = taken.unwrap_or_default();
            let mut values = u64::from(taken) + u64::from(given);
            match &operator {
                Operator::Block { blockty }
                | Operator::Loop { blockty }
                | Operator::If { blockty } => {
                    let (taken, given) = validator.block_type_arity(*blockty).unwrap_or_default();
                    values = u64::from(taken) + u64::from(given);
                    passed += values;
                }
                Operator::BrTable { targets } => values *= 1 + u64::from(targets.len()),
                Operator::Call { .. } | Operator::CallIndirect { .. } => values = 3 + 2 * values,
                // The compiler tries many rewrites of rotations.
                Operator::I32Rotl | Operator::I32Rotr | Operator::I64Rotl | Operator::I64Rotr => {
                    values *= 6
                }
                _ if validator.get_operand_type(0) == Some(Some(ValType::V128)) => values *= 4,
                _ if (taken, given) == (2, 1) => values *= 2,
                _ => {}
            }
            steps += 1 + values;
            blocks += blocks_of(&operator);
            nesting = nesting.max(u64::from(validator.control_stack_height()).saturating_sub(1));
        }
        operators.finish()?;
        NESTING.check(nesting)?;
        // The compiler looks up variables in each block, and tracks their liveness between blocks.
        steps += blocks * (BLOCK_STEPS + locals / 2 + passed / 32 + blocks / 1000);
        bounds.body_steps.check(steps)?;
        self.add_steps(steps)?;
        Ok(validator)
    }

    /// Returns the number of values in a type.
    fn size_of(&mut self, types: TypesRef<'_>, ty: ComponentValType) -> u64 {
        use ComponentDefinedType as Ty;
        let ComponentValType::Type(id) = ty else { return 1 };
        if let Some(size) = self.sizes.get(&id) {
            return *size;
        }
        let parts: Vec<ComponentValType> = match &types[id] {
            Ty::Record(record) => record.fields.values().copied().collect(),
            Ty::Variant(variant) => variant.cases.values().filter_map(|case| case.ty).collect(),
            Ty::Tuple(tuple) => tuple.types.to_vec(),
            Ty::List { element, .. } | Ty::FixedLengthList { element, .. } => vec![*element],
            Ty::Map { key, value, .. } => vec![*key, *value],
            Ty::Option { ty, .. } => vec![*ty],
            Ty::Result { ok, err, .. } => ok.iter().chain(err).copied().collect(),
            Ty::Future { ty, .. } | Ty::Stream { ty, .. } => ty.iter().copied().collect(),
            Ty::Primitive(_) | Ty::Flags(_) | Ty::Enum(_) | Ty::Own(_) | Ty::Borrow(_) => vec![],
        };
        // The validator limits the nesting of types.
        let size = parts
            .into_iter()
            .fold(1_u64, |size, part| size.saturating_add(self.size_of(types, part)));
        self.sizes.insert(id, size);
        size
    }
}

/// Returns approximately how many blocks the compiler makes for an operator.
fn blocks_of(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Block { .. }
        | Operator::Else
        | Operator::Br { .. }
        | Operator::BrTable { .. }
        | Operator::Unreachable => 1,
        Operator::Loop { .. } | Operator::BrIf { .. } => 2,
        Operator::If { .. } | Operator::RefFunc { .. } => 3,
        // These look into tables or call the host.
        Operator::CallIndirect { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::CallRef { .. }
        | Operator::ReturnCallRef { .. }
        | Operator::TableGet { .. }
        | Operator::TableSet { .. }
        | Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::ElemDrop { .. }
        | Operator::MemoryGrow { .. }
        | Operator::MemoryFill { .. }
        | Operator::MemoryCopy { .. }
        | Operator::MemoryInit { .. }
        | Operator::DataDrop { .. } => 4,
        _ => 0,
    }
}
