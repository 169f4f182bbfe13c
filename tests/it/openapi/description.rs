//! A strict reader of the part of OpenAPI 3.0 that the vendor's description uses.

use serde_json::Value;
use whereby::simulator::RecordedRequest;

/// The vendor's description, and what is known to be wrong with it.
pub(super) struct Description(Value);

/// Where the description contradicts itself or the API, and what is true instead.
///
/// - A cursor is null on the last page, as the text beside its type says.
/// - `destination` and `startTrigger` of a recording, a stream or a transcription are null where the
///   organization's setting is to hold, as the text beside their types says.
/// - What has not happened yet, or was not given, is null or absent: the end of what goes on, the
///   sessions of a room without any, a guest's user id, name and external id.
const MAY_BE_NULL: [&str; 11] = [
    "cursor",
    "destination",
    "startTrigger",
    "endedAt",
    "endAt",
    "leftAt",
    "firstSessionStartedAt",
    "lastSessionStartedAt",
    "userId",
    "displayName",
    "externalId",
];

/// Members that are required by a list that does not fit the properties beside it (a session has
/// `startedAt` and `endedAt`, and must have `createdAt` and `endAt`), or absent while it goes on.
const MAY_BE_ABSENT: [&str; 4] = ["createdAt", "endAt", "leftAt", "endedAt"];

/// Members of answers that the description does not have: the dates of a session by their other
/// names, and the room that live recordings were seen to name.
const MAY_BE_THERE: [&str; 3] = ["createdAt", "endAt", "roomName"];

/// Statuses that go without saying: a request that is wrong, and one about something unknown.
const UNDESCRIBED: [u16; 3] = [400, 403, 404];

/// Which way a value goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Sent,
    Answered,
}

impl Description {
    pub(super) fn new(description: Value) -> Self {
        Self(description)
    }

