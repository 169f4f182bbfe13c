//! Generates the statics of the catalog from the WIT package.
//!
//! All documentation of the functions comes from the WIT, so an item without documentation or an unreadable
//! fact fails the build.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use wit_parser::{Docs, Function, InterfaceId, Resolve, Type, TypeDefKind, TypeId};

fn main() {
    // One line that cargo shows, instead of the script's backtrace.
    if let Err(error) = run() {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    // A package contains the WIT; in the workspace, it is at the root. The variable is read at run time,
    // because checkouts may share a target folder.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let manifest = Path::new(&manifest);
    let wit = ["wit", "../../wit"].map(|folder| manifest.join(folder));
    let wit = wit.into_iter().find(|folder| folder.is_dir()).context("there is no WIT")?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", wit.display());
    std::fs::write(out.join("catalog.rs"), generate(&wit)?)?;
    Ok(())
}

/// Returns the Rust source of the statics.
fn generate(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let package = &resolve.packages[package];
    let interface =
        |name: &str| package.interfaces.get(name).copied().with_context(|| format!("no {name}"));
    let types = interface("types")?;
    let mut generator = Generator {
        resolve: &resolve,
        spelling: spelling(&resolve, types, &[interface("read")?, interface("write")?]),
        has_docs: std::env::var_os("CARGO_FEATURE_DOCS").is_some(),
        out: String::new(),
    };
    writeln!(generator.out, "pub(crate) const PACKAGE: &str = {:?};", package.name.to_string())?;
    for (name, id) in &resolve.interfaces[types].types {
        generator.type_def(name, *id)?;
    }
    let mut functions = String::new();
    for (interface_name, variant) in [("read", "Read"), ("write", "Write")] {
        for function in resolve.interfaces[interface(interface_name)?].functions.values() {
            writeln!(functions, "{},", generator.function(function, variant)?)?;
        }
    }
    writeln!(generator.out, "pub static FUNCTIONS: &[Function] = &[{functions}];")?;
    Ok(generator.out)
}

/// Returns a map from WIT names to their spelling in JSON, Lua and MCP.
fn spelling(
    resolve: &Resolve,
    types: InterfaceId,
    rest: &[InterfaceId],
) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for id in resolve.interfaces[types].types.values() {
        match &resolve.types[*id].kind {
            TypeDefKind::Record(record) => {
                map.extend(record.fields.iter().map(|f| (f.name.clone(), camel(&f.name))));
            }
            TypeDefKind::Variant(variant)
                if resolve.types[*id].name.as_deref() != Some("error") =>
            {
                map.extend(variant.cases.iter().map(|c| (c.name.clone(), camel(&c.name))));
            }
            _ => {}
        }
    }
    for id in rest {
        map.extend(
            resolve.interfaces[*id].functions.keys().map(|name| (name.clone(), snake(name))),
        );
    }
    map
}

struct Generator<'a> {
    resolve: &'a Resolve,
    spelling: BTreeMap<String, String>,
    has_docs: bool,
    out: String,
}

