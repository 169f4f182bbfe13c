//! Sends requests: each is checked against the call's grant, rebuilt, and given the access token.
//!
//! A request of the component goes no further than this module. The request that is sent contains only what
//! the grant understood.

pub(super) mod cause;
pub(super) mod client;
pub(super) mod connection_limit;
mod departure;
pub(super) mod proxy;
mod retry_after;
pub(super) mod watch;

pub use watch::Observer;
pub(crate) use watch::Traffic;

use crate::config::credentials::Token;
use crate::config::limits::Limits;
use crate::config::origin::ApiBase;
use crate::error::Error;
use crate::session::outbound::cause::Cause;
use crate::session::outbound::client::{Client, SendError};
use crate::session::outbound::connection_limit::ConnectionLimit;
use crate::session::outbound::watch::Watch;
use crate::store::Gate;
use crate::system::clock::Clock;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use tokio::sync::Notify;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpHooks};
use whereby_authority::Asked;
use whereby_authority::answer::{self, Complaint};
use whereby_authority::grant::{Admitted, Grant, KnownRoom, Refusal, Settlement, WriteOutcome};
use whereby_authority::people::MESSAGE_LEFT_OUT;
use whereby_authority::text;

/// The maximum size of a request's body, in bytes. Arguments are never larger.
const MAX_BODY: usize = 2 * whereby_authority::arguments::MAX_ARGUMENTS_BYTES;

/// How much of a body the component may write at once, in bytes.
const BODY_CHUNK: usize = 16 * 1024;

/// The headers that the component may set. None is passed on.
const COMPONENT_HEADERS: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::HOST,
    header::USER_AGENT,
];

/// The response headers that the component may read, besides `Retry-After`. Each is a number.
const RATE_LIMITS: [&str; 2] = ["x-ratelimit-limit", "x-ratelimit-remaining"];

/// The client, shared by all calls, and the limit for one API.
pub(crate) struct Transport {
    pub(crate) client: Client,
    pub(crate) connection_limit: Arc<ConnectionLimit>,
}

/// A request that was sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SentRequest {
    /// The method.
    pub method: String,
    /// The path, relative to the API's base, without the query.
    pub path: String,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// How long the request took.
    pub duration: Duration,
    /// The time of the response by the server's clock and by this machine's.
    pub(crate) dates: Option<(HeaderValue, SystemTime)>,
    /// Why there is no usable response, if more is known than the component's error code says.
    pub(crate) cause: Option<Cause>,
    /// The retry delay in the response.
    pub(crate) wait: Option<Duration>,
    /// Whether the request is over, with or without a response.
    pub(crate) is_over: bool,
    /// Whether there was a response that is incomplete or cannot be used.
    pub(crate) is_heard: bool,
    /// Whether it was stopped before it left.
    is_stopped: bool,
}

impl SentRequest {
    /// Returns how far this machine's clock is ahead of the server's, in seconds. `None` if the response
    /// has no date.
    #[must_use]
    pub(crate) fn clock_skew_seconds(&self) -> Option<i64> {
        let (theirs, ours) = self.dates.as_ref()?;
        let theirs = httpdate::parse_http_date(theirs.to_str().ok()?).ok()?;
        Some((OffsetDateTime::from(*ours) - theirs).whole_seconds())
    }
}

/// A response, and what the component may see of it.
struct Received {
    status: http::StatusCode,
    headers: http::HeaderMap,
    /// The headers for the component.
    shown: http::HeaderMap,
    /// The body for the component; absent if it cannot be read.
    body: Option<Vec<u8>>,
    /// The message and delay of an error response.
    complaint: Complaint,
    /// Why the response did not come from Whereby.
    cause: Option<Cause>,
}

/// The result of a call's requests when the call is over.
pub(crate) struct Closed {
    /// The requests that were sent, in order.
    pub(crate) requests: Vec<SentRequest>,
    /// The outcome of the write.
    pub(crate) write: WriteOutcome,
    /// The room of the write.
    pub(crate) room: KnownRoom,
    /// The rule that the component broke, if any.
    pub(crate) fault: Option<String>,
    /// Why the caller may not send what it asked for, if that became so during the call.
    pub(crate) denial: Option<Error>,
    /// Why the component's result may not be shown, if it may not.
    pub(crate) withheld: Option<String>,
    /// The message of the last error response, which may quote a request.
    pub(crate) said: String,
    /// Whether Whereby listed the room that the call deletes.
    pub(crate) has_listed: bool,
}

