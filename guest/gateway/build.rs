//! Generates the tools from the catalog's functions: their listings, the parsers of their arguments, and the
//! serializers of their results.

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use whereby_catalog::tool::{self, Hints};
use whereby_catalog::{ERROR, FUNCTIONS, Function, Interface, Member, Type};

fn main() {
    // One line that cargo shows, instead of the script's backtrace.
    if let Err(error) = run() {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let writes = std::env::var_os("CARGO_FEATURE_WRITE").is_some();
    let functions: Vec<&Function> = FUNCTIONS
        .iter()
        .filter(|function| writes || function.interface == Interface::Read)
        .collect();
    let mut source = String::new();
    tools(&functions, &mut source)?;
    calls(&functions, &mut source)?;
    for ty in types(functions.iter().flat_map(|function| function.params).map(|param| param.ty)) {
        reader(&ty, &mut source)?;
    }
    for ty in types(functions.iter().map(|function| function.result)) {
        writer(&ty, &mut source)?;
    }
    kinds(&mut source)?;
    std::fs::write(out.join("functions.rs"), source)?;
    Ok(())
}

/// Writes the table of tools.
fn tools(functions: &[&Function], out: &mut String) -> Result<()> {
    writeln!(out, "/// The tools.\npub(crate) static TOOLS: &[Tool] = &[")?;
    for function in functions {
        let hints = Hints::of(function);
        let title = tool::title(function);
        let listing = json!({
            "name": tool::name(function),
            "title": title,
            "description": function.docs,
            "inputSchema": tool::input(function),
            "outputSchema": tool::output(function),
            "annotations": {
                "title": title,
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": hints.open_world,
            },
        });
        writeln!(
            out,
            "Tool {{ name: {:?}, writes: {}, listing: {:?}, read: read_{} }},",
            tool::name(function),
            !hints.read_only,
            listing.to_string(),
            function.json
        )?;
    }
    writeln!(out, "];")?;
    Ok(())
}

/// Writes the enum of calls, with the functions that read and make one.
fn calls(functions: &[&Function], out: &mut String) -> Result<()> {
    let (mut cases, mut reads, mut makes) = (String::new(), String::new(), String::new());
    for function in functions {
        let (case, json) = (upper_camel(function.name), function.json);
        let names: Vec<&str> = function.params.iter().map(|param| param.json).collect();
        let (mut fields, mut taken, mut arguments) = (String::new(), String::new(), Vec::new());
        for param in function.params {
            let name = identifier(param.name);
            write!(fields, "{name}: {}, ", rust_type(&param.ty)?)?;
            write!(taken, "{name}: members.take({:?})?, ", param.json)?;
            arguments.push(passed(&name, &param.ty)?);
        }
        writeln!(cases, "{case} {{ {fields} }},")?;
        let binding = if names.is_empty() { "_" } else { "mut members" };
        writeln!(
            reads,
            "fn read_{json}(arguments: Json) -> Result<Call, String> {{
                let {binding} = Members::of(arguments, &Path::Call({json:?}), &{names:?})?;
                Ok(Call::{case} {{ {taken} }})
            }}"
        )?;
        let bound: Vec<String> =
            function.params.iter().map(|param| identifier(param.name)).collect();
        let interface = match function.interface {
            Interface::Read => "read",
            Interface::Write => "write",
        };
        writeln!(
            makes,
            "Self::{case} {{ {} }} => {interface}::{}({}).map(ToJson::to_json),",
            bound.join(", "),
            identifier(function.name),
            arguments.join(", ")
        )?;
    }
    writeln!(
        out,
        "/// A call of a function, with its arguments.
        #[derive(Debug, PartialEq)]
        pub(crate) enum Call {{ {cases} }}
        {reads}
        impl Call {{
            /// Makes the call.
            pub(crate) fn make(self) -> Result<Json, types::Error> {{
                match self {{ {makes} }}
            }}
        }}"
    )?;
    Ok(())
}

/// Returns the named types among these types and within them.
fn types(roots: impl Iterator<Item = Type>) -> Vec<Type> {
    let mut found = BTreeMap::new();
    roots.for_each(|ty| collect(ty, &mut found));
    found.into_values().collect()
}

/// Adds a type and the types within it. No type in the WIT is recursive.
fn collect(ty: Type, found: &mut BTreeMap<&'static str, Type>) {
    match ty {
        Type::Option(inner) | Type::List(inner) => collect(*inner, found),
        Type::Record(record) => {
            found.insert(record.name, ty);
            record.members.iter().for_each(|member| collect(member.ty, found));
        }
        Type::Variant(variant) => {
            found.insert(variant.name, ty);
            let payloads = variant.cases.iter().filter_map(|case| case.payload);
            payloads.for_each(|payload| collect(payload, found));
        }
        Type::Enum(choice) => {
            found.insert(choice.name, ty);
        }
        _ => {}
    }
}

