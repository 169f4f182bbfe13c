//! The facts of one block: what this program writes, and the only thing that it reads.
//!
//! Each fact has one term. A list is several facts of one predicate, so a list without items has a
//! predicate of its own: no facts at all would mean no restriction.

use biscuit_auth::builder::{Fact, Term};
use biscuit_auth::datalog::SymbolTable;
use biscuit_auth::format::schema::{self, term::Content};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use whereby_authority::conditions::{Condition, KINDS, span};
use whereby_authority::policy::{Restrictions, Stated};
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The version of the facts.
const VERSION: i64 = 1;

/// The version of the format that a block with nothing but such facts has.
const SCHEMA_VERSION: u32 = 3;

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 100;

const FIELDS: &str = "fields";
const NO_FIELDS: &str = "no_fields";
const VALID_UNTIL: &str = "valid_until";

/// Returns the facts that say what a block restricts calls to.
pub(super) fn facts(limits: &Restrictions) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, term: Term| facts.push(Fact::new(name.to_owned(), vec![term]));
    let text = |text: &String| Term::Str(text.clone());
    add("version", Term::Integer(VERSION));
    limits.agent.iter().for_each(|agent| add("agent", text(agent)));
    limits.accounts.iter().flatten().for_each(|account| add("account", text(account)));
    limits.functions.iter().flatten().for_each(|function| add("function", text(function)));
    if limits.read_only {
        add("read_only", Term::Bool(true));
    }
    limits.uses.iter().for_each(|uses| add("uses", Term::Integer(i64::from(*uses))));
    for Stated { condition, .. } in &limits.conditions {
        if let Condition::ValidUntil(date) = condition {
            let seconds = date.to_unix_ms().div_euclid(1000);
            add(VALID_UNTIL, Term::Date(u64::try_from(seconds).unwrap_or_default()));
            continue;
        }
        match condition.value() {
            Value::Array(items) if items.is_empty() => add(NO_FIELDS, Term::Bool(true)),
            Value::Array(items) => {
                let items = items.iter().filter_map(Value::as_str);
                items.for_each(|item| add(condition.name(), Term::Str(item.to_owned())));
            }
            Value::Number(number) => {
                add(condition.name(), Term::Integer(number.as_i64().unwrap_or_default()));
            }
            value => {
                add(condition.name(), Term::Str(value.as_str().unwrap_or_default().to_owned()));
            }
        }
    }
    facts
}

/// Reads a block. Returns `None` if this program did not write it.
pub(super) fn read(block: &schema::Block, symbols: &SymbolTable) -> Option<Restrictions> {
    let schema::Block { context, version, rules, checks, scope, public_keys, .. } = block;
    let is_plain = context.is_none()
        && *version == Some(SCHEMA_VERSION)
        && rules.is_empty()
        && checks.is_empty()
        && scope.is_empty()
        && public_keys.is_empty();
    if !is_plain {
        return None;
    }
    let mut said = Said(BTreeMap::new());
    for schema::Fact { predicate } in &block.facts {
        let name = symbols.get_symbol(predicate.name)?;
        let [term] = predicate.terms.as_slice() else { return None };
        let value = match term.content.as_ref()? {
            Content::Date(seconds) if name == VALID_UNTIL => {
                let ms = i64::try_from(*seconds).ok()?.checked_mul(1000)?;
                json!(Timestamp::of_unix_ms(ms)?.to_rfc3339())
            }
            Content::String(text) if name != VALID_UNTIL => symbols.get_symbol(*text)?.into(),
            Content::Integer(number) => (*number).into(),
            Content::Bool(value) => (*value).into(),
            _ => return None,
        };
        said.0.entry(name).or_default().push(value);
    }
    if said.one("version")? != Some(VERSION.into()) {
        return None;
    }
    let mut limits = Restrictions {
        agent: match said.one("agent")? {
            Some(agent) => Some(name(&agent)?),
            None => None,
        },
        accounts: said.names("account")?,
        functions: said.names("function")?,
        read_only: said.is_so("read_only")?,
        uses: match said.one("uses")? {
            Some(uses) => Some(u32::try_from(uses.as_u64()?).ok().filter(|uses| *uses > 0)?),
            None => None,
        },
        conditions: Vec::new(),
    };
    for kind in &KINDS {
        let mut values = said.0.remove(kind.name).unwrap_or_default();
        let value = match values.len() {
            0 if kind.name == FIELDS && said.is_so(NO_FIELDS)? => json!([]),
            0 => continue,
            1 if !is_list(kind.name) => values.remove(0),
            _ if is_list(kind.name) => Value::Array(values),
            _ => return None,
        };
        let condition = Condition::parse(kind.name, &value, None).ok()?;
        limits.conditions.push(Stated { condition, line: 0 });
    }
    said.0.is_empty().then_some(limits)
}

