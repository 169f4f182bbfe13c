//! The inbox as a page, for a browser on this machine.
//!
//! A person gets in with a link that works once, and then has a session by a cookie. Every change needs the
//! token of the session's forms. The page works without its script, which only keeps it current.

mod door;
mod gate;
mod passkeys;
mod view;

use super::{Class, Decided, Decision, Filter, Inbox, Item};
use crate::error::Error;
use crate::listener;
use crate::listener::body;
use crate::listener::connections::Handle;
use crate::store::{Announced, ApprovalState, Decider, LINK_MS, Place, Selector, Terms};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use door::{Door, Session};
use maud::Markup;
use passkeys::Asked;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use view::{Frame, Notice};
use whereby_authority::timestamp::Timestamp;

/// The maximum size of a form, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// The maximum time a browser may take to send a form.
const FORM_PATIENCE: Duration = Duration::from_secs(30);

/// The beginning of the path of an approval.
const APPROVALS: &str = "/approvals/";

/// How many calls of the log a page shows at first, and at most.
const EVENTS: u32 = 100;
const MAX_EVENTS: u32 = 500;

/// How many ports are tried where another program has one of the two addresses.
const MAX_PORTS: usize = 16;

/// The inbox with what serves it as a page.
pub(super) struct Page {
    inbox: Arc<Inbox>,
    door: Door,
    /// The values of `Host` that lead here.
    hosts: Vec<String>,
    /// The name of the cookie. Cookies go to every port of an address, so it has the port in it.
    cookie: String,
    port: u16,
    /// Whether other users of this machine may get in with a link, for a service account.
    for_others: bool,
    /// What browsers are asked about passkeys.
    asked: Asked,
}

/// A page that is being served. It stops when it is dropped.
pub struct Listening {
    page: Arc<Page>,
    server: JoinSet<()>,
    /// Tells other programs where the page is.
    _announced: Option<Announced>,
}

/// A link that signs a person in, once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Link {
    /// The URL. The first person who opens it decides for the user.
    pub url: String,
    /// When it expires, in milliseconds since 1970.
    pub expires_at: i64,
}

impl Listening {
    /// Returns the URL of the page, which shows nothing to those who are not signed in.
    #[must_use]
    pub fn url(&self) -> String {
        self.page.url()
    }

    /// Returns a new link that signs a person in. It works once, within 10 minutes.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the system has no random numbers.
    pub fn link(&self) -> Result<Link, Error> {
        self.page.inbox.link(&self.page.url())
    }

    /// Stops the server and ends all sessions.
    pub async fn stop(mut self) {
        self.server.shutdown().await;
    }
}

impl Inbox {
    /// Serves the inbox as a page on a loopback address, on the current tokio runtime. Port 0 chooses a free
    /// port.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the address is not a loopback address or cannot be listened on.
    pub async fn listen(self, address: SocketAddr) -> Result<Listening, Error> {
        self.serve(address, false).await
    }

