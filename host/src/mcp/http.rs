//! MCP over streamable HTTP, for many clients, on a loopback address.
//!
//! Any program on this machine can reach the port, and so can a web page in a browser on it. Each
//! request needs the bearer token and an allowed `Host`; its `Origin`, if any, must be allowed.
//!
//! The SDK serves the protocol. Before it, this module reads each message, so that the SDK gets only
//! those that it can answer. After it, this module converts responses to the form that each client
//! accepts.

mod gate;
mod origin;
mod response;
mod sessions;

pub(super) use gate::{JsonOnly, SESSION_ID};

use super::{Handler, Server, escape};
use crate::error::Error;
use crate::listener;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use gate::Gate;
use origin::Origin;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use whereby_authority::text;

/// The path of the MCP endpoint.
const PATH: &str = "/mcp";

/// The minimum length of a bearer token, in characters.
const MIN_TOKEN: usize = 16;

/// The options of an HTTP server.
#[derive(Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// The loopback address to listen on. Port 0 chooses a free port.
    pub address: SocketAddr,
    /// The bearer token that each request must have, of at least 16 characters, unless it has a capability
    /// token of this installation. `None` if each must have a capability token.
    pub token: Option<SecretString>,
    /// Names to allow in `Host` besides loopback names, for example that of a reverse proxy.
    pub hosts: Vec<String>,
    /// Web origins to allow besides those of this machine, as `https://host:port`.
    pub origins: Vec<String>,
}

impl HttpOptions {
    /// Returns options that allow only loopback names and web pages of this machine.
    #[must_use]
    pub fn new(address: SocketAddr, token: SecretString) -> Self {
        Self { address, token: Some(token), hosts: Vec::new(), origins: Vec::new() }
    }
}

/// A listening server. It stops when it is dropped.
pub struct Listening {
    address: SocketAddr,
    /// Stops the sessions when it is dropped.
    stop: DropGuard,
    server: JoinSet<()>,
}

impl Listening {
    /// Returns the URL of the MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Stops the server, its sessions, and the calls in progress.
    pub async fn stop(self) {
        let Self { stop, mut server, .. } = self;
        drop(stop);
        // A panic in the task has already been reported.
        let _ = server.join_next().await;
    }
}

impl Server {
    /// Serves clients over streamable HTTP, on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Configuration`] if the address is not a loopback address or cannot be listened
    /// on, if the token is too short, or if an origin is malformed.
    pub async fn listen(&self, options: HttpOptions) -> Result<Listening, Error> {
        let HttpOptions { address, token, hosts, origins } = options;
        if !address.ip().is_loopback() {
            return Err(Error::configuration(format!(
                "{address} is not a loopback address, so the token would cross the network \
                 unencrypted; listen on 127.0.0.1, behind a proxy with TLS (--allow-host NAME)"
            )));
        }
        if token.as_ref().is_some_and(|token| token.expose_secret().chars().count() < MIN_TOKEN) {
            return Err(Error::configuration(format!(
                "the bearer token is shorter than {MIN_TOKEN} characters; make one with: openssl rand \
                 -hex 32"
            )));
        }
        let rule = |text: &String| {
            Origin::rule(text).ok_or_else(|| {
                Error::configuration(format!(
                    "`{}` is not an origin; write it as https://agents.example.com:443",
                    text::printable(text, 200)
                ))
            })
        };
        let origins = origins.iter().map(rule).collect::<Result<Vec<Origin>, Error>>()?;
        let (listener, address) = listener::bind(address).await?;

        let stop = CancellationToken::new();
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(own.into_iter().chain(hosts))
            .with_max_request_body_bytes(usize::MAX)
            .with_cancellation_token(stop.clone());
        let gate = Arc::new(Gate::new(token.as_ref(), origins, Arc::clone(&self.state)));
        let manager = Arc::clone(&gate.sessions.manager);
        let sweeping = Arc::clone(&gate);
        let state = Arc::clone(&self.state);
        let service = StreamableHttpService::new(
            move || {
                let never = CancellationToken::new();
                Ok(Handler::new(Arc::clone(&state), never, CancellationToken::new()))
            },
            manager,
            config,
        );
        let app = Router::new()
            .route_service(PATH, service.clone())
            .route_service(&format!("{PATH}/"), service)
            .fallback(async || (StatusCode::NOT_FOUND, format!("MCP is served at {PATH}")))
            .layer(middleware::map_response(escape::response))
            .layer(middleware::from_fn_with_state(gate, gate::admit));
        let watching = self.state.watch();
        let stopped = stop.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = listener::accept(listener, app) => {}
                () = sweeping.sessions.end_idle() => {}
            }
            drop(watching);
        });
        Ok(Listening { address, stop: stop.drop_guard(), server })
    }
}
