//! Why a request has no response: whose fault it is, and what to change.
//!
//! The component learns a code of `wasi:http` and no more. What is known here goes into the error that
//! the user reads.

use crate::config::origin::ApiBase;
use crate::error::FunctionError;
use crate::session::outbound::proxy::{TunnelError, Way};
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

/// The longest text of a system or a certificate that is quoted, in characters.
const LONGEST: usize = 200;

/// Why a request has no response, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The case of the WIT's `error`.
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

    /// The same, where it would only happen again.
    fn lasting(self) -> Self {
        Self { is_retryable: false, ..self }
    }

    /// Makes it what an error says, in place of what the component could know.
    pub(crate) fn explain(&self, error: &mut FunctionError) {
        error.kind = self.kind;
        error.message.clone_from(&self.message);
        error.hint = Some(self.hint.clone());
        error.retryable = self.is_retryable;
    }

    /// A response that cannot be used.
    fn unusable(message: String, hint: impl Into<String>) -> Self {
        Self { kind: "unexpected-response", ..Self::new(message, hint).lasting() }
    }
}

/// What had been done when the time for connecting was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No connection to the host, or the proxy, was there.
    Connecting,
    /// The proxy had not answered.
    Tunnelling,
    /// The TLS handshake was not finished.
    Handshaking,
}

/// The time for connecting was up.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", limit.as_secs())]
pub(crate) struct Late {
    pub(crate) stage: Stage,
    pub(crate) limit: Duration,
}

/// Where a request was going.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) api: &'a ApiBase,
    /// The proxy in between.
    pub(crate) proxy: Option<&'a Way>,
}

/// A side of a connection that something went wrong with.
#[derive(Clone, Copy)]
enum Party<'a> {
    Host(Destination<'a>),
    Proxy(&'a Way, Destination<'a>),
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(to) => f.write_str(to.api.authority()),
            Self::Proxy(way, _) => way.fmt(f),
        }
    }
}

impl Party<'_> {
    /// Its name, with the proxy in between.
    fn reached(self) -> String {
        match self {
            Party::Host(Destination { api, proxy: Some(way) }) => {
                format!("{}, reached through {way},", api.authority())
            }
            party => party.to_string(),
        }
    }

    /// What to check where there is no connection to it.
    fn check(self) -> String {
        match self {
            Self::Proxy(way, to) => format!(
                "check {} and that the proxy runs, or except {} with NO_PROXY",
                way.variable(),
                to.api.authority()
            ),
            Self::Host(to) if to.api.is_whereby() => {
                "check this machine's network, DNS and firewall; where a proxy is the only way out, \
                 set HTTPS_PROXY"
                    .into()
            }
            Self::Host(to) if to.api.is_loopback() => {
                format!("check {}, and that the server on this machine runs", to.api.set_with())
            }
            Self::Host(to) => format!(
                "check {}, and this machine's network, DNS and firewall; where a proxy is the only \
                 way out, set HTTPS_PROXY",
                to.api.set_with()
            ),
        }
    }

    /// The code that has the component try again, where the connection may be there in a moment. A
    /// proxy is set up by the user, who waits to hear of it.
    fn code(self, direct: WasiError) -> WasiError {
        match self {
            Self::Host(_) => direct,
            Self::Proxy(..) => WasiError::ConfigurationError,
        }
    }
}