    /// Serves the inbox as a page, also for other users of this machine who have a link, if the program runs
    /// under an account of its own.
    ///
    /// # Errors
    ///
    /// As for [`Inbox::listen`].
    pub(crate) async fn serve(
        self,
        address: SocketAddr,
        for_others: bool,
    ) -> Result<Listening, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::configuration(format!(
                "{address} is not a loopback address, and anyone who reaches the inbox could try to get in; \
                 listen on 127.0.0.1"
            )));
        }
        // A browser takes `localhost` for these two. Another program may have them on the same port.
        if ![IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&address.ip())
        {
            return Err(Error::configuration(format!(
                "{address} is not what browsers take for localhost, where passkeys work; listen on \
                 127.0.0.1"
            )));
        }
        let (listeners, port) = bind(address).await?;
        let page = Page::new(self, port, for_others);
        let app = routes()
            .fallback(async || {
                view::refusal(
                    StatusCode::NOT_FOUND,
                    "There is no such page",
                    "The address may be mistyped, or from another version.",
                )
            })
            .with_state(Arc::clone(&page))
            .layer(middleware::from_fn_with_state(Arc::clone(&page), gate::admit));
        let mut server = JoinSet::new();
        for listener in listeners {
            server.spawn(listener::accept(listener, app.clone()));
        }
        let url = page.url();
        let announced = page.inbox.store().announce_page(&url, for_others)?;
        Ok(Listening { page, server, _announced: announced })
    }

    /// Returns a link that signs a person in on the page of this user that is served now.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if no page is served.
    pub(crate) fn link_of_page(&self) -> Result<Link, Error> {
        let page = self.store().page().ok_or_else(|| {
            Error::usage("no inbox is served now; start one: whereby inbox --web, or whereby serve")
        })?;
        self.link(page.as_str())
    }

    fn link(&self, page: &str) -> Result<Link, Error> {
        let code = self.store().new_page_link()?;
        let url = format!("{}{}{code}", page.trim_end_matches('/'), gate::ENTER);
        Ok(Link { url, expires_at: self.now().saturating_add(LINK_MS) })
    }
}

/// Listens on a loopback address, and on the other one that browsers take for `localhost`, so that nobody
/// else gets what is meant for the page. Returns the port.
async fn bind(address: SocketAddr) -> Result<(Vec<TcpListener>, u16), Error> {
    let mut attempts = 0..MAX_PORTS;
    loop {
        let (listener, bound) = listener::bind(address).await?;
        let other: IpAddr = match bound.ip() {
            IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
        };
        let other = SocketAddr::new(other, bound.port());
        match TcpListener::bind(other).await {
            Ok(second) => return Ok((vec![listener, second], bound.port())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if address.port() != 0 || attempts.next().is_none() {
                    return Err(Error::configuration(format!(
                        "another program listens on {other}, and browsers may take it for the inbox; \
                         choose another port"
                    )));
                }
            }
            // This machine has only one kind of addresses.
            Err(_) => return Ok((vec![listener], bound.port())),
        }
    }
}

/// Returns the routes of the page, for a server that may have others. The server adds [`gate::admit`].
fn routes() -> Router<Arc<Page>> {
    Router::new()
        .route("/", get(waiting))
        .route("/approvals/{id}", get(approval))
        .route("/approvals/{id}/decision", post(decide))
        .route("/log", get(log))
        .route("/agents", get(agents))
        .route("/accounts", get(accounts))
        .route("/approvals/{id}/passkey", post(passkeys::sign))
        .route("/standing/{id}/revoke", post(revoke))
        .route("/passkeys", get(passkeys::list).post(passkeys::add))
        .route("/passkeys/begin", post(passkeys::begin))
        .route("/passkeys/remove", post(passkeys::remove))
        .route("/freeze", post(freeze))
        .route("/unfreeze", post(unfreeze))
        .route("/sign-out", post(sign_out))
        .route("/enter/{code}", get(enter))
        .route("/style.css", get(async || asset("text/css", view::STYLE)))
        .route("/live.js", get(async || asset("text/javascript", view::SCRIPT)))
        .route("/passkey.js", get(async || asset("text/javascript", view::PASSKEY)))
        .route("/icon.svg", get(async || asset("image/svg+xml", view::ICON)))
}

fn asset(kind: &'static str, contents: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], contents).into_response()
}

impl Page {
    fn new(inbox: Inbox, port: u16, for_others: bool) -> Arc<Self> {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        let hosts = names.map(|name| format!("{name}:{port}")).to_vec();
        let cookie = format!("whereby-inbox-{port}");
        let (inbox, door, asked) = (Arc::new(inbox), Door::default(), Asked::default());
        Arc::new(Self { inbox, door, hosts, cookie, port, for_others, asked })
    }

