//! Generates the exported functions from the WIT: each passes its arguments and its result on as they are. Also
//! generates where the parts of the arguments are.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use whereby_catalog::{Case, Member, Type as Form};
use wit_component::{StringEncoding, metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Int, InterfaceId, Resolve, SizeAlign, Type, TypeDefKind};

/// The case of the functions' `error` for each refusal of the guard.
const REFUSALS: [(&str, &str); 5] = [
    ("denied", "access-denied"),
    ("invalid", "invalid-argument"),
    ("unavailable", "unavailable"),
    ("timeout", "timeout"),
    ("unexpected", "unexpected-response"),
];

fn main() {
    // One line that cargo shows, instead of the script's backtrace.
    if let Err(error) = run() {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let folder = |name: &str| std::env::var_os(name).with_context(|| format!("cargo sets {name}"));
    let (package, out) = (folder("CARGO_MANIFEST_DIR")?, folder("OUT_DIR")?);
    let (package, out) = (Path::new(&package), Path::new(&out));
    let folders = ["../../wit", "../guard/wit"].map(|wit| package.join(wit));
    println!("cargo::rerun-if-changed=build.rs");
    folders.iter().for_each(|wit| println!("cargo::rerun-if-changed={}", wit.display()));
    let writes = std::env::var_os("CARGO_FEATURE_WRITE").is_some();

    let mut resolve = Resolve::default();
    for wit in &folders {
        resolve.push_dir(wit)?;
    }
    let interfaces: &[&str] = if writes { &["read", "write"] } else { &["read"] };
    let mut world = String::from(
        "package whereby:front; world front { import whereby:guard/grants@0.1.0; \
         import whereby:agent/types@0.1.0;",
    );
    for name in interfaces {
        let name = format!("whereby:agent/{name}@0.1.0");
        write!(world, "import {name}; export {name};")?;
    }
    let front = resolve.push_str("front.wit", &format!("{world} }}"))?;
    let world = resolve.select_world(&[front], None)?;
    std::fs::write(
        out.join("world.bin"),
        metadata::encode(&resolve, world, StringEncoding::UTF8, None)?,
    )?;

    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    let generator = Generator { resolve, sizes };
    let (mut code, mut params) = (generator.errors()?, String::new());
    for name in interfaces {
        let interface = generator.interface("agent", name)?;
        for function in generator.resolve.interfaces[interface].functions.values() {
            code += &generator.function(interface, function)?;
            let name = function.name.replace('-', "_");
            let known = whereby_catalog::function(&name);
            let known = known.with_context(|| format!("{name} is not in the catalog"))?;
            params += &format!(
                "pub(crate) static {}: Form = {};\n",
                name.to_uppercase(),
                passed(known.params)?
            );
        }
    }
    std::fs::write(out.join("functions.rs"), code)?;
    std::fs::write(out.join("params.rs"), params)?;
    Ok(())
}

struct Generator {
    resolve: Resolve,
    sizes: SizeAlign,
}

impl Generator {
    fn interface(&self, package: &str, name: &str) -> Result<InterfaceId> {
        let mut packages = self.resolve.packages.iter().map(|(_, package)| package);
        packages
            .find(|found| found.name.name == package)
            .and_then(|package| package.interfaces.get(name).copied())
            .with_context(|| format!("there is no interface {name} in {package}"))
    }

    /// Returns the names of the cases of a variant or an enum.
    fn cases(&self, package: &str, interface: &str, name: &str) -> Result<Vec<&str>> {
        let interface = &self.resolve.interfaces[self.interface(package, interface)?];
        let id = interface.types.get(name).with_context(|| format!("there is no type {name}"))?;
        match &self.resolve.types[*id].kind {
            TypeDefKind::Variant(variant) => {
                Ok(variant.cases.iter().map(|case| case.name.as_str()).collect())
            }
            TypeDefKind::Enum(choices) => {
                Ok(choices.cases.iter().map(|case| case.name.as_str()).collect())
            }
            _ => bail!("{name} has no cases"),
        }
    }

    /// Returns two tables: which error each refusal becomes, and which ending each error is.
    fn errors(&self) -> Result<String> {
        let errors = self.cases("agent", "types", "error")?;
        let mut cases = Vec::new();
        for refusal in self.cases("guard", "grants", "refusal")? {
            let known = REFUSALS.iter().find(|(name, _)| *name == refusal);
            let (_, error) = known.with_context(|| format!("which error is {refusal}?"))?;
            let case = errors.iter().position(|name| name == error);
            cases.push(case.with_context(|| format!("there is no error {error}"))?);
        }
        let known = self.cases("guard", "grants", "ending")?;
        let ending = |name: &str| known.iter().position(|ending| *ending == name);
        let special = |name| ending(name).with_context(|| format!("there is no ending {name}"));
        let (success, failure) = (special("success")?, special("failure")?);
        // The front reads and writes messages as an address and a length, one word after the case.
        let types = &self.resolve.interfaces[self.interface("agent", "types")?].types;
        let id = *types.get("error").context("there is no type error")?;
        let TypeDefKind::Variant(variant) = &self.resolve.types[id].kind else {
            bail!("error is not a variant")
        };
        ensure!(
            self.sizes.align(&Type::Id(id)).align_wasm32() == 4,
            "a message must begin after one word"
        );
        let refused = |name| REFUSALS.iter().any(|(_, error)| *error == name);
        for case in &variant.cases {
            let is_used = refused(case.name.as_str()) || known.contains(&case.name.as_str());
            ensure!(
                !is_used || case.ty == Some(Type::String),
                "the error {} must have a message",
                case.name
            );
        }
        let endings: Vec<_> = errors.iter().map(|error| ending(error).unwrap_or(failure)).collect();
        Ok(format!(
            "const ERRORS: &[u8] = &{cases:?};\nconst ENDINGS: &[u8] = &{endings:?};\n\
             const SUCCESS: u8 = {success};\nconst FAILURE: u8 = {failure};\n"
        ))
    }

    /// Returns the code of an exported function.
    fn function(&self, interface: InterfaceId, function: &Function) -> Result<String> {
        let (name, rust) = (&function.name, function.name.replace('-', "_"));
        let export = self.resolve.id_of(interface).context("the interface has no name")?;
        let signature = self.resolve.wasm_signature(AbiVariant::GuestExport, function);
        let is_word =
            |ty: &WasmType| matches!(ty, WasmType::I32 | WasmType::Pointer | WasmType::Length);
        ensure!(
            signature.params.iter().all(is_word) && !signature.indirect_params && signature.retptr,
            "the parameters of {name} must be words, and its result must not be one"
        );
        let words: Vec<String> = (0..signature.params.len()).map(|n| format!("p{n}")).collect();
        let params: String = words.iter().map(|word| format!("{word}: u32, ")).collect();
        let words = words.join(", ");

        let result = function.result.as_ref().context("the function has no result")?;
        let cases = match result {
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Result(result) => [result.ok.as_ref(), result.err.as_ref()],
                _ => bail!("{name} must return a result"),
            },
            _ => bail!("{name} must return a result"),
        };
        let size = self.sizes.size(result).size_wasm32();
        let error = self.sizes.payload_offset(Int::U8, cases).size_wasm32();
        let upper = rust.to_uppercase();
        let comma = if words.is_empty() { "" } else { ", " };
        Ok(format!(
            r#"
#[unsafe(export_name = "{export}#{name}")]
extern "C" fn {rust}({params}) -> *const u64 {{
    #[link(wasm_import_module = "{export}")]
    unsafe extern "C" {{
        #[link_name = "{name}"]
        fn call({params} result: *mut u64);
    }}
    // SAFETY: the result has this size, and is aligned like the words.
    guarded("{rust}", &params::{upper}, &[{words}], {size}, {error}, &|result| unsafe {{ call({words}{comma} result) }})
}}
"#
        ))
    }
}

