//! MCP over streamable HTTP, for many clients, on a loopback address.
//!
//! Any program on this machine can reach the port, and so can a page in one of its browsers. Each
//! request needs the bearer token, a `Host` that is named, and no `Origin` that is not allowed.
//!
//! The SDK serves the protocol. What comes before it here reads each message, so that it gets only those
//! that it can answer, and puts its answers into the form that each client takes.

mod answer;
mod body;
mod connections;
mod origin;
mod sessions;

use super::budget::{Budget, MAX_OPEN, Place};
use super::message::{Arriving, Incoming, Refusal};
use super::{Handler, MAX_MESSAGE_BYTES, Server, escape};
use crate::error::Error;
use answer::Form;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use body::Patient;
use connections::{Connections, Handle};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as Arrived;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use origin::Origin;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, ProtocolVersion};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sessions::{Refused, Sessions};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use whereby_authority::text;

/// Where on the server the protocol is spoken.
const PATH: &str = "/mcp";

/// The headers of the protocol, and what the SDK wants in `Accept`.
pub(super) const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const ACCEPTS_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// How much of a message that is too long is read for its id, in bytes.
const MAX_READ_BYTES: usize = 16 * MAX_MESSAGE_BYTES;

/// How long a connection may be open before it shows the token: enough for the head of a request.
const STRANGER_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may read nothing of what it is sent.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a client with the token may take for the head of a request, and be silent between two.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take for a message.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// How long a request waits for a place before it is refused.
const PLACE_PATIENCE: Duration = Duration::from_secs(30);

/// After which time a client that was refused may try again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// How much of a connection's input and output is kept, in bytes.
const BUFFER: usize = 64 * 1024;

/// How long to wait before accepting again where that has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The least length of a bearer token, in characters.
const MIN_TOKEN: usize = 16;

/// How a server listens.
#[derive(Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// The loopback address; port 0 is a free one.
    pub address: SocketAddr,
    /// What each request must bring as `Authorization: Bearer …`; at least 16 characters.
    pub token: SecretString,
    /// By which names in `Host` the server may be reached besides the loopback ones, for instance that of
    /// a proxy in front of it.
    pub hosts: Vec<String>,
    /// Pages of which origins may use it besides those of this machine, as `https://host:port`.
    pub origins: Vec<String>,
}

impl HttpOptions {
    /// On this address, with this token, for loopback names and pages of this machine.
    #[must_use]
    pub fn new(address: SocketAddr, token: SecretString) -> Self {
        Self { address, token, hosts: Vec::new(), origins: Vec::new() }
    }
}

/// A server that listens. It stops when it is dropped.
pub struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Listening {
    /// Where the protocol is spoken.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Stops: ends the sessions, and the calls that are under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends by itself, and a panic in it has been told where it happened.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.abort();
    }
}

/// What a request is checked against.
struct Gate {
    /// The digest of the token, which has one length whatever is compared with it.
    token: [u8; 32],
    origins: Vec<Origin>,
    sessions: Sessions,
    /// The places for the requests of all clients.
    budget: Budget,
}

/// The places of a request: among those of its client, and of all.
#[derive(Clone)]
#[expect(dead_code, reason = "they are held as long as the request is served")]
struct Places(Place, Place);

/// Marks a request whose client takes the answer and nothing before it.
#[derive(Clone)]
pub(super) struct JsonOnly;

impl Server {
    /// Serves clients over streamable HTTP, on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] for an address that is not loopback or cannot be listened on, for a
    /// token that is too short, and for an origin that cannot be read.
    pub async fn listen(&self, options: HttpOptions) -> Result<Listening, Error> {
        let HttpOptions { address, token, hosts, origins } = options;
        let wrong = |message: String| Error::Configuration { message };
        if !address.ip().is_loopback() {
            return Err(wrong(format!(
                "{address} is not a loopback address, and the token would cross the network in plain \
                 text: listen on 127.0.0.1, and let a proxy with TLS reach it (--allow-host NAME)"
            )));
        }
        if token.expose_secret().chars().count() < MIN_TOKEN {
            return Err(wrong(format!(
                "the bearer token is shorter than {MIN_TOKEN} characters; make one with: openssl rand \
                 -hex 32"
            )));
        }
        let origins: Result<Vec<Origin>, Error> = origins
            .iter()
            .map(|text| {
                Origin::rule(text).ok_or_else(|| {
                    wrong(format!(
                        "`{}` is not an origin; it has the form https://agents.example.com:443",
                        text::printable(text, 200)
                    ))
                })
            })
            .collect();
        let origins = origins?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| wrong(format!("{address} cannot be listened on: {error}")))?;
        let address = listener
            .local_addr()
            .map_err(|error| wrong(format!("{address} cannot be listened on: {error}")))?;