    /// Returns the address of the page. A passkey works at this name only.
    fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// Adds its session to a request that has one.
    fn remember(&self, request: &mut Request) {
        // Another server of this machine may have set a cookie of the same name.
        let own = cookies(request.headers()).filter(|(name, _)| *name == self.cookie);
        let now = self.inbox.now();
        let session = own.filter_map(|(_, secret)| self.door.session(secret, now)).next();
        if let Some(session) = session {
            request.extensions_mut().insert(session);
        }
    }

    /// Returns a cookie that remembers an approval that somebody wanted to see before they signed in.
    fn remembering(&self, path: &str) -> Option<HeaderValue> {
        let id = path.strip_prefix(APPROVALS).filter(|id| is_id(id))?;
        Some(self.wanted_cookie(id, LINK_MS / 1000))
    }

    /// Returns the path of the approval that a person wanted to see before they signed in. Another server of
    /// this machine may have set the cookie, so it leads nowhere else.
    fn wanted(&self, headers: &HeaderMap) -> Option<String> {
        let name = format!("{}-wanted", self.cookie);
        let mut found = cookies(headers).filter(|(own, _)| *own == name);
        found.find(|(_, id)| is_id(id)).map(|(_, id)| format!("{APPROVALS}{id}"))
    }

    fn wanted_cookie(&self, id: &str, seconds: i64) -> HeaderValue {
        // A link that signs in may come from another program, so `Strict` would lose it.
        let cookie = format!(
            "{}-wanted={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}",
            self.cookie
        );
        HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
    }

    fn set_cookie(&self, value: &str, more: &str) -> HeaderValue {
        let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{more}", self.cookie);
        // The name and the value are letters, digits, `-` and `_`.
        HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Returns the cookies of a request.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
    cookies.filter_map(|pair| pair.trim().split_once('='))
}

/// Whether a text can be the id of an approval, or its beginning.
fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Uses the inbox on a thread that may wait for a disk.
async fn blocking<T: Send + 'static>(
    page: &Arc<Page>,
    work: impl FnOnce(&Inbox) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let inbox = Arc::clone(&page.inbox);
    let done = tokio::task::spawn_blocking(move || work(&inbox)).await;
    done.unwrap_or_else(|_| Err(Error::internal("the inbox could not be read")))
}

/// Serves a page to a person who is signed in.
async fn serve(
    page: &Arc<Page>,
    request: Request,
    view: impl FnOnce(&Inbox, &Frame) -> Result<Markup, Error> + Send + 'static,
) -> Response {
    let (session, in_request) = match known(page, &request) {
        Ok(known) => known,
        Err(response) => return *response,
    };
    let wanted = request.headers().get(header::IF_NONE_MATCH).cloned();
    let address = request.uri().path_and_query().map_or("/", |own| own.as_str()).to_owned();
    let rendered = blocking(page, move |inbox| {
        let frame = Frame::new(inbox, &session, Some(address));
        Ok(match view(inbox, &frame) {
            Ok(markup) => (StatusCode::OK, markup),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, frame.error(&error)),
        })
    });
    let response = match rendered.await {
        Ok((status, markup)) => current(status, markup, wanted.as_ref()),
        Err(error) => failed(&error),
    };
    body::holding(response, in_request)
}

/// Returns a page, unless it is the one that the browser shows already.
fn current(status: StatusCode, markup: Markup, wanted: Option<&HeaderValue>) -> Response {
    let html = markup.into_string();
    let tag = format!("\"{}\"", crate::system::digest::hex(&Sha256::digest(&html)[..16]));
    if wanted.is_some_and(|wanted| wanted.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    (status, [(header::ETAG, tag)], axum::response::Html(html)).into_response()
}

/// Returns the session of a request, and a mark that keeps its connection among the known ones. The error
/// is the response to one who is not signed in.
fn known(
    page: &Page,
    request: &Request,
) -> Result<(Session, listener::connections::InRequest), Box<Response>> {
    let extensions = request.extensions();
    let Some(session) = extensions.get::<Session>().cloned() else {
        let mut response = view::signed_out(page.for_others).into_response();
        if let Some(wanted) = page.remembering(request.uri().path()) {
            response.headers_mut().append(header::SET_COOKIE, wanted);
        }
        // The browser may have the cookie of a session that has ended.
        if request.headers().contains_key(header::COOKIE) {
            let expired = page.set_cookie("", "; Max-Age=0");
            response.headers_mut().append(header::SET_COOKIE, expired);
        }
        return Err(Box::new(response));
    };
    // Every request has a connection.
    match extensions.get::<Handle>().cloned().and_then(Handle::begin_request) {
        Some(in_request) => Ok((session, in_request)),
        None => Err(Box::new(view::refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many pages are open",
            "Close some of them, and load this page again.",
        ))),
    }
}

