//! Checks every request before anything else, and sets the headers of every response.
//!
//! Any program on this machine can reach the port, and so can any page in a browser on it: by its address,
//! or by a name that leads here (DNS rebinding). Pages of other ports of this machine even get the cookie,
//! because a cookie has no port.

use super::{Page, view};
use crate::listener::Ends;
use crate::system::peer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The beginning of the path of links that sign a person in.
pub(super) const ENTER: &str = "/enter/";

/// The headers of every response.
const HEADERS: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // `no-referrer` would have browsers send `Origin: null` with forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
];

/// Serves a request if it was meant for this server and comes from one of its own pages, or from a person
/// who opened an address.
pub(super) async fn admit(
    State(page): State<Arc<Page>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match check(&page, &request) {
        Ok(()) => {
            page.remember(&mut request);
            next.run(request).await
        }
        Err(refusal) => refusal.response(request.uri().path()),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Why a request is not served.
enum Refusal {
    /// It comes from another user of this machine, who may have got hold of a link or a cookie.
    User,
    /// It was sent to another name.
    Host,
    /// It comes from another site.
    Site,
    /// A person follows a link on another site. The browser sends the cookie only from a page of this one.
    Link,
}

impl Refusal {
    fn response(&self, path: &str) -> Response {
        match self {
            Self::User => view::refusal(
                StatusCode::FORBIDDEN,
                "This is the inbox of another user",
                "Only a browser of the user who started the inbox gets in.",
            ),
            Self::Host => view::refusal(
                StatusCode::FORBIDDEN,
                "This is not the inbox's address",
                "Open the inbox with the address that the terminal shows.",
            ),
            Self::Site => view::refusal(
                StatusCode::FORBIDDEN,
                "Another site sent this request",
                "The inbox takes requests from its own pages only. Nothing was changed.",
            ),
            Self::Link => view::from_link(path).into_response(),
        }
    }
}

fn check(page: &Page, request: &Request) -> Result<(), Refusal> {
    if let Some(Ends { client, server }) = request.extensions().get()
        && !page.for_others
        && peer::is_of_another_user(*client, *server)
    {
        return Err(Refusal::User);
    }
    let headers = request.headers();
    let host = only(headers, &header::HOST).filter(|host| page.hosts.iter().any(|own| own == host));
    let Some(host) = host else { return Err(Refusal::Host) };
    // A request to a proxy names the host in its first line, too.
    if request.uri().authority().is_some_and(|authority| authority.as_str() != host) {
        return Err(Refusal::Host);
    }
    let is_own_origin = match headers.get_all(header::ORIGIN).iter().count() {
        0 => None,
        _ => Some(only(headers, &header::ORIGIN).is_some_and(|origin| {
            origin.strip_prefix("http://").is_some_and(|origin| origin == host)
        })),
    };
    if is_own_origin == Some(false) {
        return Err(Refusal::Site);
    }
    let site = match headers.get_all(FETCH_SITE).iter().count() {
        0 => None,
        _ => Some(only(headers, &FETCH_SITE).unwrap_or_default()),
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match site {
        Some("same-origin") => Ok(()),
        // A browser says where a form comes from, in one header or the other.
        None if is_read || is_own_origin == Some(true) => Ok(()),
        // A person typed the address or opened a bookmark.
        Some("none") if is_read => Ok(()),
        Some("same-site" | "cross-site") if is_read && is_navigation(headers) => {
            match request.uri().path().starts_with(ENTER) {
                true => Ok(()),
                false => Err(Refusal::Link),
            }
        }
        _ => Err(Refusal::Site),
    }
}

/// Whether a person opens the page in a window of its own.
fn is_navigation(headers: &HeaderMap) -> bool {
    only(headers, &FETCH_MODE) == Some("navigate") && only(headers, &FETCH_DEST) == Some("document")
}

/// Returns the value of a header that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
