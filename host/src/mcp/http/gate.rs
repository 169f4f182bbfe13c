//! Admits HTTP requests, limits them, and converts their messages and responses for the SDK.

use super::origin::{self, Origin};
use super::response::{self, Form};
use super::sessions::{Refused, Sessions};
use crate::error::Error;
use crate::listener::body;
use crate::listener::connections::Handle;
use crate::mcp::MAX_MESSAGE_BYTES;
use crate::mcp::budget::{Budget, MAX_OPEN, Permit};
use crate::mcp::message::{Arriving, Incoming, Refusal};
use crate::mcp::server_state::ServerState;
use crate::token::{Fault, Token, Verified};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, ProtocolVersion};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// The headers of the protocol, and the value of `Accept` that the SDK requires.
pub(in crate::mcp) const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const ACCEPTS_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// How much of a message that is too long is read for its ID, in bytes.
const MAX_READ_BYTES: usize = 16 * MAX_MESSAGE_BYTES;

/// The maximum time a client may take to send a message.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The maximum time a request waits for a permit.
const PERMIT_PATIENCE: Duration = Duration::from_secs(30);

/// The maximum number of capability tokens that are remembered as verified.
const MAX_VERIFIED: usize = 256;

/// When a refused client may try again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Checks and limits requests before they reach the SDK.
pub(super) struct Gate {
    /// The digest of the token. Digests have equal lengths, so comparing them leaks no length.
    token: Option<[u8; 32]>,
    /// Verified capability tokens, by their digests.
    verified: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
    /// What verifies them.
    state: Arc<ServerState>,
    origins: Vec<Origin>,
    pub(super) sessions: Sessions,
    /// The limit for the requests of all clients.
    budget: Budget,
}

/// The permits of a request: its client's, and the server's.
#[derive(Clone)]
#[expect(dead_code, reason = "they are held as long as the request is served")]
struct Permits(Permit, Permit);

/// Marks a request whose client accepts only the final response.
#[derive(Clone)]
pub(in crate::mcp) struct JsonOnly;

