//! Makes a module smaller: of functions that are equal, one stays, and those that are called most often get the
//! smallest numbers, which take the fewest bytes.

use anyhow::{Context as _, Result, anyhow};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, Operator, Parser, Payload, TypeRef,
};

/// Returns the same module with fewer functions.
pub(crate) fn merge(module: &[u8]) -> Result<Vec<u8>> {
    let (mut imported, mut types, mut bodies) = (0, Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => {
                types = section.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let own = imported..imported + u32::try_from(bodies.len())?;
    let mut functions = Functions { new: (0..own.end).collect(), kept: Vec::new() };
    // Two functions that call equal functions may be equal then.
    loop {
        let mut first = BTreeMap::new();
        let mut new = functions.new.clone();
        for (index, (ty, body)) in own.clone().zip(types.iter().zip(&bodies)) {
            let same = *first.entry((*ty, functions.encoded(body)?)).or_insert(index);
            new[index as usize] = same;
        }
        if new == functions.new {
            break;
        }
        functions.new = new;
    }
    let mut kept: Vec<u32> =
        own.clone().filter(|index| functions.new[*index as usize] == *index).collect();
    let mut calls = vec![0_u32; own.end as usize];
    for index in &kept {
        let body = bodies.get((index - imported) as usize).context("a function has no body")?;
        for operator in body.get_operators_reader()? {
            if let Operator::Call { function_index: called } = operator? {
                calls[functions.new[called as usize] as usize] += 1;
            }
        }
    }
    kept.sort_by_key(|index| Reverse(calls[*index as usize]));
    for index in own {
        let same = functions.new[index as usize];
        let place = kept.iter().position(|kept| *kept == same).context("a function is missing")?;
        calls[index as usize] = imported + u32::try_from(place)?;
    }
    for (index, place) in functions.new.iter_mut().zip(calls).skip(imported as usize) {
        *index = place;
    }
    functions.kept = kept.iter().map(|index| (index - imported) as usize).collect();
    let mut new = Module::new();
    functions.parse_core_module(&mut new, Parser::new(0), module).map_err(readable)?;
    Ok(new.finish())
}

fn readable(error: Error) -> anyhow::Error {
    anyhow!("{error}")
}

/// The new indices of functions.
struct Functions {
    /// The new index of each function.
    new: Vec<u32>,
    /// The functions that stay, without the imported ones, in their new order.
    kept: Vec<usize>,
}

impl Functions {
    /// Returns the code of a function with the new indices.
    fn encoded(&mut self, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let mut code = CodeSection::new();
        self.parse_function_body(&mut code, body.clone()).map_err(readable)?;
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(&code, &mut bytes);
        Ok(bytes)
    }
}

impl Reencode for Functions {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        // The validation refuses an index that is too large.
        Ok(self.new.get(function as usize).copied().unwrap_or(u32::MAX))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.kept.iter().for_each(|index| {
            functions.function(types[*index]);
        });
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for index in self.kept.clone() {
            self.parse_function_body(code, bodies[index].clone())?;
        }
        Ok(())
    }
}