/// Why no connection was made, and the code that the component gets.
pub(crate) fn unconnected(
    error: &(dyn StdError + 'static),
    to: Destination<'_>,
) -> (WasiError, Cause) {
    let tunnel = causes(error).find_map(|error| error.downcast_ref::<TunnelError>());
    match (tunnel, to.proxy) {
        (Some(TunnelError::Refused(status)), Some(way)) => refused_by_proxy(*status, way, to),
        (Some(TunnelError::NotHttp), Some(way)) => {
            let message = format!("{way} does not answer as an HTTP proxy does");
            (
                WasiError::ConfigurationError,
                Cause::new(message, format!("check {}", way.variable())).lasting(),
            )
        }
        (Some(TunnelError::Lost(error)), Some(way)) => {
            let message = format!(
                "{way} closed the connection instead of connecting to {}: {}",
                to.api.authority(),
                told(error)
            );
            (WasiError::ConfigurationError, Cause::new(message, Party::Proxy(way, to).check()))
        }
        (Some(TunnelError::Unusable(reason)), _) => (
            WasiError::ConfigurationError,
            Cause::new(reason.clone(), "change that variable").lasting(),
        ),
        (Some(TunnelError::Unreachable(error)), Some(way)) => {
            without_connection(&**error, Party::Proxy(way, to))
        }
        (_, Some(way)) if broke_off(error).is_some() => {
            let why = broke_off(error).map(told).unwrap_or_default();
            let host = to.api.authority();
            let cause = Cause::new(
                format!("{way}: the connection to {host} was closed during the request: {why}"),
                format!(
                    "try again later; if it happens again, ask the proxy's operator about {host}"
                ),
            );
            (WasiError::DestinationUnavailable, cause)
        }
        _ => without_connection(error, Party::Host(to)),
    }
}

/// The error of a connection that was there and ended before its TLS handshake did.
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

fn refused_by_proxy(status: u16, way: &Way, to: Destination<'_>) -> (WasiError, Cause) {
    let (variable, host) = (way.variable(), to.api.authority());
    let cause = match status {
        407 if way.has_user() => Cause::new(
            format!("{way} does not accept the user name and password (407)"),
            format!("correct them in {variable}; special characters are percent-encoded there"),
        )
        .lasting(),
        407 => Cause::new(
            format!("{way} requires a user name and password (407)"),
            format!("write them into {variable}: http://USER:PASSWORD@HOST:PORT"),
        )
        .lasting(),
        502..=504 => Cause::new(
            format!("{way} could not connect to {host} ({status})"),
            "try again later; if it happens again, ask the proxy's operator",
        ),
        408 | 429 | 500 => Cause::new(
            format!("{way} did not connect to {host} ({status})"),
            "try again later; if it happens again, ask the proxy's operator",
        ),
        300..=399 | 400 | 404 | 405 | 501 => Cause::new(
            format!("{way} does not answer as a proxy ({status})"),
            format!("check that {variable} names a proxy and not another server"),
        )
        .lasting(),
        _ => Cause::new(
            format!("{way} does not allow connections to {host} ({status})"),
            format!("ask the proxy's operator to allow {host}, or except it with NO_PROXY"),
        )
        .lasting(),
    };
    let code = match status {
        502..=504 => WasiError::DestinationUnavailable,
        _ => WasiError::ConfigurationError,
    };
    (code, cause)
}

fn without_connection(error: &(dyn StdError + 'static), party: Party<'_>) -> (WasiError, Cause) {
    let mut failed = None;
    for error in causes(error) {
        if let Some(late) = error.downcast_ref::<Late>() {
            return out_of_time(late, party);
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
    let (code, message) = match failed.map(|error| (error.kind(), error)) {
        Some((io::ErrorKind::ConnectionRefused, _)) => {
            (WasiError::ConnectionRefused, format!("{party} refused the connection"))
        }
        Some((io::ErrorKind::TimedOut, _)) => {
            let message = format!("no connection to {party} was made in time");
            let cause = Cause { kind: "timeout", ..Cause::new(message, party.check()) };
            return (party.code(WasiError::ConnectionTimeout), cause);
        }
        Some((_, error)) => (
            WasiError::DestinationUnavailable,
            format!("no connection to {party}: {}", told(error)),
        ),
        None => (
            WasiError::DestinationUnavailable,
            format!("no connection to {party}: {}", text::printable(&error.to_string(), LONGEST)),
        ),
    };
    let advice = failed.and_then(crate::system::resource_limit::advice);
    let hint = advice.map_or_else(|| party.check(), str::to_owned);
    (party.code(code), Cause::new(message, hint))
}

fn unresolved(error: &(dyn StdError + 'static), party: Party<'_>) -> (WasiError, Cause) {
    let why = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let why = text::printable(&why, LONGEST);
    let message = match party {
        Party::Host(to) => {
            let authority = to.api.authority();
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            format!("the host name {host} could not be resolved: {why}")
        }
        Party::Proxy(way, _) => format!("the host name of {way} could not be resolved: {why}"),
    };
    let code = WasiError::DnsError { rcode: None, info_code: None };
    (party.code(code), Cause::new(message, party.check()))
}

fn out_of_time(late: &Late, party: Party<'_>) -> (WasiError, Cause) {
    let seconds = late.limit.as_secs();
    let proxy = match party {
        Party::Host(to) => to.proxy.map(|way| (way, to)),
        Party::Proxy(way, to) => Some((way, to)),
    };
    let (party, message) = match (late.stage, proxy) {
        (Stage::Connecting, Some((way, to))) => {
            (Party::Proxy(way, to), format!("no connection to {way} was made within {seconds} s"))
        }
        (Stage::Tunnelling, Some((way, to))) => (
            Party::Proxy(way, to),
            format!("{way} did not connect to {} within {seconds} s", to.api.authority()),
        ),
        (Stage::Connecting | Stage::Tunnelling, None) => {
            (party, format!("no connection to {party} was made within {seconds} s"))
        }
        (Stage::Handshaking, _) => {
            (party, format!("{party} did not finish the TLS handshake within {seconds} s"))
        }
    };
    let cause = Cause { kind: "timeout", ..Cause::new(message, party.check()) };
    (party.code(WasiError::ConnectionTimeout), cause)
}

/// Why a certificate is not trusted, by its name.
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
            "set this machine's clock if it is wrong; if not, the owner of {party} has to install a \
             {dates} certificate, and ca_file cannot replace it"
        )
    };
    let (what, hint) = match error {
        E::Expired => ("has expired".into(), clock("new")),
        E::ExpiredContext { time, not_after } => (
            format!("expired on {} (this machine's clock says {})", at(not_after), at(time)),
            clock("new"),
        ),
        E::NotValidYet => ("is not valid yet".into(), clock("valid")),
        E::NotValidYetContext { time, not_before } => (
            format!(
                "is not valid before {} (this machine's clock says {})",
                at(not_before),
                at(time)
            ),
            clock("valid"),
        ),
        E::UnknownIssuer | E::BadSignature => (
            "is self-signed, or signed by an authority that is not trusted".into(),
            "if your network or the server uses its own certificate authority, put that authority's \
             certificate into ca_file; otherwise someone may be intercepting the connection"
                .into(),
        ),
        E::NotValidForName => ("is for another name".into(), names(party)),
        E::NotValidForNameContext { presented, .. } => {
            let shown = presented.iter().take(5).map(|name| bare(name)).collect::<Vec<_>>();
            let shown = match shown.is_empty() {
                true => "is for no host name at all".to_owned(),
                false => format!("is for another name: {}", shown.join(", ")),
            };
            (shown, names(party))
        }
        // An authority's own certificate, as `openssl req -x509` makes them.
        E::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => (
            "is self-signed: it is a certificate authority's own".into(),
            format!(
                "{party} needs a certificate that an authority signed; name that authority's \
                 certificate in ca_file"
            ),
        ),
        error => (
            format!("is not valid: {}", text::printable(&error.to_string(), LONGEST)),
            "ask the owner of the server; ca_file only adds certificate authorities".into(),
        ),
    };
    Cause::new(format!("the certificate of {whose} {what}"), hint).lasting()
}

fn names(party: Party<'_>) -> String {
    let check = match party {
        Party::Host(to) if to.api.is_whereby() => {
            "check whether something else answers in this network, \
                                             such as a proxy or a sign-in page"
                .to_owned()
        }
        Party::Host(to) => format!("name the host of the certificate in {}", to.api.set_with()),
        Party::Proxy(way, _) => format!("name the host of the certificate in {}", way.variable()),
    };
    format!("{check}; ca_file does not make another name right")
}

/// The name in rustls's way of writing it: `DnsName("a.example")`, `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    text::printable(inner.unwrap_or(name).trim_matches('"'), LONGEST)
}

fn insecure(error: &rustls::Error, party: Party<'_>) -> Cause {
    let what = match error {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "answers without TLS".to_owned()
        }
        error => {
            let why = text::printable(&error.to_string(), LONGEST);
            format!("does not speak TLS as expected: {why}")
        }
    };
    let message = format!("the secure connection failed: {} {what}", party.reached());
    let hint = match party {
        Party::Host(to) if to.api.is_whereby() => party.check(),
        Party::Host(to) => format!("check the scheme and the port of {}", to.api.set_with()),
        Party::Proxy(way, _) => format!("check the scheme and the port of {}", way.variable()),
    };
    Cause::new(message, hint).lasting()
}