impl Generator<'_> {
    fn type_def(&mut self, name: &str, id: TypeId) -> Result<()> {
        let def = &self.resolve.types[id];
        let text = self.text(&def.docs, name)?;
        // Callers of the library reach the other types through the functions.
        let shown = if name == "error" { "pub " } else { "" };
        let (kind, contents) = match &def.kind {
            TypeDefKind::Record(record) => {
                let mut members = String::new();
                for field in &record.fields {
                    let docs = docs(&field.docs, &format!("{name}.{}", field.name))?;
                    members += &self.member(&field.name, &camel(&field.name), &field.ty, &docs)?;
                }
                ("Record", format!("members: &[{members}]"))
            }
            TypeDefKind::Variant(variant) => {
                let mut cases = String::new();
                for case in &variant.cases {
                    // The cases of `error` are kinds, which keep their WIT name everywhere.
                    let json = if name == "error" { case.name.clone() } else { camel(&case.name) };
                    cases += &self.case(name, &case.name, &json, &case.docs, case.ty.as_ref())?;
                }
                ("Variant", format!("cases: &[{cases}]"))
            }
            TypeDefKind::Enum(choice) => {
                let mut cases = String::new();
                for case in &choice.cases {
                    cases += &self.case(name, &case.name, &case.name, &case.docs, None)?;
                }
                ("Enum", format!("cases: &[{cases}]"))
            }
            other => bail!("`{name}` is a {}, which the catalog does not support", other.as_str()),
        };
        writeln!(
            self.out,
            "{shown}static {}: {kind} = {kind} {{ {} {contents} }};",
            constant(name),
            self.documentation(name, &text, "")
        )?;
        Ok(())
    }

    fn case(
        &self,
        of: &str,
        name: &str,
        json: &str,
        docs: &Docs,
        payload: Option<&Type>,
    ) -> Result<String> {
        let (text, after) = after(&self.text(docs, &format!("{of}.{name}"))?);
        let payload = match payload {
            Some(ty) => format!("Some({})", self.ty(ty)?),
            None => "None".into(),
        };
        Ok(format!(
            "Case {{ {} json: {json:?}, payload: {payload} }},",
            self.documentation(name, &text, &format!("after: &{after:?},"))
        ))
    }

    fn function(&mut self, function: &Function, interface: &str) -> Result<String> {
        let name = &function.name;
        let contents = function.docs.contents.as_deref().unwrap_or_default();
        let (text, list) = contents.split_once("\nParameters:\n").unwrap_or((contents, ""));
        let (text, also_called, is_destructive) = function_facts(text)?;
        let mut items = parameters(list);
        let mut params = String::new();
        // In its own documentation, a function's parameters are snake_case.
        let members = self.spelling.clone();
        for param in &function.params {
            self.spelling.insert(param.name.clone(), snake(&param.name));
        }
        for param in &function.params {
            let what = format!("parameter `{}` of `{name}`", param.name);
            let item = items.remove(&param.name).with_context(|| format!("no docs for {what}"))?;
            let docs = documented(&item, &what)?;
            params += &self.member(&param.name, &snake(&param.name), &param.ty, &docs)?;
        }
        let docs = self.spell(&documented(&text, name)?.0);
        self.spelling = members;
        if let Some(unknown) = items.keys().next() {
            bail!("`{name}` documents `{unknown}`, which is not a parameter");
        }
        let result = match function.result {
            Some(Type::Id(id)) => match &self.resolve.types[id].kind {
                TypeDefKind::Result(result) => result.ok.context("a result without a value")?,
                _ => bail!("`{name}` must return a result"),
            },
            _ => bail!("`{name}` must return a result"),
        };
        let more = format!("also_called: &{also_called:?}, result: {},", self.ty(&result)?);
        Ok(format!(
            "Function {{ {} json: {:?}, interface: Interface::{interface}, is_destructive: {is_destructive}, params: &[{params}] }}",
            self.documentation(name, &docs, &more),
            snake(name),
        ))
    }

    /// Returns the members that only people and results need: the name in the WIT, the documentation and `more`.
    /// Empty without the feature `docs`.
    fn documentation(&self, name: &str, docs: &str, more: &str) -> String {
        if self.has_docs {
            format!("name: {name:?}, docs: {docs:?}, {more}")
        } else {
            String::new()
        }
    }

    fn member(&self, name: &str, json: &str, ty: &Type, docs: &Documented) -> Result<String> {
        let (text, facts) = docs;
        let is_shown = |field: &str| ["default", "example", "unit", "usual"].contains(&field);
        let facts = facts.iter().filter(|(field, _)| self.has_docs || !is_shown(field));
        let facts: String = facts.map(|(field, code)| format!("{field}: {code}, ")).collect();
        let facts = match facts.as_str() {
            "" => "Facts::NONE".to_owned(),
            _ => format!("Facts {{ {facts}..Facts::NONE }}"),
        };
        Ok(format!(
            "Member {{ {} json: {json:?}, ty: {}, facts: &{facts} }},",
            self.documentation(name, &self.spell(text), ""),
            self.ty(ty)?,
        ))
    }

    fn ty(&self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "Type::Bool".into(),
            Type::U16 => "Type::U16".into(),
            Type::U32 => "Type::U32".into(),
            Type::U64 => "Type::U64".into(),
            Type::F64 => "Type::F64".into(),
            Type::String => "Type::String".into(),
            Type::Id(id) => {
                let def = &self.resolve.types[*id];
                match &def.kind {
                    TypeDefKind::Option(inner) => format!("Type::Option(&{})", self.ty(inner)?),
                    TypeDefKind::List(inner) => format!("Type::List(&{})", self.ty(inner)?),
                    TypeDefKind::Type(inner) => self.ty(inner)?,
                    kind => {
                        let name = def.name.as_deref().context("a type without a name")?;
                        let kind = match kind {
                            TypeDefKind::Record(_) => "Record",
                            TypeDefKind::Variant(_) => "Variant",
                            TypeDefKind::Enum(_) => "Enum",
                            other => bail!("`{name}` is a {}", other.as_str()),
                        };
                        format!("Type::{kind}(&{})", constant(name))
                    }
                }
            }
            other => bail!("{other:?} has no JSON form yet"),
        })
    }

    /// Returns the documentation of a type or a case. Facts are an error there.
    fn text(&self, docs: &Docs, what: &str) -> Result<String> {
        let (text, facts) = self::docs(docs, what)?;
        ensure!(facts.is_empty(), "{what} states a fact; only members can");
        Ok(self.spell(&text))
    }

    /// Replaces names in backticks with their spelling in JSON, Lua and MCP.
    /// Without the feature `docs`, nothing is left.
    fn spell(&self, text: &str) -> String {
        if !self.has_docs {
            return String::new();
        }
        let mut spelled = String::new();
        for (index, part) in text.split('`').enumerate() {
            if index > 0 {
                spelled.push('`');
            }
            match self.spelling.get(part) {
                Some(name) if index % 2 == 1 => spelled.push_str(name),
                _ => spelled.push_str(part),
            }
        }
        spelled
    }
}

