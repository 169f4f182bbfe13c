//! Serves HTTP on this machine: accepts connections, limits them, and ends those that are idle or slow.
//!
//! A connection is a stranger's until a request on it shows a token or a cookie that is accepted
//! ([`connections::Handle::begin_request`]). Each request has the handle of its connection as an extension.

pub(crate) mod body;
pub(crate) mod connections;

use crate::error::Error;
use axum::Router;
use connections::Connections;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// The maximum time a connection may be open without a token or a cookie: enough for the head of a
/// request.
const STRANGER_PATIENCE: Duration = Duration::from_secs(5);

/// The maximum time a client may read nothing of a response.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// The maximum time a known client may take for the head of a request, or between two requests.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

/// The maximum size of a connection's buffer, in bytes. The head of a request must fit.
const BUFFER: usize = 64 * 1024;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The two ends of a connection, an extension of its requests.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "inbox"), expect(dead_code, reason = "only the inbox looks at them"))]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// Listens on an address. Returns the address too, with the port that port 0 chose.
///
/// # Errors
///
/// [`Error::Configuration`] if the address cannot be listened on.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error| Error::configuration(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts connections, and serves each until it is idle for too long or must make room for another.
/// Dropping the future ends them all.
pub(crate) async fn accept(listener: TcpListener, app: Router) {
    let connections = Arc::<Connections>::default();
    let mut served = JoinSet::new();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Probably no file descriptors are left. Retrying at once would only use the CPU.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Only an optimization; a broken connection fails later.
        let _ = stream.set_nodelay(true);
        // A connection that has no address any more fails later, too.
        let Ok(server) = stream.local_addr() else { continue };
        let ends = Ends { client, server };
        let connection = connections.add().await;
        let (handle, app) = (connection.handle(), TowerToHyperService::new(app.clone()));
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(handle.clone());
            request.extensions_mut().insert(ends);
            app.call(request)
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(READER_PATIENCE));
        served.spawn(async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .max_buf_size(BUFFER)
                .serve_connection(TokioIo::new(Box::pin(stream)), service);
            tokio::select! {
                // An HTTP error of the client needs no report.
                _ = serving => {}
                () = connection.ended(STRANGER_PATIENCE) => {}
            }
        });
        while served.try_join_next().is_some() {}
    }
}