/// Serves a request if it has the token and its origin, if any, is allowed.
pub(super) async fn admit(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions_mut().remove::<Handle>();
    if !origin::is_allowed(request.headers(), &gate.origins) {
        let message = "this origin is not allowed; see --allow-origin";
        return closing(refused(StatusCode::FORBIDDEN, Value::Null, message));
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if origin::is_preflight(&request) {
        // A preflight has no token. The response says only that the page may send one.
        origin::preflight(request.headers())
    } else if let Err(stranger) = gate.let_in(&mut request).await {
        closing(*stranger)
    } else {
        // Every request has a connection.
        match connection.and_then(Handle::begin_request) {
            Some(in_request) => {
                if !request.body().is_end_stream() {
                    let sending = in_request.begin_body();
                    request = request.map(|body| body::holding_body(body, sending));
                }
                if *request.method() == Method::GET {
                    in_request.begin_stream();
                }
                body::holding(gate.serve(request, next).await, in_request)
            }
            None => {
                let message = "too many clients have open requests; try again later";
                closing(busy(StatusCode::SERVICE_UNAVAILABLE, Value::Null, message))
            }
        }
    };
    origin::expose(&mut response, origin);
    response
}

/// Closes the connection after a response, so that it does not count against the limits.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Sets the `Accept` header that the SDK requires, if a client accepts anything.
fn accepting_events(mut request: Request) -> Request {
    let accepts_any = match request.headers().get(header::ACCEPT) {
        None => true,
        Some(accept) => accept.to_str().is_ok_and(|accept| accept.contains("*/*")),
    };
    if accepts_any {
        request.headers_mut().insert(header::ACCEPT, ACCEPTS_BOTH);
    }
    request
}

/// Changes 202 to 204 in the response to a client that ends its session. The official SDK for Python
/// reports 202 as a failure.
fn ended(mut response: Response) -> Response {
    if response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

/// Removes empty events for clients of old protocols. A client that names no version is old.
fn events(response: Response, version: Option<&HeaderValue>) -> Response {
    let version = version.and_then(|version| version.to_str().ok()).unwrap_or_default();
    if version < ProtocolVersion::V_2025_11_25.as_str() {
        response::without_empty_events(response)
    } else {
        response
    }
}

impl Gate {
    /// Creates the gate for clients with this token, or with a capability token.
    pub(super) fn new(
        token: Option<&SecretString>,
        origins: Vec<Origin>,
        state: Arc<ServerState>,
    ) -> Self {
        Self {
            token: token.map(|token| Sha256::digest(token.expose_secret()).into()),
            verified: Mutex::default(),
            origins,
            sessions: Sessions::new(state.client_requests()),
            state,
            budget: Budget::new(MAX_OPEN),
        }
    }

    /// Checks the token of a request, and that its session was begun with the same. Adds the token to the
    /// request if it is a capability token. The error is the response.
    async fn let_in(&self, request: &mut Request) -> Result<(), Box<Response>> {
        let text = bearer(request.headers()).unwrap_or_default().to_owned();
        let digest: [u8; 32] = Sha256::digest(&text).into();
        let is_own = self.token.is_some_and(|own| bool::from(digest.ct_eq(&own)));
        let session = session_of(request.headers());
        if !is_own {
            let verified = self.verified(&text, digest, session.is_some()).await;
            request.extensions_mut().insert(verified.map_err(|why| Box::new(unknown(why)))?);
        }
        if session.is_some_and(|session| !self.sessions.is_of(&session, &digest)) {
            let message = "this session was begun with another token";
            return Err(Box::new(refused(StatusCode::FORBIDDEN, Value::Null, message)));
        }
        request.extensions_mut().insert(Bearer(digest));
        Ok(())
    }

    /// Verifies a capability token, once for each session. Calls look up by themselves whether it can still
    /// be used. The error is what to tell a client, if it has one.
    async fn verified(
        &self,
        text: &str,
        digest: [u8; 32],
        has_session: bool,
    ) -> Result<Arc<Verified>, Option<String>> {
        let known = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verified) = known().get(&digest).filter(|_| has_session).cloned() {
            return Ok(verified);
        }
        if let Err(Fault::NotAToken) = Token::parse(text) {
            return Err(None);
        }
        let opened = self.state.last_session().open_token(text).await;
        let verified = opened.map_err(|error| match error {
            Error::Denied { message, .. } => Some(message),
            // It may name files, which are of no concern to a client.
            _ => Some("the capability token cannot be verified at present".into()),
        })?;
        let mut known = known();
        if known.len() >= MAX_VERIFIED {
            known.clear();
        }
        known.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }

    /// Serves a request with the token.
    async fn serve(&self, request: Request, next: Next) -> Response {
        let version = request.headers().get(PROTOCOL_VERSION).cloned();
        let session = session_of(request.headers());
        match *request.method() {
            Method::POST => self.post(request, next).await,
            Method::DELETE => {
                if let Some(session) = session
                    && !self.sessions.has(&session).await
                {
                    let message = "unknown session ID";
                    let response = (StatusCode::NOT_FOUND, message).into_response();
                    return response::explained(response, Value::Null).await;
                }
                response::explained(ended(next.run(request).await), Value::Null).await
            }
            _ => {
                // An open stream keeps its session from being idle.
                let in_use = self.sessions.begin_use(session.as_deref(), &Value::Null, false);
                let response = next.run(accepting_events(request)).await;
                let response = response::explained(response, Value::Null).await;
                body::holding(events(response, version.as_ref()), in_use.ok())
            }
        }
    }

    /// Serves one message.
    async fn post(&self, request: Request, next: Next) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(form) = Form::of(&parts.headers) else {
            let message = "Accept must include application/json or text/event-stream";
            return refused(StatusCode::NOT_ACCEPTABLE, Value::Null, message);
        };
        let Ok(mut arriving) = tokio::time::timeout(BODY_PATIENCE, read(body)).await else {
            let message = "the message did not arrive in time";
            return closing(refused(StatusCode::REQUEST_TIMEOUT, Value::Null, message));
        };
        let Message { id, bytes, weight, initialized, is_served } = match take(&mut arriving) {
            Ok(message) => message,
            Err(response) => return *response,
        };
        drop(arriving);
        if let Some(version) = &initialized {
            negotiate(&mut parts, version);
        }
        let version = parts.headers.get(PROTOCOL_VERSION).cloned();
        let owner = parts.extensions.get::<Bearer>().map(|bearer| bearer.0).unwrap_or_default();
        let session = session_of(&parts.headers);
        let in_use = match self.sessions.begin_use(session.as_deref(), &id, is_served) {
            Ok(in_use) => in_use,
            Err(Refused::Duplicate) => {
                let message = "duplicate id: a request with this id is still in progress";
                return refused(StatusCode::BAD_REQUEST, id, message);
            }
            Err(Refused::TooMany) => {
                let message = "too many open requests of this client; wait for responses";
                return busy(StatusCode::TOO_MANY_REQUESTS, id, message);
            }
        };
        let permits = if is_served {
            let permits = self.permits(in_use.budget(), weight);
            let Ok(Some(permits)) = tokio::time::timeout(PERMIT_PATIENCE, permits).await else {
                let message = "too many requests are in progress; try again later";
                return busy(StatusCode::SERVICE_UNAVAILABLE, id, message);
            };
            parts.extensions.insert(permits.clone());
            Some(permits)
        } else {
            None
        };
        let begins = initialized.is_some() && session.is_none();
        let room = if begins {
            let Some(room) = self.sessions.make_room().await else {
                let message = "too many sessions have open requests; try again later";
                return busy(StatusCode::SERVICE_UNAVAILABLE, id, message);
            };
            Some(room)
        } else {
            None
        };
        if form == Form::Json {
            parts.extensions.insert(JsonOnly);
        }
        parts.headers.insert(header::ACCEPT, ACCEPTS_BOTH);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
        if begins && let Some(id) = response.headers().get(SESSION_ID) {
            self.sessions.has_begun(id.to_str().unwrap_or_default(), owner);
        }
        drop(room);
        let response = response::explained(response, id).await;
        let response = match (form, initialized) {
            (Form::Json, _) => response::collected(response).await,
            (Form::Events, Some(version)) => {
                events(response, HeaderValue::from_str(version.as_str()).ok().as_ref())
            }
            (Form::Events, None) => events(response, version.as_ref()),
        };
        // The session stays in use, and the permits are held, until the response has been sent.
        body::holding(response, (in_use, permits))
    }

    /// Waits for the permits of a request.
    async fn permits(&self, own: Budget, weight: u32) -> Option<Permits> {
        let own = own.acquire(weight).await?;
        Some(Permits(own, self.budget.acquire(weight).await?))
    }
}

