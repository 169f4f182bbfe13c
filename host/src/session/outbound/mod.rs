//! Where requests leave: each is put before the call's grant, written anew, and given the token.
//!
//! A request of the component gets here as it is and goes no further: what is sent is made from what
//! the grant understood.

pub(super) mod cause;
pub(super) mod client;
pub(super) mod connection_limit;
pub(super) mod proxy;
mod retry_after;
pub(super) mod watch;

pub use watch::Observer;
pub(crate) use watch::Traffic;

use crate::config::credentials::Token;
use crate::config::limits::Limits;
use crate::config::origin::ApiBase;
use crate::session::outbound::cause::Cause;
use crate::session::outbound::client::{Client, Failure};
use crate::session::outbound::connection_limit::ConnectionLimit;
use crate::session::outbound::watch::Watch;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::Notify;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpHooks};
use whereby_authority::Asked;
use whereby_authority::answer::{self, Complaint, Redactor};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::grant::{Admitted, Answer, Grant, KnownRoom, Refusal};
use whereby_authority::text;

/// The greatest size of a request's body, in bytes; arguments are no larger.
const MAX_BODY: usize = 2 * whereby_authority::arguments::MAX_ARGUMENTS_BYTES;

/// How much the component may write of a body before the host takes it, in bytes.
const BODY_CHUNK: usize = 16 * 1024;

/// What the component may set by itself, none of which is passed on.
const COMPONENT_HEADERS: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::HOST,
    header::USER_AGENT,
];

/// The headers of a response that the component reads, beside `Retry-After`. Each is a number.
const RATE_LIMITS: [&str; 2] = ["x-ratelimit-limit", "x-ratelimit-remaining"];

/// What requests go out by, shared by all calls.
pub(crate) struct Transport {
    pub(crate) client: Client,
    /// That to the API.
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
    /// The status of the answer, where one came.
    pub status: Option<u16>,
    /// How long it took.
    pub duration: Duration,
    /// When the answer came, by the server's clock and by this one.
    pub(crate) dates: Option<(HeaderValue, SystemTime)>,
    /// Why there is no answer that can be used, where more is known than the component can be told.
    pub(crate) cause: Option<Cause>,
    /// How long the answer asks to wait.
    pub(crate) wait: Option<Duration>,
    /// Whether it is over, with an answer or without.
    pub(crate) is_over: bool,
    /// Whether something was answered that cannot be used, or not all of it.
    pub(crate) is_heard: bool,
}

impl SentRequest {
    /// How many seconds this machine's clock is ahead of the server's, which tells the time to the
    /// second. `None` where the server did not tell.
    #[must_use]
    pub(crate) fn clock_skew_seconds(&self) -> Option<i64> {
        let (theirs, ours) = self.dates.as_ref()?;
        let theirs = to_date(theirs)?;
        Some((OffsetDateTime::from(*ours) - theirs).whole_seconds())
    }
}

/// A date as HTTP writes it.
fn to_date(value: &HeaderValue) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.to_str().ok()?, &Rfc2822).ok()
}

/// Returns how long a `Retry-After` asks to wait, in whole seconds.
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let value = text(header::RETRY_AFTER)?;
    let seconds = retry_after::seconds(value, text(header::DATE), SystemTime::now())?;
    Some(Duration::from_secs(seconds))
}

/// An answer, and what the component may see of it.
struct Read {
    status: http::StatusCode,
    headers: http::HeaderMap,
    /// The headers that the component reads.
    shown: http::HeaderMap,
    /// Absent where nobody can tell what it means.
    body: Option<Vec<u8>>,
    /// What it says where it is no success.
    complaint: Complaint,
    /// What is known of it that the component is not told.
    cause: Option<Cause>,
}

/// What is to be told of a call's requests when it is over.
pub(crate) struct Closed {
    /// What was sent, in order.
    pub(crate) requests: Vec<SentRequest>,
    /// What came of the write.
    pub(crate) write: WriteOutcome,
    /// The room that it was about.
    pub(crate) room: KnownRoom,
    /// The rule that was broken, if any.
    pub(crate) fault: Option<String>,
    /// What the last answer that was no success says; it may quote what was sent.
    pub(crate) said: String,
    /// Whether Whereby listed the room that the call deletes.
    pub(crate) has_listed: bool,
}

