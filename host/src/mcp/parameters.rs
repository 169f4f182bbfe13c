//! Checks the types of a request's parameters, and names the wrong ones.
//!
//! Many clients describe themselves incorrectly, in ways that do not matter. This module corrects such
//! descriptions. It never guesses the parameters of calls.
#![expect(deprecated, reason = "clients of the protocols before 2026-07-28 use logging")]

use rmcp::model::{LoggingLevel, TASKS_EXTENSION_ID};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

type Parameters = Map<String, Value>;

/// The members of `_meta` in which a client describes itself, in protocols without a handshake.
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// Accepts any parameters, for methods whose parameters this server ignores.
pub(super) fn any(_: &mut Parameters) -> Result<(), String> {
    Ok(())
}

pub(super) fn initialize(parameters: &mut Parameters) -> Result<(), String> {
    match parameters.get("protocolVersion") {
        Some(Value::String(_)) => {}
        None | Some(Value::Null) => return Err(missing("protocolVersion")),
        Some(_) => return Err("`protocolVersion` must be a string such as \"2025-06-18\"".into()),
    }
    capabilities(parameters, "capabilities")?;
    if parameters.get("clientInfo").is_none_or(Value::is_null) {
        return Err(missing("clientInfo"));
    }
    client_info(parameters, "clientInfo")
}

pub(super) fn meta(meta: &mut Parameters) -> Result<(), String> {
    if meta.contains_key(CAPABILITIES) {
        capabilities(meta, CAPABILITIES)?;
    }
    if meta.contains_key(CLIENT_INFO) {
        client_info(meta, CLIENT_INFO)?;
    }
    Ok(())
}

pub(super) fn list(parameters: &mut Parameters) -> Result<(), String> {
    optional(parameters, "cursor", Value::is_string, "a string")
}

pub(super) fn call(parameters: &mut Parameters) -> Result<(), String> {
    string(parameters, "name")?;
    optional(parameters, "arguments", Value::is_object, "an object")?;
    optional(parameters, "inputResponses", Value::is_object, "an object")?;
    optional(parameters, "requestState", Value::is_string, "a string")
}

pub(super) fn task(parameters: &mut Parameters) -> Result<(), String> {
    string(parameters, "taskId")
}

pub(super) fn task_update(parameters: &mut Parameters) -> Result<(), String> {
    task(parameters)?;
    if parameters.get("inputResponses").is_none_or(Value::is_null) {
        return Err(missing("inputResponses"));
    }
    optional(parameters, "inputResponses", Value::is_object, "an object")
}

pub(super) fn read(parameters: &mut Parameters) -> Result<(), String> {
    string(parameters, "uri")
}

pub(super) fn level(parameters: &mut Parameters) -> Result<(), String> {
    string(parameters, "level")?;
    match LoggingLevel::deserialize(&parameters["level"]) {
        Ok(_) => Ok(()),
        Err(_) => Err("`level` must be debug, info, notice, warning, error, critical, alert or \
                       emergency"
            .into()),
    }
}

fn missing(name: &str) -> String {
    format!("`{name}` is missing")
}

fn string(parameters: &Parameters, name: &str) -> Result<(), String> {
    if parameters.get(name).is_none_or(Value::is_null) {
        return Err(missing(name));
    }
    optional(parameters, name, Value::is_string, "a string")
}

fn optional(
    parameters: &Parameters,
    name: &str,
    is_right: fn(&Value) -> bool,
    kind: &str,
) -> Result<(), String> {
    match parameters.get(name) {
        Some(value) if !value.is_null() && !is_right(value) => {
            Err(format!("`{name}` must be {kind}"))
        }
        _ => Ok(()),
    }
}

/// Keeps only the capabilities that this server uses: elicitation with its modes, and tasks.
fn capabilities(parameters: &mut Parameters, name: &str) -> Result<(), String> {
    let given = parameters.remove(name).unwrap_or_default();
    let mut given = object(given, name)?.unwrap_or_default();
    let mut kept = Parameters::new();
    let elicitation = format!("{name}.elicitation");
    let extended = given.remove("extensions").unwrap_or_default();
    let given = given.remove("elicitation").unwrap_or_default();
    if let Some(given) = object(given, &elicitation)? {
        let mut modes = Parameters::new();
        for mode in ["form", "url"] {
            let given = given.get(mode).cloned().unwrap_or_default();
            if let Some(given) = object(given, &format!("{elicitation}.{mode}"))? {
                modes.insert(mode.into(), given.into());
            }
        }
        kept.insert("elicitation".into(), modes.into());
    }
    let extensions = format!("{name}.extensions");
    if let Some(mut given) = object(extended, &extensions)? {
        let tasks = given.remove(TASKS_EXTENSION_ID).unwrap_or_default();
        if object(tasks, &format!("{extensions}.{TASKS_EXTENSION_ID}"))?.is_some() {
            kept.insert("extensions".into(), json!({TASKS_EXTENSION_ID: {}}));
        }
    }
    parameters.insert(name.into(), kept.into());
    Ok(())
}

