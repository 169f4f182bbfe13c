//! The secret arguments and members of results.

use crate::{Function, Member, Secret, Type};
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The position of a secret in the arguments or the result of a function.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Position {
    /// The names of the members, from the outside in; `[]` is every item of an array:
    /// `fields[].recording.destination.accessKeySecret`.
    pub path: String,
    /// The member.
    pub member: &'static Member,
    /// The secret part of its value.
    pub secret: Secret,
}

/// Returns the positions of the secrets in the arguments of a function, in the order of the WIT.
#[must_use]
pub fn arguments(function: &Function) -> Vec<Position> {
    let mut found = Vec::new();
    members(function.params, "", &mut found);
    found
}

/// Returns the positions of the secrets in the result of a function, in the order of the WIT.
#[cfg(feature = "docs")]
#[must_use]
pub fn result(function: &Function) -> Vec<Position> {
    let mut found = Vec::new();
    within(&function.result, "", &mut found);
    found
}

fn members(members: &'static [Member], path: &str, found: &mut Vec<Position>) {
    for member in members {
        let path = join(path, member.json);
        match member.facts.secret {
            Some(secret) => found.push(Position { path, member, secret }),
            None => within(&member.ty, &path, found),
        }
    }
}

fn within(ty: &Type, path: &str, found: &mut Vec<Position>) {
    match ty {
        Type::Option(inner) => within(inner, path, found),
        Type::List(inner) => within(inner, &format!("{path}[]"), found),
        Type::Record(record) => members(record.members, path, found),
        Type::Variant(variant) => {
            for case in variant.cases {
                if let Some(payload) = &case.payload {
                    within(payload, &join(path, case.json), found);
                }
            }
        }
        Type::Bool
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::F64
        | Type::String
        | Type::Enum(_) => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
