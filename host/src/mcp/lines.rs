//! The transport for one client on a pair of streams, with one message per line.

use super::budget::{self, Budget, Permit};
use super::message::{self, Arriving, Incoming, Refusal, unknown_method};
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, GetExtensions as _,
    GetMeta as _, JsonRpcRequest, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde::Serialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;
use whereby_authority::text;

/// The maximum size of all waiting requests, in KiB. Each counts at least 1.
const MAX_WAITING: u32 = 1024;

/// The memory that a waiting request uses besides its text, in bytes.
const WAITING: usize = 256;

/// The maximum number of pings whose responses are not yet sent.
const MAX_PINGS: usize = 64;

/// The maximum number of subscriptions of a client. Each is open until the client ends it.
const MAX_SUBSCRIPTIONS: usize = 16;

/// The transport of a client on a pair of streams.
///
/// Every request gets one response: from the SDK, or from this type if the request is malformed.
/// Requests from before the end of input still get theirs.
///
/// The server stops reading from a client that sends requests faster than they are served, or that does
/// not read its responses: the stream fills up, and the client waits. This cannot deadlock:
///
/// - Requests without a permit are read ahead and wait, so the server still reads and handles the
///   cancellations, responses and pings behind them.
/// - When [`MAX_WAITING`] is reached, permits still become free without further reading. Every call
///   ends within its time limit, subscriptions need no permit, and fewer questions than permits wait
///   for the client ([`MAX_CLIENT_QUESTIONS`](super::asking::MAX_CLIENT_QUESTIONS)).
/// - Only unread responses keep their permits, and reading them frees the permits.
pub(super) struct Lines<R, W> {
    read: BufReader<R>,
    arriving: Arriving,
    /// The error response that is being written. It survives if the future of `next` is dropped.
    refusing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    budget: Budget,
    /// The requests without a permit, in order of arrival.
    waiting: VecDeque<Waiting>,
    /// The weight of all waiting requests, in KiB.
    waiting_weight: u32,
    /// The future permit for the first waiting request.
    permit: Option<NextPermit>,
    out: Out<W>,
    /// Whether the client has sent a valid first request.
    has_begun: bool,
    /// Whether the client has sent `notifications/initialized`.
    is_initialized: bool,
    /// Cancelled at the end of input.
    ended: CancellationToken,
}

/// A future permit.
type NextPermit = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

/// A request that waits to be served, as text, which uses less memory than parsed JSON.
struct Waiting {
    id: RequestId,
    text: Vec<u8>,
}

impl Waiting {
    fn weight(&self) -> u32 {
        u32::try_from((self.text.len() + WAITING).div_ceil(1024)).unwrap_or(u32::MAX)
    }
}

/// The write half of the transport.
struct Out<W> {
    write: Arc<AsyncMutex<W>>,
    open: Arc<Open>,
    /// Cancelled when the client no longer reads.
    gone: CancellationToken,
}

/// Requests without a response.
#[derive(Default)]
struct Open {
    requests: Mutex<Requests>,
    changed: Notify,
}

#[derive(Default)]
struct Requests {
    /// The client's requests that are being served.
    theirs: HashMap<RequestId, Served>,
    /// The server's requests.
    ours: HashSet<RequestId>,
}

/// A client's request that is being served.
enum Served {
    /// A request that needs a permit.
    #[expect(dead_code, reason = "dropping it frees the permit")]
    Call(Permit),
    Ping,
    Subscription,
}

impl Requests {
    fn pings(&self) -> usize {
        self.theirs.values().filter(|served| matches!(served, Served::Ping)).count()
    }

    fn subscriptions(&self) -> usize {
        self.theirs.values().filter(|served| matches!(served, Served::Subscription)).count()
    }
}

impl Open {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        // A panic under the lock leaves the sets consistent.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, id: &RequestId) {
        self.requests().theirs.remove(id);
        self.changed.notify_one();
    }
}

