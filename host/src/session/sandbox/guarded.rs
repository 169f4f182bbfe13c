//! Proves from a file that its functions reach the API key and the network only through the guard.
//!
//! The imports and exports prove nothing: they are the same if the guard is not connected. So the check
//! follows every instance from where it is made to where it is used, and accepts only the one wiring that
//! `wiring.rs` makes. Everything else is refused, also what would be harmless.

use crate::session::sandbox::built_in::{
    BUILT_IN_COMPONENT, BUILT_IN_FRONT, BUILT_IN_GATEWAY, BUILT_IN_GUARD, BUILT_IN_READER,
    BUILT_IN_READER_FRONT, BUILT_IN_READER_GATEWAY,
};
use crate::session::sandbox::preflight;
use crate::system::digest::sha256;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternName, ComponentExternalKind,
    ComponentImport, ComponentInstance, ComponentInstantiationArg, ComponentType, ComponentTypeRef,
    Parser, Payload, TypeBounds,
};
use whereby_authority::text;

/// What is in a guarded component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guarded {
    /// Whether it serves the functions over HTTP.
    pub is_gateway: bool,
    /// Whether the functions are the built-in ones, with or without those that write.
    pub is_built_in: bool,
    /// The SHA-256 of the component with the functions, in lower-case hexadecimal.
    pub functions: String,
}