/// The digest of the token that a request has.
#[derive(Clone)]
struct Bearer([u8; 32]);

/// Returns the token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Refuses a request without a token that is accepted. `why` is what is wrong with its capability token.
fn unknown(why: Option<String>) -> Response {
    let challenge = match why {
        None => "Bearer",
        Some(_) => "Bearer error=\"invalid_token\"",
    };
    let missing = "the bearer token is missing or wrong: send it as `Authorization: Bearer …`";
    let message = why.unwrap_or_else(|| missing.into());
    let mut response = refused(StatusCode::UNAUTHORIZED, Value::Null, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// A message that can be served.
struct Message {
    /// The ID of a request; null for other messages.
    id: Value,
    bytes: Vec<u8>,
    weight: u32,
    /// The version that a handshake requests.
    initialized: Option<ProtocolVersion>,
    /// Whether it needs permits.
    is_served: bool,
}

/// Reads a message. While it waits, only its bytes are kept. The error is the response to a message
/// that cannot be served.
fn take(arriving: &mut Arriving) -> Result<Message, Box<Response>> {
    let is_too_long = arriving.is_too_long();
    let weight = arriving.weight();
    let message = match arriving.finish() {
        Incoming::Message(message) => *message,
        Incoming::Ignored => return Err(Box::new(StatusCode::ACCEPTED.into_response())),
        Incoming::Refused(refusal) => {
            let status = match refusal.error.code {
                _ if is_too_long => StatusCode::PAYLOAD_TOO_LARGE,
                // The message is valid JSON-RPC, and so is the error response.
                ErrorCode::INVALID_PARAMS => StatusCode::OK,
                // The protocol of the request has no sessions, to whose clients 404 means another thing.
                ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_REQUEST,
            };
            return Err(Box::new(response::refusal(status, &refusal)));
        }
    };
    let Ok(bytes) = serde_json::to_vec(&message) else {
        let message = "the message cannot be read";
        return Err(Box::new(refused(StatusCode::BAD_REQUEST, Value::Null, message)));
    };
    let ClientJsonRpcMessage::Request(request) = message else {
        let (id, initialized, is_served) = (Value::Null, None, false);
        return Ok(Message { id, bytes, weight, initialized, is_served });
    };
    let id = request.id.into_json_value();
    let (initialized, is_served) = match request.request {
        ClientRequest::InitializeRequest(request) => (Some(request.params.protocol_version), true),
        // These have their own limits, and must not wait for other requests.
        ClientRequest::PingRequest(_) | ClientRequest::SubscriptionsListenRequest(_) => {
            (None, false)
        }
        _ => (None, true),
    };
    Ok(Message { id, bytes, weight, initialized, is_served })
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// Refuses a request that the client may repeat later.
fn busy(status: StatusCode, id: Value, message: &'static str) -> Response {
    let mut response = refused(status, id, message);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn refused(status: StatusCode, id: Value, message: impl Into<Cow<'static, str>>) -> Response {
    let error = ErrorData::invalid_request(message, None);
    response::refusal(status, &Refusal { id, error })
}

/// Reads a message. If it is too long, reads enough to find its ID in most cases.
async fn read(mut body: Body) -> Arriving {
    let mut arriving = Arriving::default();
    let mut length = 0;
    // A body that ends early is not JSON, and its client is gone.
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        arriving.push(&data);
        length += data.len();
        if length > MAX_READ_BYTES {
            break;
        }
    }
    arriving
}

/// Removes the version header from a handshake if it differs from the body or is unknown. A client may
/// send the newest version that it knows, and the server answers with its own newest.
fn negotiate(parts: &mut Parts, version: &ProtocolVersion) {
    let is_same = parts.headers.get(PROTOCOL_VERSION).is_some_and(|v| v == version.as_str());
    if !is_same || !ProtocolVersion::KNOWN_VERSIONS.contains(version) {
        parts.headers.remove(PROTOCOL_VERSION);
    }
}