impl<R: AsyncRead, W> Lines<R, W> {
    /// Creates the transport. It cancels `ended` at the end of input, and `gone` when a write fails;
    /// others may cancel `gone` earlier. `requests` is how many requests are served at a time.
    pub(super) fn new(
        read: R,
        write: W,
        requests: usize,
        ended: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        Self {
            read: BufReader::new(read),
            arriving: Arriving::default(),
            refusing: None,
            budget: Budget::new(requests),
            waiting: VecDeque::new(),
            waiting_weight: 0,
            permit: None,
            out: Out { write: Arc::new(AsyncMutex::new(write)), open: Arc::default(), gone },
            has_begun: false,
            is_initialized: false,
            ended,
        }
    }
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    /// Returns the next message for the SDK, or `None` at the end. The future may be dropped at any time.
    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(refusing) = &mut self.refusing {
                refusing.await;
                self.refusing = None;
            }
            if self.ended.is_cancelled() {
                return self.last().await;
            }
            let may_read = self.may_read();
            let open = Arc::clone(&self.out.open);
            let has_ended = tokio::select! {
                biased;
                permit = next_permit(&mut self.permit) => {
                    self.permit = None;
                    let Some(message) = permit.and_then(|permit| self.start(permit)) else {
                        continue;
                    };
                    return Some(*message);
                }
                read = read_line(&mut self.read, &mut self.arriving), if may_read => {
                    // A failed read also ends the input.
                    !read.unwrap_or(false)
                }
                () = open.changed.notified(), if !may_read => continue,
            };
            if has_ended {
                self.ended.cancel();
            }
            if self.arriving.is_blank() {
                self.arriving = Arriving::default();
                continue;
            }
            let weight = self.arriving.weight();
            let incoming = match self.arriving.finish() {
                Incoming::Message(message) => self.take(message, weight),
                other => other,
            };
            match incoming {
                Incoming::Message(message) => return Some(*message),
                Incoming::Ignored => {}
                Incoming::Refused(refusal) => self.refuse(refusal),
            }
        }
    }

    /// Returns whether to read more from the client.
    fn may_read(&self) -> bool {
        self.waiting_weight < MAX_WAITING && self.out.open.requests().pings() < MAX_PINGS
    }

    /// Tracks requests and responses. Filters messages that would stop the SDK or that it cannot answer.
    fn take(&mut self, message: Box<ClientJsonRpcMessage>, weight: u32) -> Incoming {
        let mut requests = self.out.open.requests();
        let is_wanted = match *message {
            ClientJsonRpcMessage::Response(ref response) => requests.ours.remove(&response.id),
            ClientJsonRpcMessage::Error(ref error) => {
                error.id.as_ref().is_some_and(|id| requests.ours.remove(id))
            }
            ClientJsonRpcMessage::Notification(ref notification) => {
                drop(requests);
                self.wants(&notification.notification)
            }
            ClientJsonRpcMessage::Request(request) => {
                drop(requests);
                return self.take_request(request, weight);
            }
        };
        if is_wanted { Incoming::Message(message) } else { Incoming::Ignored }
    }

    fn wants(&mut self, notification: &ClientNotification) -> bool {
        if !self.has_begun {
            return false;
        }
        let ClientNotification::CancelledNotification(cancelled) = notification else {
            return !std::mem::replace(&mut self.is_initialized, true);
        };
        let Some(id) = &cancelled.params.request_id else { return false };
        // A cancelled request gets no response.
        let is_served = self.out.open.requests().theirs.remove(id).is_some();
        if !is_served {
            self.forget(id);
        }
        is_served
    }

    fn take_request(
        &mut self,
        mut request: JsonRpcRequest<ClientRequest>,
        weight: u32,
    ) -> Incoming {
        let id = request.id.clone();
        let refuse = |error| Incoming::Refused(Refusal { id: id.clone().into_json_value(), error });
        if !self.has_begun {
            match begins(&request.request) {
                Ok(begins) => self.has_begun = begins,
                Err(error) => return refuse(error),
            }
        }
        let mut requests = self.out.open.requests();
        if requests.theirs.contains_key(&id) || self.waiting.iter().any(|of| of.id == id) {
            let message = "duplicate id: a request with this id is still in progress";
            return refuse(ErrorData::invalid_request(message, None));
        }
        let served = match &request.request {
            ClientRequest::PingRequest(_) => Served::Ping,
            ClientRequest::SubscriptionsListenRequest(_) => {
                if requests.subscriptions() >= MAX_SUBSCRIPTIONS {
                    let message = format!(
                        "too many subscriptions: {MAX_SUBSCRIPTIONS} are open; cancel one of them"
                    );
                    return refuse(ErrorData::invalid_request(message, None));
                }
                Served::Subscription
            }
            _ => {
                // Waiting requests come first.
                let is_next = self.waiting.is_empty();
                let permit = is_next.then(|| self.budget.try_acquire(weight)).flatten();
                let Some(permit) = permit else {
                    drop(requests);
                    return self.wait(request);
                };
                request.request.extensions_mut().insert(permit.clone());
                Served::Call(permit)
            }
        };
        requests.theirs.insert(id, served);
        Incoming::Message(Box::new(ClientJsonRpcMessage::Request(request)))
    }

    /// Keeps a request until there is a permit for it.
    fn wait(&mut self, request: JsonRpcRequest<ClientRequest>) -> Incoming {
        let id = request.id.clone();
        let Ok(text) = serde_json::to_vec(&ClientJsonRpcMessage::Request(request)) else {
            let error = ErrorData::internal_error("the request cannot be kept", None);
            return Incoming::Refused(Refusal { id: id.into_json_value(), error });
        };
        let waiting = Waiting { id, text };
        self.waiting_weight += waiting.weight();
        self.waiting.push_back(waiting);
        self.await_permit();
        Incoming::Ignored
    }

    /// Requests a permit for the first waiting request.
    fn await_permit(&mut self) {
        self.permit = self.waiting.front().map(|first| {
            let (budget, weight) = (self.budget.clone(), budget::weight(&first.text));
            Box::pin(async move { budget.acquire(weight).await }) as NextPermit
        });
    }

    /// Serves the first waiting request.
    fn start(&mut self, permit: Permit) -> Option<Box<ClientJsonRpcMessage>> {
        let waiting = self.waiting.pop_front()?;
        self.waiting_weight -= waiting.weight();
        self.await_permit();
        // This always succeeds: `wait` wrote the text.
        let Incoming::Message(mut message) = message::read(&waiting.text) else { return None };
        if let ClientJsonRpcMessage::Request(request) = &mut *message {
            request.request.extensions_mut().insert(permit.clone());
        }
        self.out.open.requests().theirs.insert(waiting.id, Served::Call(permit));
        Some(message)
    }

    /// Removes a waiting request that the client has cancelled.
    fn forget(&mut self, id: &RequestId) {
        let Some(at) = self.waiting.iter().position(|of| of.id == *id) else { return };
        if let Some(waiting) = self.waiting.remove(at) {
            self.waiting_weight -= waiting.weight();
        }
        if at == 0 {
            self.await_permit();
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let sent = self.out.send(refusal.to_json());
        // A failed write cancels `gone`.
        self.refusing = Some(Box::pin(async move { drop(sent.await) }));
    }

    /// Like `next`, after the end of input. The server's open requests fail, and the client's are still
    /// served.
    async fn last(&mut self) -> Option<ClientJsonRpcMessage> {
        // If the other end of an in-memory stream is gone, even an empty write fails.
        if let Ok(mut write) = self.out.write.try_lock()
            && write.write(&[]).await.is_err()
        {
            self.out.gone.cancel();
            return None;
        }
        loop {
            let is_done = {
                let mut requests = self.out.open.requests();
                let unanswered = requests.ours.iter().next().cloned();
                if let Some(id) = unanswered {
                    requests.ours.remove(&id);
                    let error = ErrorData::internal_error("the client has closed its side", None);
                    return Some(ClientJsonRpcMessage::error(error, Some(id)));
                }
                requests.theirs.is_empty()
            };
            if is_done && self.waiting.is_empty() {
                return None;
            }
            let open = Arc::clone(&self.out.open);
            tokio::select! {
                biased;
                permit = next_permit(&mut self.permit) => {
                    self.permit = None;
                    if let Some(message) = permit.and_then(|permit| self.start(permit)) {
                        return Some(*message);
                    }
                }
                () = open.changed.notified() => {}
            }
        }
    }
}

