//! The HTTP client that all calls share.
//!
//! It has no code to follow redirects, decompress or store cookies. Its proxy is passed in: it reads no
//! variable.

use crate::config::origin::ApiBase;
use crate::error::Error;
use crate::session::outbound::cause::{self, Cause, ConnectTimeout, Destination, Stage};
use crate::session::outbound::departure::{Departure, Outgoing};
use crate::session::outbound::proxy::{Proxy, TunnelError};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::cell::Cell;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;
use wasmtime_wasi_http::Error as WasiError;

/// How long connecting may take, including the TLS handshake and the proxy's response.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// TCP keepalive: the interval, and the number of probes.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent data may remain unacknowledged.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The `User-Agent`.
const AGENT: &str = concat!("whereby/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn StdError + Send + Sync>;

/// Sends requests. Cheap to clone; its connections belong to the runtime on which they were made.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<Connector, Outgoing>,
    proxy: Option<Arc<Proxy>>,
}

impl Client {
    /// Makes a client that trusts the built-in roots and the user's own certificates.
    ///
    /// A request without TLS goes to this machine, and never through a proxy, which would see the token.
    pub(crate) fn new(own_roots: Option<&[u8]>, proxy: Option<Proxy>) -> Result<Self, Error> {
        let tls = tls(own_roots)?;
        let mut tcp = HttpConnector::new();
        // The TLS connector around it handles https.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a name, so that the next one is tried if one does not answer.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let proxy = proxy.map(Arc::new);
        let by_proxy =
            proxy.clone().map(|proxy| (proxy, over_tls(tls.clone(), false, tcp.clone())));
        let connector = Connector(over_tls(tls, true, Route { tcp, by_proxy }));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        Ok(Self { http, proxy })
    }

    /// Checks that the proxy can be used, if requests to this API go through it.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], which names the variable and says what it can be set to.
    pub(crate) fn check_proxy(&self, api: &ApiBase) -> Result<(), Error> {
        match proxy_for(self.proxy.as_deref(), api).map(Proxy::server) {
            Some(Err(reason)) => Err(Error::configuration(reason)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Sends a request to an API, and returns the head of the response.
    ///
    /// Connecting may take long, so `may_leave` is called whenever the request could leave next. Its error
    /// stops the request.
    ///
    /// # Errors
    ///
    /// That of `may_leave`, in which case nothing was sent.
    pub(crate) async fn send<E>(
        &self,
        request: http::Request<Full<Bytes>>,
        api: &ApiBase,
        mut may_leave: impl FnMut() -> Result<(), E>,
    ) -> Result<Result<http::Response<Incoming>, SendError>, E> {
        let departure = Departure::default();
        let body = departure.clone();
        let mut request = request.map(|content| Outgoing { content, departure: body });
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut response = self.http.request(request);
        let response = poll_fn(|context| {
            // Only this poll can give the request to a connection.
            if departure.is_waiting()
                && let Err(stopped) = may_leave()
                && departure.stop()
            {
                return Poll::Ready(Err(stopped));
            }
            Pin::new(&mut response).poll(context).map(Ok)
        });
        Ok(response.await?.map_err(|error| {
            if !error.is_connect() {
                return SendError::on_the_way(&error, api);
            }
            let (error, cause) = cause::unconnected(&error, self.destination(api));
            SendError { sent: false, error, status: None, is_heard: false, cause: Some(cause) }
        }))
    }

    /// Returns the destination of requests to an API.
    pub(crate) fn destination<'a>(&'a self, api: &'a ApiBase) -> Destination<'a> {
        let proxy = proxy_for(self.proxy.as_deref(), api);
        Destination { api, proxy: proxy.and_then(|proxy| proxy.server().ok()) }
    }
}

/// Returns the proxy for requests to an API.
fn proxy_for<'a>(proxy: Option<&'a Proxy>, api: &ApiBase) -> Option<&'a Proxy> {
    proxy.filter(|proxy| api.is_https() && proxy.is_for(api.host(), api.port()))
}

/// Checks that certificates can be added to the built-in ones.
///
/// # Errors
///
/// [`Error::Configuration`], which says which certificate cannot be used.
pub(crate) fn check_roots(pem: &[u8]) -> Result<(), Error> {
    tls(Some(pem)).map(drop)
}

/// Sets up TLS with the built-in roots and the user's own.
fn tls(own_roots: Option<&[u8]>) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = own_roots {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let unusable = |what: &str| {
                Error::configuration(format!(
                    "ca_file: certificate {} {what}; export it again in PEM (base64 between BEGIN \
                     CERTIFICATE and END CERTIFICATE)",
                    index + 1
                ))
            };
            let certificate = certificate.map_err(|error| unusable(pem_problem(&error)))?;
            roots
                .add(certificate)
                .map_err(|_| unusable("is damaged or not an X.509 certificate"))?;
        }
        if roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() {
            return Err(Error::configuration("ca_file holds no certificate in PEM"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tls)
}

/// Says what is wrong with a section of a PEM file.
fn pem_problem(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "has no END line",
        Error::IllegalSectionStart { .. } => "has a malformed BEGIN line",
        Error::Base64Decode(_) => "is not base64",
        _ => "cannot be read",
    }
}

/// Adds TLS for https URLs. Offers HTTP/2 only to APIs, not to proxies.
fn over_tls<C>(tls: rustls::ClientConfig, is_api: bool, inner: C) -> HttpsConnector<C> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if is_api {
        builder.enable_all_versions().wrap_connector(inner)
    } else {
        builder.enable_http1().wrap_connector(inner)
    }
}