        let stop = CancellationToken::new();
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(own.into_iter().chain(hosts))
            .with_max_request_body_bytes(usize::MAX)
            .with_cancellation_token(stop.clone());
        let sessions = Sessions::new(self.gateway.client_requests());
        let manager = Arc::clone(&sessions.manager);
        let token = Sha256::digest(token.expose_secret()).into();
        let gate = Arc::new(Gate { token, origins, sessions, budget: Budget::new(MAX_OPEN) });
        let sweeping = Arc::clone(&gate);
        let gateway = Arc::clone(&self.gateway);
        let service = StreamableHttpService::new(
            move || {
                let never = CancellationToken::new();
                Ok(Handler::new(Arc::clone(&gateway), never, CancellationToken::new()))
            },
            manager,
            config,
        );
        let app = Router::new()
            .route_service(PATH, service.clone())
            .route_service(&format!("{PATH}/"), service)
            .fallback(async || (StatusCode::NOT_FOUND, format!("MCP is served at {PATH}")))
            .layer(middleware::map_response(escape::response))
            .layer(middleware::from_fn_with_state(gate, admit));
        let watching = self.gateway.watch();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener, app) => {}
                () = sweeping.sessions.end_idle() => {}
            }
            drop(watching);
        });
        Ok(Listening { address, stop, server })
    }
}

/// Accepts connections, and serves each until it is idle for too long or has to make room. All end
/// with this.
async fn accept(listener: TcpListener, app: Router) {
    let connections = Arc::<Connections>::default();
    let mut served = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: trying again at once would only burn the processor.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is not to wait for the client's next packet. That is a matter of speed, and a
        // connection that is already gone shows itself later.
        let _ = stream.set_nodelay(true);
        let connection = connections.add().await;
        let (handle, app) = (connection.handle(), TowerToHyperService::new(app.clone()));
        let service = service_fn(move |mut request: hyper::Request<Arrived>| {
            request.extensions_mut().insert(handle.clone());
            app.call(request)
        });
        served.spawn(async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(Patient::new(stream, READER_PATIENCE)), service);
            tokio::select! {
                // A client that does not keep to HTTP is its own problem.
                _ = serving => {}
                () = connection.ended(STRANGER_PATIENCE) => {}
            }
        });
        while served.try_join_next().is_some() {}
    }
}

/// Lets a request in that comes from an allowed page or from none, and has the token.
async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let connection = request.extensions_mut().remove::<Handle>();
    if !origin::is_allowed(request.headers(), &gate.origins) {
        let message = "pages of this origin are not allowed; see --allow-origin";
        return closing(refused(StatusCode::FORBIDDEN, Value::Null, message));
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if origin::is_preflight(&request) {
        // A browser asks without the token, and learns nothing but that it may send it.
        origin::preflight(request.headers())
    } else if !gate.has_token(request.headers()) {
        let message = "the bearer token is missing or wrong: send it as `Authorization: Bearer …`";
        let mut response = refused(StatusCode::UNAUTHORIZED, Value::Null, message);
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        closing(response)
    } else {
        match connection.map(Handle::begin_request) {
            Some(None) => {
                let message = "too many clients have requests under way; try again later";
                closing(busy(StatusCode::SERVICE_UNAVAILABLE, Value::Null, message))
            }
            in_request => {
                if let Some(Some(in_request)) = &in_request
                    && !request.body().is_end_stream()
                {
                    let sending = in_request.begin_body();
                    request = request.map(|body| body::holding_body(body, sending));
                }
                if let Some(Some(in_request)) = &in_request
                    && *request.method() == Method::GET
                {
                    in_request.begin_stream();
                }
                body::holding(gate.serve(request, next).await, in_request)
            }
        }
    };
    origin::expose(&mut response, origin);
    response
}

/// An answer after which the connection ends: who has no token has no place to keep.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A request for a stream of events, whose client takes it under whatever name.
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

