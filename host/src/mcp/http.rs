//! MCP over streamable HTTP, for many clients, on a loopback address.
//!
//! Whoever reaches the port may be any program of this machine, or a page in a browser of it: each
//! request needs the bearer token, a `Host` that is named, and no `Origin` that is not.

use super::{Handler, MAX_MESSAGE_BYTES, Server, escape};
use crate::error::Error;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Where on the server the protocol is spoken.
const PATH: &str = "/mcp";

/// How many clients of the protocols with sessions there may be at a time.
const MAX_SESSIONS: usize = 256;

/// After which silence such a session ends. A person may be thinking about a question meanwhile.
const SESSION_IDLE: Duration = Duration::from_secs(15 * 60);

/// How many connections there may be at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take for the head of a request, and be silent between two.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

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
    /// Pages of which origins may use it, as `https://host:port`; without this, none of any.
    pub origins: Vec<String>,
}

impl HttpOptions {
    /// On this address, with this token, for loopback names and no pages.
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
    sessions: Arc<LocalSessionManager>,
}

impl Server {
    /// Serves clients over streamable HTTP, on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] for an address that is not loopback or cannot be listened on, and for a
    /// token that is too short.
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
            .with_allowed_origins(origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(MAX_MESSAGE_BYTES)
            .with_cancellation_token(stop.clone());
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(SESSION_IDLE);
        let sessions = Arc::new(manager);
        let gate = Gate {
            token: Sha256::digest(token.expose_secret()).into(),
            sessions: Arc::clone(&sessions),
        };
        let gateway = Arc::clone(&self.gateway);
        let service = StreamableHttpService::new(
            move || Ok(Handler::new(Arc::clone(&gateway), CancellationToken::new())),
            sessions,
            config,
        );
        let app = Router::new()
            .route_service(PATH, service)
            .layer(middleware::map_response(escape::response))
            .layer(middleware::from_fn_with_state(Arc::new(gate), admit));
        let watching = self.gateway.watch();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener, app) => {}
            }
            drop(watching);
        });
        Ok(Listening { address, stop, server })
    }
}

/// Accepts connections, so many at a time, and serves each until it is idle for too long. All end with
/// this.
async fn accept(listener: TcpListener, app: Router) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The seats are never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
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
        let service = TowerToHyperService::new(app.clone());
        connections.spawn(async move {
            let _seat = seat;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // A client that does not keep to HTTP is its own problem.
            let _ = served.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Whether a request begins a session: those since 2026-07-28 have none.
fn begins_session(headers: &HeaderMap) -> bool {
    let version = headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
    !headers.contains_key("mcp-session-id") && version.is_none_or(|version| version < "2026-07-28")
}

/// Lets a request through that brings the token, and a new client where there is room for one.
async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let digest: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
    if given.is_none() || !bool::from(digest.ct_eq(&gate.token)) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is needed\n").into_response();
    }
    if begins_session(request.headers())
        && gate.sessions.sessions.read().await.len() >= MAX_SESSIONS
    {
        let wait = [(header::RETRY_AFTER, "60")];
        return (StatusCode::SERVICE_UNAVAILABLE, wait, "too many clients\n").into_response();
    }
    next.run(request).await
}