/// A connection without the TLS of the API. A connection to a proxy may have its own TLS.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

tokio::task_local! {
    /// The stage of the connection that this task makes.
    static STAGE: Cell<Stage>;
}

/// Connects to an API's host, directly or through the proxy.
#[derive(Clone)]
struct Route {
    tcp: HttpConnector,
    by_proxy: Option<(Arc<Proxy>, HttpsConnector<HttpConnector>)>,
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Connecting<Stream> {
        let host = to.host().unwrap_or_default().to_owned();
        let port = to.port_u16().unwrap_or(443);
        let is_https = to.scheme() == Some(&http::uri::Scheme::HTTPS);
        match &mut self.by_proxy {
            Some((proxy, connector)) if is_https && proxy.is_for(&host, port) => {
                let server = proxy.server().cloned();
                let server = server.map_err(|reason| TunnelError::Unusable(reason.to_owned()));
                let connecting = server.map(|server| (connector.call(server.uri.clone()), server));
                Box::pin(async move {
                    let (connecting, server) = connecting?;
                    let connection = connecting.await.map_err(TunnelError::Unreachable)?;
                    STAGE.with(|stage| stage.set(Stage::Tunnelling));
                    let tunnel =
                        server.tunnel(TokioIo::new(connection), &host, port, AGENT).await?;
                    STAGE.with(|stage| stage.set(Stage::Handshaking));
                    Ok(tunnel.into_inner())
                })
            }
            _ => {
                let connecting = self.tcp.call(to);
                Box::pin(async move {
                    let connection = connecting.await?;
                    STAGE.with(|stage| stage.set(Stage::Handshaking));
                    Ok(MaybeHttpsStream::Http(connection))
                })
            }
        }
    }
}

/// Connects within [`CONNECT_TIMEOUT`].
#[derive(Clone)]
struct Connector(HttpsConnector<Route>);

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(STAGE.scope(Cell::new(Stage::Connecting), async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected,
                Err(_) => {
                    Err(ConnectTimeout { stage: STAGE.with(Cell::get), limit: CONNECT_TIMEOUT }
                        .into())
                }
            }
        }))
    }
}

/// Why there is no usable response, and whether the request may have arrived.
pub(crate) struct SendError {
    pub(crate) sent: bool,
    /// The error code for the component.
    pub(crate) error: WasiError,
    /// The status of a response that cannot be used.
    pub(crate) status: Option<u16>,
    /// Whether the server sent anything.
    pub(crate) is_heard: bool,
    /// The cause for the user, if more is known than the code says.
    pub(crate) cause: Option<Cause>,
}

impl SendError {
    /// Returns the error of a request that may have been sent.
    pub(crate) fn on_the_way(error: &(dyn StdError + 'static), api: &ApiBase) -> Self {
        let (error, cause) = cause::unanswered(error, api);
        Self { is_heard: cause.is_some(), cause, ..Self::after_sending(error) }
    }

    /// Returns the error of a request that was sent, with the code as the only cause.
    pub(crate) fn after_sending(error: WasiError) -> Self {
        Self { sent: true, error, status: None, is_heard: false, cause: None }
    }
}
