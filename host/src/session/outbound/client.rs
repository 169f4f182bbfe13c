//! The HTTP client that all calls share: it makes connections, keeps them, and sends what it is given.
//!
//! It follows no redirect, unpacks nothing and keeps no cookies, because there is nothing in it that
//! could. It is told of its proxy, and reads no variable.

use crate::config::origin::ApiBase;
use crate::error::Error;
use crate::session::outbound::cause::{self, Cause, Destination, Late, Stage};
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
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;
use wasmtime_wasi_http::Error as WasiError;

/// How long making a connection may take, with its TLS handshake and the proxy's answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept that nothing is sent on.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// When the system asks whether the other end is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what was sent may go without being acknowledged.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// What the program calls itself.
const AGENT: &str = concat!("whereby/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn StdError + Send + Sync>;

/// Sends requests. Cheap to clone; its connections belong to the runtime on which they were made.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    proxy: Option<Arc<Proxy>>,
}

impl Client {
    /// Makes a client.
    ///
    /// Trusted are the compiled-in roots and the user's own certificates. A request without TLS goes
    /// to this machine, and never through a proxy, which would see the token.
    pub(crate) fn new(own_roots: Option<&[u8]>, proxy: Option<Proxy>) -> Result<Self, Error> {
        let tls = tls(own_roots)?;
        let mut tcp = HttpConnector::new();
        // The TLS connector around it handles https.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided by the addresses that a name has, so that one which is silent is not the last.
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
    /// [`Error::Configuration`], which names the variable and what it can be set to.
    pub(crate) fn check_proxy(&self, api: &ApiBase) -> Result<(), Error> {
        match proxy_for(self.proxy.as_deref(), api).map(Proxy::way) {
            Some(Err(reason)) => Err(wrong(reason.to_owned())),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Sends a request to an API, and returns the beginning of its answer.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Full<Bytes>>,
        api: &ApiBase,
    ) -> Result<http::Response<Incoming>, Failure> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        self.http.request(request).await.map_err(|error| {
            if !error.is_connect() {
                return Failure::on_the_way(&error, api);
            }
            let (error, cause) = cause::unconnected(&error, self.destination(api));
            Failure { sent: false, error, status: None, is_heard: false, cause: Some(cause) }
        })
    }

    /// Where requests to an API go.
    pub(crate) fn destination<'a>(&'a self, api: &'a ApiBase) -> Destination<'a> {
        let proxy = proxy_for(self.proxy.as_deref(), api);
        Destination { api, proxy: proxy.and_then(|proxy| proxy.way().ok()) }
    }
}

/// The proxy that requests to an API go through.
fn proxy_for<'a>(proxy: Option<&'a Proxy>, api: &ApiBase) -> Option<&'a Proxy> {
    proxy.filter(|proxy| api.is_https() && proxy.is_for(api.host(), api.port()))
}

fn wrong(message: String) -> Error {
    Error::Configuration { message }
}

/// Checks that certificates can be trusted besides the compiled-in ones.
///
/// # Errors
///
/// [`Error::Configuration`], which says which certificate cannot be used.
pub(crate) fn check_roots(pem: &[u8]) -> Result<(), Error> {
    tls(Some(pem)).map(drop)
}

/// What is trusted, and how it is spoken to.
fn tls(own_roots: Option<&[u8]>) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = own_roots {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let unusable = |what: &str| {
                wrong(format!(
                    "ca_file: certificate {} {what}; export it again in PEM (base64 between BEGIN \
                     CERTIFICATE and END CERTIFICATE)",
                    index + 1
                ))
            };
            let certificate = certificate.map_err(|error| unusable(pem_problem(&error)))?;
            roots
                .add(certificate)
                .map_err(|_| unusable("is damaged, or is no X.509 certificate"))?;
        }
        if roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() {
            return Err(wrong("ca_file holds no certificate in PEM".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Internal { message: format!("TLS could not be set up: {error}") })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tls)
}

/// What is wrong with a part of a PEM file.
fn pem_problem(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error;
    match error {
        Error::MissingSectionEnd { .. } => "has no END line",
        Error::IllegalSectionStart { .. } => "has a malformed BEGIN line",
        Error::Base64Decode(_) => "is not base64",
        _ => "cannot be read",
    }
}

/// Adds TLS to what goes to an https URL; HTTP/2 is offered where the other end is an API.
fn over_tls<C>(tls: rustls::ClientConfig, is_api: bool, inner: C) -> HttpsConnector<C> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    match is_api {
        true => builder.enable_all_versions().wrap_connector(inner),
        false => builder.enable_http1().wrap_connector(inner),
    }
}

/// A connection before the TLS that is spoken with the API: that of a proxy may have TLS of its own.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

tokio::task_local! {
    /// How far the connection has come that this task makes.
    static STAGE: Cell<Stage>;
}

/// Makes a connection to an API's host, or has the proxy make it.
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
                let way = proxy.way().map(|way| way.uri.clone()).map_err(str::to_owned);
                let connecting = way.map(|uri| connector.call(uri));
                let proxy = Arc::clone(proxy);
                Box::pin(async move {
                    let unusable = |reason: &str| TunnelError::Unusable(reason.to_owned());
                    let connecting = connecting.map_err(TunnelError::Unusable)?;
                    let connection = connecting.await.map_err(TunnelError::Unreachable)?;
                    STAGE.with(|stage| stage.set(Stage::Tunnelling));
                    let way = proxy.way().map_err(unusable)?;
                    let tunnel = way.tunnel(TokioIo::new(connection), &host, port, AGENT).await?;
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

/// Makes connections within their time.
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
                Err(_) => Err(Late { stage: STAGE.with(Cell::get), limit: CONNECT_TIMEOUT }.into()),
            }
        }))
    }
}

/// Why there is no answer, and whether the request may have arrived all the same.
pub(crate) struct Failure {
    pub(crate) sent: bool,
    /// What the component is told.
    pub(crate) error: WasiError,
    /// The status of an answer that cannot be used.
    pub(crate) status: Option<u16>,
    /// Whether anything was answered.
    pub(crate) is_heard: bool,
    /// What the user is told, where more is known than the component can be told.
    pub(crate) cause: Option<Cause>,
}

impl Failure {
    /// After something may have been sent.
    pub(crate) fn on_the_way(error: &(dyn StdError + 'static), api: &ApiBase) -> Self {
        let is_heard = cause::is_no_http(error);
        let (error, cause) = cause::unanswered(error, api);
        Self { cause, is_heard, ..Self::after_sending(error) }
    }

    /// One that the component is told all of.
    pub(crate) fn after_sending(error: WasiError) -> Self {
        Self { sent: true, error, status: None, is_heard: false, cause: None }
    }
}
