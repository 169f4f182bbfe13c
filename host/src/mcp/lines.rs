//! One client on a pair of streams, with one message a line.

use super::budget::{self, Budget, Place};
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

/// How much may wait to be served, in KiB. Each request counts at least 1.
const MAX_WAITING: u32 = 1024;

/// The memory that a waiting request uses besides its text, in bytes.
const WAITING: usize = 256;

/// How many pings may wait for their answers to be sent.
const MAX_PINGS: usize = 64;

/// How many subscriptions a client may have; each is open until the client ends it.
const MAX_SUBSCRIPTIONS: usize = 16;

/// The transport of a client on a pair of streams.
///
/// Every request gets one answer: from the SDK, or from here where it is malformed. After the end of
/// input, what was asked for before is still answered.
///
/// The server stops reading from a client that asks faster than it is served, or that does not read
/// its answers: the stream fills up, and the client waits. This cannot deadlock:
///
/// - Requests without a place are read ahead and wait, so cancellations, answers to questions and pings
///   behind them are still read and acted on.
/// - When [`MAX_WAITING`] is used up, too, places still become free without anything being read. Every
///   call ends within its time limit, subscriptions take no place, and fewer questions than places wait
///   for the client ([`MOST_OPEN`](super::asking::MOST_OPEN)).
/// - Only answers that the client does not read keep their places, and reading them frees these.
pub(super) struct Lines<R, W> {
    read: BufReader<R>,
    arriving: Arriving,
    /// An answer from here while it is written; dropping the future that waits for it loses nothing.
    refusing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    budget: Budget,
    /// The requests that have no place yet, in their order.
    waiting: VecDeque<Waiting>,
    /// What these weigh together, in KiB.
    waiting_weight: u32,
    /// The place for the first of them, once there is one.
    place: Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>>,
    out: Out<W>,
    /// Whether the client has begun as the protocol says.
    has_begun: bool,
    /// Whether the client has said that it is initialized.
    is_initialized: bool,
    /// Cancelled at the end of input.
    ended: CancellationToken,
}

/// A request that waits to be served, as text, which takes up less than what is read from it.
struct Waiting {
    id: RequestId,
    text: Vec<u8>,
}

impl Waiting {
    fn weight(&self) -> u32 {
        u32::try_from((self.text.len() + WAITING).div_ceil(1024)).unwrap_or(u32::MAX)
    }
}

/// The half that is written to.
struct Out<W> {
    write: Arc<AsyncMutex<W>>,
    open: Arc<Open>,
    /// Cancelled when nobody reads any more.
    gone: CancellationToken,
}

/// Requests without an answer.
#[derive(Default)]
struct Open {
    requests: Mutex<Requests>,
    changed: Notify,
}

#[derive(Default)]
struct Requests {
    /// Those of the client that are served.
    theirs: HashMap<RequestId, Served>,
    /// Those of this server.
    ours: HashSet<RequestId>,
}

/// A request of the client that is served.
enum Served {
    /// Anything that takes a place.
    #[expect(dead_code, reason = "the place is free again when this is dropped")]
    Call(Place),
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
        // A panic under the lock leaves sets that are whole.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, id: &RequestId) {
        self.requests().theirs.remove(id);
        self.changed.notify_one();
    }
}

