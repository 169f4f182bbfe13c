//! The HTTP client that all calls share: it makes connections, keeps them, and sends what it is given.
//!
//! It follows no redirect, unpacks nothing and keeps no cookies, because there is nothing in it that
//! could. It is told of its proxy, and reads no variable.

use crate::error::Error;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;
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
pub(crate) struct Client(legacy::Client<Connector, Full<Bytes>>);

impl Client {
    /// Makes a client.
    ///
    /// Trusted are the compiled-in roots and the user's own certificates. A request without TLS goes
    /// to this machine, and never by way of a proxy, which would see the token.
    pub(crate) fn new(
        own_roots: Option<&[u8]>,
        https_proxy: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, Error> {
        let tls = tls(own_roots)?;
        let mut tcp = HttpConnector::new();
        // What is https is for whoever wraps it.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided by the addresses that a name has, so that one which is silent is not the last.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let proxy = match https_proxy {
            None => None,
            Some(proxy) => Some(Arc::new(Proxy::new(proxy, no_proxy, &tls, &tcp)?)),
        };
        let connector = Connector(over_tls(tls, true, Route { tcp, proxy }));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request, and returns the beginning of its answer.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Failure> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        self.0.request(request).await.map_err(|error| Failure::of(&error))
    }
}

fn wrong(message: String) -> Error {
    Error::Configuration { message }
}

/// What is trusted, and how it is spoken to.
fn tls(own_roots: Option<&[u8]>) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = own_roots {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| {
                wrong(format!("ca_file is not a list of certificates in PEM: {error}"))
            })?;
            roots.add(certificate).map_err(|error| wrong(format!("ca_file: {error}")))?;
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

/// The proxy for https, and what is not to go by it.
struct Proxy {
    matcher: Matcher,
    tunnel: Tunnel<HttpsConnector<HttpConnector>>,
}

impl Proxy {
    fn new(
        proxy: &str,
        no_proxy: Option<&str>,
        tls: &rustls::ClientConfig,
        tcp: &HttpConnector,
    ) -> Result<Self, Error> {
        // The URL of a proxy may hold a password, so it is not shown.
        let unusable = || wrong("HTTPS_PROXY is not the URL of an http or https proxy".into());
        let url = Self::url(proxy).ok_or_else(unusable)?;
        let matcher = |no: &str| Matcher::builder().https(url.as_str()).no(no).build();
        let any = Uri::from_static("https://api.whereby.dev");
        let found = matcher("").intercept(&any).ok_or_else(unusable)?;
        let to_proxy = over_tls(tls.clone(), false, tcp.clone());
        let agent = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        let mut tunnel = Tunnel::new(found.uri().clone(), to_proxy).with_headers(agent);
        if let Some(auth) = found.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        Ok(Self { matcher: matcher(no_proxy.unwrap_or_default()), tunnel })
    }

    /// What the variable says, which by custom may leave out `http://`.
    fn url(proxy: &str) -> Option<Url> {
        let url = match proxy.contains("://") {
            true => Url::parse(proxy),
            false => Url::parse(&format!("http://{proxy}")),
        };
        url.ok().filter(|url| matches!(url.scheme(), "http" | "https"))
    }
}

/// Makes a connection to an API's host, or has the proxy make it.
#[derive(Clone)]
struct Route {
    tcp: HttpConnector,
    proxy: Option<Arc<Proxy>>,
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Connecting<Stream> {
        match self.proxy.as_ref().filter(|proxy| proxy.matcher.intercept(&to).is_some()) {
            Some(proxy) => {
                let connecting = proxy.tunnel.clone().call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
            None => {
                let connecting = self.tcp.call(to);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
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
        Box::pin(async move {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)?
        })
    }
}

/// Why there is no answer, and whether the request may have arrived all the same.
pub(crate) struct Failure {
    pub(crate) sent: bool,
    pub(crate) error: WasiError,
}

impl Failure {
    fn of(error: &legacy::Error) -> Self {
        match error.is_connect() {
            true => Self { sent: false, error: why_unconnected(error) },
            false => Self::on_the_way(error),
        }
    }

    /// After something may have been sent.
    pub(crate) fn on_the_way(error: &(dyn StdError + 'static)) -> Self {
        let is_late = io_errors(error).any(|error| error.kind() == io::ErrorKind::TimedOut);
        let error = match is_late {
            true => WasiError::ConnectionReadTimeout,
            false => WasiError::HttpResponseIncomplete,
        };
        Self { sent: true, error }
    }
}

/// The error of wasi:http that says best why there is no connection.
fn why_unconnected(error: &legacy::Error) -> WasiError {
    for error in io_errors(error) {
        match error.kind() {
            io::ErrorKind::TimedOut => return WasiError::ConnectionTimeout,
            io::ErrorKind::ConnectionRefused => return WasiError::ConnectionRefused,
            _ => {}
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => return WasiError::TlsCertificateError,
            Some(_) => return WasiError::TlsProtocolError,
            None => {}
        }
    }
    let is_dns = |error: &(dyn StdError + 'static)| error.to_string().starts_with("dns error");
    match sources(error).any(is_dns) {
        true => WasiError::DnsError { rcode: None, info_code: None },
        false => WasiError::DestinationUnavailable,
    }
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The `io::Error`s among the causes of an error. One that is within another is not its source.
fn io_errors<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a io::Error> {
    sources(error).filter_map(|error| error.downcast_ref::<io::Error>()).flat_map(|error| {
        std::iter::successors(Some(error), |error| {
            error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_with_or_without_its_scheme() {
        for (proxy, read) in [
            ("http://proxy.example:3128", Some("http://proxy.example:3128/")),
            ("https://u:p%40w@proxy.example", Some("https://u:p%40w@proxy.example/")),
            ("proxy.example:3128", Some("http://proxy.example:3128/")),
            ("u:pw@[::1]:3128", Some("http://u:pw@[::1]:3128/")),
            ("", None),
            ("http://", None),
            ("proxy.example:port", None),
            ("socks5://proxy.example:1080", None),
        ] {
            assert_eq!(Proxy::url(proxy).as_ref().map(Url::as_str), read, "{proxy}");
        }
    }
}