/// The text of a doc comment, and its facts: the code of the fields of `Facts` that it states.
type Documented = (String, BTreeMap<&'static str, String>);

/// Reads a doc comment.
fn docs(docs: &Docs, what: &str) -> Result<Documented> {
    documented(docs.contents.as_deref().unwrap_or_default(), what)
}

fn documented(contents: &str, what: &str) -> Result<Documented> {
    let mut facts = BTreeMap::new();
    let mut paragraphs = vec![String::new()];
    for line in contents.lines() {
        let line = line.trim();
        if let Some((field, code)) = fact(line).with_context(|| format!("{what}: {line}"))? {
            ensure!(facts.insert(field, code).is_none(), "{what}: {line}: it is stated twice");
            continue;
        }
        let last = paragraphs.last_mut().expect("never empty");
        if line.is_empty() {
            if !last.is_empty() {
                paragraphs.push(String::new());
            }
        } else {
            if !last.is_empty() {
                last.push(if line.starts_with("- ") { '\n' } else { ' ' });
            }
            last.push_str(line);
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    ensure!(!paragraphs.is_empty(), "{what} is not documented in the WIT");
    Ok((paragraphs.join("\n\n"), facts))
}

/// Reads a line that may state a fact, as `world.wit` describes them. Returns a field of `Facts`, and the code of
/// its value.
fn fact(line: &str) -> Result<Option<(&'static str, String)>> {
    if line == "Secret." {
        return Ok(Some(("secret", "Some(Secret::Whole)".to_owned())));
    }
    let Some((key, value)) = line.split_once(": ") else { return Ok(None) };
    let field = match key {
        "Range" => "range",
        "Length" => "length",
        "Items" => "max_items",
        "Format" => "formats",
        "Default" => "default",
        "Example" => "example",
        "Unit" => "unit",
        "Usually" => "usual",
        "Secret" => "secret",
        _ => return Ok(None),
    };
    let value = value.strip_suffix('.').context("a fact must end with a full stop")?;
    let code = match field {
        "range" | "length" => {
            let (low, high) = value.split_once(" to ").context("not of the form `1 to 100`")?;
            format!("Some(({}, {}))", low.parse::<u64>()?, high.parse::<u64>()?)
        }
        "max_items" => {
            let count = value.strip_prefix("at most ").context("not `at most 16`")?;
            format!("Some({})", count.parse::<u64>()?)
        }
        "formats" => {
            let formats: Vec<&str> = value.split(" or ").collect();
            let is_known = |format| ["date-time", "date", "uri"].contains(format);
            ensure!(formats.iter().all(is_known), "unknown format");
            format!("&{formats:?}")
        }
        "secret" => {
            let is_name = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric());
            ensure!(is_name, "not the name of a query parameter");
            format!("Some(Secret::Query({value:?}))")
        }
        _ => {
            let is_unit = field != "unit" || ["seconds", "minutes"].contains(&value);
            ensure!(is_unit, "unknown unit");
            format!("Some({value:?})")
        }
    };
    Ok(Some((field, code)))
}

/// Splits the documentation of an error case. Returns the general text, and the paragraphs about a single
/// function, each with the function's name in JSON.
fn after(text: &str) -> (String, Vec<(String, String)>) {
    let (mut rest, mut after) = (Vec::new(), Vec::new());
    for paragraph in text.split("\n\n") {
        let name = paragraph.strip_prefix("After a `").and_then(|text| text.split('`').next());
        match name {
            Some(name) => after.push((name.to_owned(), paragraph.to_owned())),
            None => rest.push(paragraph),
        }
    }
    (rest.join("\n\n"), after)
}

/// Splits the documentation of a function. Returns the text without its facts, the words of its
/// `Also called` lines, and whether it is marked `Destructive.`
fn function_facts(text: &str) -> Result<(String, Vec<String>, bool)> {
    let (mut rest, mut words, mut is_destructive) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if line.trim() == "Destructive." {
            is_destructive = true;
            continue;
        }
        let Some(list) = line.trim().strip_prefix("Also called: ") else {
            rest.push(line);
            continue;
        };
        let list = list.strip_suffix('.').context("`Also called` must end with a full stop")?;
        words.extend(list.split(", ").map(str::to_owned));
    }
    Ok((rest.join("\n"), words, is_destructive))
}

/// Returns the items of a `Parameters:` list, by name.
fn parameters(list: &str) -> BTreeMap<String, String> {
    let mut items = BTreeMap::new();
    for item in format!("\n{}", list.trim()).split("\n- `").skip(1) {
        if let Some((name, text)) = item.split_once("`: ") {
            items.insert(name.to_owned(), text.to_owned());
        }
    }
    items
}

fn constant(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn camel(name: &str) -> String {
    let mut camel = String::new();
    for (index, word) in name.split('-').enumerate() {
        let mut chars = word.chars();
        match chars.next() {
            Some(first) if index > 0 => camel.extend(first.to_uppercase()),
            Some(first) => camel.push(first),
            None => {}
        }
        camel.push_str(chars.as_str());
    }
    camel
}