/// Writes the code that reads a type from JSON.
fn reader(ty: &Type, out: &mut String) -> Result<()> {
    let (name, wanted, body) = match ty {
        Type::Record(record) => {
            let names: Vec<&str> = record.members.iter().map(|member| member.json).collect();
            let mut fields = String::new();
            for Member { name, json, .. } in record.members {
                write!(fields, "{}: members.take({json:?})?, ", identifier(name))?;
            }
            let body = format!(
                "let mut members = Members::of(value, path, &{names:?})?; \
                 Ok(Self {{ {fields} }})"
            );
            (record.name, "an object", body)
        }
        Type::Enum(choice) => {
            let mut cases = String::new();
            for case in choice.cases {
                write!(cases, "({:?}, Self::{}), ", case.json, upper_camel(case.name))?;
            }
            (choice.name, "a string", format!("choose(value, path, &[{cases}])"))
        }
        Type::Variant(variant) => {
            let names: Vec<&str> = variant.cases.iter().map(|case| case.json).collect();
            let mut arms = String::new();
            for case in variant.cases {
                let (ident, json) = (upper_camel(case.name), case.json);
                match case.payload {
                    None => writeln!(arms, "{json:?} => case.bare({json:?}, Self::{ident}),")?,
                    Some(_) => {
                        writeln!(arms, "{json:?} => case.carrying({json:?}, Self::{ident}),")?
                    }
                }
            }
            let name = upper_camel(variant.name);
            writeln!(
                out,
                "impl FromCase for types::{name} {{
                    fn from_case(case: Case<'_>) -> Result<Option<Self>, String> {{
                        match case.name() {{ {arms} _ => Err(case.unknown(&{names:?})) }}
                    }}
                }}
                impl FromJson for Vec<types::{name}> {{
                    const WANTED: &'static str = \"an array\";
                    fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {{
                        cases(value, path)
                    }}
                }}"
            )?;
            return Ok(());
        }
        other => bail!("{other:?} has no name"),
    };
    writeln!(
        out,
        "impl FromJson for types::{} {{
            const WANTED: &'static str = {wanted:?};
            fn from_json(value: Json, path: &Path<'_>) -> Result<Self, String> {{ {body} }}
        }}",
        upper_camel(name)
    )?;
    Ok(())
}

/// Writes the code that converts a type to JSON.
fn writer(ty: &Type, out: &mut String) -> Result<()> {
    let (name, body) = match ty {
        Type::Record(record) => {
            let mut members = String::new();
            for Member { name, json, .. } in record.members {
                write!(members, "({json:?}, self.{}.to_json()), ", identifier(name))?;
            }
            (record.name, format!("Json::object(vec![{members}])"))
        }
        Type::Enum(choice) => {
            let mut arms = String::new();
            for case in choice.cases {
                write!(arms, "Self::{} => {:?}, ", upper_camel(case.name), case.json)?;
            }
            (choice.name, format!("Json::word(match self {{ {arms} }})"))
        }
        Type::Variant(variant) => {
            let mut arms = String::new();
            for case in variant.cases {
                let (ident, json) = (upper_camel(case.name), case.json);
                let arm = match case.payload {
                    None => format!("Self::{ident} => Json::word({json:?}), "),
                    Some(_) => format!(
                        "Self::{ident}(payload) => Json::object(vec![({json:?}, payload.to_json())]), "
                    ),
                };
                arms.push_str(&arm);
            }
            (variant.name, format!("match self {{ {arms} }}"))
        }
        other => bail!("{other:?} has no name"),
    };
    writeln!(
        out,
        "impl ToJson for types::{} {{ fn to_json(self) -> Json {{ {body} }} }}",
        upper_camel(name)
    )?;
    Ok(())
}

/// Writes the function that returns the kind of an error.
fn kinds(out: &mut String) -> Result<()> {
    let mut arms = String::new();
    for case in ERROR.cases {
        let payload = if case.payload.is_some() { "(_)" } else { "" };
        writeln!(arms, "types::Error::{}{payload} => {:?},", upper_camel(case.name), case.json)?;
    }
    writeln!(
        out,
        "/// The kind of an error: the name of its case.
        pub(crate) fn kind(error: &types::Error) -> &'static str {{ match error {{ {arms} }} }}"
    )?;
    Ok(())
}

/// Returns the type in the bindings.
fn rust_type(ty: &Type) -> Result<String> {
    Ok(match ty {
        Type::Bool => "bool".into(),
        Type::U16 => "u16".into(),
        Type::U32 => "u32".into(),
        Type::U64 => "u64".into(),
        Type::F64 => "f64".into(),
        Type::String => "String".into(),
        Type::Option(inner) => format!("Option<{}>", rust_type(inner)?),
        Type::List(inner) => format!("Vec<{}>", rust_type(inner)?),
        Type::Record(record) => format!("types::{}", upper_camel(record.name)),
        Type::Variant(variant) => format!("types::{}", upper_camel(variant.name)),
        Type::Enum(choice) => format!("types::{}", upper_camel(choice.name)),
    })
}

/// Returns the expression that passes a value to the bindings.
fn passed(name: &str, ty: &Type) -> Result<String> {
    Ok(match ty {
        Type::String | Type::List(_) | Type::Record(_) | Type::Variant(_) => format!("&{name}"),
        Type::Option(Type::String | Type::List(_)) => format!("{name}.as_deref()"),
        Type::Option(Type::Record(_) | Type::Variant(_)) => format!("{name}.as_ref()"),
        Type::Option(Type::Option(_)) => bail!("`{name}` is an option of an option"),
        _ => name.to_owned(),
    })
}

/// Returns a WIT name as the bindings spell it.
fn identifier(name: &str) -> String {
    match name {
        "type" => "type_".to_owned(),
        name => name.replace('-', "_"),
    }
}

/// Returns a WIT name as the bindings spell types and cases.
fn upper_camel(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('-') {
        let mut chars = word.chars();
        camel.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(chars.as_str());
    }
    camel
}