/// Returns a value as an object, or `None` for null and false. PHP writes an empty object as `[]`, and
/// some clients write `true` for a capability without options.
fn object(value: Value, name: &str) -> Result<Option<Parameters>, String> {
    match value {
        Value::Object(object) => Ok(Some(object)),
        Value::Array(items) if items.is_empty() => Ok(Some(Parameters::new())),
        Value::Bool(true) if name.contains(".elicitation") || name.contains(".extensions.") => {
            Ok(Some(Parameters::new()))
        }
        Value::Null | Value::Bool(false) => Ok(None),
        _ => Err(format!("`{name}` must be an object")),
    }
}

/// Keeps only the client's name and version. The version is optional.
fn client_info(parameters: &mut Parameters, name: &str) -> Result<(), String> {
    let Some(Value::Object(info)) = parameters.get(name) else {
        return Err(format!("`{name}` must be an object with `name` and `version`"));
    };
    let Some(Value::String(own)) = info.get("name") else {
        return Err(format!("`{name}.name` must be a string"));
    };
    let version = match info.get("version") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(version)) => version.clone(),
        Some(Value::Number(version)) => version.to_string(),
        Some(_) => return Err(format!("`{name}.version` must be a string")),
    };
    let kept = json!({"name": own, "version": version});
    parameters.insert(name.into(), kept);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_descriptions_of_clients_are_corrected_or_refused() {
        let can_ask = Ok(json!({"elicitation": {}}));
        let cannot = Ok(json!({}));
        let wrong = |what: &str| Err(format!("`capabilities{what}` must be an object"));
        for (given, expected) in [
            (json!({}), cannot.clone()),
            (json!([]), cannot.clone()),
            (Value::Null, cannot.clone()),
            (json!({"sampling": true, "roots": [], "experimental": 5, "x": {}}), cannot.clone()),
            (json!({"elicitation": {}}), can_ask.clone()),
            (json!({"elicitation": []}), can_ask.clone()),
            (json!({"elicitation": true, "sampling": true}), can_ask),
            (json!({"elicitation": false}), cannot.clone()),
            (json!({"elicitation": null}), cannot),
            (
                json!({"elicitation": {"form": true, "url": false}}),
                Ok(json!({"elicitation": {"form": {}}})),
            ),
            (json!({"elicitation": {"url": []}}), Ok(json!({"elicitation": {"url": {}}}))),
            (json!("none"), wrong("")),
            (json!(true), wrong("")),
            (json!(["elicitation"]), wrong("")),
            (json!({"elicitation": "form"}), wrong(".elicitation")),
            (json!({"elicitation": {"form": 1}}), wrong(".elicitation.form")),
        ] {
            let mut parameters = Map::from_iter([("capabilities".into(), given.clone())]);
            let checked = capabilities(&mut parameters, "capabilities");
            assert_eq!(checked.map(|()| parameters["capabilities"].clone()), expected, "{given}");
        }
        for (given, expected) in [
            (json!({"name": "a", "version": "1"}), Ok(json!({"name": "a", "version": "1"}))),
            (json!({"name": "a", "title": 5}), Ok(json!({"name": "a", "version": ""}))),
            (json!({"name": "a", "version": 1.5}), Ok(json!({"name": "a", "version": "1.5"}))),
            (json!({"version": "1"}), Err("`clientInfo.name` must be a string")),
            (json!({"name": "a", "version": []}), Err("`clientInfo.version` must be a string")),
            (json!("a"), Err("`clientInfo` must be an object with `name` and `version`")),
        ] {
            let mut parameters = Map::from_iter([("clientInfo".into(), given.clone())]);
            let checked = client_info(&mut parameters, "clientInfo");
            let checked = checked.map(|()| parameters["clientInfo"].clone());
            assert_eq!(checked, expected.map_err(str::to_owned), "{given}");
        }
    }
}
