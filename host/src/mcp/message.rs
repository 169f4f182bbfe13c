//! Reads one JSON-RPC message of a client, or says what is wrong with it.
//!
//! A request that cannot be served is refused here, with its id where it can be read; the SDK would
//! drop it, or take it for another one. Notifications and answers are never answered, whatever is wrong
//! with them.
#![expect(deprecated, reason = "clients of the protocols before 2026-07-28 want logging")]

use super::{MAX_MESSAGE_BYTES, budget, parameters};
use crate::strict_json;
use rmcp::model::{
    CallToolRequest, ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomRequest,
    DiscoverRequest, ErrorCode, ErrorData, GetMeta as _, InitializeRequest, JsonObject,
    ListResourceTemplatesRequest, ListResourcesRequest, ListToolsRequest, PingRequest,
    ReadResourceRequest, RequestId, RequestMetaObject, SetLevelRequest, SubscriptionsListenRequest,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value, json};
use whereby_authority::text;

/// The longest id that is read from a message that is too long, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The members of `_meta` that mean something to this server: this one, and those that begin so.
const PROGRESS: &str = "progressToken";
const PROTOCOL: &str = "io.modelcontextprotocol/";

/// What a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message that can be served.
    Message(Box<ClientJsonRpcMessage>),
    /// A notification that means nothing to this server, or a malformed answer.
    Ignored,
    /// Something that is answered with an error.
    Refused(Refusal),
}

/// The error that answers a message.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    /// The message's id; null where it has none or none can be read.
    pub(super) id: Value,
    pub(super) error: ErrorData,
}

impl Refusal {
    /// The answer as a JSON-RPC message. The SDK's own type leaves out an id that is null.
    pub(super) fn to_json(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": self.id, "error": self.error})
    }

    fn invalid(id: Value, message: impl Into<String>) -> Self {
        Self { id, error: ErrorData::invalid_request(message.into(), None) }
    }
}