/// The components that this version of the program composes, each known by all its bytes.
struct Parts<'a> {
    guard: &'a [u8],
    fronts: [&'a [u8]; 2],
    /// What serves the functions over HTTP. It sees the whole environment, so it must be known too.
    handlers: [&'a [u8]; 2],
    functions: [&'a [u8]; 2],
}

impl Parts<'static> {
    fn built_in() -> Result<Self, Unproven> {
        Ok(Self {
            guard: BUILT_IN_GUARD,
            fronts: [BUILT_IN_FRONT, BUILT_IN_READER_FRONT],
            handlers: [handler(BUILT_IN_GATEWAY)?, handler(BUILT_IN_READER_GATEWAY)?],
            functions: [BUILT_IN_COMPONENT, BUILT_IN_READER],
        })
    }
}

/// Returns the component in a built-in gateway that serves the functions.
pub(crate) fn handler(gateway: &'static [u8]) -> Result<&'static [u8], Unproven> {
    let composed = Composed::read(gateway)?;
    let functions = composed.only(&[BUILT_IN_COMPONENT, BUILT_IN_READER], "the functions")?;
    let handler = composed.other([functions, functions], "the functions and the gateway")?;
    composed.component(handler)
}

/// The interfaces that the functions may have from the runtime: time, waiting, random numbers, and whether
/// there is a terminal, which the standard libraries of languages want to know. All others of WASI come
/// from the guard, or not at all.
///
/// HTTP, streams and the environment lead to the network and the key. `wasi:cli/exit` would end the
/// program with a status of the functions' choice before the front says that their call was refused.
pub(crate) const FROM_RUNTIME: [&str; 12] = [
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// The interfaces of the functions. The types give no authority.
pub(crate) const TYPES: &str = "whereby:agent/types@0.1.0";
pub(crate) const READ: &str = "whereby:agent/read@0.1.0";
pub(crate) const WRITE: &str = "whereby:agent/write@0.1.0";

/// What opens and closes the grant of a call. Only the front may have it.
const GRANTS: &str = "whereby:guard/grants@0.1.0";

/// What a gateway exports.
const INCOMING: &str = "wasi:http/incoming-handler";

/// The latest version of WASI 0.2 that is known.
pub(crate) const LATEST_PATCH: u32 = 12;

/// The custom sections of a composed component. They describe it, and change nothing of what it does.
const METADATA: [&str; 8] = [
    "component-name",
    "description",
    "homepage",
    "licenses",
    "producers",
    "revision",
    "source",
    "version",
];

/// Why a file is not proven to be a guarded component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unproven(pub(crate) String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, Unproven> {
    Err(Unproven(reason.into()))
}

impl From<BinaryReaderError> for Unproven {
    fn from(error: BinaryReaderError) -> Self {
        Self(text::printable(&error.to_string(), 300))
    }
}

/// Checks the wiring of a component.
///
/// # Errors
///
/// [`Unproven`], which says what is not as it must be.
pub(crate) fn check(bytes: &[u8]) -> Result<Guarded, Unproven> {
    check_parts(bytes, &Parts::built_in()?)
}

fn check_parts(bytes: &[u8], parts: &Parts<'_>) -> Result<Guarded, Unproven> {
    let types = preflight::validate(bytes).map_err(|error| Unproven(error.to_string()))?;
    let mut composed = Composed::read(bytes)?;
    let has = |part: &&[u8]| composed.components.contains(part);
    let is_gateway = parts.handlers.iter().any(has);
    if !is_gateway && !has(&parts.guard) {
        return refuse("it does not contain the guard of this version");
    }
    if let Some(fault) = composed.fault.take() {
        return Err(fault);
    }
    if !is_gateway {
        return composed.check_functions(parts, &types);
    }
    let guarded = check_parts(composed.check_gateway(parts)?, parts)?;
    if guarded.is_gateway {
        return refuse("a gateway is within a gateway");
    }
    Ok(Guarded { is_gateway, ..guarded })
}

/// Where an instance comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin<'a> {
    Import(&'a str),
    /// The one instance of a nested component, by the component's index.
    Component(usize),
    /// What that instance exports.
    Export(usize, &'a str),
}

/// Where an instance must come from, and what an error calls it.
type Expected<'a> = (Origin<'a>, &'static str);

/// The arguments of an instance, with their names.
type Arguments<'a> = Vec<(&'a str, Origin<'a>)>;

/// A component that does nothing but connect other components.
#[derive(Default)]
struct Composed<'a> {
    components: Vec<&'a [u8]>,
    /// The arguments of each component's one instance; absent before there is one.
    arguments: Vec<Option<Arguments<'a>>>,
    instances: Vec<Origin<'a>>,
    exports: Vec<(&'a str, Origin<'a>)>,
    /// The first thing in it that is more than a connection.
    fault: Option<Unproven>,
}

impl<'a> Composed<'a> {
    /// Reads a valid component, and finds fault with anything of its own: code, functions, resources, or
    /// a section of a kind that is not known here.
    fn read(bytes: &'a [u8]) -> Result<Self, Unproven> {
        let (mut composed, mut depth) = (Self::default(), 0_usize);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } if depth > 0 => {
                    depth += 1;
                }
                _ if depth > 0 => {}
                Payload::ModuleSection { .. } => {
                    depth = 1;
                    composed.find_fault(refuse("a core module is outside of the components"));
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    depth = 1;
                    let Some(nested) = bytes.get(unchecked_range.clone()) else {
                        return refuse("a component in it is truncated");
                    };
                    composed.components.push(nested);
                    composed.arguments.push(None);
                }
                section => {
                    let read = composed.section(section);
                    composed.find_fault(read);
                }
            }
        }
        Ok(composed)
    }

    /// Keeps the first fault.
    fn find_fault(&mut self, read: Result<(), Unproven>) {
        self.fault = self.fault.take().or(read.err());
    }

    /// Reads a section of the outermost component.
    fn section(&mut self, section: &Payload<'a>) -> Result<(), Unproven> {
        match section {
            Payload::Version { .. } => Ok(()),
            Payload::ComponentTypeSection(section) => {
                section.clone().into_iter().try_for_each(|ty| match ty? {
                    ComponentType::Resource { .. } => {
                        refuse("a resource type is outside of the components")
                    }
                    _ => Ok(()),
                })
            }
            Payload::ComponentImportSection(section) => {
                section.clone().into_iter().try_for_each(|import| self.import(import?))
            }
            Payload::ComponentInstanceSection(section) => {
                section.clone().into_iter().try_for_each(|instance| self.instance(instance?))
            }
            Payload::ComponentAliasSection(section) => {
                section.clone().into_iter().try_for_each(|alias| self.alias(alias?))
            }
            Payload::ComponentExportSection(section) => {
                section.clone().into_iter().try_for_each(|export| self.export(export?))
            }
            Payload::ComponentCanonicalSection(_) => {
                refuse("a canonical function is outside of the components")
            }
            Payload::CustomSection(section) if METADATA.contains(&section.name()) => Ok(()),
            Payload::CustomSection(section) => {
                let name = text::printable(section.name(), 100);
                refuse(format!("the custom section {name} is not known"))
            }
            other => {
                let id = other.as_section().map_or(u8::MAX, |(id, _)| id);
                refuse(format!("a section of kind {id} has no place outside of the components"))
            }
        }
    }

    fn import(&mut self, import: ComponentImport<'a>) -> Result<(), Unproven> {
        let name = plain(import.name)?;
        match import.ty {
            ComponentTypeRef::Instance(_) if wasi(name).is_some() => {
                self.instances.push(Origin::Import(name));
                Ok(())
            }
            // The name of a type that is known already.
            ComponentTypeRef::Type(TypeBounds::Eq(_)) => Ok(()),
            _ => refuse(format!("the import {} is not known", text::printable(name, 100))),
        }
    }

    fn instance(&mut self, instance: ComponentInstance<'a>) -> Result<(), Unproven> {
        let ComponentInstance::Instantiate { component_index, args } = instance else {
            return refuse("an instance is made of single items");
        };
        let arguments =
            args.iter().map(|argument| self.argument(argument)).collect::<Result<_, _>>()?;
        let component = component_index as usize;
        match self.arguments.get_mut(component) {
            Some(place @ None) => *place = Some(arguments),
            _ => return refuse("a component is instantiated more than once"),
        }
        self.instances.push(Origin::Component(component));
        Ok(())
    }

    fn argument(
        &self,
        argument: &ComponentInstantiationArg<'a>,
    ) -> Result<(&'a str, Origin<'a>), Unproven> {
        if argument.kind != ComponentExternalKind::Instance {
            let name = text::printable(argument.name, 100);
            return refuse(format!("the argument {name} is not an interface"));
        }
        Ok((argument.name, self.origin(argument.index)?))
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), Unproven> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. } => Ok(()),
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Instance,
                instance_index,
                name,
            } => match self.origin(instance_index)? {
                Origin::Component(component) => {
                    self.instances.push(Origin::Export(component, name));
                    Ok(())
                }
                _ => refuse("an interface is taken out of another interface"),
            },
            _ => refuse("an item that is not an interface is taken out of an instance"),
        }
    }

    fn export(&mut self, export: ComponentExport<'a>) -> Result<(), Unproven> {
        let name = plain(export.name)?;
        if export.kind != ComponentExternalKind::Instance {
            let name = text::printable(name, 100);
            return refuse(format!("the export {name} is not an interface"));
        }
        let origin = self.origin(export.index)?;
        self.exports.push((name, origin));
        // An export also is a new instance of its own.
        self.instances.push(origin);
        Ok(())
    }

    fn origin(&self, index: u32) -> Result<Origin<'a>, Unproven> {
        let origin = self.instances.get(index as usize).copied();
        origin.ok_or_else(|| Unproven(format!("instance {index} is not known")))
    }

    fn component(&self, index: usize) -> Result<&'a [u8], Unproven> {
        let component = self.components.get(index).copied();
        component.ok_or_else(|| Unproven(format!("component {index} is not known")))
    }

    /// Checks the composition of guard, front and functions.
    fn check_functions(&self, parts: &Parts<'_>, types: &Types) -> Result<Guarded, Unproven> {
        let guard = self.only(&[parts.guard], "the guard")?;
        let front = self.only(&parts.fronts, "the front")?;
        let functions = self.other([guard, front], "the guard, the front and the functions")?;
        self.check_arguments(guard, "guard", |interface| match interface {
            Interface::Wasi(name) => Some((Origin::Import(name), "runtime")),
            Interface::Own(_) => None,
        })?;
        self.check_arguments(front, "front", |interface| match interface {
            Interface::Own(GRANTS) => Some((Origin::Export(guard, GRANTS), "guard")),
            Interface::Own(name) => Some((Origin::Export(functions, name), "functions")),
            Interface::Wasi(_) => None,
        })?;
        self.check_arguments(functions, "functions", |interface| match interface {
            Interface::Wasi(name) if FROM_RUNTIME.contains(&name) => {
                Some((Origin::Import(name), "runtime"))
            }
            Interface::Wasi(name) => Some((Origin::Export(guard, name), "guard")),
            Interface::Own(_) => None,
        })?;
        // A function among the types would be a way around the front.
        if self.exports.iter().any(|(name, _)| *name == TYPES) && !has_only_types(types, TYPES) {
            return refuse(format!("the export {TYPES} has more than types"));
        }
        self.check_exports(|name| match name {
            TYPES => Some((Origin::Export(functions, TYPES), "functions")),
            READ | WRITE => Some((Origin::Export(front, name), "front")),
            _ => None,
        })?;
        let functions = self.component(functions)?;
        Ok(Guarded {
            is_gateway: false,
            is_built_in: parts.functions.contains(&functions),
            functions: sha256(functions),
        })
    }

    /// Checks the composition of a gateway and a guarded component, and returns the latter.
    fn check_gateway(&self, parts: &Parts<'_>) -> Result<&'a [u8], Unproven> {
        let handler = self.only(&parts.handlers, "the gateway")?;
        let guarded = self.other([handler, handler], "the gateway and a guarded component")?;
        self.check_arguments(guarded, "guarded component", |interface| match interface {
            Interface::Wasi(name) => Some((Origin::Import(name), "runtime")),
            Interface::Own(_) => None,
        })?;
        self.check_arguments(handler, "gateway", |interface| match interface {
            Interface::Wasi(name) => Some((Origin::Import(name), "runtime")),
            Interface::Own(name) => Some((Origin::Export(guarded, name), "guarded component")),
        })?;
        self.check_exports(|name| {
            (wasi(name) == Some(INCOMING)).then_some((Origin::Export(handler, INCOMING), "gateway"))
        })?;
        self.component(guarded)
    }

    /// Finds the only component that is one of these.
    fn only(&self, wanted: &[&[u8]], what: &str) -> Result<usize, Unproven> {
        let is_wanted = |(_, component): &(usize, &&[u8])| wanted.contains(*component);
        let mut found = self.components.iter().enumerate().filter(is_wanted);
        match (found.next(), found.next()) {
            (Some((component, _)), None) => Ok(component),
            (None, _) => refuse(format!("it does not contain {what} of this version")),
            _ => refuse(format!("it contains {what} more than once")),
        }
    }

    /// Finds the only component besides the known ones.
    fn other(&self, known: [usize; 2], all: &str) -> Result<usize, Unproven> {
        let mut others = (0..self.components.len()).filter(|other| !known.contains(other));
        match (others.next(), others.next()) {
            (Some(other), None) => Ok(other),
            _ => refuse(format!("it contains other components than {all}")),
        }
    }

    /// Checks that a component is instantiated, and where each of its arguments comes from.
    fn check_arguments<'b>(
        &'b self,
        component: usize,
        what: &str,
        expected: impl Fn(Interface<'b>) -> Option<Expected<'b>>,
    ) -> Result<(), Unproven> {
        let Some(arguments) = self.arguments.get(component).and_then(Option::as_ref) else {
            return refuse(format!("the {what} is not instantiated"));
        };
        for &(name, origin) in arguments {
            let interface = wasi(name).map_or(Interface::Own(name), Interface::Wasi);
            let name = || format!("{} of the {what}", text::printable(name, 100));
            origin.check(expected(interface), name)?;
        }
        Ok(())
    }

    /// Checks where each export comes from, and that there is one with functions.
    fn check_exports<'b>(
        &'b self,
        expected: impl Fn(&'b str) -> Option<Expected<'b>>,
    ) -> Result<(), Unproven> {
        for &(name, origin) in &self.exports {
            let shown = || format!("the export {}", text::printable(name, 100));
            origin.check(expected(name), shown)?;
        }
        if self.exports.iter().all(|(name, _)| *name == TYPES) {
            return refuse("it exports no functions");
        }
        Ok(())
    }
}

