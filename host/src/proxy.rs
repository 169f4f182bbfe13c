//! Proxies as the environment names them: which one, for which hosts, and the tunnel through it.

use crate::text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::{StatusCode, Uri};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::{Host, Url};

/// The greatest size of the head of a proxy's response, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// The greatest number of headers in it.
const MAX_HEADERS: usize = 100;

/// The proxy for https, and the hosts that are reached without it.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// How to reach it, or why it cannot be used.
    way: Result<Way, String>,
    exceptions: Exceptions,
}

/// How a proxy is reached.
pub(crate) struct Way {
    /// Its scheme, host and port.
    pub(crate) uri: Uri,
    authorization: Option<HeaderValue>,
    /// The variable that names it.
    variable: &'static str,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Way {
    /// Names the proxy without its user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "the proxy {scheme}://{authority} ({})", self.variable)
    }
}

impl Proxy {
    /// Reads the value of a proxy variable and of `NO_PROXY`. A proxy that cannot be used is an
    /// error only for a request that needs it.
    pub(crate) fn new(variable: &'static str, url: &str, no_proxy: Option<&str>) -> Self {
        let (exceptions, _) = Exceptions::parse(no_proxy.unwrap_or_default());
        Self { way: Way::parse(variable, url), exceptions }
    }

    /// Whether requests to this host and port go through the proxy.
    pub(crate) fn is_for(&self, host: &str, port: u16) -> bool {
        !self.exceptions.cover(host, port)
    }

    /// How to reach the proxy, or why it cannot be used.
    pub(crate) fn way(&self) -> Result<&Way, &str> {
        self.way.as_ref().map_err(String::as_str)
    }
}

impl Way {
    /// Reads a proxy's URL, which by custom may leave out `http://`. The error never shows the URL,
    /// which may hold a password.
    fn parse(variable: &'static str, text: &str) -> Result<Self, String> {
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("http://{text}")),
        };
        let malformed =
            || format!("{variable} is not a proxy's URL, such as http://proxy.example:3128");
        let url = url.map_err(|_| malformed())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "{variable} names a {} proxy, which this program cannot use; name an http or https \
                 proxy, or except the API's host with NO_PROXY",
                text::printable(url.scheme(), 20)
            ));
        }
        let host = url.host_str().ok_or_else(malformed)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
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

    /// The variable that names it.
    pub(crate) fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether its URL holds a user or a password.
    pub(crate) fn has_user(&self) -> bool {
        self.authorization.is_some()
    }

    /// Has the proxy connect to a host, over a connection to the proxy.
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
            // The other end of a tunnel speaks second, so nothing follows the head.
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
    /// The connection to the proxy broke off.
    #[error("the proxy closed the connection")]
    Lost(#[source] io::Error),
    /// It answered with this status.
    #[error("the proxy answered {0}")]
    Refused(u16),
    /// It answered in no HTTP.
    #[error("the proxy did not answer in HTTP")]
    NotHttp,
    /// It cannot be used, for this reason.
    #[error("{0}")]
    Unusable(String),
}

/// The hosts that are reached without a proxy: what `NO_PROXY` says.
#[derive(Debug, Default)]
pub(crate) struct Exceptions(Vec<Exception>);

#[derive(Debug)]
struct Exception {
    hosts: Hosts,
    /// Any port where absent.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// The hosts below a domain, and the domain itself where the flag says so.
    Domain(String, bool),
}

impl Exceptions {
    /// Reads the entries, and returns those that it does not understand as well.
    ///
    /// The forms are those of curl and Go: `*`, `host`, `.domain`, `*.domain`, an IP address and a
    /// network such as `10.0.0.0/8`, separated by commas or spaces, each with `:port` where wanted.
    /// A name covers the hosts below it, too; `*.domain` covers those alone.
    pub(crate) fn parse(text: &str) -> (Self, Vec<&str>) {
        let (mut understood, mut others) = (Vec::new(), Vec::new());
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            match Exception::parse(word) {
                Some(exception) => understood.push(exception),
                None => others.push(word),
            }
        }
        (Self(understood), others)
    }

    fn cover(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.parse::<IpAddr>().ok();
        self.0.iter().any(|exception| {
            let covers_host = match &exception.hosts {
                Hosts::All => true,
                Hosts::Network(network) => {
                    address.is_some_and(|address| network.contains(&address))
                }
                Hosts::Domain(domain, itself) => {
                    let head = host.len().checked_sub(domain.len()).and_then(|at| {
                        let (head, tail) = host.split_at_checked(at)?;
                        tail.eq_ignore_ascii_case(domain).then_some(head)
                    });
                    head.is_some_and(
                        |head| if head.is_empty() { *itself } else { head.ends_with('.') },
                    )
                }
            };
            covers_host && exception.port.is_none_or(|only| only == port)
        })
    }
}