/// What the requests of one call have in common.
pub(crate) struct Route {
    pub(crate) transport: Transport,
    pub(crate) api: ApiBase,
    pub(crate) account: String,
    pub(crate) token: Token,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    /// What may stop the call while it is under way; absent if nothing can.
    pub(crate) gate: Option<Gate>,
    pub(crate) watch: Watch,
}

/// The grant and the requests of one call.
pub(crate) struct Outbox {
    route: Route,
    state: Mutex<State>,
    faulted: Notify,
    /// The number of requests that are in flight or wait for a connection.
    in_flight: AtomicUsize,
}

struct State {
    grant: Grant,
    /// The number of requests that the component began.
    begun: usize,
    /// The number of bytes of responses that were read.
    received: usize,
    /// The admitted requests, and when they were sent. Each is added before it leaves, because the
    /// component may drop it.
    sent: Vec<(Instant, SentRequest)>,
    /// Whether the call is over, so that no request may leave.
    closed: bool,
    fault: Option<String>,
    denial: Option<Error>,
    /// The message of the last error response.
    said: String,
}

impl Outbox {
    pub(crate) fn new(route: Route, grant: Grant) -> Self {
        let state = State {
            grant,
            begun: 0,
            received: 0,
            sent: Vec::new(),
            closed: false,
            fault: None,
            denial: None,
            said: String::new(),
        };
        let (state, faulted) = (Mutex::new(state), Notify::new());
        Self { route, state, faulted, in_flight: AtomicUsize::new(0) }
    }

    /// Waits until the component breaks a rule, and returns what it did.
    pub(crate) async fn fault(&self) -> String {
        loop {
            let said = |state: &State| {
                state.fault.clone().or_else(|| state.denial.as_ref().map(Error::to_string))
            };
            if let Some(fault) = said(&self.state()) {
                return fault;
            }
            // `Notify` keeps a permit, so no notification is missed in between.
            self.faulted.notified().await;
        }
    }

    /// Stops sending: requests that the component left behind are not sent after its end.
    pub(crate) fn shut(&self) {
        self.state().closed = true;
    }