/// Why there is no whole response to a request that may have been sent, and the code that the
/// component gets. What the component says of a connection that broke off is all that is known.
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
                "{authority} answered with more headers than are accepted (at most 100, of 408 KiB in \
                 all)"
            );
            let hint = "a proxy or gateway in between may add headers; ask its operator";
            let code = WasiError::HttpResponseHeaderSectionSize(None);
            return (code, Some(Cause::unusable(message, hint)));
        }
        if error.is_parse() {
            let why = text::printable(&error.to_string(), LONGEST);
            let message = format!("{authority} sent no valid HTTP response: {why}");
            let hint = match api.is_https() {
                true => look_around(api),
                false => format!(
                    "check {}; if the server uses TLS, the URL must start with https://",
                    api.set_with()
                ),
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

/// What a response says that something other than Whereby's API sent: a sign-in page of the network, a
/// gateway or a firewall. `None` if Whereby may have sent it.
///
/// `location` is the `Location` header of a redirect; only its host is shown.
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
        Some(way) => format!("look at {way} and at whether this network has a sign-in page"),
        None => look_around(to.api),
    };
    let ask = format!("ask the operator of the network, proxy or firewall about {host}");
    let cause = match status {
        511 => Cause::new(
            format!(
                "this network wants you to sign in before it lets requests to {host} through (511)"
            ),
            "open a web page in a browser and sign in to the network",
        )
        .lasting(),
        _ if is_redirect => {
            // A location without a host leads to the same one.
            let target = location.and_then(|location| url::Url::parse(location).ok());
            let target = target.as_ref().and_then(url::Url::host_str).unwrap_or("another address");
            let target = text::printable(target, LONGEST);
            Cause::unusable(
                format!(
                    "{host} redirected the request to {target} ({status}), which is not followed"
                ),
                around,
            )
        }
        401 => Cause {
            kind: "unauthorized",
            ..Cause::unusable(
                format!(
                    "a proxy or firewall in front of {host} requires a sign-in: it sent a web page (401)"
                ),
                around,
            )
        },
        403 => Cause {
            kind: "access-denied",
            ..Cause::unusable(
                format!("something in front of {host} refused the request: a web page (403)"),
                ask,
            )
        },
        404 => Cause {
            kind: "not-found",
            ..Cause::unusable(
                format!("{host} answered with a web page (404), which Whereby's API never does"),
                around,
            )
        },
        500..=599 => Cause::new(
            format!(
                "a gateway in front of {host} returned a web page instead of an API response ({status})"
            ),
            format!("try again later; if it happens again, {ask}"),
        ),
        _ => Cause::unusable(
            format!("{host} answered with a web page ({status}), which Whereby's API never does"),
            around,
        ),
    };
    Some(cause)
}

