//! Converts JSON to component values and back, by the types of the catalog.

use serde_json::{Map, Number, Value};
use wasmtime::component::Val;
use whereby_catalog::{Member, Type};

/// Converts checked JSON to a component value. `None` if the JSON is not of the type, which the check of
/// the arguments rules out.
pub(crate) fn to_val(ty: &Type, value: Option<&Value>) -> Option<Val> {
    if let Type::Option(inner) = ty {
        return Some(Val::Option(match value {
            None | Some(Value::Null) => None,
            Some(value) => Some(Box::new(to_val(inner, Some(value))?)),
        }));
    }
    let value = value?;
    Some(match ty {
        Type::Option(_) => return None,
        Type::Bool => Val::Bool(value.as_bool()?),
        Type::U16 => Val::U16(value.as_u64()?.try_into().ok()?),
        Type::U32 => Val::U32(value.as_u64()?.try_into().ok()?),
        Type::U64 => Val::U64(value.as_u64()?),
        Type::F64 => Val::Float64(value.as_f64()?),
        Type::String => Val::String(value.as_str()?.to_owned()),
        Type::List(inner) => {
            let items = value.as_array()?.iter().map(|item| to_val(inner, Some(item)));
            Val::List(items.collect::<Option<_>>()?)
        }
        Type::Record(record) => {
            let object = value.as_object()?;
            let field = |member: &Member| {
                Some((member.name.to_owned(), to_val(&member.ty, object.get(member.json))?))
            };
            Val::Record(record.members.iter().map(field).collect::<Option<_>>()?)
        }
        Type::Enum(choice) => {
            let text = value.as_str()?;
            Val::Enum(choice.cases.iter().find(|case| case.json == text)?.name.to_owned())
        }
        Type::Variant(variant) => {
            let (name, payload) = match value {
                Value::Object(object) => {
                    let (name, payload) = object.iter().next()?;
                    (name.as_str(), Some(payload))
                }
                other => (other.as_str()?, None),
            };
            let case = variant.cases.iter().find(|case| case.json == name)?;
            let payload = match &case.payload {
                Some(ty) => Some(Box::new(to_val(ty, payload)?)),
                None => None,
            };
            Val::Variant(case.name.to_owned(), payload)
        }
    })
}

/// Converts a component value to JSON, with every member of a record present. `None` if the value is not
/// of the type, or is NaN or infinite.
pub(crate) fn from_val(ty: &Type, val: Val) -> Option<Value> {
    Some(match (ty, val) {
        (Type::Option(_), Val::Option(None)) => Value::Null,
        (Type::Option(inner), Val::Option(Some(val))) => from_val(inner, *val)?,
        (Type::Bool, Val::Bool(value)) => Value::Bool(value),
        (Type::U16, Val::U16(number)) => number.into(),
        (Type::U32, Val::U32(number)) => number.into(),
        (Type::U64, Val::U64(number)) => number.into(),
        (Type::F64, Val::Float64(number)) => Value::Number(integer_or_float(number)?),
        (Type::String, Val::String(text)) => Value::String(text),
        (Type::List(inner), Val::List(items)) => {
            let items = items.into_iter().map(|item| from_val(inner, item));
            Value::Array(items.collect::<Option<_>>()?)
        }
        (Type::Record(record), Val::Record(fields)) => {
            if fields.len() != record.members.len() {
                return None;
            }
            let mut object = Map::with_capacity(fields.len());
            for (member, (name, val)) in record.members.iter().zip(fields) {
                if member.name != name {
                    return None;
                }
                object.insert(member.json.to_owned(), from_val(&member.ty, val)?);
            }
            Value::Object(object)
        }
        (Type::Enum(choice), Val::Enum(name)) => {
            let case = choice.cases.iter().find(|case| case.name == name)?;
            Value::String(case.json.to_owned())
        }
        (Type::Variant(variant), Val::Variant(name, payload)) => {
            let case = variant.cases.iter().find(|case| case.name == name)?;
            match (&case.payload, payload) {
                (None, None) => Value::String(case.json.to_owned()),
                (Some(ty), Some(payload)) => {
                    Value::Object(Map::from_iter([(case.json.to_owned(), from_val(ty, *payload)?)]))
                }
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Converts a float to a JSON number: 143 instead of 143.0.
fn integer_or_float(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whereby_catalog::{ERROR, FUNCTIONS};

    /// Makes a value of a type from random numbers.
    fn val_of(ty: &Type, numbers: &mut std::vec::IntoIter<u32>) -> Val {
        let number = numbers.next().unwrap_or(0);
        let text = || char::from_u32(number).map_or("x".repeat(number as usize % 9), String::from);
        match ty {
            Type::Bool => Val::Bool(number.is_multiple_of(2)),
            Type::U16 => Val::U16(number as u16),
            Type::U32 => Val::U32(number),
            Type::U64 => Val::U64(u64::from(number) << (number % 33)),
            Type::F64 => Val::Float64(f64::from(number) / f64::from(number % 7 + 1)),
            Type::String => Val::String(text()),
            Type::Option(_) if number.is_multiple_of(3) => Val::Option(None),
            Type::Option(inner) => Val::Option(Some(Box::new(val_of(inner, numbers)))),
            Type::List(inner) => {
                Val::List((0..number % 4).map(|_| val_of(inner, numbers)).collect())
            }
            Type::Record(record) => {
                let field = |member: &Member| (member.name.to_owned(), val_of(&member.ty, numbers));
                Val::Record(record.members.iter().map(field).collect())
            }
            Type::Enum(choice) => {
                Val::Enum(choice.cases[number as usize % choice.cases.len()].name.to_owned())
            }
            Type::Variant(variant) => {
                let case = &variant.cases[number as usize % variant.cases.len()];
                let payload = case.payload.as_ref().map(|ty| Box::new(val_of(ty, numbers)));
                Val::Variant(case.name.to_owned(), payload)
            }
        }
    }

    fn types() -> impl Iterator<Item = Type> {
        let params = FUNCTIONS.iter().flat_map(|function| function.params).map(|param| param.ty);
        params.chain(FUNCTIONS.iter().map(|f| f.result)).chain([Type::Variant(&ERROR)])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_value_survives_the_way_to_json_and_back(numbers in prop::collection::vec(any::<u32>(), 0..80)) {
            for ty in types() {
                let val = val_of(&ty, &mut numbers.clone().into_iter());
                let json = from_val(&ty, val.clone());
                prop_assert!(json.is_some(), "{val:?}");
                prop_assert_eq!(to_val(&ty, json.as_ref()), Some(val));
            }
        }

        #[test]
        fn a_value_of_another_type_does_not_panic(numbers in prop::collection::vec(any::<u32>(), 0..80)) {
            for ty in types() {
                for other in types() {
                    let val = val_of(&ty, &mut numbers.clone().into_iter());
                    let json = from_val(&ty, val.clone());
                    let _ = (from_val(&other, val), to_val(&other, json.as_ref()));
                }
            }
        }
    }

    #[test]
    fn numbers_that_json_cannot_express_are_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(from_val(&Type::F64, Val::Float64(number)), None);
        }
    }
}
