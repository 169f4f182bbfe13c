//! Rows of the audit log as log records of OpenTelemetry, in OTLP JSON.
//!
//! Attributes have the names of OpenTelemetry's conventions for generative AI and MCP where these have one,
//! and begin with `whereby.` otherwise. See <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
//! and <https://github.com/open-telemetry/semantic-conventions-genai>.

use crate::store::{AuditOutcome, AuditRow};
use serde_json::{Value, json};

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns rows as one `LogsData`. The installation tells positions of one log from those of another.
pub(super) fn logs(rows: &[AuditRow], installation: Option<&str>) -> Value {
    let records: Vec<Value> = rows.iter().map(record).collect();
    let resource = [
        ("service.name", json!("whereby")),
        ("service.version", json!(VERSION)),
        ("service.instance.id", json!(installation)),
    ];
    json!({
        "resourceLogs": [{
            "resource": {"attributes": attributes(resource)},
            "scopeLogs": [{
                "scope": {"name": "whereby.audit", "version": VERSION},
                "logRecords": records,
            }],
        }],
    })
}

fn record(row: &AuditRow) -> Value {
    let (number, word) = severity(row);
    let is_call = row.decision.is_none();
    let mut record = json!({
        "timeUnixNano": nanoseconds(row.time),
        "observedTimeUnixNano": nanoseconds(row.outcome.as_ref().map_or(row.time, |end| end.time)),
        "severityNumber": number,
        "severityText": word,
        "eventName": if is_call { "whereby.call" } else { "whereby.decision" },
        "body": {"stringValue": body(row)},
        "attributes": attributes(members(row)),
    });
    if let Some((trace, span, flags)) = row.traceparent.as_deref().and_then(context) {
        record["traceId"] = trace.into();
        record["spanId"] = span.into();
        record["flags"] = flags.into();
    }
    record
}

/// Returns the numbers of a time, in milliseconds, as a string of nanoseconds.
fn nanoseconds(ms: i64) -> String {
    (i128::from(ms) * 1_000_000).max(0).to_string()
}

/// Returns the severity: a failed call that may have changed something is an error, and one that changed
/// nothing is a warning. A call without an outcome is in progress, as far as this row tells.
fn severity(row: &AuditRow) -> (u8, &'static str) {
    const INFO: (u8, &str) = (9, "INFO");
    const WARN: (u8, &str) = (13, "WARN");
    const ERROR: (u8, &str) = (17, "ERROR");
    match &row.outcome {
        None => INFO,
        Some(outcome) if outcome.success => INFO,
        Some(outcome) if outcome.effect == "none" => WARN,
        Some(_) => ERROR,
    }
}

fn body(row: &AuditRow) -> String {
    let function = row.function.as_deref().unwrap_or("unknown function");
    match (&row.decision, &row.outcome) {
        (Some(decision), _) => match &row.function {
            Some(function) => format!("{} {}: {function}", decision.user, decision.what),
            None => format!("{} {}", decision.user, decision.what),
        },
        (None, None) => format!("{function}: in progress, or cut off"),
        (None, Some(AuditOutcome { success: true, .. })) => format!("{function}: success"),
        (None, Some(outcome)) => {
            let kind = outcome.kind.as_deref().unwrap_or("failed");
            let message = outcome.message.as_deref().unwrap_or_default();
            format!("{function}: {kind}: {message}")
        }
    }
}

fn members(row: &AuditRow) -> Vec<(&'static str, Value)> {
    let is_call = row.decision.is_none();
    let mut members = vec![
        ("whereby.audit.position", json!(row.seq)),
        ("whereby.audit.hash", json!(row.hash)),
        ("whereby.front_end", json!(row.front_end)),
        ("whereby.client", json!(row.client)),
        ("whereby.token", json!(row.token)),
        ("whereby.account", json!(row.account)),
        ("whereby.api_url", json!(row.api)),
        ("whereby.approval_id", json!(row.approval)),
        ("gen_ai.agent.name", json!(row.agent)),
        ("gen_ai.tool.name", json!(row.function)),
    ];
    if is_call {
        members.extend([
            ("gen_ai.operation.name", json!("execute_tool")),
            ("whereby.call.id", json!(row.id)),
            ("gen_ai.tool.call.arguments", row.arguments.clone()),
            ("mcp.method.name", json!((row.front_end == "mcp").then_some("tools/call"))),
            ("whereby.operation", json!(row.effect)),
            ("whereby.permission", json!(row.permission)),
            ("whereby.rule", json!(row.rule)),
            ("whereby.approved_by", json!(row.approved_by)),
        ]);
    }
    if let Some(decision) = &row.decision {
        members.extend([
            ("whereby.decision.id", json!(row.id)),
            ("whereby.decision", json!(decision.what)),
            ("whereby.decision.place", json!(decision.place)),
            ("whereby.decision.passkey", json!(decision.passkey)),
            ("whereby.decision.details", decision.details.clone()),
            ("user.name", json!(decision.user)),
            ("user.id", json!(decision.uid.map(|uid| uid.to_string()))),
        ]);
    }
    if let Some(outcome) = &row.outcome {
        // The kind of an unknown error, in OpenTelemetry's conventions.
        let kind = outcome.kind.as_deref().unwrap_or("_OTHER");
        members.extend([
            ("error.type", json!((!outcome.success).then_some(kind))),
            ("whereby.effect", json!(outcome.effect)),
            ("whereby.room.name", json!(outcome.room_name)),
            ("whereby.room.id", json!(outcome.room_id)),
            ("whereby.requests", json!(outcome.requests)),
            ("whereby.duration_ms", json!(outcome.duration_ms)),
        ]);
    }
    members
}

/// Returns attributes in the form of OTLP, without those that are null.
fn attributes(members: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<Value> {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    members.map(|(key, value)| json!({"key": key, "value": any_value(value)})).collect()
}

fn any_value(value: Value) -> Value {
    match value {
        Value::Bool(value) => json!({"boolValue": value}),
        // 64-bit integers are strings in the JSON form of Protocol Buffers.
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        Value::Array(items) => {
            json!({"arrayValue": {"values": items.into_iter().map(any_value).collect::<Vec<_>>()}})
        }
        Value::Object(members) => {
            let pair = |(key, value)| json!({"key": key, "value": any_value(value)});
            json!({"kvlistValue": {"values": members.into_iter().map(pair).collect::<Vec<_>>()}})
        }
        Value::String(text) => json!({"stringValue": text}),
        Value::Null => json!({}),
    }
}

/// Returns the trace, the span and the flags of a `traceparent` (W3C Trace Context).
fn context(traceparent: &str) -> Option<(&str, &str, u8)> {
    let mut parts = traceparent.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace.len() == 32 && span.len() == 16).then_some((trace, span, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_apart() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        assert_eq!(context(&format!("00-{trace}-{span}-01")), Some((trace, span, 1)));
        for text in ["", "00", "00-1-2-3", &format!("00-{trace}-{span}-xx")] {
            assert_eq!(context(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_form_of_protocol_buffers() {
        assert_eq!(any_value(json!(5)), json!({"intValue": "5"}));
        assert_eq!(any_value(json!(2.5)), json!({"doubleValue": 2.5}));
        assert_eq!(
            any_value(json!(["a", true])),
            json!({"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": true}]}})
        );
        assert_eq!(
            any_value(json!({"a": null})),
            json!({"kvlistValue": {"values": [{"key": "a", "value": {}}]}})
        );
        assert_eq!(nanoseconds(1_772_442_000_001), "1772442000001000000");
        assert_eq!(attributes([("a", Value::Null)]), [] as [Value; 0]);
    }
}
