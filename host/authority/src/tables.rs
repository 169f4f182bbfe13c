//! Reads permission tables: `[permissions]` of a configuration file, and what the guarded component gets.

use crate::conditions::Condition;
use crate::policy::{Effect, Entry, Permission, Stated, Table};
use crate::prelude::*;
use crate::table::FunctionRule;
use crate::toml::{Error, Node, Path, TableNode};

/// The keys of a permission table.
pub const PERMISSIONS: [&str; 6] =
    ["read", "write", "destination", "functions", "force", "elicitation"];

/// The key of a function's table with its permission.
pub const PERMISSION: &str = "permission";

/// The key of a function's table with the permission if a condition does not hold.
pub const OTHERWISE: &str = "otherwise";

/// Reads a permission table.
///
/// # Errors
///
/// [`Error`], which names the key and says what is expected.
pub fn read(table: &TableNode<'_, '_>) -> Result<Table, Error> {
    let mut read = Table::default();
    for (key, node) in table.members(&PERMISSIONS)? {
        let path = table.path(key);
        match key {
            "functions" => {
                let names: Vec<&str> = whereby_catalog::FUNCTIONS.iter().map(|f| f.json).collect();
                let functions = node.table(path)?;
                for (function, node) in functions.members(&names)? {
                    let Some(known) = whereby_catalog::function(function) else { continue };
                    let path = functions.path(function);
                    let entry = read_function(node, path, FunctionRule::of(known))?;
                    read.functions.insert(function.to_owned(), entry);
                }
            }
            "force" => read.force = Some(read_entry(node, path, false)?),
            "elicitation" => read.elicitation = Some(read_entry(node, path, false)?),
            _ => {
                if let Some(effect) = Effect::ALL.into_iter().find(|e| e.as_str() == key) {
                    read.effects.insert(effect, read_entry(node, path, true)?);
                }
            }
        }
    }
    Ok(read)
}

fn read_entry(node: Node<'_>, path: Path<'_>, may_ask: bool) -> Result<Entry, Error> {
    Ok(Entry::new(read_permission(node, path, may_ask)?, node.line()))
}

fn read_permission(node: Node<'_>, path: Path<'_>, may_ask: bool) -> Result<Permission, Error> {
    let permission = Permission::parse(node.text(path)?)
        .filter(|permission| may_ask || *permission != Permission::Ask);
    permission.ok_or_else(|| {
        let ask = if may_ask { "\"allow\", \"ask\"" } else { "\"allow\"" };
        node.error(&format!("`{path}` must be {ask} or \"deny\""))
    })
}

/// Reads a function's permission: a word, or a table with conditions.
fn read_function(node: Node<'_>, path: Path<'_>, rule: &FunctionRule) -> Result<Entry, Error> {
    if !node.is_table() {
        return read_entry(node, path, true);
    }
    let (mut permission, mut otherwise) = (None, None);
    let mut conditions = Vec::new();
    let known = [&[PERMISSION, OTHERWISE], rule.conditions].concat();
    let table = node.table(path)?;
    for (key, node) in table.members(&known)? {
        let path = table.path(key);
        match key {
            PERMISSION => permission = Some(read_permission(node, path, true)?),
            OTHERWISE => otherwise = Some((node, read_permission(node, path, true)?)),
            _ => {
                let condition = Condition::parse(key, &node.to_json(), Some(rule));
                let condition =
                    condition.map_err(|what| node.error(&format!("`{path}` {what}")))?;
                conditions.push(Stated { condition, line: node.line() });
            }
        }
    }
    let Some(permission) = permission else {
        return Err(node.error(&format!(
            "[{path}] has no permission; write permission = \"allow\", \"ask\" or \"deny\""
        )));
    };
    if let Some((node, otherwise)) = otherwise {
        if conditions.is_empty() {
            return Err(node.error(&format!(
                "`{path}.{OTHERWISE}` has no effect, because [{path}] has no condition; the \
                 conditions of {} are {}",
                rule.name,
                crate::text::join(rule.conditions, ", ")
            )));
        }
        if otherwise < permission {
            return Err(node.error(&format!(
                "`{path}.{OTHERWISE}` must not be weaker than the permission, which is \"{}\"",
                permission.as_str()
            )));
        }
    }
    let otherwise = otherwise.map_or(Permission::Deny, |(_, otherwise)| otherwise);
    Ok(Entry::new(permission, node.line()).when(conditions, otherwise))
}