fn failed(error: &Error) -> Response {
    view::refusal(StatusCode::INTERNAL_SERVER_ERROR, "The inbox failed", &error.to_string())
}

/// A form of a page.
struct Form(BTreeMap<String, String>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the calls that a freeze is about.
    fn selector(&self) -> Selector {
        let own = |name| self.get(name).map(str::to_owned);
        Selector { agent: own("agent"), account: own("account") }
    }

    /// Returns the page to go back to.
    fn back(&self) -> &str {
        match self.get("back") {
            Some("accounts") => "/accounts",
            _ => "/agents",
        }
    }
}

/// Makes a change for a person who is signed in, if the form came from a page of the session. `change`
/// returns the response: a redirect, or a page.
async fn change(
    page: &Arc<Page>,
    request: Request,
    change: impl FnOnce(&Inbox, &Frame, &Form) -> Result<Response, Error> + Send + 'static,
) -> Response {
    let (session, in_request) = match known(page, &request) {
        Ok(known) => known,
        Err(response) => return *response,
    };
    let form = match form(request, &in_request).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    if !session.made(form.get("csrf").unwrap_or_default()) {
        return view::refusal(
            StatusCode::FORBIDDEN,
            "This form is not from this session",
            "Nothing was changed. Go back to the inbox, and try again there.",
        );
    }
    let changed = blocking(page, move |inbox| {
        let frame = Frame::new(inbox, &session, None);
        Ok(change(inbox, &frame, &form).unwrap_or_else(|error| {
            let status = match error {
                Error::Usage { .. } => StatusCode::BAD_REQUEST,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, view::body(frame.error(&error))).into_response()
        }))
    });
    let response = changed.await.unwrap_or_else(|error| failed(&error));
    body::holding(response, in_request)
}

/// Returns the person who decides on the page.
fn person() -> Decider {
    Decider::at(Place::Page)
}

/// Reads a form. The error is the response to one that cannot be read.
async fn form(
    request: Request,
    in_request: &listener::connections::InRequest,
) -> Result<Form, Box<Response>> {
    let refused =
        |status, what: &str| Box::new(view::refusal(status, "The form was refused", what));
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if kind != Some("application/x-www-form-urlencoded") {
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "It is not a form of this page."));
    }
    let sent = body::holding_body(request.into_body(), in_request.begin_body());
    let read = tokio::time::timeout(FORM_PATIENCE, read(sent)).await;
    let Ok(read) = read else {
        return Err(refused(StatusCode::REQUEST_TIMEOUT, "It did not arrive in time."));
    };
    let bytes = read.ok_or_else(|| refused(StatusCode::PAYLOAD_TOO_LARGE, "It is too long."))?;
    let mut form = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(&bytes) {
        if form.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(refused(StatusCode::BAD_REQUEST, "It has a field twice."));
        }
    }
    Ok(Form(form))
}

async fn read(body: Body) -> Option<axum::body::Bytes> {
    axum::body::to_bytes(body, MAX_FORM).await.ok()
}

/// Returns the parameters of a query. Of several with one name, the last counts.
fn query(query: Option<String>) -> BTreeMap<String, String> {
    let query = query.unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let pairs = pairs.filter(|(_, value)| !value.trim().is_empty());
    pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect()
}