/// The answer to a client that ends its session. The official SDK for Python takes the one that the SDK
/// here gives for a failure.
fn ended(mut response: Response) -> Response {
    if response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

/// Events as clients of a protocol take them; those that name none are old.
fn events(response: Response, version: Option<&HeaderValue>) -> Response {
    let version = version.and_then(|version| version.to_str().ok()).unwrap_or_default();
    match version < ProtocolVersion::V_2025_11_25.as_str() {
        true => answer::without_empty_events(response),
        false => response,
    }
}

impl Gate {
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let digest: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        given.is_some() && bool::from(digest.ct_eq(&self.token))
    }

    /// Serves a request that has the token.
    async fn serve(&self, request: Request, next: Next) -> Response {
        let version = request.headers().get(PROTOCOL_VERSION).cloned();
        let session = session_of(request.headers());
        match *request.method() {
            Method::POST => self.post(request, next).await,
            Method::DELETE => {
                if let Some(session) = session
                    && !self.sessions.has(&session).await
                {
                    let message = "there is no session of this id";
                    let response = (StatusCode::NOT_FOUND, message).into_response();
                    return answer::explained(response, Value::Null).await;
                }
                answer::explained(ended(next.run(request).await), Value::Null).await
            }
            _ => {
                // A session is in use as long as its stream is open.
                let in_use = self.sessions.begin_use(session.as_deref(), &Value::Null, false);
                let response = next.run(accepting_events(request)).await;
                let response = answer::explained(response, Value::Null).await;
                body::holding(events(response, version.as_ref()), in_use.ok())
            }
        }
    }

    /// Serves one message.
    async fn post(&self, request: Request, next: Next) -> Response {
        let (mut parts, body) = request.into_parts();
        let Some(form) = Form::of(&parts.headers) else {
            let message = "Accept must name application/json or text/event-stream";
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
        let session = session_of(&parts.headers);
        let in_use = match self.sessions.begin_use(session.as_deref(), &id, is_served) {
            Ok(in_use) => in_use,
            Err(Refused::Duplicate) => {
                let message = "duplicate id: a request with this id is still in progress";
                return refused(StatusCode::BAD_REQUEST, id, message);
            }
            Err(Refused::TooMany) => {
                let message = "too many requests of this client have no answer yet; wait for some";
                return busy(StatusCode::TOO_MANY_REQUESTS, id, message);
            }
        };
        let places = if is_served {
            let places = self.places(in_use.budget(), weight);
            let Ok(Some(places)) = tokio::time::timeout(PLACE_PATIENCE, places).await else {
                let message = "too many requests are under way; try again later";
                return busy(StatusCode::SERVICE_UNAVAILABLE, id, message);
            };
            parts.extensions.insert(places.clone());
            Some(places)
        } else {
            None
        };
        let begins = initialized.is_some() && session.is_none();
        let room = if begins {
            let Some(room) = self.sessions.make_room().await else {
                let message = "too many clients wait for answers";
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
            self.sessions.has_begun(id.to_str().unwrap_or_default());
        }
        drop(room);
        let response = answer::explained(response, id).await;
        let response = match (form, initialized) {
            (Form::Json, _) => answer::collected(response).await,
            (Form::Events, Some(version)) => {
                events(response, HeaderValue::from_str(version.as_str()).ok().as_ref())
            }
            (Form::Events, None) => events(response, version.as_ref()),
        };
        // The session is in use, and the places are taken, as long as the answer is sent.
        body::holding(response, (in_use, places))
    }

    /// The places of a request, once there are some.
    async fn places(&self, own: Budget, weight: u32) -> Option<Places> {
        let own = own.place(weight).await?;
        Some(Places(own, self.budget.place(weight).await?))
    }
}

/// A message that can be served.
struct Message {
    /// Null of what wants no answer.
    id: Value,
    bytes: Vec<u8>,
    weight: u32,
    /// The version that a handshake asks for.
    initialized: Option<ProtocolVersion>,
    /// Whether it takes up places.
    is_served: bool,
}

/// Reads a message, of which nothing but its bytes is kept while it waits; the error is the answer
/// to what is none.
fn take(arriving: &mut Arriving) -> Result<Message, Box<Response>> {
    let is_too_long = arriving.is_too_long();
    let weight = arriving.weight();
    let message = match arriving.finish() {
        Incoming::Message(message) => *message,
        Incoming::Ignored => return Err(Box::new(StatusCode::ACCEPTED.into_response())),
        Incoming::Refused(refusal) => {
            let status = match refusal.error.code {
                _ if is_too_long => StatusCode::PAYLOAD_TOO_LARGE,
                // The message is one, and the answer is an answer to it.
                ErrorCode::INVALID_PARAMS => StatusCode::OK,
                _ => StatusCode::BAD_REQUEST,
            };
            return Err(Box::new(answer::refusal(status, &refusal)));
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
        // These have limits of their own, and must not wait for what they are about.
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

/// Refuses a request that may be served later.
fn busy(status: StatusCode, id: Value, message: &'static str) -> Response {
    let mut response = refused(status, id, message);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn refused(status: StatusCode, id: Value, message: &'static str) -> Response {
    let error = ErrorData::invalid_request(message, None);
    answer::refusal(status, &Refusal { id, error })
}

/// Reads a message; of one that is too long, so much that its id is likely among it.
async fn read(mut body: Body) -> Arriving {
    let mut arriving = Arriving::default();
    let mut length = 0;
    // A body that breaks off is no JSON, and the client is gone.
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

/// Leaves the version to the handshake, whose own word counts: a client may send the newest that it
/// knows, which this server answers with the newest of its own.
fn negotiate(parts: &mut Parts, version: &ProtocolVersion) {
    let is_same = parts.headers.get(PROTOCOL_VERSION).is_some_and(|v| v == version.as_str());
    if !is_same || !ProtocolVersion::KNOWN_VERSIONS.contains(version) {
        parts.headers.remove(PROTOCOL_VERSION);
    }
}