/// What one call may send and what it has sent, shared by its requests.
pub(crate) struct Outbox {
    transport: Transport,
    api: ApiBase,
    account: String,
    token: Token,
    limits: Limits,
    watch: Watch,
    state: Mutex<State>,
    faulted: Notify,
    /// How many requests are under way, or wait for a connection.
    under_way: AtomicUsize,
}

struct State {
    grant: Grant,
    /// How many requests the component has begun, whatever became of them.
    begun: usize,
    /// How many bytes of answers were taken in.
    received: usize,
    /// What was let go, and when; listed before it leaves, as the component may let go of it.
    sent: Vec<(Instant, SentRequest)>,
    /// Whether the call is over, so that nothing may leave any more.
    closed: bool,
    fault: Option<String>,
    /// What the last answer that was no success said.
    said: String,
}

impl Outbox {
    pub(crate) fn new(
        transport: Transport,
        api: ApiBase,
        account: String,
        token: Token,
        limits: Limits,
        grant: Grant,
        watch: Watch,
    ) -> Self {
        let state = State {
            grant,
            begun: 0,
            received: 0,
            sent: Vec::new(),
            closed: false,
            fault: None,
            said: String::new(),
        };
        Self {
            transport,
            api,
            account,
            token,
            limits,
            watch,
            state: Mutex::new(state),
            faulted: Notify::new(),
            under_way: AtomicUsize::new(0),
        }
    }

    /// Returns when the component has broken a rule, with what it did.
    pub(crate) async fn fault(&self) -> String {
        loop {
            if let Some(fault) = &self.state().fault {
                return fault.clone();
            }
            // A permit is kept for whoever waits next, so nothing is missed in between.
            self.faulted.notified().await;
        }
    }

    /// Lets nothing leave any more: what the component left behind is not sent after its end.
    pub(crate) fn shut(&self) {
        self.state().closed = true;
    }

