//! Scripted replies, which replace the usual responses to the next requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use super::connection::Takeover;
use super::response::ApiResponse;

/// A reply that replaces the usual response.
///
/// ```text
/// Reply::status(503)                                refuses the request
/// Reply::carried_out().hanging_up()                 carries it out, but sends no response
/// Reply::status(200).json(&value).byte_by_byte(d)   sends a made-up response slowly
/// ```
#[derive(Clone, Debug)]
pub struct Reply {
    /// `None` for the usual response.
    status: Option<StatusCode>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    carry_out: bool,
    delay: Duration,
    gate: Option<Gate>,
    delivery: Delivery,
}

#[derive(Clone, Debug)]
enum Delivery {
    Whole,
    ThenClosing,
    Nothing,
    Never,
    Truncated(usize),
    Reset(usize),
    Endless,
    ByteByByte(Duration),
    Raw(Vec<u8>),
}

/// The result of a script.
pub(super) enum Outcome {
    ApiResponse(ApiResponse),
    /// The takeover, and the status that the client sees, if any.
    Takeover(Takeover, Option<u16>),
    Never,
}

impl Reply {
    fn new(status: Option<StatusCode>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: None,
            carry_out: status.is_none(),
            delay: Duration::ZERO,
            gate: None,
            delivery: Delivery::Whole,
        }
    }

    /// Carries the request out and responds as usual, apart from the changes added to this.
    #[must_use]
    pub fn carried_out() -> Self {
        Self::new(None)
    }

    /// Does not carry the request out, and responds with this status and no body. An invalid status becomes 500.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::new(Some(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)))
    }

    /// Does not carry the request out, sends these bytes, which need not be HTTP, and closes the connection.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(500);
        reply.delivery = Delivery::Raw(bytes.into());
        reply
    }

    /// Adds a header to the response. It replaces a header with the same name in the usual response. Invalid headers
    /// are ignored.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            self.headers.append(name, value);
        }
        self
    }

    /// Sets the body of the response. With [`Reply::status`], it has no `Content-Type` unless one is added.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body of the response to JSON, with its `Content-Type`.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.body(value.to_string()).header("content-type", "application/json; charset=utf-8")
    }

    /// Also carries the request out, although the response is a different one.
    #[must_use]
    pub fn after_carrying_out(mut self) -> Self {
        self.carry_out = true;
        self
    }

    /// Waits this long before responding.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits for the gate to open before responding.
    #[must_use]
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Sends the response, then closes the connection without announcing it.
    #[must_use]
    pub fn then_closing(mut self) -> Self {
        self.delivery = Delivery::ThenClosing;
        self
    }

    /// Closes the connection without sending anything.
    #[must_use]
    pub fn hanging_up(mut self) -> Self {
        self.delivery = Delivery::Nothing;
        self
    }

    /// Never responds, and keeps the connection open.
    #[must_use]
    pub fn never_answering(mut self) -> Self {
        self.delivery = Delivery::Never;
        self
    }

    /// Announces the whole body, sends this many bytes of it, and closes the connection.
    #[must_use]
    pub fn truncated(mut self, bytes: usize) -> Self {
        self.delivery = Delivery::Truncated(bytes);
        self
    }

    /// Sends this many bytes of the response, including the head, and resets the connection.
    #[must_use]
    pub fn reset_after(mut self, bytes: usize) -> Self {
        self.delivery = Delivery::Reset(bytes);
        self
    }

    /// Sends the body, then spaces endlessly.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.delivery = Delivery::Endless;
        self
    }

    /// Sends the response byte by byte, including the head, with this pause after each byte. Then closes the
    /// connection.
    #[must_use]
    pub fn byte_by_byte(mut self, pause: Duration) -> Self {
        self.delivery = Delivery::ByteByByte(pause);
        self
    }

    pub(super) fn carries_out(&self) -> bool {
        self.carry_out
    }

    /// Waits as scripted, then returns the outcome. `usual` is the response if the request was carried out.
    pub(super) async fn deliver(self, usual: Option<ApiResponse>) -> Outcome {
        if let Some(gate) = &self.gate {
            gate.wait().await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let usual = usual.unwrap_or_else(|| ApiResponse::empty(StatusCode::OK));
        let mut response = self.status.map_or(usual, ApiResponse::empty);
        for name in self.headers.keys() {
            response.headers.remove(name);
        }
        for (name, value) in &self.headers {
            response.headers.append(name, value.clone());
        }
        if let Some(body) = self.body {
            response.body = body;
        }
        let status = Some(response.status.as_u16());
        let length = format!("content-length: {}", response.body.len());
        let (head, body) = (response.head(&length), &response.body);
        let whole = || [&head[..], body].concat();
        let takeover = match self.delivery {
            Delivery::Whole => return Outcome::ApiResponse(response),
            Delivery::Never => return Outcome::Never,
            Delivery::Nothing => return Outcome::Takeover(Takeover::default(), None),
            Delivery::Raw(bytes) => {
                return Outcome::Takeover(Takeover { bytes, ..Takeover::default() }, None);
            }
            Delivery::ThenClosing => Takeover { bytes: whole(), ..Takeover::default() },
            Delivery::ByteByByte(pause) => {
                Takeover { bytes: whole(), pause: Some(pause), ..Takeover::default() }
            }
            Delivery::Truncated(keep) => {
                let bytes = [&head[..], &body[..keep.min(body.len())]].concat();
                Takeover { bytes, ..Takeover::default() }
            }
            Delivery::Reset(keep) => {
                let mut bytes = whole();
                bytes.truncate(keep);
                Takeover { bytes, reset: true, ..Takeover::default() }
            }
            Delivery::Endless => {
                let mut bytes = response.head("transfer-encoding: chunked");
                // An empty chunk would end the body.
                if !response.body.is_empty() {
                    bytes.extend(chunk(&response.body));
                }
                let forever = chunk(&[b' '; 16 * 1024]);
                Takeover { bytes, forever, ..Takeover::default() }
            }
        };
        Outcome::Takeover(takeover, status)
    }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Holds responses back until a test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// Returns a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate permanently.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        // This value owns the sender, so the wait ends only when the gate opens.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// The pending scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts(Mutex<Vec<Script>>);

#[derive(Debug)]
struct Script {
    method: Option<String>,
    path_prefix: String,
    left: usize,
    reply: Reply,
}

impl Scripts {
    fn scripts(&self) -> MutexGuard<'_, Vec<Script>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, method: &str, path_prefix: &str, times: usize, reply: Reply) {
        if times == 0 {
            return;
        }
        let method = (method != "*").then(|| method.to_owned());
        let path_prefix = path_prefix.to_owned();
        self.scripts().push(Script { method, path_prefix, left: times, reply });
    }

    pub(super) fn clear(&self) {
        self.scripts().clear();
    }

    /// Returns the number of pending replies.
    pub(super) fn left(&self) -> usize {
        self.scripts().iter().map(|script| script.left).sum()
    }

    /// Takes the reply of the first script that matches.
    pub(super) fn next(&self, method: &str, path: &str) -> Option<Reply> {
        let mut scripts = self.scripts();
        let index = scripts.iter().position(|script| {
            script.method.as_deref().is_none_or(|wanted| wanted == method)
                && path.starts_with(&script.path_prefix)
        })?;
        let script = &mut scripts[index];
        script.left -= 1;
        if script.left > 0 {
            return Some(script.reply.clone());
        }
        Some(scripts.remove(index).reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_used_in_order_and_as_often_as_requested() {
        let scripts = Scripts::default();
        scripts.add("GET", "/v1/meetings", 2, Reply::status(503));
        scripts.add("*", "/v1/", 1, Reply::status(500));
        scripts.add("GET", "/v1/meetings", 0, Reply::status(418));
        assert_eq!(scripts.left(), 3);
        for (method, path, status) in [
            ("GET", "/v1/recordings", Some(500)),
            ("POST", "/v1/meetings", None),
            ("GET", "/v1/meetings", Some(503)),
            ("GET", "/v1/meetings/1", Some(503)),
            ("GET", "/v1/meetings", None),
        ] {
            let reply = scripts.next(method, path);
            let answered = reply.map(|reply| reply.status.unwrap().as_u16());
            assert_eq!(answered, status, "{method} {path}");
        }
        assert_eq!(scripts.left(), 0);
    }
}
