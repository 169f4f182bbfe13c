//! The functions as tools of the Model Context Protocol, for agents that are not trusted with the
//! account.
//!
//! A [`Server`] speaks to one client over a stream ([`Server::serve`], what `whereby mcp` does with its
//! standard input and output) or to many over HTTP on a loopback address ([`Server::listen`]). Every
//! call goes through [`Session`]. What the policy wants to be asked for is asked by way of the client,
//! where it can do that and `permissions.elicitation` does not forbid it; else it is stored for a
//! person to approve with `whereby approvals`. Nothing here approves.

mod asking;
mod budget;
mod escape;
mod gateway;
mod handler;
mod http;
mod lines;
mod logging;
mod message;
mod parameters;
mod resources;
mod results;
#[cfg(feature = "lua")]
mod scripts;
mod tools;

pub use http::{HttpOptions, Listening};

use crate::config::Settings;
use crate::error::Error;
use crate::session::Session;
use escape::Escaping;
use gateway::Gateway;
use handler::Handler;
use lines::Lines;
use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The longest message of a client, in bytes: twice the largest arguments, and what is around them.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Reads the settings anew.
type Reload = dyn Fn() -> Result<Settings, Error> + Send + Sync;

/// Is told, in a sentence, of what whoever runs the server should know.
type Notice = dyn Fn(&str) + Send + Sync;

/// An MCP server on a session. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    gateway: Arc<Gateway>,
}

/// Makes a [`Server`].
pub struct ServerBuilder {
    session: Session,
    files: Vec<PathBuf>,
    reload: Option<Box<Reload>>,
    notice: Arc<Notice>,
    scripts: bool,
}

impl ServerBuilder {
    /// Whether scripts in Lua are offered as a tool, `whereby_run_lua`, within the limits of the
    /// settings; by default not.
    #[cfg(feature = "lua")]
    #[must_use]
    pub fn scripts(mut self, scripts: bool) -> Self {
        self.scripts = scripts;
        self
    }

    /// Reads the settings anew whenever one of these files has changed, been made or been removed.
    ///
    /// It is looked for before each call, so that a rule holds from the next call on. While they
    /// cannot be read, every call fails and says why.
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

    /// Tells whoever runs the server, in sentences, what they should know: that the settings cannot be
    /// read, or the audit log not be written.
    #[must_use]
    pub fn notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Arc::new(notice);
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        let gateway =
            Gateway::new(self.session, self.files, self.reload, self.notice, self.scripts);
        Server { gateway: Arc::new(gateway) }
    }
}

impl Server {
    /// Begins a server on a session.
    #[must_use]
    pub fn builder(session: Session) -> ServerBuilder {
        ServerBuilder {
            session,
            files: Vec::new(),
            reload: None,
            notice: Arc::new(|_| {}),
            scripts: false,
        }
    }

    /// Serves one client, with one message a line, until the client closes its side. Calls that began
    /// before that are still made and answered.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the server ends for another reason.
    pub async fn serve(
        &self,
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        self.serve_until(CancellationToken::new(), read, write).await
    }

    /// Serves one client in the same way. Stops at once, also in the middle of calls, when the client is
    /// gone: when the token is cancelled or writing fails.
    pub(crate) async fn serve_until(
        &self,
        gone: CancellationToken,
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        let ended = CancellationToken::new();
        let (requests, write) = (self.gateway.client_requests(), Escaping::new(write));
        let transport = Lines::new(read, write, requests, ended.clone(), gone.clone());
        let failed =
            |error: String| Error::Internal { message: format!("the MCP server ended: {error}") };
        let watching = self.gateway.watch();
        let handler = Handler::new(Arc::clone(&self.gateway), ended, gone);
        let service = match handler.serve(transport).await {
            Ok(service) => service,
            // A client that connects and goes away again did nothing wrong.
            Err(
                ServerInitializeError::ConnectionClosed(_)
                | ServerInitializeError::TransportError { .. },
            ) => return Ok(()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let ended = service.waiting().await;
        drop(watching);
        ended.map(drop).map_err(|error| failed(error.to_string()))
    }
}
