//! The proxy for requests over TLS, and the tunnel through it.

use crate::config::no_proxy::NoProxy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::{Position, Url};
use whereby_authority::text;

/// The maximum size of the head of a proxy's response, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// The maximum number of headers in a proxy's response.
const MAX_HEADERS: usize = 100;

/// The proxy for https, and the hosts that are reached without it.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The server, or why it cannot be used.
    server: Result<ProxyServer, String>,
    exceptions: NoProxy,
}

/// A proxy server.
#[derive(Clone)]
pub(crate) struct ProxyServer {
    /// The scheme, host and port.
    pub(crate) uri: Uri,
    authorization: Option<HeaderValue>,
    /// The environment variable that names it.
    variable: &'static str,
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProxyServer {
    /// Names the proxy without its user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "the proxy {scheme}://{authority} ({})", self.variable)
    }
}

impl Proxy {
    /// Reads the values of a proxy variable and of `NO_PROXY`. A proxy that cannot be used is an error
    /// only for requests that need it.
    pub(crate) fn new(variable: &'static str, url: &str, no_proxy: Option<&str>) -> Self {
        let (exceptions, _) = NoProxy::parse(no_proxy.unwrap_or_default());
        Self { server: ProxyServer::parse(variable, url), exceptions }
    }

    /// Whether requests to this host and port go through the proxy.
    pub(crate) fn is_for(&self, host: &str, port: u16) -> bool {
        !self.exceptions.covers(host, port)
    }

    /// Returns the server, or why it cannot be used.
    pub(crate) fn server(&self) -> Result<&ProxyServer, &str> {
        self.server.as_ref().map_err(String::as_str)
    }
}

impl ProxyServer {
    /// Reads a proxy's URL, in which `http://` may be omitted. The error never shows the URL, because it
    /// may contain a password.
    fn parse(variable: &'static str, text: &str) -> Result<Self, String> {
        let scheme = if text.contains("://") { "" } else { "http://" };
        let malformed =
            || format!("{variable} is not a proxy's URL, such as http://proxy.example:3128");
        let url = Url::parse(&format!("{scheme}{text}")).map_err(|_| malformed())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "{variable} names a {} proxy, which is not supported; use an http or https proxy, or \
                 exclude the API's host with NO_PROXY",
                text::printable(url.scheme(), 20)
            ));
        }
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let uri = Uri::builder().scheme(url.scheme()).authority(authority).path_and_query("/");
        let uri = uri.build().map_err(|_| malformed())?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let authorization = has_user.then(|| {
            let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
            let mut user = decoded(url.username());
            user.push(b':');
            user.extend(decoded(url.password().unwrap_or_default()));
            let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user)));
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization = authorization.transpose().map_err(|_| malformed())?;
        Ok(Self { uri, authorization, variable })
    }

    /// Returns the environment variable that names it.
    pub(crate) fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether its URL contains a user name or a password.
    pub(crate) fn has_user(&self) -> bool {
        self.authorization.is_some()
    }

    /// Makes a tunnel to a host, over a connection to the proxy.
    pub(crate) async fn tunnel<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut connection: T,
        host: &str,
        port: u16,
        agent: &str,
    ) -> Result<T, TunnelError> {
        let mut request = format!(
            "CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\nuser-agent: {agent}\r\n"
        )
        .into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"proxy-authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        connection.write_all(&request).await.map_err(TunnelError::Lost)?;
        let mut head = Vec::new();
        loop {
            // The host waits for the client, so nothing follows the head.
            if connection.read_buf(&mut head).await.map_err(TunnelError::Lost)? == 0 {
                return Err(TunnelError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&head) {
                Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => {}
                Ok(httparse::Status::Complete(_)) => {
                    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
                    return match status.ok_or(TunnelError::NotHttp)? {
                        status if status.is_success() => Ok(connection),
                        status => Err(TunnelError::Refused(status.as_u16())),
                    };
                }
                _ => return Err(TunnelError::NotHttp),
            }
        }
    }
}

/// Why a proxy made no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// The proxy itself could not be reached.
    #[error("no connection to the proxy")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The connection to the proxy was closed.
    #[error("the proxy closed the connection")]
    Lost(#[source] io::Error),
    /// The proxy responded with this status.
    #[error("the proxy answered {0}")]
    Refused(u16),
    /// The proxy's response is not HTTP.
    #[error("the proxy did not answer in HTTP")]
    NotHttp,
    /// The proxy cannot be used, for this reason.
    #[error("{0}")]
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_with_or_without_its_scheme() {
        for (proxy, read) in [
            ("http://proxy.example:3128", Ok("http://proxy.example:3128")),
            ("https://u:p%40w@proxy.example", Ok("https://proxy.example")),
            ("proxy.example:3128", Ok("http://proxy.example:3128")),
            ("u:pw@[::1]:3128", Ok("http://[::1]:3128")),
            ("", Err("is not a proxy's URL")),
            ("http://", Err("is not a proxy's URL")),
            ("proxy.example:port", Err("is not a proxy's URL")),
            ("socks5://u:pw@proxy.example:1080", Err("names a socks5 proxy")),
        ] {
            let server = ProxyServer::parse("HTTPS_PROXY", proxy);
            match read {
                Ok(url) => {
                    let shown = format!("the proxy {url} (HTTPS_PROXY)");
                    assert_eq!(server.expect(proxy).to_string(), shown, "{proxy}");
                }
                Err(words) => {
                    let error = server.expect_err(proxy);
                    assert!(error.contains(words) && !error.contains("pw"), "{proxy}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_user_of_a_proxy_is_decoded() {
        let server =
            ProxyServer::parse("HTTPS_PROXY", "http://u%3A:p%40w@proxy.example").expect("a proxy");
        let authorization = server.authorization.expect("a user");
        assert_eq!(authorization, format!("Basic {}", STANDARD.encode("u::p@w")).as_str());
    }

    #[tokio::test]
    async fn a_tunnel_needs_a_successful_response() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "a tunnel"),
            (b"HTTP/1.0 200 Connection established\r\nvia: x\r\n\r\n", "a tunnel"),
            (b"HTTP/1.1 407 Who\r\n\r\n", "the proxy answered 407"),
            (b"HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", "the proxy answered 302"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "the proxy did not answer in HTTP"),
            (b"SSH-2.0-x\r\n", "the proxy did not answer in HTTP"),
            (b"HTTP/1.1 200", "the proxy closed the connection"),
            (b"", "the proxy closed the connection"),
        ] {
            let server =
                ProxyServer::parse("HTTPS_PROXY", "http://u:p@proxy.example").expect("a proxy");
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(answer).await.expect("written");
            theirs.shutdown().await.expect("shut down");
            let tunnel = server.tunnel(ours, "api.example.com", 443, "whereby/0").await;
            let found = tunnel.map_or_else(|error| error.to_string(), |_| "a tunnel".to_owned());
            assert_eq!(found, expected);
            let mut asked = Vec::new();
            theirs.read_to_end(&mut asked).await.expect("read");
            let asked = String::from_utf8(asked).expect("text");
            assert!(asked.starts_with("CONNECT api.example.com:443 HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("proxy-authorization: Basic dTpw\r\n"), "{asked}");
        }
    }
}