    /// Ends the sending, and tells what there is to tell.
    pub(crate) fn close(&self) -> Closed {
        let mut state = self.state();
        state.closed = true;
        let sent = std::mem::take(&mut state.sent).into_iter().map(|(started, mut request)| {
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
            said: std::mem::take(&mut state.said),
            has_listed: state.grant.has_listed(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves nothing half-done that matters to the grant.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, refusal: Refusal) -> WasiError {
        let mut state = self.state();
        // The first rule that was broken is the one that is told. What was left behind at the end is
        // not sent, and breaks none.
        if !state.closed {
            state.fault.get_or_insert(refusal.message);
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
        let result = self.exchange(&admitted).await;
        self.watch.answered(
            admitted.method.as_str(),
            &admitted.path_and_query,
            result.as_ref().ok().map(|(status, _, _)| status.as_u16()),
            started.elapsed(),
        );
        let read = result.map(|answer| self.read(&admitted, answer));
        let mut state = self.state();
        if let Ok(Read { complaint, .. }) = &read
            && !complaint.text.is_empty()
        {
            state.said.clone_from(&complaint.text);
        }
        // After the end of the call they are gone.
        if let Some((started, sent)) = state.sent.get_mut(index) {
            (sent.duration, sent.is_over) = (started.elapsed(), true);
            match &read {
                Ok(read) => {
                    sent.status = Some(read.status.as_u16());
                    sent.wait = read.complaint.wait;
                    let date = read.headers.get(header::DATE);
                    sent.dates = date.map(|date| (date.clone(), SystemTime::now()));
                    sent.cause.clone_from(&read.cause);
                }
                Err(Failure { status, cause, is_heard, .. }) => {
                    (sent.status, sent.cause) = (*status, cause.clone());
                    sent.is_heard = *is_heard;
                }
            }
        }
        let (status, headers, body) = match read {
            Ok(Read { status, shown, body: Some(body), .. }) => (status, shown, body),
            Ok(_) => {
                state.grant.settle(&admitted, Answer::Unreadable);
                // The code that has the component give up: it would only come again.
                return Err(WasiError::HttpResponseTransferCoding(None));
            }
            Err(Failure { sent, error, .. }) => {
                let answer = if sent { Answer::Lost } else { Answer::NotSent };
                state.grant.settle(&admitted, answer);
                return Err(error);
            }
        };
        state.grant.settle(&admitted, Answer::Status(status.as_u16(), &body));
        drop(state);
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Finds out what the component may see of an answer.
    fn read(
        &self,
        admitted: &Admitted,
        (status, headers, body): (http::StatusCode, http::HeaderMap, Bytes),
    ) -> Read {
        let redactor = Redactor::new(self.token.expose());
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let by_others = || {
            let is_page = cause::is_page(text(header::CONTENT_TYPE), &body);
            let to = self.transport.client.destination(&self.api);
            cause::not_whereby(to, status.as_u16(), is_page, text(header::LOCATION))
        };
        let named = |cause: Cause| {
            let request = format!("{} {}", admitted.method, admitted.path());
            // It may name where a redirect leads.
            let message = redactor.apply(cause.message.into());
            Cause { message: format!("{request}: {message}"), ..cause }
        };
        if status.is_success() {
            let (body, cause) = match answer::rebuild(&body, admitted.shape, &redactor) {
                Ok(body) => (Some(body), None),
                Err(reason) => {
                    let other = by_others();
                    let unreadable = || cause::unreadable(&self.api, reason);
                    (None, Some(named(other.unwrap_or_else(unreadable))))
                }
            };
            let shown = rate_limits(&headers);
            return Read { status, headers, shown, body, complaint: Complaint::default(), cause };
        }
        let mut complaint = Complaint::read(&body, &redactor);
        let cause = complaint.text.is_empty().then(by_others).flatten().map(named);
        let wait = retry_after(&headers);
        let seconds = wait.map(|wait| HeaderValue::from(wait.as_secs()));
        let shown = seconds.map(|seconds| (header::RETRY_AFTER, seconds)).into_iter().collect();
        // Somebody else's page that says that something is gone does not say it of a room.
        let is_doubtful = cause.is_some() && status == http::StatusCode::NOT_FOUND;
        let is_read = !(is_doubtful && admitted.method == http::Method::DELETE);
        let body = is_read.then(|| complaint.to_body());
        complaint.wait = wait.or(complaint.wait);
        Read { status, headers, shown, body, complaint, cause }
    }

    /// Puts what the component wants to send before the grant. The number is its place in the list
    /// of what was sent.
    async fn admit(
        &self,
        parts: http::request::Parts,
        body: WasiBody,
    ) -> Result<(Admitted, usize), Refusal> {
        let refuse = |message: String| Refusal { message };
        // Counted before anything is taken in, so that many unfinished bodies are no way to memory.
        let begun = {
            let mut state = self.state();
            state.begun += 1;
            state.begun
        };
        if begun > self.limits.requests {
            let most = self.limits.requests;
            return Err(refuse(format!("the component tried to send more than {most} requests")));
        }
        let Some(path) = self.api.relative_path(&parts.uri) else {
            let scheme = parts.uri.scheme_str().unwrap_or_default();
            let authority = parts.uri.authority().map_or("", http::uri::Authority::as_str);
            return Err(refuse(format!(
                "the component tried to reach {}; the account `{}` allows {} alone",
                text::printable(&format!("{scheme}://{authority}{}", parts.uri.path()), 200),
                self.account,
                self.api
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
            let what = match error.is::<LengthLimitError>() {
                true => format!("of more than {most} bytes"),
                false => "that is not whole".into(),
            };
            let method = text::printable(parts.method.as_str(), 20);
            refuse(format!("the component tried to send {method} with a body {what}"))
        })?;
        let body = body.to_bytes();
        let mut state = self.state();
        if state.closed {
            return Err(refuse("the component tried to send a request after its end".into()));
        }
        let admitted = state.grant.admit(Asked {
            method: parts.method.as_str(),
            path,
            query: parts.uri.query(),
            body: &body,
        })?;
        let path = admitted.path().to_owned();
        let method = admitted.method.to_string();
        let duration = Duration::ZERO;
        let sent = SentRequest {
            method,
            path,
            status: None,
            duration,
            dates: None,
            cause: None,
            wait: None,
            is_over: false,
            is_heard: false,
        };
        state.sent.push((Instant::now(), sent));
        Ok((admitted, state.sent.len() - 1))
    }

    /// Sends an admitted request and takes in the whole answer.
    async fn exchange(
        &self,
        admitted: &Admitted,
    ) -> Result<(http::StatusCode, http::HeaderMap, Bytes), Failure> {
        let unsendable = |error| Failure { sent: false, ..Failure::after_sending(error) };
        let uri = self.api.uri_of(&admitted.path_and_query);
        let uri = uri.map_err(|_| unsendable(WasiError::HttpRequestUriInvalid))?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", self.token.expose()))
            .map_err(|_| unsendable(WasiError::ConfigurationError))?;
        authorization.set_sensitive(true);
        let mut request = http::Request::new(Full::from(admitted.body.clone().unwrap_or_default()));
        *request.method_mut() = admitted.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // The token could hide from us in an answer that is compressed.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if admitted.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let _seat = self.transport.connection_limit.acquire(&self.under_way).await;
        // The call may have ended while this waited.
        if self.state().closed {
            return Err(unsendable(WasiError::HttpRequestDenied));
        }
        self.watch.sent(admitted.method.as_str(), &admitted.path_and_query);
        let (head, body) = self.transport.client.send(request, &self.api).await?.into_parts();
        self.transport.connection_limit.answered(head.version);
        let status = head.status;
        match self.take_in(&head, body).await {
            Ok(body) => Ok((status, head.headers, body)),
            Err(failure) => Err(Failure { is_heard: true, ..failure }),
        }
    }

    /// Takes in the body of an answer.
    async fn take_in(
        &self,
        head: &http::response::Parts,
        mut answer: hyper::body::Incoming,
    ) -> Result<Bytes, Failure> {
        let most = self.limits.answer_bytes;
        let too_large =
            |size: u64| Failure::after_sending(WasiError::HttpResponseBodySize(Some(size)));
        if let Some(coding) = head.headers.get(header::CONTENT_ENCODING)
            && !coding.is_empty()
            && coding != "identity"
        {
            // Nothing that a server wrote is told, as it could be the key.
            let known = ["gzip", "br", "deflate", "zstd", "compress"];
            let coding = known.into_iter().find(|known| coding.as_bytes() == known.as_bytes());
            let cause = cause::encoded(self.api.authority(), coding.unwrap_or("another one"));
            // What counts of a refusal is its status.
            if head.status.as_u16() >= 400 {
                return Ok(serde_json::json!({"error": cause.message}).to_string().into());
            }
            return Err(Failure {
                status: Some(head.status.as_u16()),
                cause: Some(cause),
                ..Failure::after_sending(WasiError::HttpResponseContentCoding(None))
            });
        }
        if let Some(length) = answer.size_hint().exact().filter(|length| *length > most as u64) {
            return Err(too_large(length));
        }
        // Counted as it comes, so that many answers at a time are no way to memory either.
        let take_in = |piece: &Bytes| {
            let mut state = self.state();
            state.received += piece.len();
            if state.received <= self.limits.answers_bytes {
                return Ok(());
            }
            drop(state);
            let most = self.limits.answers_bytes;
            let message = format!("the component took in more than {most} bytes of answers");
            Err(Failure::after_sending(self.refuse(Refusal { message })))
        };
        // Most answers come in one piece, which is then not copied.
        let mut body = Bytes::new();
        let mut pieces = Vec::new();
        while let Some(frame) = answer.frame().await {
            // What is no data is the trailers, which nobody reads.
            let Ok(piece) =
                frame.map_err(|error| Failure::on_the_way(&error, &self.api))?.into_data()
            else {
                continue;
            };
            take_in(&piece)?;
            if body.is_empty() && pieces.is_empty() {
                body = piece;
            } else {
                if pieces.is_empty() {
                    pieces.extend_from_slice(&body);
                }
                pieces.extend_from_slice(&piece);
            }
            if body.len().max(pieces.len()) > most {
                return Err(too_large(pieces.len() as u64));
            }
        }
        Ok(if pieces.is_empty() { body } else { pieces.into() })
    }
}

/// What is left of the organization's rate limit, as far as the headers say so in numbers.
fn rate_limits(headers: &http::HeaderMap) -> http::HeaderMap {
    let number = |name: &'static str| {
        let number = headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok()?;
        Some((HeaderName::from_static(name), HeaderValue::from(number)))
    };
    RATE_LIMITS.into_iter().filter_map(number).collect()
}

/// The seam of wasi:http: every request that the component sends comes by here.
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
