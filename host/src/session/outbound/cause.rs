//! Why a request has no usable response, and what the user can change.
//!
//! The component gets only an error code of `wasi:http`. The error that the user reads has the rest.

use crate::config::origin::ApiBase;
use crate::error::FunctionError;
use crate::session::outbound::proxy::{ProxyServer, TunnelError};
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wasmtime_wasi_http::Error as WasiError;
use whereby_authority::answer::Unreadable;
use whereby_authority::text;

/// The maximum length of quoted text from a system error or a certificate, in characters.
const LONGEST: usize = 200;

/// Why a request has no usable response, for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The case of `error` in the WIT.
    pub(crate) kind: &'static str,
    /// What went wrong, and where.
    pub(crate) message: String,
    /// What to change.
    pub(crate) hint: String,
    /// Whether the same request may succeed later without any change.
    pub(crate) is_retryable: bool,
}

impl Cause {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Self { kind: "unavailable", message, hint: hint.into(), is_retryable: true }
    }

    /// Marks the cause as one that a retry does not remove.
    fn lasting(self) -> Self {
        Self { is_retryable: false, ..self }
    }

    /// Replaces what the component could say in an error.
    pub(crate) fn explain(&self, error: &mut FunctionError) {
        error.kind = self.kind;
        error.message.clone_from(&self.message);
        error.hint = Some(self.hint.clone());
        error.retryable = self.is_retryable;
    }

    /// Returns the cause for a response that cannot be used.
    fn unusable(message: String, hint: impl Into<String>) -> Self {
        Self { kind: "unexpected-response", ..Self::new(message, hint).lasting() }
    }
}

/// A stage of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting to the host or the proxy.
    Connecting,
    /// Waiting for the proxy's response.
    Tunnelling,
    /// The TLS handshake.
    Handshaking,
}

/// Connecting took too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", limit.as_secs())]
pub(crate) struct ConnectTimeout {
    pub(crate) stage: Stage,
    pub(crate) limit: Duration,
}

/// The destination of a request.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The API.
    pub(crate) api: &'a ApiBase,
    /// The proxy, if requests go through one.
    pub(crate) proxy: Option<&'a ProxyServer>,
}

/// The other end of a failed connection.
#[derive(Clone, Copy)]
enum Party<'a> {
    Host(Destination<'a>),
    Proxy(&'a ProxyServer, Destination<'a>),
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(to) => f.write_str(to.api.authority()),
            Self::Proxy(server, _) => server.fmt(f),
        }
    }
}

impl Party<'_> {
    /// Returns what sets it: a variable, or a key in a file.
    fn setting(&self) -> &str {
        match self {
            Self::Host(to) => to.api.set_with(),
            Self::Proxy(server, _) => server.variable(),
        }
    }

    fn is_whereby(self) -> bool {
        matches!(self, Self::Host(to) if to.api.is_whereby())
    }

    /// Returns its name, and the proxy if there is one.
    fn reached(self) -> String {
        match self {
            Party::Host(Destination { api, proxy: Some(server) }) => {
                format!("{}, reached through {server},", api.authority())
            }
            party => party.to_string(),
        }
    }

    /// Returns what to check if there is no connection.
    fn check(self) -> String {
        match self {
            Self::Proxy(server, to) => format!(
                "check {} and that the proxy runs, or exclude {} with NO_PROXY",
                server.variable(),
                to.api.authority()
            ),
            Self::Host(to) if to.api.is_whereby() => {
                "check this machine's network, DNS and firewall; if the network requires a proxy, set \
                 HTTPS_PROXY"
                    .into()
            }
            Self::Host(to) if to.api.is_loopback() => {
                format!("check {}, and that the server on this machine runs", to.api.set_with())
            }
            Self::Host(to) => format!(
                "check {}, and this machine's network, DNS and firewall; if the network \
                 requires a proxy, set HTTPS_PROXY",
                to.api.set_with()
            ),
        }
    }

    /// Returns the error code for the component. It retries after `direct`, but not if the proxy failed:
    /// the user has to change the proxy.
    fn code(self, direct: WasiError) -> WasiError {
        match self {
            Self::Host(_) => direct,
            Self::Proxy(..) => WasiError::ConfigurationError,
        }
    }
}