/// Returns the form of parameters, each in words after those of the one before.
fn passed(params: &[Member]) -> Result<String> {
    let (mut members, mut words) = (String::new(), 0);
    for param in params {
        let form = |ty: &Form| match ty {
            Form::Record(_) | Form::Variant(_) => bail!("{} must be in a list", param.name),
            ty => form(ty),
        };
        let (form, length) = match &param.ty {
            // What is in an option is in the words after the one that says whether it is there.
            Form::Option(inner) => {
                (format!("Form::Option(4, &{})", form(inner)?), 1 + word_count(inner))
            }
            ty => (form(ty)?, word_count(ty)),
        };
        write!(members, "({:?}, {}, {form}), ", param.json, 4 * words)?;
        words += length;
    }
    Ok(format!("Form::Record(&[{members}])"))
}

fn word_count(ty: &Form) -> u32 {
    if matches!(ty, Form::String | Form::List(_)) { 2 } else { 1 }
}

/// Returns the form of a type in memory.
fn form(ty: &Form) -> Result<String> {
    Ok(match ty {
        Form::Bool => "Form::Bool".into(),
        Form::U16 | Form::U32 => format!("Form::Number({})", layout(ty).0),
        Form::U64 | Form::F64 => bail!("the front cannot write a {ty:?} as JSON"),
        Form::String => "Form::Text".into(),
        Form::Option(inner) => format!("Form::Option({}, &{})", layout(inner).1, form(inner)?),
        Form::List(inner) => format!("Form::List({}, &{})", layout(inner).0, form(inner)?),
        Form::Record(record) => {
            let (mut members, mut end) = (String::new(), 0_u32);
            for member in record.members {
                let (size, align) = layout(&member.ty);
                let start = end.next_multiple_of(align);
                write!(members, "({:?}, {start}, {}), ", member.json, form(&member.ty)?)?;
                end = start + size;
            }
            format!("Form::Record(&[{members}])")
        }
        Form::Variant(variant) => choice(variant.cases, layout(ty).1)?,
        Form::Enum(choices) => choice(choices.cases, 1)?,
    })
}

