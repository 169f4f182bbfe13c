//! Generates how the types of arguments are written as JSON, from the WIT.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use whereby_catalog::{Case, FUNCTIONS, Interface, Member, Type};

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let writes = std::env::var_os("CARGO_FEATURE_WRITE").is_some();
    let functions =
        FUNCTIONS.iter().filter(|function| writes || function.interface == Interface::Read);
    let mut types = BTreeMap::new();
    functions.flat_map(|function| function.params).for_each(|param| collect(&param.ty, &mut types));
    let code: String = types.into_values().collect();
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| std::io::Error::other("no OUT_DIR"))?;
    std::fs::write(std::path::Path::new(&out).join("json.rs"), code)
}

/// Adds the code for a type, and for the types in it.
fn collect(ty: &Type, types: &mut BTreeMap<&'static str, String>) {
    match ty {
        Type::Bool | Type::U16 | Type::U32 | Type::U64 | Type::F64 | Type::String => {}
        Type::Option(inner) | Type::List(inner) => collect(inner, types),
        Type::Record(record) => {
            record.members.iter().for_each(|member| collect(&member.ty, types));
            let members: String = record.members.iter().map(member).collect();
            let body = format!("let mut object = Object::begin(out); {members} object.end();");
            types.insert(record.name, implementation(record.name, &body));
        }
        Type::Variant(variant) => {
            variant
                .cases
                .iter()
                .filter_map(|case| case.payload.as_ref())
                .for_each(|ty| collect(ty, types));
            types.insert(variant.name, implementation(variant.name, &choice(variant.cases)));
        }
        Type::Enum(choices) => {
            types.insert(choices.name, implementation(choices.name, &choice(choices.cases)));
        }
    }
}

fn member(member: &Member) -> String {
    let name = member.name.replace('-', "_");
    let name = if name == "type" { "type_".to_owned() } else { name };
    format!("object.member({:?}, &self.{name});", member.json)
}

fn choice(cases: &[Case]) -> String {
    let mut arms = String::new();
    for case in cases {
        // Writing to memory does not fail.
        let _ = match case.payload {
            None => write!(arms, "Self::{} => {:?}.to_json(out),", camel(case.name), case.json),
            Some(_) => write!(
                arms,
                "Self::{}(value) => {{ let mut object = Object::begin(out); object.member({:?}, value); object.end(); }}",
                camel(case.name),
                case.json
            ),
        };
    }
    format!("match self {{ {arms} }}")
}

fn implementation(name: &str, body: &str) -> String {
    format!(
        "impl ToJson for types::{} {{ fn to_json(&self, out: &mut String) {{ {body} }} }}\n",
        camel(name)
    )
}

fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}