/// Returns why no connection was made, and the error code for the component.
pub(crate) fn unconnected(
    error: &(dyn StdError + 'static),
    to: Destination<'_>,
) -> (WasiError, Cause) {
    let misconfigured = |cause| (WasiError::ConfigurationError, cause);
    let tunnel = causes(error).find_map(|error| error.downcast_ref::<TunnelError>());
    match (tunnel, to.proxy) {
        (Some(TunnelError::Refused(status)), Some(server)) => refused_by_proxy(*status, server, to),
        (Some(TunnelError::NotHttp), Some(server)) => {
            let message = format!("{server} does not answer as an HTTP proxy");
            misconfigured(Cause::new(message, format!("check {}", server.variable())).lasting())
        }
        (Some(TunnelError::Lost(error)), Some(server)) => {
            let message = format!(
                "{server} closed the connection instead of connecting to {}: {}",
                to.api.authority(),
                shown(error)
            );
            misconfigured(Cause::new(message, Party::Proxy(server, to).check()))
        }
        (Some(TunnelError::Unusable(reason)), _) => {
            misconfigured(Cause::new(reason.clone(), "change that variable").lasting())
        }
        (Some(TunnelError::Unreachable(error)), Some(server)) => {
            without_connection(&**error, Party::Proxy(server, to))
        }
        (_, Some(server)) if broke_off(error).is_some() => {
            let why = broke_off(error).map(shown).unwrap_or_default();
            let host = to.api.authority();
            let cause = Cause::new(
                format!("{server}: the connection to {host} was closed during the request: {why}"),
                format!(
                    "try again later; if it happens again, ask the proxy's operator about {host}"
                ),
            );
            (WasiError::DestinationUnavailable, cause)
        }
        _ => without_connection(error, Party::Host(to)),
    }
}

/// Returns the error of a connection that was closed during the TLS handshake.
fn broke_off<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let kinds = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
    ];
    let mut errors = causes(error).filter_map(|error| error.downcast_ref::<io::Error>());
    errors.find(|error| kinds.contains(&error.kind()))
}

fn refused_by_proxy(status: u16, server: &ProxyServer, to: Destination<'_>) -> (WasiError, Cause) {
    let (variable, host) = (server.variable(), to.api.authority());
    let is_retryable = matches!(status, 408 | 429 | 500 | 502..=504);
    let (what, hint) = match status {
        407 if server.has_user() => (
            "does not accept the user name and password".into(),
            format!("correct them in {variable}; special characters are percent-encoded there"),
        ),
        407 => (
            "requires a user name and password".into(),
            format!("put them into {variable}: http://USER:PASSWORD@HOST:PORT"),
        ),
        _ if is_retryable => {
            let verb = if status > 500 { "could not" } else { "did not" };
            let hint = "try again later; if it happens again, ask the proxy's operator";
            (format!("{verb} connect to {host}"), hint.into())
        }
        300..=399 | 400 | 404 | 405 | 501 => (
            "does not answer as a proxy".into(),
            format!("check that {variable} names a proxy and not another server"),
        ),
        _ => (
            format!("does not allow connections to {host}"),
            format!("ask the proxy's operator to allow {host}, or exclude it with NO_PROXY"),
        ),
    };
    let cause = Cause { is_retryable, ..Cause::new(format!("{server} {what} ({status})"), hint) };
    let code = match status {
        502..=504 => WasiError::DestinationUnavailable,
        _ => WasiError::ConfigurationError,
    };
    (code, cause)
}