    /// Stops sending, and returns the result of the requests.
    pub(crate) fn close(&self) -> Closed {
        let mut state = self.state();
        state.closed = true;
        let mut sent = std::mem::take(&mut state.sent);
        sent.retain(|(_, request)| !request.is_stopped);
        let sent = sent.into_iter().map(|(started, mut request)| {
            if request.status.is_none() && request.duration.is_zero() {
                request.duration = started.elapsed();
            }
            request
        });
        Closed {
            requests: sent.collect(),
            write: state.grant.outcome(),
            room: state.grant.room().clone(),
            fault: state.fault.clone(),
            denial: state.denial.clone(),
            withheld: state.grant.withheld(),
            said: std::mem::take(&mut state.said),
            has_listed: state.grant.has_listed(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves the grant consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, refusal: Refusal) -> WasiError {
        let Refusal { message, is_denial } = refusal;
        if is_denial {
            return self.deny(denied(message));
        }
        self.stop(|state| {
            state.fault.get_or_insert(message);
        })
    }

    fn deny(&self, error: Error) -> WasiError {
        self.stop(|state| {
            state.denial.get_or_insert(error);
        })
    }

    fn stop(&self, because: impl FnOnce(&mut State)) -> WasiError {
        let mut state = self.state();
        // Only the first broken rule is reported. Requests that are left at the end break none.
        if !state.closed {
            because(&mut state);
        }
        drop(state);
        self.faulted.notify_one();
        WasiError::HttpRequestDenied
    }

    async fn send(
        &self,
        request: http::Request<WasiBody>,
    ) -> Result<http::Response<WasiBody>, WasiError> {
        let (parts, body) = request.into_parts();
        let (admitted, index) = match self.admit(parts, body).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        let started = Instant::now();
        let result = self.exchange(&admitted, index).await;
        self.route.watch.answered(
            admitted.method,
            &admitted.path_and_query,
            result.as_ref().ok().map(|(status, _, _)| status.as_u16()),
            started.elapsed(),
        );
        let received = result.map(|response| self.read(&admitted, response));
        let mut state = self.state();
        if let Ok(Received { complaint, .. }) = &received
            && !complaint.text.is_empty()
        {
            state.said.clone_from(&complaint.text);
        }
        // `close` takes the requests at the end of the call.
        if let Some((started, sent)) = state.sent.get_mut(index) {
            (sent.duration, sent.is_over) = (started.elapsed(), true);
            match &received {
                Ok(received) => {
                    sent.status = Some(received.status.as_u16());
                    sent.wait = received.complaint.wait;
                    let date = received.headers.get(header::DATE);
                    sent.dates = date.map(|date| (date.clone(), SystemTime::now()));
                    sent.cause.clone_from(&received.cause);
                }
                Err(SendError { status, cause, is_heard, .. }) => {
                    (sent.status, sent.cause) = (*status, cause.clone());
                    sent.is_heard = *is_heard;
                }
            }
        }
        let (status, headers, body) = match received {
            Ok(Received { status, shown, body: Some(body), .. }) => (status, shown, body),
            Ok(_) => {
                state.grant.settle(&admitted, Settlement::Unreadable);
                // The component does not retry after this code.
                return Err(WasiError::HttpResponseTransferCoding(None));
            }
            Err(SendError { sent, error, .. }) => {
                let settlement = if sent { Settlement::Lost } else { Settlement::NotSent };
                state.grant.settle(&admitted, settlement);
                return Err(error);
            }
        };
        state.grant.settle(&admitted, Settlement::Status(status.as_u16(), &body));
        let body = state.grant.filtered(&admitted, body);
        drop(state);
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Returns what the component may see of a response.
    fn read(
        &self,
        admitted: &Admitted,
        (status, headers, body): (http::StatusCode, http::HeaderMap, Vec<u8>),
    ) -> Received {
        let redactor = self.route.token.redactor();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let by_others = || {
            let is_page = cause::is_page(text(header::CONTENT_TYPE), &body);
            let to = self.route.transport.client.destination(&self.route.api);
            cause::not_whereby(to, status.as_u16(), is_page, text(header::LOCATION))
        };
        let named = |cause: Cause| {
            let request = format!("{} {}", admitted.method, admitted.path());
            // The message may contain the host of a redirect.
            let message = redactor.apply(cause.message.into());
            Cause { message: format!("{request}: {message}"), ..cause }
        };
        if status.is_success() {
            let (body, cause) = match answer::rebuild(&body, admitted.shape, redactor) {
                Ok(body) => (Some(body), None),
                Err(reason) => {
                    let other = by_others();
                    let unreadable = || cause::unreadable(&self.route.api, reason);
                    (None, Some(named(other.unwrap_or_else(unreadable))))
                }
            };
            let shown = rate_limits(&headers);
            let complaint = Complaint::default();
            return Received { status, headers, shown, body, complaint, cause };
        }
        let mut complaint = Complaint::read(&body, redactor);
        let cause = complaint.text.is_empty().then(by_others).flatten().map(named);
        if admitted.hides_people && !complaint.text.is_empty() {
            complaint.text = MESSAGE_LEFT_OUT.into();
        }
        let seconds = text(header::RETRY_AFTER)
            .and_then(|value| retry_after::seconds(value, text(header::DATE), SystemTime::now()));
        let shown = seconds.map(|seconds| (header::RETRY_AFTER, seconds.into()));
        let shown = shown.into_iter().collect();
        // A 404 that Whereby did not send does not mean that the room is gone.
        let is_doubtful = cause.is_some() && status == http::StatusCode::NOT_FOUND;
        let is_read = !(is_doubtful && admitted.method == "DELETE");
        let body = is_read.then(|| complaint.to_body());
        complaint.wait = seconds.map(Duration::from_secs).or(complaint.wait);
        Received { status, headers, shown, body, complaint, cause }
    }

    /// Checks a request of the component against the grant. Returns the admitted request and its index in
    /// `State::sent`.
    async fn admit(
        &self,
        parts: http::request::Parts,
        body: WasiBody,
    ) -> Result<(Admitted, usize), Refusal> {
        let refuse = Refusal::broken;
        // Before the body is read, so that many unfinished bodies cannot exhaust memory.
        let begun = {
            let mut state = self.state();
            state.begun += 1;
            state.begun
        };
        if begun > self.route.limits.requests {
            let most = self.route.limits.requests;
            return Err(refuse(format!("the component tried to send more than {most} requests")));
        }
        let Some(path) = self.route.api.relative_path(&parts.uri) else {
            let scheme = parts.uri.scheme_str().unwrap_or_default();
            let authority = parts.uri.authority().map_or("", http::uri::Authority::as_str);
            return Err(refuse(format!(
                "the component tried to reach {}; the account `{}` allows {} alone",
                text::printable(&format!("{scheme}://{authority}{}", parts.uri.path()), 200),
                self.route.account,
                self.route.api
            )));
        };
        if let Some(name) = parts.headers.keys().find(|name| !COMPONENT_HEADERS.contains(name)) {
            return Err(refuse(format!(
                "the component tried to send the header {}; it may set none",
                text::printable(name.as_str(), 80)
            )));
        }
        let most = if parts.method == http::Method::POST { MAX_BODY } else { 0 };
        let body = Limited::new(body, most).collect().await.map_err(|error| {
            let what = if error.is::<LengthLimitError>() {
                format!("of more than {most} bytes")
            } else {
                "that is not whole".into()
            };
            let method = text::printable(parts.method.as_str(), 20);
            refuse(format!("the component tried to send {method} with a body {what}"))
        })?;
        let body = body.to_bytes();
        let mut state = self.state();
        if state.closed {
            return Err(refuse("the component tried to send a request after its end".into()));
        }
        let asked =
            Asked { method: parts.method.as_str(), path, query: parts.uri.query(), body: &body };
        let admitted = state.grant.admit(asked, self.route.clock.timestamp())?;
        let sent = SentRequest {
            method: admitted.method.to_string(),
            path: admitted.path().to_owned(),
            status: None,
            duration: Duration::ZERO,
            dates: None,
            cause: None,
            wait: None,
            is_over: false,
            is_heard: false,
            is_stopped: false,
        };
        state.sent.push((Instant::now(), sent));
        Ok((admitted, state.sent.len() - 1))
    }

    /// Sends an admitted request and reads the whole response.
    async fn exchange(
        &self,
        admitted: &Admitted,
        index: usize,
    ) -> Result<(http::StatusCode, http::HeaderMap, Vec<u8>), SendError> {
        let unsendable = |error| SendError { sent: false, ..SendError::after_sending(error) };
        let uri = self.route.api.uri_of(&admitted.path_and_query);
        let uri = uri.map_err(|_| unsendable(WasiError::HttpRequestUriInvalid))?;
        let mut request = http::Request::new(Full::from(admitted.body.clone().unwrap_or_default()));
        *request.method_mut() = http::Method::from_bytes(admitted.method.as_bytes())
            .map_err(|_| unsendable(WasiError::HttpRequestMethodInvalid))?;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.route.token.authorization().clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // The token could not be redacted in a compressed response.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if admitted.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let _permit = self.route.transport.connection_limit.acquire(&self.in_flight).await;
        // The call may have ended during the wait.
        if self.state().closed {
            return Err(unsendable(WasiError::HttpRequestDenied));
        }
        let mut is_told = false;
        let may_leave = || {
            self.check_now()?;
            if !std::mem::replace(&mut is_told, true) {
                self.route.watch.sent(admitted.method, &admitted.path_and_query);
            }
            Ok(())
        };
        let sending = self.route.transport.client.send(request, &self.route.api, may_leave);
        let (head, body) = match sending.await {
            Ok(response) => response?.into_parts(),
            Err(denial) => {
                let mut state = self.state();
                if let Some((_, sent)) = state.sent.get_mut(index) {
                    sent.is_stopped = true;
                }
                // Before the call ends, which the denial makes it do.
                state.grant.settle(admitted, Settlement::NotSent);
                drop(state);
                return Err(unsendable(self.deny(denial)));
            }
        };
        self.route.transport.connection_limit.answered(head.version);
        let status = head.status;
        match self.read_body(&head, body).await {
            Ok(body) => Ok((status, head.headers, body)),
            Err(failure) => Err(SendError { is_heard: true, ..failure }),
        }
    }

    /// Checks what may change at any time, such as between two steps of connecting.
    fn check_now(&self) -> Result<(), Error> {
        if let Some(gate) = &self.route.gate {
            gate.check()?;
        }
        let checked = self.state().grant.check_time(self.route.clock.timestamp());
        checked.map_err(|Refusal { message, .. }| denied(message))
    }

    /// Reads the body of a response.
    async fn read_body(
        &self,
        head: &http::response::Parts,
        mut response: hyper::body::Incoming,
    ) -> Result<Vec<u8>, SendError> {
        let most = self.route.limits.answer_bytes;
        let too_large =
            |size: u64| SendError::after_sending(WasiError::HttpResponseBodySize(Some(size)));
        if let Some(coding) = head.headers.get(header::CONTENT_ENCODING)
            && !coding.is_empty()
            && coding != "identity"
        {
            // An unknown encoding is not shown, because it could be the key.
            let known = ["gzip", "br", "deflate", "zstd", "compress"];
            let coding = known.into_iter().find(|known| coding.as_bytes() == known.as_bytes());
            let cause = cause::encoded(self.route.api.authority(), coding.unwrap_or("another one"));
            // An error response is passed on, because its status matters.
            if head.status.as_u16() >= 400 {
                return Ok(serde_json::json!({"error": cause.message}).to_string().into());
            }
            return Err(SendError {
                status: Some(head.status.as_u16()),
                cause: Some(cause),
                ..SendError::after_sending(WasiError::HttpResponseContentCoding(None))
            });
        }
        if let Some(length) = response.size_hint().exact().filter(|length| *length > most as u64) {
            return Err(too_large(length));
        }
        // Piece by piece, so that many concurrent responses cannot exhaust memory.
        let count = |piece: &Bytes| {
            let mut state = self.state();
            state.received += piece.len();
            if state.received <= self.route.limits.answers_bytes {
                return Ok(());
            }
            drop(state);
            let most = self.route.limits.answers_bytes;
            let message = format!("the component took in more than {most} bytes of answers");
            Err(SendError::after_sending(self.refuse(Refusal::broken(message))))
        };
        let mut body = Vec::new();
        while let Some(frame) = response.frame().await {
            // Trailers are ignored.
            let Ok(piece) =
                frame.map_err(|error| SendError::on_the_way(&error, &self.route.api))?.into_data()
            else {
                continue;
            };
            count(&piece)?;
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Err(too_large(body.len() as u64));
            }
        }
        Ok(body)
    }
}

fn denied(message: String) -> Error {
    Error::Denied { message, rule: None, instead: String::new() }
}

/// Returns the headers of the organization's rate limit that are numbers.
fn rate_limits(headers: &http::HeaderMap) -> http::HeaderMap {
    let number = |name: &'static str| {
        let number = headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok()?;
        Some((HeaderName::from_static(name), HeaderValue::from(number)))
    };
    RATE_LIMITS.into_iter().filter_map(number).collect()
}

/// The hook of `wasi:http` that receives every request of the component.
pub(crate) struct Hooks(pub(crate) Arc<Outbox>);

type Sending = Box<dyn Future<Output = Result<(), WasiError>> + Send>;

impl WasiHttpHooks for Hooks {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Sending,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), WasiError>> + Send>
    {
        let outbox = Arc::clone(&self.0);
        Box::new(async move {
            let response = outbox.send(request).await?;
            Ok((response, Box::new(std::future::ready(Ok(()))) as Sending))
        })
    }
}