/// Waits for the requested permit. Never returns if none was requested.
async fn next_permit(permit: &mut Option<NextPermit>) -> Option<Permit> {
    match permit {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}

/// Reads to the end of a line. Returns false at the end of input, which also ends a line.
async fn read_line(
    read: &mut BufReader<impl AsyncRead + Unpin>,
    arriving: &mut Arriving,
) -> io::Result<bool> {
    loop {
        let available = read.fill_buf().await?;
        if available.is_empty() {
            return Ok(false);
        }
        let end = memchr::memchr(b'\n', available);
        arriving.push(&available[..end.unwrap_or(available.len())]);
        let used = end.map_or(available.len(), |end| end + 1);
        read.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Out<W> {
    /// Writes a message as one line.
    fn send<M: Serialize>(
        &self,
        message: M,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static + use<W, M> {
        let line = serde_json::to_string(&message).map_err(io::Error::from);
        let (write, gone) = (Arc::clone(&self.write), self.gone.clone());
        async move {
            let line = text::printable_json(&line?) + "\n";
            let mut write = write.lock().await;
            let written = async {
                write.write_all(line.as_bytes()).await?;
                write.flush().await
            };
            written.await.inspect_err(|_| gone.cancel())
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let open = Arc::clone(&self.out.open);
        let answered = match &message {
            ServerJsonRpcMessage::Response(response) => Some(response.id.clone()),
            ServerJsonRpcMessage::Error(error) => error.id.clone(),
            ServerJsonRpcMessage::Request(request) => {
                open.requests().ours.insert(request.id.clone());
                open.changed.notify_one();
                None
            }
            ServerJsonRpcMessage::Notification(_) => None,
        };
        let sent = self.out.send(message);
        async move {
            sent.await?;
            if let Some(id) = answered {
                open.close(&id);
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let gone = self.out.gone.clone();
        tokio::select! {
            biased;
            () = gone.cancelled() => None,
            message = self.next() => message,
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // If the client has stopped reading, a write still holds the lock.
        match self.out.write.try_lock() {
            Ok(mut write) => write.shutdown().await,
            Err(_) => Ok(()),
        }
    }
}

/// Returns whether the SDK accepts a request as a client's first: `initialize`, or a request with the
/// metadata of protocols without a handshake. Pings and `server/discover` may come before it.
///
/// # Errors
///
/// Returns an error for a request that may only come later.
fn begins(request: &ClientRequest) -> Result<bool, ErrorData> {
    match request {
        ClientRequest::InitializeRequest(_) => Ok(true),
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => Ok(false),
        ClientRequest::CustomRequest(unknown) => Err(unknown_method(&unknown.method)),
        request => {
            let meta = request.get_meta();
            let Some(version) = meta.protocol_version() else {
                let message = "the first request must be `initialize`";
                return Err(ErrorData::invalid_request(message, None));
            };
            Ok(meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}