impl Exception {
    fn parse(word: &str) -> Option<Self> {
        let (hosts, port) = match word.rsplit_once(':') {
            // The colons of an IPv6 address without brackets.
            Some((before, _)) if before.contains(':') && !before.ends_with(']') => (word, None),
            Some((hosts, port)) => {
                let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
                (hosts, Some(port))
            }
            None => (word, None),
        };
        Some(Self { hosts: Hosts::parse(hosts)?, port })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        if let Ok(network) = bare.parse::<IpNet>() {
            return Some(Self::Network(network));
        }
        let (name, itself) = match text.strip_prefix("*.") {
            Some(name) => (name, false),
            None => (text.strip_prefix('.').unwrap_or(text), true),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        // What only looks like an address, such as 10.0, is no host that anybody means.
        match Host::parse(name).ok()? {
            Host::Domain(domain) if !domain.contains('*') => Some(Self::Domain(domain, itself)),
            _ => None,
        }
    }
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
            let way = Way::parse("HTTPS_PROXY", proxy);
            match read {
                Ok(url) => {
                    let shown = format!("the proxy {url} (HTTPS_PROXY)");
                    assert_eq!(way.expect(proxy).to_string(), shown, "{proxy}");
                }
                Err(words) => {
                    let error = way.expect_err(proxy);
                    assert!(error.contains(words) && !error.contains("pw"), "{proxy}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_user_of_a_proxy_is_decoded() {
        let way = Way::parse("HTTPS_PROXY", "http://u%3A:p%40w@proxy.example").expect("a proxy");
        let authorization = way.authorization.expect("a user");
        assert_eq!(authorization, format!("Basic {}", STANDARD.encode("u::p@w")).as_str());
    }

    #[test]
    fn exceptions_are_read_as_curl_and_go_read_them() {
        let api = ("api.example.com", 443);
        for (no_proxy, (host, port), covered) in [
            ("", api, false),
            ("*", api, true),
            ("*", ("127.0.0.1", 8080), true),
            ("*", ("[::1]", 443), true),
            ("api.example.com", api, true),
            ("API.Example.COM.", api, true),
            ("example.com", api, true),
            (".example.com", api, true),
            (".example.com", ("example.com", 443), true),
            ("*.example.com", api, true),
            ("*.example.com", ("example.com", 443), false),
            ("ple.com", api, false),
            ("other.com,example.com", api, true),
            ("other.com example.com", api, true),
            (" other.com , example.com ", api, true),
            ("example.com:443", api, true),
            ("example.com:8443", api, false),
            ("*:8443", ("api.example.com", 8443), true),
            ("127.0.0.1:8080", ("127.0.0.1", 8080), true),
            ("127.0.0.1:8080", ("127.0.0.1", 8081), false),
            ("127.0.0.1", ("127.0.0.1", 8081), true),
            ("127.0.0.0/8", ("127.9.9.9", 443), true),
            ("127.0.0.0/8", ("api.example.com", 443), false),
            ("10.0.0.0/8", ("127.0.0.1", 443), false),
            ("::1", ("[::1]", 443), true),
            ("[::1]", ("[::1]", 443), true),
            ("[::1]:8080", ("[::1]", 8080), true),
            ("[::1]:8080", ("[::1]", 443), false),
            ("fd00::/8", ("[fd12::1]", 443), true),
            ("localhost", ("localhost", 443), true),
            ("localhost", ("127.0.0.1", 443), false),
        ] {
            let (exceptions, others) = Exceptions::parse(no_proxy);
            assert_eq!(others, [""; 0], "{no_proxy}");
            assert_eq!(exceptions.cover(host, port), covered, "{no_proxy}: {host}:{port}");
        }
    }

    #[test]
    fn entries_of_other_forms_except_nothing_and_are_told() {
        for word in [
            "https://example.com",
            "example.com/path",
            "exa*mple.com",
            "10.*",
            "10.0.0.",
            "10.0",
            "10.0.0.0/99",
            "example.com:port",
            "example.com:0",
            "<local>",
            "[::1",
            ".",
            "*.",
            ":8080",
        ] {
            let (exceptions, others) = Exceptions::parse(word);
            assert_eq!(others, [word]);
            assert!(!exceptions.cover("example.com", 443), "{word}");
            assert!(!exceptions.cover("10.0.0.1", 443), "{word}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_there_when_the_proxy_says_so() {
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
            let way = Way::parse("HTTPS_PROXY", "http://u:p@proxy.example").expect("a proxy");
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(answer).await.expect("written");
            theirs.shutdown().await.expect("shut down");
            let tunnel = way.tunnel(ours, "api.example.com", 443, "whereby/0").await;
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