    /// What is wrong with a request.
    pub(super) fn check_request(&self, request: &RecordedRequest) -> Vec<String> {
        let name = format!("{} {}", request.method, request.path);
        let Some(operation) = self.operation(&request.method, &request.path) else {
            return vec![format!("{name} is not described")];
        };
        let mut wrong = Vec::new();
        for (key, value) in &request.pairs {
            match self.parameter(operation, key) {
                Some(schema) => wrong.extend(
                    self.check_text(schema, value).map(|what| format!("{name}: {key} {what}")),
                ),
                // Documented in a guide only.
                None if key == "roomName[startsWith]" && request.path == "/v1/meetings" => {}
                None => wrong.push(format!("{name}: the parameter {key} is not described")),
            }
        }
        for parameter in self.parameters(operation) {
            let key = parameter["name"].as_str().unwrap_or_default();
            let is_needed = parameter["in"] == "query" && parameter["required"] == true;
            if is_needed && request.query_value(key).is_none() {
                wrong.push(format!("{name}: the parameter {key} is missing"));
            }
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        match (schema.is_null(), request.body.is_empty()) {
            (true, true) => {}
            (true, false) => wrong.push(format!("{name}: no body is described")),
            (false, _) => match serde_json::from_slice(&request.body) {
                Ok(body) => self.check(schema, &body, Way::Sent, &name, &mut wrong),
                Err(error) => wrong.push(format!("{name}: the body is not JSON: {error}")),
            },
        }
        wrong
    }

    /// What is wrong with an answer.
    pub(super) fn check_answer(
        &self,
        method: &str,
        path: &str,
        status: u16,
        body: &Value,
    ) -> Vec<String> {
        let name = format!("{method} {path} answered {status}");
        let Some(operation) = self.operation(method, path) else {
            return vec![format!("{name} and is not described")];
        };
        let response = &operation["responses"][status.to_string()];
        if response.is_null() {
            let is_known = UNDESCRIBED.contains(&status);
            return if is_known { Vec::new() } else { vec![format!("{name}: not described")] };
        }
        let schema = &self.resolve(response)["content"]["application/json"]["schema"];
        let mut wrong = Vec::new();
        if !schema.is_null() {
            self.check(schema, body, Way::Answered, &name, &mut wrong);
        }
        wrong
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
        let paths = self.0["paths"].as_object()?;
        let fits = |described: &str| {
            let described: Vec<&str> = described.trim_start_matches('/').split('/').collect();
            described.len() == path.len()
                && described.iter().zip(&path).all(|(segment, given)| {
                    segment == given || segment.starts_with('{') && !given.is_empty()
                })
        };
        let (_, item) = paths.iter().find(|(described, _)| fits(described))?;
        item.get(method.to_lowercase())
    }

    fn parameters<'a>(&'a self, operation: &'a Value) -> impl Iterator<Item = &'a Value> {
        let list = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(|parameter| self.resolve(parameter))
    }

    /// The schema of a query parameter; `createdAt[to]` is a member of a deep object.
    fn parameter<'a>(&'a self, operation: &'a Value, key: &str) -> Option<&'a Value> {
        let (name, member) = match key.split_once('[') {
            Some((name, member)) => (name, Some(member.strip_suffix(']')?)),
            None => (key, None),
        };
        let parameter = self
            .parameters(operation)
            .find(|parameter| parameter["name"] == name && parameter["in"] == "query")?;
        let schema = self.resolve(&parameter["schema"]);
        match member {
            Some(member) => schema["properties"].get(member),
            None if schema["type"] == "object" => None,
            None => Some(schema),
        }
    }

    /// Checks the text of a query parameter.
    fn check_text(&self, schema: &Value, text: &str) -> Option<String> {
        let value = match schema["type"].as_str() {
            Some("integer") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            Some("array") => text.split(',').map(Value::from).collect(),
            _ => Value::from(text),
        };
        let mut wrong = Vec::new();
        self.check(schema, &value, Way::Sent, "it", &mut wrong);
        wrong.pop()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(&reference[1..]).expect("a reference leads somewhere")
            }
            None => value,
        }
    }

    fn check(&self, schema: &Value, value: &Value, way: Way, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let kind = kind(value);
        let fits = |ty: &&str| *ty == kind || *ty == "number" && kind == "integer";
        if !types.is_empty() && !types.iter().any(fits) {
            wrong.push(format!("{at} is {kind}, not {}", types.join(" or ")));
            return;
        }
        if let Some(words) = schema["enum"].as_array() {
            // The description has a stray comma after each language.
            let with_comma = value.as_str().map(|word| Value::from(format!("{word},")));
            if !words.contains(value) && !with_comma.is_some_and(|word| words.contains(&word)) {
                wrong.push(format!("{at} is {value}, which is none of the words"));
            }
        }
        match value {
            Value::Object(object) => self.check_object(schema, object, way, at, wrong),
            Value::Array(items) => {
                for item in items {
                    self.check(&schema["items"], item, way, &format!("{at}[]"), wrong);
                }
            }
            Value::String(text) => {
                let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
                if text.chars().count() as u64 > most {
                    wrong.push(format!("{at} is longer than {most}"));
                }
                if !has_format(text, schema["format"].as_str()) {
                    wrong.push(format!("{at} is {text}, not a {}", schema["format"]));
                }
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
                let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
                if !(least..=most).contains(&number) {
                    wrong.push(format!("{at} is {number}, not from {least} to {most}"));
                }
            }
            _ => {}
        }
    }

    fn check_object(
        &self,
        schema: &Value,
        object: &serde_json::Map<String, Value>,
        way: Way,
        at: &str,
        wrong: &mut Vec<String>,
    ) {
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        for name in required.iter().filter_map(Value::as_str) {
            let may_be_absent = way == Way::Answered && MAY_BE_ABSENT.contains(&name);
            if !object.contains_key(name) && !may_be_absent {
                wrong.push(format!("{at}.{name} is missing"));
            }
        }
        // Of some objects only the names of their members are described.
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, value) in object {
            let may_be_null = value.is_null() && MAY_BE_NULL.contains(&name.as_str());
            match properties.get(name) {
                _ if may_be_null => {}
                Some(schema) => self.check(schema, value, way, &format!("{at}.{name}"), wrong),
                None if way == Way::Answered && MAY_BE_THERE.contains(&name.as_str()) => {}
                // Required, and described only as an example.
                None if required.iter().any(|known| known == name) => {}
                // The text names it for S3, the list of members does not.
                None if name == "region" && way == Way::Sent => {}
                None => wrong.push(format!("{at}.{name} is not described")),
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_format(text: &str, format: Option<&str>) -> bool {
    match format {
        Some("date-time") => {
            let format = &time::format_description::well_known::Rfc3339;
            time::OffsetDateTime::parse(text, format).is_ok()
        }
        Some("uri") => reqwest::Url::parse(text).is_ok(),
        _ => true,
    }
}

#[test]
fn the_reader_of_descriptions_reports_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "maxLength": 3},
            "n": {"type": "integer", "minimum": 1, "maximum": 3},
            "w": {"type": "string", "enum": ["a", "b,"]},
            "d": {"type": "string", "format": "date-time"},
            "l": {"type": "array", "items": {"type": "string"}},
            "cursor": {"type": "string"},
            "rating": {"type": ["number", "null"]},
        },
    });
    let description = Description::new(Value::Null);
    for (value, expected) in [
        (serde_json::json!({"id": "abc", "n": 3, "w": "b", "l": ["x"]}), 0),
        (serde_json::json!({"id": "abc", "cursor": null, "rating": null}), 0),
        (serde_json::json!({"id": "abc", "rating": 4.5, "d": "2026-03-01T00:00:00Z"}), 0),
        (serde_json::json!([]), 1),
        (serde_json::json!({}), 1),
        (serde_json::json!({"id": null}), 1),
        (serde_json::json!({"id": "abcd"}), 1),
        (serde_json::json!({"id": "abc", "n": 4, "w": "c", "l": [1], "d": "now", "x": 1}), 5),
    ] {
        let mut wrong = Vec::new();
        description.check(&schema, &value, Way::Sent, "it", &mut wrong);
        assert_eq!(wrong.len(), expected, "{value}: {wrong:?}");
    }
}