async fn waiting(
    State(page): State<Arc<Page>>,
    RawQuery(text): RawQuery,
    request: Request,
) -> Response {
    let mut given = query(text);
    let decided = given.remove("decided");
    let since = given.remove("since").and_then(|since| since.parse().ok());
    serve(&page, request, move |inbox, frame| {
        let decided = decided.map(|id| inbox.item(&id)).transpose()?.flatten();
        // What is decided while the page is open stays in its place.
        let since = since.unwrap_or(frame.times.now);
        let (items, standing) = (inbox.items()?, inbox.standing()?);
        Ok(view::waiting(frame, &items, &standing, decided.as_ref(), since))
    })
    .await
}

async fn approval(
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    serve(&page, request, move |inbox, frame| {
        Ok(view::one(frame, inbox.item_beginning(&id)?.as_ref(), None))
    })
    .await
}

async fn decide(
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let own = Arc::clone(&page);
    change(&page, request, move |inbox, frame, form| {
        let decision = match form.get("decision") {
            Some("approve") => Decision::Approve,
            Some("deny") => Decision::Deny,
            _ => return Err(Error::usage("the form says neither approve nor deny")),
        };
        let (by, terms) = match passkeys::decider(&own, inbox, &id, form)? {
            Some(signed) => signed,
            None => (person(), terms(inbox, &id, form, frame.times.now)?),
        };
        let seen = [ApprovalState::Pending, ApprovalState::Approved, ApprovalState::Denied]
            .into_iter()
            .find(|state| form.get("seen") == Some(state.as_str()));
        let seen =
            seen.ok_or_else(|| Error::usage("the form does not say what its page showed"))?;
        let (status, late) = match inbox.decide(&id, decision, terms.as_ref(), seen, &by)? {
            Decided::Now(approval) => {
                let back = format!("/?decided={}", approval.id);
                return Ok(Redirect::to(&back).into_response());
            }
            Decided::Late(approval) => (StatusCode::CONFLICT, Some(approval.id)),
            Decided::Unknown => (StatusCode::NOT_FOUND, None),
        };
        let item = late.map(|id| inbox.item(&id)).transpose()?.flatten();
        let notice = Notice::late(decision, item.as_ref(), frame);
        Ok((status, view::body(view::one(frame, item.as_ref(), notice))).into_response())
    })
    .await
}