/// Whether the value of a condition is a list, as its form says.
fn is_list(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.name == name && kind.value.starts_with('['))
}

/// What the facts of a block say, by predicate.
struct Said<'a>(BTreeMap<&'a str, Vec<Value>>);

impl Said<'_> {
    /// Takes the only value of a predicate. `None` outside if there are several.
    fn one(&mut self, name: &str) -> Option<Option<Value>> {
        let mut values = self.0.remove(name).unwrap_or_default();
        (values.len() <= 1).then(|| values.pop())
    }

    /// Takes a predicate that can only be true.
    fn is_so(&mut self, name: &str) -> Option<bool> {
        match self.one(name)? {
            None => Some(false),
            Some(Value::Bool(true)) => Some(true),
            Some(_) => None,
        }
    }

    /// Takes a list of names.
    fn names(&mut self, predicate: &str) -> Option<Option<Vec<String>>> {
        let Some(values) = self.0.remove(predicate) else { return Some(None) };
        values.iter().map(name).collect::<Option<Vec<_>>>().map(Some)
    }
}

fn name(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    (1..=MAX_NAME).contains(&name.chars().count()).then(|| name.to_owned())
}

/// Returns what a block says, as a JSON object.
pub(crate) fn to_json(limits: &Restrictions) -> Value {
    let Restrictions { agent, accounts, functions, read_only, uses, conditions } = limits;
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    agent.iter().for_each(|agent| add("agent", agent.as_str().into()));
    accounts.iter().for_each(|accounts| add("accounts", accounts.clone().into()));
    functions.iter().for_each(|functions| add("functions", functions.clone().into()));
    if *read_only {
        add("read_only", true.into());
    }
    conditions.iter().for_each(|stated| add(stated.condition.name(), stated.condition.value()));
    uses.iter().for_each(|uses| add("uses", (*uses).into()));
    Value::Object(object)
}

/// Returns what a block says in words, one limit each.
pub(crate) fn words(limits: &Restrictions, now: Timestamp) -> Vec<String> {
    let list = |names: &[String]| {
        let shown: Vec<String> = names.iter().map(|name| text::printable(name, 100)).collect();
        shown.join(", ")
    };
    let mut words = Vec::new();
    words.extend(limits.agent.iter().map(|a| format!("agent: {}", text::printable(a, 100))));
    words.extend(limits.accounts.iter().map(|names| format!("accounts: {}", list(names))));
    words.extend(limits.functions.iter().map(|names| format!("functions: {}", list(names))));
    if limits.read_only {
        words.push("only functions that read".into());
    }
    for Stated { condition, .. } in &limits.conditions {
        words.push(match condition {
            Condition::ValidUntil(date) => {
                let left = (date.to_unix_ms() - now.to_unix_ms()).div_euclid(1000);
                let left = match left {
                    1.. => format!("in {}", span(coarse(left))),
                    _ => "expired".to_owned(),
                };
                format!("until {} ({left})", date.to_rfc3339())
            }
            condition => condition.to_string(),
        });
    }
    words.extend(limits.uses.iter().map(|uses| match uses {
        1 => "1 call".to_owned(),
        uses => format!("at most {uses} calls"),
    }));
    words
}

/// Leaves out seconds from an hour on, and minutes from a day on.
fn coarse(seconds: i64) -> i64 {
    let unit = match seconds {
        86_400.. => 3600,
        3600.. => 60,
        _ => 1,
    };
    seconds / unit * unit
}
