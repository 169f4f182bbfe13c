//! The web origins that may use the server, and the CORS headers for their pages.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;

/// The methods that a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");

/// The response headers that a page may read, besides the ones that every page may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After");

/// The headers with which a browser asks whether a page from a public address may use a private one.
const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// How long a browser may cache a preflight response, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin of a page, or a rule for origins.
#[derive(Debug, PartialEq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    /// The port; `None` in a rule that admits every port.
    port: Option<u16>,
}

impl Origin {
    /// Reads a rule: `https://host:port`, or without a port (or with `*`) for all ports.
    pub(super) fn rule(text: &str) -> Option<Self> {
        let (scheme, host, port) = parse(text.strip_suffix(":*").unwrap_or(text))?;
        Some(Self { scheme, host, port })
    }

    /// Reads an `Origin` header, which omits its scheme's default port.
    fn header(value: &HeaderValue) -> Option<Self> {
        let (scheme, host, port) = parse(value.to_str().ok()?)?;
        let implied = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Some(Self { scheme, host, port: Some(port.or(implied)?) })
    }

    fn admits(&self, origin: &Self) -> bool {
        self.scheme == origin.scheme
            && self.host == origin.host
            && (self.port.is_none() || self.port == origin.port)
    }

    /// Returns whether the page was served by this machine.
    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn parse(text: &str) -> Option<(String, String, Option<u16>)> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?);
    let is_bare = uri.path_and_query().is_none_or(|path| path == "/");
    (is_bare && !authority.as_str().contains('@'))
        .then(|| (scheme, authority.host().to_ascii_lowercase(), authority.port_u16()))
}

/// Returns whether a request has no origin, an origin on this machine, or one that a rule admits.
pub(super) fn is_allowed(headers: &HeaderMap, rules: &[Origin]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => Origin::header(origin).is_some_and(|origin| {
            origin.is_loopback() || rules.iter().any(|rule| rule.admits(&origin))
        }),
        (Some(_), Some(_)) => false,
    }
}

/// Returns whether a request is a CORS preflight.
pub(super) fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the response to a preflight from an allowed origin.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    // A client may send tool parameters as headers, so there is no complete list.
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    // The origin is already allowed, and the page still needs the token.
    if asked.contains_key(PRIVATE_ASKED) {
        headers.insert(PRIVATE_ALLOWED, HeaderValue::from_static("true"));
    }
    response
}

/// Lets a page from an allowed origin read a response.
pub(super) fn expose(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &[&str], origin: &str) -> bool {
        let rules: Vec<_> = rules.iter().map(|rule| Origin::rule(rule).expect(rule)).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        is_allowed(&headers, &rules)
    }

    #[test]
    fn pages_of_this_machine_are_allowed_and_others_by_rule() {
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://localhost:8443",
            "http://LOCALHOST:80",
            "http://127.0.0.1:3000",
            "http://127.8.8.8",
            "http://[::1]:3000",
        ] {
            assert!(allows(&[], origin), "{origin}");
        }
        for origin in [
            "https://agents.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost@evil.example",
            "http://user@localhost",
            "http://localhost/path",
            "http://0.0.0.0",
            "http://10.0.0.1",
            "file://",
            "null",
            "localhost",
            "",
            "http://localhost:1, http://localhost:2",
        ] {
            assert!(!allows(&[], origin), "{origin}");
        }
        let all = "https://agents.example.com";
        for (rule, origin, expected) in [
            (all, "https://agents.example.com", true),
            (all, "https://agents.example.com:8443", true),
            ("https://agents.example.com:*", "https://agents.example.com:8443", true),
            ("https://Agents.example.com:443", "https://agents.example.com", true),
            ("https://agents.example.com:443", "https://agents.example.com:8443", false),
            ("https://agents.example.com:443", "http://agents.example.com", false),
            ("https://agents.example.com:443", "https://x.agents.example.com", false),
        ] {
            assert_eq!(allows(&[rule], origin), expected, "{rule} {origin}");
        }
        for rule in ["", "agents.example.com", "https://", "https://a.example/path", "null", "*"] {
            assert_eq!(Origin::rule(rule), None, "{rule}");
        }
    }

    #[test]
    fn two_origin_headers_are_refused() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(header::ORIGIN, HeaderValue::from_static("http://localhost"));
        }
        assert!(!is_allowed(&headers, &[]));
    }
}