fn without_connection(error: &(dyn StdError + 'static), party: Party<'_>) -> (WasiError, Cause) {
    let mut failed = None;
    for error in causes(error) {
        if let Some(timeout) = error.downcast_ref::<ConnectTimeout>() {
            return out_of_time(timeout, party);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return match error {
                rustls::Error::InvalidCertificate(error) => {
                    (WasiError::TlsCertificateError, distrusted(error, party))
                }
                error => (WasiError::TlsProtocolError, insecure(error, party)),
            };
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            failed = Some(error);
        } else if error.to_string() == "dns error" {
            return unresolved(error, party);
        }
    }
    let (code, message) = match failed.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            (WasiError::ConnectionRefused, format!("{party} refused the connection"))
        }
        Some(io::ErrorKind::TimedOut) => {
            return timed_out(format!("no connection to {party} was made in time"), party);
        }
        _ => {
            let why = failed.map_or_else(|| shown(error), shown);
            (WasiError::DestinationUnavailable, format!("no connection to {party}: {why}"))
        }
    };
    let advice = failed.and_then(crate::system::resource_limit::advice);
    let hint = advice.map_or_else(|| party.check(), str::to_owned);
    (party.code(code), Cause::new(message, hint))
}

fn unresolved(error: &(dyn StdError + 'static), party: Party<'_>) -> (WasiError, Cause) {
    let why = causes(error).last().map(shown).unwrap_or_default();
    let message = match party {
        Party::Host(to) => {
            let authority = to.api.authority();
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            format!("the host name {host} could not be resolved: {why}")
        }
        Party::Proxy(server, _) => {
            format!("the host name of {server} could not be resolved: {why}")
        }
    };
    let code = WasiError::DnsError { rcode: None, info_code: None };
    (party.code(code), Cause::new(message, party.check()))
}

fn out_of_time(timeout: &ConnectTimeout, party: Party<'_>) -> (WasiError, Cause) {
    let seconds = timeout.limit.as_secs();
    let (Party::Host(to) | Party::Proxy(_, to)) = party;
    let party = match (timeout.stage, to.proxy) {
        (Stage::Connecting | Stage::Tunnelling, Some(server)) => Party::Proxy(server, to),
        _ => party,
    };
    let what = match timeout.stage {
        Stage::Connecting => format!("no connection to {party} was made"),
        Stage::Tunnelling => format!("{party} did not connect to {}", to.api.authority()),
        Stage::Handshaking => format!("{party} did not finish the TLS handshake"),
    };
    timed_out(format!("{what} within {seconds} s"), party)
}

fn timed_out(message: String, party: Party<'_>) -> (WasiError, Cause) {
    let cause = Cause { kind: "timeout", ..Cause::new(message, party.check()) };
    (party.code(WasiError::ConnectionTimeout), cause)
}

/// Returns why a certificate is not trusted.
fn distrusted(error: &CertificateError, party: Party<'_>) -> Cause {
    use CertificateError as E;
    let at = |time: &UnixTime| {
        let time = i64::try_from(time.as_secs()).ok().map(OffsetDateTime::from_unix_timestamp);
        let time = time.and_then(Result::ok).and_then(|time| time.format(&Rfc3339).ok());
        time.unwrap_or_else(|| "a date out of range".into())
    };
    let whose = party.reached();
    let clock = |dates: &str| {
        format!(
            "if this machine's clock is wrong, set it; otherwise, the owner of {party} must install a \
             {dates} certificate (ca_file does not help)"
        )
    };
    let (what, hint) = match error {
        E::Expired => ("has expired".into(), clock("new")),
        E::ExpiredContext { time, not_after } => (
            format!("expired on {} (this machine's clock says {})", at(not_after), at(time)),
            clock("new"),
        ),
        E::NotValidYetContext { time, not_before } => (
            format!(
                "is not valid before {} (this machine's clock says {})",
                at(not_before),
                at(time)
            ),
            clock("valid"),
        ),
        E::UnknownIssuer | E::BadSignature => (
            "is self-signed or signed by an authority that is not trusted".into(),
            "if your network or the server uses its own certificate authority, put that authority's \
             certificate into ca_file; otherwise someone may be intercepting the connection"
                .into(),
        ),
        E::NotValidForNameContext { presented, .. } => {
            let names_shown = presented.iter().take(5).map(|name| bare(name)).collect::<Vec<_>>();
            let what = if names_shown.is_empty() {
                "has no host name".to_owned()
            } else {
                format!("is for another name: {}", names_shown.join(", "))
            };
            let check = if party.is_whereby() {
                "check whether this network has a proxy or a sign-in page that answers instead"
                    .to_owned()
            } else {
                format!("use the certificate's host name in {}", party.setting())
            };
            (what, format!("{check} (ca_file does not help)"))
        }
        // A certificate authority's own certificate, as `openssl req -x509` makes.
        E::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => (
            "is self-signed: it is a certificate authority's own".into(),
            format!(
                "{party} needs a certificate that an authority signed; put the authority's certificate \
                 into ca_file"
            ),
        ),
        error => (
            format!("is not valid: {}", shown(error)),
            "ask the owner of the server; ca_file only adds certificate authorities".into(),
        ),
    };
    Cause::new(format!("the certificate of {whose} {what}"), hint).lasting()
}

/// Extracts a name as rustls writes it: `DnsName("a.example")`, `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    text::printable(inner.unwrap_or(name).trim_matches('"'), LONGEST)
}