/// Whether an error is of an answer that is not HTTP.
pub(crate) fn is_no_http(error: &(dyn StdError + 'static)) -> bool {
    causes(error)
        .any(|error| error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse()))
}

/// A response that is compressed, which no request asks for.
pub(crate) fn encoded(authority: &str, encoding: &str) -> Cause {
    Cause::unusable(
        format!(
            "{authority} sent a compressed response (Content-Encoding: {encoding}), which the request did \
             not ask for"
        ),
        "a proxy or gateway in between may compress responses; have it leave these alone",
    )
}

/// A successful response that is not what Whereby's API sends.
pub(crate) fn unreadable(api: &ApiBase, reason: Unreadable) -> Cause {
    let what = match reason {
        Unreadable::NotJson => "a response that is not JSON",
        Unreadable::TooManyRows => "more rows than a page of Whereby's API has",
    };
    Cause::unusable(format!("{} sent {what}", api.authority()), look_around(api))
}

/// What to check where something else than Whereby's API may have answered.
fn look_around(api: &ApiBase) -> String {
    let network = "whether this network has a sign-in page, a proxy or a firewall";
    match api.is_whereby() {
        true => format!("check {network}"),
        false => format!("check {}, and {network}", api.set_with()),
    }
}

/// A system's error without the words that every one has.
fn told(error: &io::Error) -> String {
    text::printable(&error.to_string(), LONGEST)
}

/// An error and what caused it, outermost first. What an `io::Error` holds is not its source.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map(|held| held as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::session::outbound::proxy::Proxy;
    use std::sync::LazyLock;

    static API: LazyLock<ApiBase> = LazyLock::new(|| {
        let api = ApiBase::parse("https://api.example:8443/v1").expect("an API");
        api.set_by("accounts.work.api_url", None)
    });

    fn to(proxy: Option<&Proxy>) -> Destination<'_> {
        let proxy = proxy.map(|proxy| proxy.way().expect("a proxy"));
        Destination { api: &API, proxy }
    }

    #[test]
    fn a_connection_that_takes_too_long_is_told_with_how_far_it_came() {
        let proxy = Proxy::new("HTTPS_PROXY", "http://u:s3cret@p.example:3128", None);
        let way = "the proxy http://p.example:3128 (HTTPS_PROXY)";
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
                format!("no connection to {way} was made within 10 s"),
            ),
            (
                Stage::Tunnelling,
                Some(&proxy),
                format!("{way} did not connect to api.example:8443 within 10 s"),
            ),
        ] {
            let late = Late { stage, limit: Duration::from_secs(10) };
            let (_, cause) = unconnected(&late, to(proxy));
            assert_eq!(cause.message, message);
            assert_eq!((cause.kind, cause.is_retryable), ("timeout", true), "{message}");
        }
    }

    #[test]
    fn what_whereby_never_sends_is_told_as_somebody_elses() {
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
                "in front of api.example:8443 refused the request: a web page (403)",
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
    fn what_the_system_says_of_a_connection_is_told_with_what_to_change() {
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
            // As connectors wrap it.
            let error = io::Error::other(io::Error::from_raw_os_error(errno));
            let (_, cause) = unconnected(&error, to(None));
            assert_eq!(cause.message, message);
            assert!(cause.hint.contains(hint), "{}", cause.hint);
        }
    }
}
