//! Where requests leave: each is put before the call's grant, written anew, and given the token.
//!
//! This is one of the two places that enforce. A request of the component gets here as it is and
//! goes no further: what is sent is made from what the grant understood.

use crate::call::Watch;
use crate::cause::{self, Cause};
use crate::client::{Client, Failure};
use crate::credentials::Token;
use crate::error::WriteOutcome;
use crate::grant::{Admitted, Answer, Grant, KnownRoom, Refusal};
use crate::lanes::Lane;
use crate::limits::Limits;
use crate::origin::ApiBase;
use crate::request::Asked;
use crate::session::without_token;
use crate::{surrogate, text};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use memchr::memmem::Finder;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::Notify;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpHooks};

/// The greatest size of a request's body, in bytes; arguments are no larger.
const MAX_BODY: usize = 2 * crate::arguments::MAX_ARGUMENTS_BYTES;

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

/// What the component is shown of an answer's headers.
const ANSWER_HEADERS: [&str; 5] = [
    "content-type",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// What stands in an answer in the place of the token.
pub(crate) const REDACTED: &str = "[redacted]";

/// What requests go out by, shared by all calls.
pub(crate) struct Wire {
    pub(crate) client: Client,
    /// That to the API.
    pub(crate) lane: Arc<Lane>,
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

/// The seconds of a `Retry-After` that is a date. It counts from the server's own date, as this
/// machine's clock may be wrong.
fn seconds_to_wait(headers: &http::HeaderMap) -> Option<HeaderValue> {
    let until = to_date(headers.get(header::RETRY_AFTER)?)?;
    let now = headers.get(header::DATE).and_then(to_date);
    let wait = until - now.unwrap_or_else(OffsetDateTime::now_utc);
    Some(HeaderValue::from(wait.whole_seconds().max(0)))
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
    /// Whether an answer had escapes in it, in which the token can hide.
    pub(crate) escaped: bool,
}

/// What one call may send and what it has sent, shared by its requests.
pub(crate) struct Outbox {
    wire: Wire,
    api: ApiBase,
    account: String,
    token: Token,
    limits: Limits,
    watch: Watch,
    state: Mutex<State>,
    faulted: Notify,
}

struct State {
    grant: Grant,
    /// How many requests the component has begun, whatever became of them.
    begun: usize,
    /// How many bytes of answers were taken in.
    received: usize,
    /// Whether an answer had escapes in it.
    escaped: bool,
    /// What was let go, and when; listed before it leaves, as the component may let go of it.
    sent: Vec<(Instant, SentRequest)>,
    /// Whether the call is over, so that nothing may leave any more.
    closed: bool,
    fault: Option<String>,
}

impl Outbox {
    pub(crate) fn new(
        wire: Wire,
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
            escaped: false,
            sent: Vec::new(),
            closed: false,
            fault: None,
        };
        Self {
            wire,
            api,
            account,
            token,
            limits,
            watch,
            state: Mutex::new(state),
            faulted: Notify::new(),
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
            escaped: state.escaped,
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
        let mut state = self.state();
        // After the end of the call they are gone.
        if let Some((started, sent)) = state.sent.get_mut(index) {
            match &result {
                Ok((status, ..)) => sent.status = Some(status.as_u16()),
                Err(Failure { status, cause, .. }) => {
                    (sent.status, sent.cause) = (*status, cause.clone());
                }
            }
            sent.duration = started.elapsed();
            let date = result.as_ref().ok().and_then(|(_, headers, _)| headers.get(header::DATE));
            sent.dates = date.map(|date| (date.clone(), SystemTime::now()));
        }
        let (status, headers, mut body) = match result {
            Ok(answer) => answer,
            Err(Failure { sent, error, .. }) => {
                let answer = if sent { Answer::Lost } else { Answer::NotSent };
                state.grant.settle(&admitted, answer);
                return Err(error);
            }
        };
        let bom = "\u{feff}".as_bytes();
        if body.starts_with(bom) {
            body = body.slice(bom.len()..);
        }
        let escaped = memchr::memchr(b'\\', &body).is_some();
        // Everybody reads the same: the grant, whoever looks for the token, and the component.
        if escaped && let Some(whole) = surrogate::without_halves(&body) {
            body = whole.into();
        }
        state.grant.settle(&admitted, Answer::Status(status.as_u16(), &body));
        state.escaped |= escaped;
        let token = Needle::new(self.token.expose().as_bytes());
        let mut body = redact(body, &token);
        // The component may cut or take apart what it reads, and then nobody finds the token in it.
        if escaped && let Ok(value) = serde_json::from_slice::<serde_json::Value>(&body) {
            let clean = without_token(value.clone(), &self.token);
            body = if clean == value { body } else { clean.to_string().into() };
        }
        // The grant keeps what is read here for the log, so it sees no more than the component.
        state.grant.settle(&admitted, Answer::Status(status.as_u16(), &body));
        drop(state);
        let mut response =
            http::Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        let wait = seconds_to_wait(&headers);
        for name in ANSWER_HEADERS {
            let value = match &wait {
                Some(seconds) if name == "retry-after" => Some(seconds),
                _ => headers.get(name),
            };
            if let Some(value) = value
                && token.find_from(value.as_bytes(), 0).is_none()
            {
                response.headers_mut().insert(HeaderName::from_static(name), value.clone());
            }
        }
        Ok(response)
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
        let sent = SentRequest { method, path, status: None, duration, dates: None, cause: None };
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
        let _seat = self.wire.lane.seat().await;
        // The call may have ended while this waited.
        if self.state().closed {
            return Err(unsendable(WasiError::HttpRequestDenied));
        }
        self.watch.sent(admitted.method.as_str(), &admitted.path_and_query);
        let (head, mut answer) = self.wire.client.send(request, &self.api).await?.into_parts();
        self.wire.lane.answered(head.version);
        let most = self.limits.answer_bytes;
        let too_large =
            |size: u64| Failure::after_sending(WasiError::HttpResponseBodySize(Some(size)));
        if let Some(coding) = head.headers.get(header::CONTENT_ENCODING)
            && !coding.is_empty()
            && coding != "identity"
        {
            let coding = text::printable(coding.to_str().unwrap_or("unreadable"), 40);
            let cause = cause::encoded(self.api.authority(), &coding);
            // What counts of a refusal is its status.
            if head.status.as_u16() >= 400 {
                let body = serde_json::json!({"error": cause.message}).to_string();
                return Ok((head.status, head.headers, body.into()));
            }
            return Err(Failure {
                status: Some(head.status.as_u16()),
                cause: Some(cause),
                ..Failure::after_sending(WasiError::HttpResponseContentCoding(Some(coding)))
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
        if !pieces.is_empty() {
            body = pieces.into();
        }
        Ok((head.status, head.headers, body))
    }
}

/// A text to look for. It is found by its beginning, because a search for all of it takes longer to
/// prepare than most answers take to be gone through.
struct Needle<'a> {
    beginning: Finder<'a>,
    whole: &'a [u8],
}

impl<'a> Needle<'a> {
    /// How much of it is looked for, in bytes.
    const BEGINNING: usize = 16;

    fn new(whole: &'a [u8]) -> Self {
        Self { beginning: Finder::new(&whole[..whole.len().min(Self::BEGINNING)]), whole }
    }

    /// The first place at or after another.
    fn find_from(&self, text: &[u8], mut from: usize) -> Option<usize> {
        loop {
            let at = from + self.beginning.find(&text[from..])?;
            if text[at..].starts_with(self.whole) {
                return Some(at);
            }
            from = at + 1;
        }
    }
}

/// The answer without the token.
fn redact(body: Bytes, token: &Needle<'_>) -> Bytes {
    let mut clean = Vec::new();
    let mut kept = 0;
    while let Some(at) = token.find_from(&body, kept) {
        clean.extend_from_slice(&body[kept..at]);
        clean.extend_from_slice(REDACTED.as_bytes());
        kept = at + token.whole.len();
    }
    if kept == 0 {
        return body;
    }
    clean.extend_from_slice(&body[kept..]);
    clean.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_to_wait_for_counts_from_the_servers_own() {
        let wait = |retry_after: &'static str, date: Option<&'static str>| {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
            headers.extend(date.map(|date| (header::DATE, HeaderValue::from_static(date))));
            seconds_to_wait(&headers).map(|seconds| seconds.to_str().expect("digits").to_owned())
        };
        let date = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(wait("Wed, 21 Oct 2026 08:28:00 GMT", date).as_deref(), Some("3600"));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT", date).as_deref(), Some("0"));
        assert_eq!(wait("Wed, 21 Oct 2020 07:28:00 GMT", date).as_deref(), Some("0"));
        assert_eq!(wait("Wed, 21 Oct 2020 07:28:00 GMT", None).as_deref(), Some("0"));
        for seconds in ["", "2", "1.5", "soon", "2026-10-21T07:28:00Z"] {
            assert_eq!(wait(seconds, date), None, "{seconds}");
        }
    }

    #[test]
    fn the_token_is_found_wherever_it_stands() {
        let long = "a".repeat(20) + "b";
        for (token, text, clean) in [
            (&long[..], format!("{long}{long}"), "[redacted][redacted]".to_owned()),
            // It begins within what looked like its beginning.
            (&long, format!("aaaa{long}x"), "aaaa[redacted]x".to_owned()),
            (&long, "a".repeat(40), "a".repeat(40)),
            ("short", "a short text".to_owned(), "a [redacted] text".to_owned()),
            ("short", String::new(), String::new()),
        ] {
            let redacted = redact(text.clone().into(), &Needle::new(token.as_bytes()));
            assert_eq!(redacted, clean, "{text}");
        }
    }
}