fn insecure(error: &rustls::Error, party: Party<'_>) -> Cause {
    let what = match error {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "answers without TLS".to_owned()
        }
        error => format!("does not speak TLS as expected: {}", shown(error)),
    };
    let message = format!("the secure connection failed: {} {what}", party.reached());
    let hint = if party.is_whereby() {
        party.check()
    } else {
        format!("check the scheme and the port of {}", party.setting())
    };
    Cause::new(message, hint).lasting()
}

/// Returns the error code for the component after a request that may have been sent, and the cause if
/// there was a response that is not valid.
pub(crate) fn unanswered(
    error: &(dyn StdError + 'static),
    api: &ApiBase,
) -> (WasiError, Option<Cause>) {
    let authority = api.authority();
    for error in causes(error) {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::TimedOut
        {
            return (WasiError::ConnectionReadTimeout, None);
        }
        let Some(error) = error.downcast_ref::<hyper::Error>() else { continue };
        if error.is_parse_too_large() {
            let message = format!(
                "{authority} sent too many response headers (limit: 100 headers, 408 KiB in total)"
            );
            let hint = "a proxy or gateway in between may add headers; ask its operator";
            let code = WasiError::HttpResponseHeaderSectionSize(None);
            return (code, Some(Cause::unusable(message, hint)));
        }
        if error.is_parse() {
            let message = format!("{authority} sent no valid HTTP response: {}", shown(error));
            let hint = if api.is_https() {
                look_around(api)
            } else {
                format!(
                    "check {}; if the server uses TLS, the URL must start with https://",
                    api.set_with()
                )
            };
            let code = WasiError::HttpResponseTransferCoding(None);
            return (code, Some(Cause::new(message, hint).lasting()));
        }
    }
    (WasiError::HttpResponseIncomplete, None)
}

/// Whether a response is a web page, which Whereby's API never sends.
pub(crate) fn is_page(content_type: Option<&str>, body: &[u8]) -> bool {
    let named = content_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    named.starts_with("text/html")
        || named.starts_with("application/xhtml")
        || body.trim_ascii_start().starts_with(b"<")
}

/// Returns the cause for a response that Whereby's API did not send, but a sign-in page, a gateway or a
/// firewall. `None` if Whereby may have sent it.
///
/// `location` is the `Location` header of a redirect. Only its host is shown.
pub(crate) fn not_whereby(
    to: Destination<'_>,
    status: u16,
    is_page: bool,
    location: Option<&str>,
) -> Option<Cause> {
    let (host, is_redirect) = (to.api.authority(), (300..400).contains(&status));
    if !is_page && !is_redirect && status != 511 {
        return None;
    }
    let around = match to.proxy {
        Some(server) => format!("check {server}, and whether this network has a sign-in page"),
        None => look_around(to.api),
    };
    let ask = format!("ask the operator of the network, proxy or firewall about {host}");
    let is_retryable = matches!(status, 500..=510 | 512..=599);
    let (kind, message, hint) = match status {
        511 => (
            "unavailable",
            format!(
                "this network requires you to sign in before it lets requests to {host} through (511)"
            ),
            "open a web page in a browser and sign in to the network".into(),
        ),
        _ if is_redirect => {
            // A relative location leads to the same host.
            let target = location.and_then(|location| url::Url::parse(location).ok());
            let target = target.as_ref().and_then(url::Url::host_str).unwrap_or("another address");
            let target = text::printable(target, LONGEST);
            let message = format!(
                "{host} redirected the request to {target} ({status}); redirects are not followed"
            );
            ("unexpected-response", message, around)
        }
        401 => (
            "unauthorized",
            format!(
                "a proxy or firewall in front of {host} requires a sign-in: it sent a web page (401)"
            ),
            around,
        ),
        403 => (
            "access-denied",
            format!(
                "a proxy or firewall in front of {host} refused the request: it sent a web page (403)"
            ),
            ask,
        ),
        _ if is_retryable => (
            "unavailable",
            format!(
                "a gateway in front of {host} returned a web page instead of an API response ({status})"
            ),
            format!("try again later; if it happens again, {ask}"),
        ),
        _ => (
            if status == 404 { "not-found" } else { "unexpected-response" },
            format!("{host} answered with a web page ({status}), which Whereby's API never does"),
            around,
        ),
    };
    Some(Cause { kind, message, hint, is_retryable })
}

/// Returns the cause for a compressed response, which no request accepts.
pub(crate) fn encoded(authority: &str, encoding: &str) -> Cause {
    Cause::unusable(
        format!(
            "{authority} sent a compressed response (Content-Encoding: {encoding}), which the request did \
             not ask for"
        ),
        "a proxy or gateway in between may compress responses; exclude these from compression",
    )
}

/// Returns the cause for a successful response that Whereby's API does not send.
pub(crate) fn unreadable(api: &ApiBase, reason: Unreadable) -> Cause {
    let what = match reason {
        Unreadable::NotJson => "a response that is not JSON",
        Unreadable::TooManyRows => "more rows than a page of Whereby's API has",
    };
    Cause::unusable(format!("{} sent {what}", api.authority()), look_around(api))
}

/// Returns what to check if another server than Whereby's API may have responded.
fn look_around(api: &ApiBase) -> String {
    let network = "whether this network has a sign-in page, a proxy or a firewall";
    if api.is_whereby() {
        format!("check {network}")
    } else {
        format!("check {}, and {network}", api.set_with())
    }
}

fn shown(error: impl fmt::Display) -> String {
    text::printable(&error.to_string(), LONGEST)
}

/// Returns an error and its causes, outermost first. The error inside an `io::Error` is not its source.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map(|held| held as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::outbound::proxy::Proxy;
    use std::sync::LazyLock;

    static API: LazyLock<ApiBase> = LazyLock::new(|| {
        let api = ApiBase::parse("https://api.example:8443/v1").expect("an API");
        api.set_by("accounts.work.api_url", None)
    });

    fn to(proxy: Option<&Proxy>) -> Destination<'_> {
        let proxy = proxy.map(|proxy| proxy.server().expect("a proxy"));
        Destination { api: &API, proxy }
    }

    #[test]
    fn a_connection_timeout_names_its_stage() {
        let proxy = Proxy::new("HTTPS_PROXY", "http://u:s3cret@p.example:3128", None);
        let server = "the proxy http://p.example:3128 (HTTPS_PROXY)";
        for (stage, proxy, message) in [
            (
                Stage::Connecting,
                None,
                "no connection to api.example:8443 was made within 10 s".into(),
            ),
            (
                Stage::Handshaking,
                None,
                "api.example:8443 did not finish the TLS handshake within 10 s".into(),
            ),
            (
                Stage::Connecting,
                Some(&proxy),
                format!("no connection to {server} was made within 10 s"),
            ),
            (
                Stage::Tunnelling,
                Some(&proxy),
                format!("{server} did not connect to api.example:8443 within 10 s"),
            ),
        ] {
            let timeout = ConnectTimeout { stage, limit: Duration::from_secs(10) };
            let (_, cause) = unconnected(&timeout, to(proxy));
            assert_eq!(cause.message, message);
            assert_eq!((cause.kind, cause.is_retryable), ("timeout", true), "{message}");
        }
    }

    #[test]
    fn a_response_that_whereby_never_sends_has_another_cause() {
        let proxy = Proxy::new("HTTPS_PROXY", "http://u:s3cret@p.example:3128", None);
        let own = ApiBase::default();
        let whereby = Destination { api: &own, proxy: None };
        for (to, status, is_page, location, kind, message, hint, is_retryable) in [
            (
                whereby,
                200,
                true,
                None,
                "unexpected-response",
                "api.whereby.dev answered with a web page (200)",
                "sign-in page",
                false,
            ),
            (
                whereby,
                302,
                false,
                Some("https://login.example:8443/in?token=s3cret"),
                "unexpected-response",
                "api.whereby.dev redirected the request to login.example (302)",
                "sign-in page",
                false,
            ),
            (
                whereby,
                307,
                true,
                Some("/login?s3cret"),
                "unexpected-response",
                "redirected the request to another address (307)",
                "sign-in page",
                false,
            ),
            (
                to(None),
                301,
                false,
                None,
                "unexpected-response",
                "api.example:8443 redirected the request to another address (301)",
                "check accounts.work.api_url, and",
                false,
            ),
            (whereby, 511, false, None, "unavailable", "sign in", "browser", false),
            (
                to(Some(&proxy)),
                403,
                true,
                None,
                "access-denied",
                "in front of api.example:8443 refused the request: it sent a web page (403)",
                "operator",
                false,
            ),
            (
                to(Some(&proxy)),
                200,
                true,
                None,
                "unexpected-response",
                "web page (200)",
                "the proxy http://p.example:3128 (HTTPS_PROXY)",
                false,
            ),
            (whereby, 401, true, None, "unauthorized", "requires a sign-in", "sign-in page", false),
            (
                to(None),
                404,
                true,
                None,
                "not-found",
                "web page (404)",
                "accounts.work.api_url",
                false,
            ),
            (whereby, 502, true, None, "unavailable", "a gateway in front of", "try again", true),
        ] {
            let cause = not_whereby(to, status, is_page, location).expect("not Whereby's");
            assert_eq!((cause.kind, cause.is_retryable), (kind, is_retryable), "{status}");
            assert!(cause.message.contains(message), "{}", cause.message);
            assert!(cause.hint.contains(hint), "{}", cause.hint);
            assert!(!format!("{cause:?}").contains("s3cret"), "{cause:?}");
        }
        for status in [200, 201, 204, 400, 401, 403, 404, 429, 500, 503] {
            assert_eq!(not_whereby(whereby, status, false, None), None, "{status}");
        }
        for (content_type, body, expected) in [
            (Some("text/html; charset=utf-8"), &b""[..], true),
            (Some("Text/HTML"), b"x", true),
            (Some("application/xhtml+xml"), b"", true),
            (None, b"\n <!doctype html>", true),
            (Some("application/json"), b"{\"a\":\"<b>\"}", false),
            (None, b"{}", false),
            (None, b"", false),
        ] {
            assert_eq!(is_page(content_type, body), expected, "{content_type:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_system_error_has_a_hint() {
        for (errno, message, hint) in [
            (111, "api.example:8443 refused the connection", "check accounts.work.api_url, and"),
            (110, "no connection to api.example:8443 was made in time", "firewall"),
            (
                101,
                "no connection to api.example:8443: Network is unreachable (os error 101)",
                "network",
            ),
            (
                24,
                "no connection to api.example:8443: Too many open files (os error 24)",
                "ulimit -n",
            ),
        ] {
            // Connectors wrap the error.
            let error = io::Error::other(io::Error::from_raw_os_error(errno));
            let (_, cause) = unconnected(&error, to(None));
            assert_eq!(cause.message, message);
            assert!(cause.hint.contains(hint), "{}", cause.hint);
        }
    }
}
