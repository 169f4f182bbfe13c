//! An MCP server that offers the functions as tools to agents that are not trusted with the account.
//!
//! A [`Server`] serves one client over a stream ([`Server::serve`], as `whereby mcp` does on standard
//! input and output) or many clients over HTTP on a loopback address ([`Server::listen`]). Every call
//! goes through [`Session`]. If a call needs approval, the client asks a person (MCP elicitation),
//! where it can and `permissions.elicitation` allows it. Otherwise the approval request is stored, and
//! a person approves it with `whereby approvals`. Nothing in this module approves a call.

mod asking;
mod budget;
mod escape;
mod handler;
mod http;
mod icon;
mod lines;
mod logging;
mod message;
mod parameters;
mod resources;
mod results;
#[cfg(feature = "lua")]
mod scripts;
mod server_state;
mod tasks;
mod tools;

pub use http::{HttpOptions, Listening};

use crate::config::Settings;
use crate::error::Error;
use crate::session::Session;
use crate::token::Verified;
use handler::Handler;
use lines::Lines;
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use server_state::ServerState;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The maximum size of a client's message, in bytes: twice the largest arguments, with some room.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Reloads the settings.
type Reload = dyn Fn() -> Result<Settings, Error> + Send + Sync;

/// Receives notices for the person who runs the server, one sentence each.
type Notice = dyn Fn(&str) + Send + Sync;

/// An MCP server on a session. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    state: Arc<ServerState>,
}

/// Builds a [`Server`].
pub struct ServerBuilder {
    session: Session,
    files: Vec<PathBuf>,
    reload: Option<Box<Reload>>,
    notice: Arc<Notice>,
    agent: Option<String>,
    scripts: bool,
    token: Option<Arc<Verified>>,
}

impl ServerBuilder {
    /// Sets the agent that makes all calls, whose rules in the settings apply as well. Default: none.
    #[must_use]
    pub fn agent(mut self, agent: Option<&str>) -> Self {
        self.agent = agent.map(str::to_owned);
        self
    }

    /// Makes the calls of clients that have no token of their own with this one. Default: none.
    pub(crate) fn token(mut self, token: Option<Arc<Verified>>) -> Self {
        self.token = token;
        self
    }

    /// Sets whether to offer the tool `whereby_run_lua`, which runs Lua scripts within the limits of
    /// the settings. Default: false.
    #[cfg(feature = "lua")]
    #[must_use]
    pub fn scripts(mut self, scripts: bool) -> Self {
        self.scripts = scripts;
        self
    }

    /// Reloads the settings when one of these files is changed, created or removed.
    ///
    /// The files are checked before each call, so a changed rule applies from the next call on. While
    /// the settings cannot be read, every call fails and says why.
    #[must_use]
    pub fn reload(
        mut self,
        files: Vec<PathBuf>,
        reload: impl Fn() -> Result<Settings, Error> + Send + Sync + 'static,
    ) -> Self {
        self.files = files;
        self.reload = Some(Box::new(reload));
        self
    }

    /// Sets a function that receives notices for the person who runs the server, for example that the
    /// settings cannot be read or the audit log cannot be written.
    #[must_use]
    pub fn notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Arc::new(notice);
        self
    }

    /// Returns the server.
    #[must_use]
    pub fn build(self) -> Server {
        let Self { session, files, reload, notice, agent, scripts, token } = self;
        let own_agent = || token.as_ref().and_then(|token| token.agent()).map(str::to_owned);
        let agent = agent.or_else(own_agent);
        let state = ServerState::new(session, files, reload, notice, agent, scripts, token);
        Server { state: Arc::new(state) }
    }
}

impl Server {
    /// Returns a builder for a server on this session.
    #[must_use]
    pub fn builder(session: Session) -> ServerBuilder {
        ServerBuilder {
            session,
            files: Vec::new(),
            reload: None,
            notice: Arc::new(|_| {}),
            agent: None,
            scripts: false,
            token: None,
        }
    }

    /// Serves one client, with one message per line, until the client closes its input. Calls that
    /// began before that are still completed and answered.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Internal`] if the server ends for another reason.
    pub async fn serve(
        &self,
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        self.serve_until(CancellationToken::new(), read, write).await
    }

    /// Like [`Server::serve`], but stops at once, even during calls, when the token is cancelled or a
    /// write fails.
    pub(crate) async fn serve_until(
        &self,
        gone: CancellationToken,
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        let ended = CancellationToken::new();
        let requests = self.state.client_requests();
        let transport = Lines::new(read, write, requests, ended.clone(), gone.clone());
        let failed = |error: String| Error::internal(format!("the MCP server ended: {error}"));
        let watching = self.state.watch();
        let handler = Handler::new(Arc::clone(&self.state), ended, gone);
        let service = match handler.serve(transport).await {
            Ok(service) => service,
            // A client may connect and disconnect without a handshake.
            Err(
                ServerInitializeError::ConnectionClosed(_)
                | ServerInitializeError::TransportError { .. },
            ) => return Ok(()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let ended = service.waiting().await;
        watching.finish().await;
        ended.map(drop).map_err(|error| failed(error.to_string()))
    }
}