/// Returns the form of one of these cases, whose payload begins after this many bytes.
fn choice(cases: &[Case], start: u32) -> Result<String> {
    ensure!(cases.len() <= 256, "more cases than a byte can say");
    let mut all = String::new();
    for case in cases {
        let payload = match &case.payload {
            Some(ty) => format!("Some(&{})", form(ty)?),
            None => "None".into(),
        };
        write!(all, "({:?}, {payload}), ", case.json)?;
    }
    Ok(format!("Form::Choice({start}, &[{all}])"))
}

/// The size and the alignment of a type in memory.
fn layout(ty: &Form) -> (u32, u32) {
    // A payload begins where its alignment lets it, after a byte that says which it is.
    let choice = |payloads: &mut dyn Iterator<Item = &Form>| {
        let (mut largest, mut most) = (0, 1);
        for (size, align) in payloads.map(layout) {
            (largest, most) = (largest.max(size), most.max(align));
        }
        ((most + largest).next_multiple_of(most), most)
    };
    match ty {
        Form::Bool | Form::Enum(_) => (1, 1),
        Form::U16 => (2, 2),
        Form::U32 => (4, 4),
        Form::U64 | Form::F64 => (8, 8),
        Form::String | Form::List(_) => (8, 4),
        Form::Option(inner) => choice(&mut std::iter::once(*inner)),
        Form::Variant(variant) => {
            choice(&mut variant.cases.iter().filter_map(|case| case.payload.as_ref()))
        }
        Form::Record(record) => {
            let (mut end, mut most) = (0_u32, 1);
            for (size, align) in record.members.iter().map(|member| layout(&member.ty)) {
                end = end.next_multiple_of(align) + size;
                most = most.max(align);
            }
            (end.next_multiple_of(most), most)
        }
    }
}