/// Returns what a person allows besides the call, if the form says more than one call.
fn terms(inbox: &Inbox, id: &str, form: &Form, now: i64) -> Result<Option<Terms>, Error> {
    let Some(uses) = form.get("uses") else { return Ok(None) };
    let Some(Item { approval, .. }) = inbox.item(id)? else { return Ok(None) };
    let uses = uses.trim().parse().map_err(|_| Error::usage("the number of calls is no number"))?;
    // One use is that of this call.
    if uses == 1 {
        return Ok(None);
    }
    let rooms: Vec<String> = match form.get("which") {
        Some("rooms") => {
            let rooms = form.get("rooms").unwrap_or_default().split(',');
            rooms.map(str::trim).filter(|room| !room.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    match (form.get("which"), form.get("rooms")) {
        (Some("rooms"), _) if rooms.is_empty() => {
            return Err(Error::usage("name the rooms, with a pattern such as bot-*"));
        }
        (Some("rooms"), _) | (_, None) => {}
        // It is unclear which of the two the person means.
        (_, Some(_)) => {
            return Err(Error::usage(
                "the form names rooms and says exactly the same arguments; choose one of them",
            ));
        }
    }
    let lasting = form.get("for").unwrap_or("1h");
    let is_destructive = form.get("destructive").is_some();
    Terms::parse(&approval.function, uses, lasting, &rooms, is_destructive, now).map(Some)
}

async fn revoke(
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    change(&page, request, move |inbox, _, _| {
        inbox.revoke_standing(&id, &person())?;
        Ok(Redirect::to("/").into_response())
    })
    .await
}

async fn log(
    State(page): State<Arc<Page>>,
    RawQuery(text): RawQuery,
    request: Request,
) -> Response {
    let mut given = query(text);
    let result = given.remove("result").and_then(|name| {
        Class::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(class, _, _)| class)
    });
    let limit = given.remove("limit").and_then(|limit| limit.parse().ok());
    let filter = Filter {
        account: given.remove("account"),
        agent: given.remove("agent"),
        function: given.remove("function"),
        result,
        limit: limit.unwrap_or(EVENTS).clamp(1, MAX_EVENTS),
    };
    serve(&page, request, move |inbox, frame| {
        Ok(view::log(frame, &filter, &inbox.events(&filter)?))
    })
    .await
}

async fn agents(State(page): State<Arc<Page>>, request: Request) -> Response {
    serve(&page, request, |inbox, frame| {
        let settings = frame.settings.as_ref().map_err(Clone::clone);
        let rules = settings.and_then(|settings| inbox.rules(settings));
        Ok(view::agents(frame, &rules))
    })
    .await
}

async fn accounts(State(page): State<Arc<Page>>, request: Request) -> Response {
    serve(&page, request, |inbox, frame| {
        let settings = frame.settings.as_ref().map_err(Clone::clone);
        let accounts = settings.map(|settings| inbox.accounts(settings));
        Ok(view::accounts(frame, &accounts))
    })
    .await
}

async fn freeze(State(page): State<Arc<Page>>, request: Request) -> Response {
    change(&page, request, |inbox, _, form| {
        let reason = form.get("reason").unwrap_or_default();
        inbox.freeze(form.selector(), reason, &person())?;
        Ok(Redirect::to(form.back()).into_response())
    })
    .await
}

async fn unfreeze(State(page): State<Arc<Page>>, request: Request) -> Response {
    change(&page, request, |inbox, _, form| {
        inbox.unfreeze(&form.selector(), &person())?;
        Ok(Redirect::to(form.back()).into_response())
    })
    .await
}

async fn sign_out(State(page): State<Arc<Page>>, request: Request) -> Response {
    let session = request.extensions().get::<Session>().cloned();
    let mut response =
        change(&page, request, |_, _, _| Ok(Redirect::to("/").into_response())).await;
    if response.status() == StatusCode::SEE_OTHER
        && let Some(session) = session
    {
        page.door.leave(&session);
        response.headers_mut().insert(header::SET_COOKIE, page.set_cookie("", "; Max-Age=0"));
    }
    response
}

/// Signs a person in.
async fn enter(
    State(page): State<Arc<Page>>,
    Path(code): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    // A browser or another program may look at a link before a person opens it.
    let is_preview = ["purpose", "sec-purpose"].iter().any(|name| headers.contains_key(*name));
    if method != Method::GET || is_preview {
        return StatusCode::NO_CONTENT.into_response();
    }
    let for_others = page.for_others;
    match blocking(&page, move |inbox| inbox.store().use_page_link(&code)).await {
        Ok(Ok(())) => {}
        Ok(Err(bad)) => return view::refused_link(bad, for_others),
        Err(error) => return failed(&error),
    }
    match page.door.begin(page.inbox.now()) {
        Ok(secret) => {
            let wanted = page.wanted(&headers);
            let mut response = view::signed_in(wanted.as_deref().unwrap_or("/")).into_response();
            response.headers_mut().append(header::SET_COOKIE, page.set_cookie(&secret, ""));
            if wanted.is_some() {
                response.headers_mut().append(header::SET_COOKIE, page.wanted_cookie("", 0));
            }
            response
        }
        Err(error) => failed(&error),
    }
}

/// Returns a time in RFC 3339.
fn rfc3339(unix_ms: i64) -> String {
    Timestamp::of_unix_ms(unix_ms).map(Timestamp::to_rfc3339).unwrap_or_default()
}
