//! Checks the types of a component's functions against the catalog.

use wasmtime::component::types::{ComponentFunc, Type as Wasm};
use whereby_catalog::{Function, Member, Type};

/// Whether a function's parameters and result match the catalog, name by name.
pub(crate) fn matches(function: &Function, ty: &ComponentFunc) -> bool {
    let params = ty.params();
    let mut results = ty.results();
    let (Some(Wasm::Result(result)), None) = (results.next(), results.next()) else { return false };
    params.len() == function.params.len()
        && params
            .zip(function.params)
            .all(|((name, ty), param)| name == param.name && fits(&param.ty, &ty))
        && result.ok().is_some_and(|ok| fits(&function.result, &ok))
        && result.err().is_some_and(|err| fits(&Type::Variant(&whereby_catalog::ERROR), &err))
}

fn fits(expected: &Type, ty: &Wasm) -> bool {
    match (expected, ty) {
        (Type::Bool, Wasm::Bool)
        | (Type::U16, Wasm::U16)
        | (Type::U32, Wasm::U32)
        | (Type::U64, Wasm::U64)
        | (Type::F64, Wasm::Float64)
        | (Type::String, Wasm::String) => true,
        (Type::Option(expected), Wasm::Option(ty)) => fits(expected, &ty.ty()),
        (Type::List(expected), Wasm::List(ty)) => fits(expected, &ty.ty()),
        (Type::Record(expected), Wasm::Record(ty)) => {
            let fields = ty.fields();
            let same = |(field, member): (wasmtime::component::types::Field<'_>, &Member)| {
                field.name == member.name && fits(&member.ty, &field.ty)
            };
            fields.len() == expected.members.len() && fields.zip(expected.members).all(same)
        }
        (Type::Enum(expected), Wasm::Enum(ty)) => {
            ty.names().eq(expected.cases.iter().map(|case| case.name))
        }
        (Type::Variant(expected), Wasm::Variant(ty)) => {
            let cases = ty.cases();
            cases.len() == expected.cases.len()
                && cases.zip(expected.cases).all(|(case, expected)| {
                    case.name == expected.name
                        && match (&expected.payload, &case.ty) {
                            (None, None) => true,
                            (Some(expected), Some(ty)) => fits(expected, ty),
                            _ => false,
                        }
                })
        }
        _ => false,
    }
}