impl From<Refusal> for Incoming {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The error for a method that this server does not have.
pub(super) fn unknown_method(method: &str) -> ErrorData {
    let message = format!("there is no method `{}`", text::printable(method, 100));
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}

/// A message that arrives in parts. One that is too long is dropped, all but its id.
#[derive(Default)]
pub(super) struct Arriving {
    bytes: Vec<u8>,
    too_long: Option<IdScanner>,
}

impl Arriving {
    pub(super) fn push(&mut self, part: &[u8]) {
        if let Some(scanner) = &mut self.too_long {
            scanner.push(part);
        } else if self.bytes.len() + part.len() > MAX_MESSAGE_BYTES {
            let mut scanner = IdScanner::default();
            scanner.push(&self.bytes);
            scanner.push(part);
            self.bytes = Vec::new();
            self.too_long = Some(scanner);
        } else {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Whether nothing but white space has arrived.
    pub(super) fn is_blank(&self) -> bool {
        self.too_long.is_none() && self.bytes.trim_ascii().is_empty()
    }

    /// Estimates the memory that the message uses once it is parsed, in KiB.
    pub(super) fn weight(&self) -> u32 {
        budget::weight(&self.bytes)
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.too_long.is_some()
    }

    /// Reads what has arrived, and begins the next message.
    pub(super) fn finish(&mut self) -> Incoming {
        let Some(scanner) = self.too_long.take() else {
            let incoming = read(&self.bytes);
            self.bytes.clear();
            return incoming;
        };
        if let Some(unreadable) = scanner.unreadable_answer() {
            return unreadable;
        }
        let message = format!("the message is longer than {MAX_MESSAGE_BYTES} bytes");
        Refusal::invalid(scanner.id, message).into()
    }
}

/// Reads a whole message.
pub(super) fn read(bytes: &[u8]) -> Incoming {
    let not_json = |problem: String| {
        let message = format!("the message is not JSON: {problem}");
        Refusal { id: Value::Null, error: ErrorData::parse_error(message, None) }.into()
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text::without_bom(text),
        Err(error) => return not_json(error.to_string()),
    };
    match strict_json::from_str(text) {
        Ok(Value::Object(message)) => of_object(message),
        Ok(Value::Array(_)) => {
            let message = "batches are not supported: send each message by itself";
            Refusal::invalid(Value::Null, message).into()
        }
        Ok(_) => Refusal::invalid(Value::Null, "a message must be a JSON object").into(),
        // JSON allows half a surrogate pair, any number, any depth and a member twice; its id can be read
        // all the same.
        Err(error) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            let mut scanner = IdScanner::default();
            scanner.push(text.as_bytes());
            if let Some(unreadable) = scanner.unreadable_answer() {
                return unreadable;
            }
            Refusal::invalid(scanner.id, format!("the message cannot be read: {error}")).into()
        }
        Err(error) => not_json(error.to_string()),
    }
}

fn of_object(mut message: Map<String, Value>) -> Incoming {
    let has_outcome = message.contains_key("result") || message.contains_key("error");
    let id = message.get("id");
    let method = match message.get("method") {
        Some(Value::String(method)) => method.clone(),
        None if has_outcome => return of_answer(message),
        None => return Refusal::invalid(echo(id), "`method` is missing").into(),
        Some(_) => return Refusal::invalid(echo(id), "`method` must be a string").into(),
    };
    // Some clients write the id that a notification does not have as null.
    let is_notification = id.is_none_or(|id| id.is_null() && method.starts_with("notifications/"));
    if is_notification {
        message.remove("id");
        return of_notification(message);
    }
    let id = echo(id);
    let Ok(request_id) = RequestId::deserialize(&id) else {
        return Refusal::invalid(id, "`id` must be a string or an integer").into();
    };
    if message.get("jsonrpc").is_none_or(|version| version != "2.0") {
        return Refusal::invalid(id, "`jsonrpc` must be \"2.0\"").into();
    }
    if has_outcome {
        return Refusal::invalid(id, "a request has no `result` and no `error`").into();
    }
    match of_request(&method, message) {
        Ok(request) => {
            Incoming::Message(Box::new(ClientJsonRpcMessage::request(request, request_id)))
        }
        Err(error) => Refusal { id, error }.into(),
    }
}

/// An id that an answer can carry, whether or not a request may have it.
fn echo(id: Option<&Value>) -> Value {
    match id {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        _ => Value::Null,
    }
}

fn of_answer(mut message: Map<String, Value>) -> Incoming {
    // This server numbers its requests, and some clients answer with the number as a string.
    let id = message.get("id").map(numbered).unwrap_or_default();
    message.insert("id".into(), id.clone());
    match ClientJsonRpcMessage::deserialize(Value::Object(message)) {
        Ok(answer) => Incoming::Message(Box::new(answer)),
        Err(_) => unreadable_answer(&id),
    }
}

/// The id of a request of this server.
fn numbered(id: &Value) -> Value {
    let number = id.as_str().and_then(|id| id.parse::<i64>().ok());
    number.map_or_else(|| id.clone(), Value::from)
}

/// An answer that cannot be read is a failure to answer, so that nobody waits for another one.
fn unreadable_answer(id: &Value) -> Incoming {
    let answer = ClientJsonRpcMessage::deserialize(json!({
        "jsonrpc": "2.0",
        "id": numbered(id),
        "error": {"code": -32603, "message": "the answer cannot be read"},
    }));
    match answer {
        Ok(answer) => Incoming::Message(Box::new(answer)),
        Err(_) => Incoming::Ignored,
    }
}

fn of_notification(message: Map<String, Value>) -> Incoming {
    match ClientJsonRpcMessage::deserialize(Value::Object(message)) {
        Ok(ClientJsonRpcMessage::Notification(notification))
            if matches!(
                notification.notification,
                ClientNotification::CancelledNotification(_)
                    | ClientNotification::InitializedNotification(_)
            ) =>
        {
            Incoming::Message(Box::new(ClientJsonRpcMessage::Notification(notification)))
        }
        _ => Incoming::Ignored,
    }
}

fn of_request(method: &str, message: Map<String, Value>) -> Result<ClientRequest, ErrorData> {
    match method {
        "initialize" => known(message, parameters::initialize, InitializeRequest::new),
        "ping" => known(message, parameters::any, |_: JsonObject| PingRequest::default()),
        "server/discover" => known(message, parameters::any, DiscoverRequest::new),
        "tools/list" => known(message, parameters::list, ListToolsRequest::with_param),
        "tools/call" => known(message, parameters::call, CallToolRequest::new),
        "resources/list" => known(message, parameters::list, ListResourcesRequest::with_param),
        "resources/templates/list" => {
            known(message, parameters::list, ListResourceTemplatesRequest::with_param)
        }
        "resources/read" => known(message, parameters::read, ReadResourceRequest::new),
        "logging/setLevel" => known(message, parameters::level, SetLevelRequest::new),
        "subscriptions/listen" => known(message, parameters::any, SubscriptionsListenRequest::new),
        // Whatever its parameters, the handler does not know the method.
        _ => Ok(CustomRequest::deserialize(Value::Object(message))
            .unwrap_or_else(|_| CustomRequest::new(method, None))
            .into()),
    }
}

/// Makes a request of a known method out of its parameters. The SDK would take one with wrong
/// parameters for a method that it does not know.
fn known<P: DeserializeOwned, R: Into<ClientRequest>>(
    mut message: Map<String, Value>,
    check: fn(&mut Map<String, Value>) -> Result<(), String>,
    make: impl FnOnce(P) -> R,
) -> Result<ClientRequest, ErrorData> {
    let wrong = |problem: String| {
        let problem = text::printable(&problem, 300);
        ErrorData::invalid_params(format!("invalid params: {problem}"), None)
    };
    let mut params = match message.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(wrong("`params` must be an object".into())),
    };
    let meta = match params.remove("_meta") {
        None | Some(Value::Null) => None,
        Some(Value::Object(mut meta)) => {
            // What nobody here reads is not kept, however much there is of it.
            meta.retain(|name, _| name == PROGRESS || name.starts_with(PROTOCOL));
            parameters::meta(&mut meta).map_err(wrong)?;
            Some(meta)
        }
        Some(_) => return Err(wrong("`_meta` must be an object".into())),
    };
    check(&mut params).map_err(wrong)?;
    let params = Value::Object(params);
    let made = P::deserialize(&params).map_err(|_| {
        // Read once more, they say which of them it is.
        match serde_path_to_error::deserialize::<_, P>(&params) {
            Err(error) if error.path().iter().next().is_some() => {
                wrong(format!("`{}`: {}", error.path(), error.inner()))
            }
            Err(error) => wrong(error.inner().to_string()),
            Ok(_) => wrong("wrong structure".into()),
        }
    })?;
    let mut request = make(made).into();
    if let Some(meta) = meta {
        *request.get_meta_mut() = RequestMetaObject::from(meta);
    }
    Ok(request)
}

/// Finds the id of a message without keeping the message.
#[derive(Default)]
struct IdScanner {
    id: Value,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The name or value that is being read, where it is a member of the message itself.
    token: Vec<u8>,
    is_id: bool,
    has_id: bool,
    has_method: bool,
    has_outcome: bool,
}

impl IdScanner {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.end_member();
                    self.depth = self.depth.saturating_sub(1);
                    continue;
                }
                b',' => {
                    self.end_member();
                    continue;
                }
                b':' if self.depth == 1 => {
                    let name = self.token.trim_ascii();
                    self.is_id = name == b"\"id\"";
                    self.has_method |= name == b"\"method\"";
                    self.has_outcome |= matches!(name, b"\"result\"" | b"\"error\"");
                    self.token.clear();
                    continue;
                }
                _ => {}
            }
            // One byte more than is read shows that it is too long.
            if self.depth == 1 && self.token.len() <= MAX_ID_BYTES && byte != b'{' {
                self.token.push(byte);
            }
        }
    }

    /// The failure to answer, where the message is an answer.
    fn unreadable_answer(&self) -> Option<Incoming> {
        (self.has_outcome && !self.has_method).then(|| unreadable_answer(&self.id))
    }

    fn end_member(&mut self) {
        if self.depth != 1 {
            return;
        }
        if self.is_id {
            let is_readable = !self.has_id && self.token.len() <= MAX_ID_BYTES;
            let id = is_readable.then(|| serde_json::from_slice(&self.token).ok()).flatten();
            // Of two ids, neither is the message's.
            self.id = echo(id.as_ref());
            self.has_id = true;
        }
        self.is_id = false;
        self.token.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_long_message_is_found_however_it_is_cut() {
        let long = "x".repeat(MAX_ID_BYTES);
        for (message, id) in [
            (r#"{"id":1}"#, json!(1)),
            (r#" { "jsonrpc" : "2.0" , "id" : "a\"é" , "params" : [ { } ] }"#, json!("a\"é")),
            (r#"{"params":{"id":1,"a":[{"id":2}],"b":"},\"id\":3"},"id":-4,"x":{}}"#, json!(-4)),
            (r#"{"params":["id",1],"x":"id"}"#, Value::Null),
            (r#"{"id":1,"params":{"a":"#, json!(1)),
            (r#"{"params":{"a":"#, Value::Null),
            (r#"{"id":null}"#, Value::Null),
            (r#"{"id":{"id":1}}"#, Value::Null),
            (r#"{"id":[1]}"#, Value::Null),
            (r#"{"id":nonsense}"#, Value::Null),
            (r#"{"id":1,"id":2}"#, Value::Null),
            (r#"[{"id":1}]"#, Value::Null),
            (r#"["id",1]"#, Value::Null),
            (r#"]}"id":1"#, Value::Null),
            (&format!(r#"{{"id":"{long}"}}"#), Value::Null),
        ] {
            let bytes = message.as_bytes();
            for at in 0..bytes.len() {
                let mut scanner = IdScanner::default();
                scanner.push(&bytes[..at]);
                scanner.push(&bytes[at..]);
                assert_eq!(scanner.id, id, "{message} cut at {at}");
            }
        }
    }
}