/// The interface of an argument.
enum Interface<'a> {
    /// An interface of WASI 0.2, without its version.
    Wasi(&'a str),
    Own(&'a str),
}

impl Origin<'_> {
    /// Leaves out the version of an interface of WASI: all of 0.2 fit together.
    fn unversioned(self) -> Self {
        match self {
            Self::Import(name) => Self::Import(wasi(name).unwrap_or(name)),
            Self::Export(component, name) => Self::Export(component, wasi(name).unwrap_or(name)),
            Self::Component(_) => self,
        }
    }

    /// Checks that it is the expected one, if any.
    fn check(
        self,
        expected: Option<Expected<'_>>,
        name: impl FnOnce() -> String,
    ) -> Result<(), Unproven> {
        match expected {
            Some((origin, _)) if origin == self.unversioned() => Ok(()),
            Some((_, from)) => refuse(format!("{} does not come from the {from}", name())),
            None => refuse(format!("{} is not allowed", name())),
        }
    }
}

/// Returns the name of an interface of a known version of WASI, without that version.
pub(crate) fn wasi(name: &str) -> Option<&str> {
    let (interface, patch) = name.split_once("@0.2.")?;
    let is_known = patch
        .parse()
        .is_ok_and(|number: u32| number <= LATEST_PATCH && number.to_string() == patch);
    (interface.starts_with("wasi:") && is_known).then_some(interface)
}

/// Returns a name that says nothing more than itself.
fn plain(name: ComponentExternName<'_>) -> Result<&str, Unproven> {
    match name {
        ComponentExternName { name, implements: None, version_suffix: None, external_id: None } => {
            Ok(name)
        }
        _ => refuse(format!("{} is more than a name", text::printable(name.name, 100))),
    }
}

/// Whether an exported interface has nothing but types.
fn has_only_types(types: &Types, export: &str) -> bool {
    let Some(item) = types.component_item_for_export(export) else { return false };
    let ComponentEntityType::Instance(instance) = item.ty else { return false };
    types.as_ref().get(instance).is_some_and(|instance| {
        instance.exports.values().all(|item| matches!(item.ty, ComponentEntityType::Type { .. }))
    })
}

#[cfg(test)]
#[path = "guarded_tests.rs"]
mod tests;