impl<R: AsyncRead, W> Lines<R, W> {
    /// `ended` is cancelled at the end of input; `gone` when nobody reads any more, which whoever
    /// notices it earlier can say, too. So many requests are served at a time.
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
            place: None,
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
    /// The next message for the SDK. The future may be dropped at any time.
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
                place = first_place(&mut self.place) => {
                    self.place = None;
                    let Some(message) = place.and_then(|place| self.start(place)) else { continue };
                    return Some(*message);
                }
                read = read_line(&mut self.read, &mut self.arriving), if may_read => {
                    // What cannot be read any more has ended, for whatever reason.
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

    /// Whether the client may ask for more.
    fn may_read(&self) -> bool {
        self.waiting_weight < MAX_WAITING && self.out.open.requests().pings() < MAX_PINGS
    }

    /// Keeps account of what is asked and answered. Nothing is left of a message that would end the
    /// SDK or that it could not answer.
    fn take(&mut self, message: Box<ClientJsonRpcMessage>, weight: u32) -> Incoming {
        match *message {
            ClientJsonRpcMessage::Request(request) => self.take_request(request, weight),
            ClientJsonRpcMessage::Notification(notification) => {
                if !self.has_begun {
                    return Incoming::Ignored;
                }
                match &notification.notification {
                    // A request that is taken back gets no answer.
                    ClientNotification::CancelledNotification(cancelled) => {
                        let Some(id) = &cancelled.params.request_id else {
                            return Incoming::Ignored;
                        };
                        if self.out.open.requests().theirs.remove(id).is_none() {
                            self.forget(id);
                            return Incoming::Ignored;
                        }
                    }
                    _ if std::mem::replace(&mut self.is_initialized, true) => {
                        return Incoming::Ignored;
                    }
                    _ => {}
                }
                Incoming::Message(Box::new(ClientJsonRpcMessage::Notification(notification)))
            }
            ClientJsonRpcMessage::Response(response) => {
                if !self.out.open.requests().ours.remove(&response.id) {
                    return Incoming::Ignored;
                }
                Incoming::Message(Box::new(ClientJsonRpcMessage::Response(response)))
            }
            ClientJsonRpcMessage::Error(error) => {
                let mut requests = self.out.open.requests();
                if !error.id.as_ref().is_some_and(|id| requests.ours.remove(id)) {
                    return Incoming::Ignored;
                }
                Incoming::Message(Box::new(ClientJsonRpcMessage::Error(error)))
            }
        }
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
                let place = match self.waiting.is_empty() {
                    true => self.budget.try_place(weight),
                    false => None,
                };
                let Some(place) = place else {
                    drop(requests);
                    return self.wait(request);
                };
                request.request.extensions_mut().insert(place.clone());
                Served::Call(place)
            }
        };
        requests.theirs.insert(id, served);
        Incoming::Message(Box::new(ClientJsonRpcMessage::Request(request)))
    }

    /// Keeps a request until there is a place for it.
    fn wait(&mut self, request: JsonRpcRequest<ClientRequest>) -> Incoming {
        let id = request.id.clone();
        let Ok(text) = serde_json::to_vec(&ClientJsonRpcMessage::Request(request)) else {
            let error = ErrorData::internal_error("the request cannot be kept", None);
            return Incoming::Refused(Refusal { id: id.into_json_value(), error });
        };
        let waiting = Waiting { id, text };
        self.waiting_weight += waiting.weight();
        self.waiting.push_back(waiting);
        self.wait_for_place();
        Incoming::Ignored
    }

    /// Asks for a place for the first request that waits.
    fn wait_for_place(&mut self) {
        self.place = self.waiting.front().map(|first| {
            let (budget, weight) = (self.budget.clone(), budget::weight(&first.text));
            let place: Pin<Box<dyn Future<Output = _> + Send>> =
                Box::pin(async move { budget.place(weight).await });
            place
        });
    }

    /// Serves the first request that waits.
    fn start(&mut self, place: Place) -> Option<Box<ClientJsonRpcMessage>> {
        let waiting = self.waiting.pop_front()?;
        self.waiting_weight -= waiting.weight();
        self.wait_for_place();
        // It was read before, and written by this program.
        let Incoming::Message(mut message) = message::read(&waiting.text) else { return None };
        if let ClientJsonRpcMessage::Request(request) = &mut *message {
            request.request.extensions_mut().insert(place.clone());
        }
        self.out.open.requests().theirs.insert(waiting.id, Served::Call(place));
        Some(message)
    }

    /// Takes back a request that waits.
    fn forget(&mut self, id: &RequestId) {
        let Some(at) = self.waiting.iter().position(|of| of.id == *id) else { return };
        if let Some(waiting) = self.waiting.remove(at) {
            self.waiting_weight -= waiting.weight();
        }
        if at == 0 {
            self.wait_for_place();
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let sent = self.out.send(refusal.to_json());
        // A client that does not read is gone, which it says itself.
        self.refusing = Some(Box::pin(async move { drop(sent.await) }));
    }

    /// After the end of input: what this server has asked gets no answer any more, and what the client
    /// has asked gets one before this ends.
    async fn last(&mut self) -> Option<ClientJsonRpcMessage> {
        // A stream in memory fails even with nothing to write once its other end is gone.
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
                place = first_place(&mut self.place) => {
                    self.place = None;
                    if let Some(message) = place.and_then(|place| self.start(place)) {
                        return Some(*message);
                    }
                }
                () = open.changed.notified() => {}
            }
        }
    }
}

/// Waits for the place that was asked for; never returns where none was.
async fn first_place(
    place: &mut Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>>,
) -> Option<Place> {
    match place {
        Some(place) => place.await,
        None => std::future::pending().await,
    }
}

/// Reads to the end of a line; false at the end of input, which ends a line, too.
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
        let line = serde_json::to_vec(&message).map_err(io::Error::from);
        let (write, gone) = (Arc::clone(&self.write), self.gone.clone());
        async move {
            let mut line = line?;
            line.push(b'\n');
            let mut write = write.lock().await;
            let written = async {
                write.write_all(&line).await?;
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
        // Where a client has stopped reading, a write still waits for it.
        match self.out.write.try_lock() {
            Ok(mut write) => write.shutdown().await,
            Err(_) => Ok(()),
        }
    }
}

/// Whether the SDK begins with a request: with the handshake, or with one that brings what the
/// protocols without a handshake want. Until then it takes nothing but requests. The error is for what
/// has to come later.
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
