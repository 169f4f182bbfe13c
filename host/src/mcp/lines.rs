//! One client on a pair of streams, with one message a line.

use super::message::{Arriving, Incoming, Refusal, unknown_method};
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, GetMeta as _,
    ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde::Serialize;
use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

/// The transport of a client on a pair of streams.
///
/// Every request gets one answer: from the SDK, or from here where it is malformed. After the end of
/// input, what was asked for before is still answered.
pub(super) struct Lines<R, W> {
    read: BufReader<R>,
    arriving: Arriving,
    /// An answer from here while it is written; dropping the future that waits for it loses nothing.
    refusing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    out: Out<W>,
    /// Whether the client has begun as the protocol says.
    has_begun: bool,
    /// Cancelled at the end of input.
    ended: CancellationToken,
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
    /// Those of the client.
    theirs: HashSet<RequestId>,
    /// Those of this server.
    ours: HashSet<RequestId>,
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
    /// notices it earlier can say, too.
    pub(super) fn new(
        read: R,
        write: W,
        ended: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        Self {
            read: BufReader::new(read),
            arriving: Arriving::default(),
            refusing: None,
            out: Out { write: Arc::new(AsyncMutex::new(write)), open: Arc::default(), gone },
            has_begun: false,
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
            // What cannot be read any more has ended, for whatever reason.
            if !self.read_line().await.unwrap_or(false) {
                self.ended.cancel();
            }
            if self.arriving.is_blank() {
                self.arriving = Arriving::default();
                continue;
            }
            let incoming = match self.arriving.finish() {
                Incoming::Message(message) => self.take(message),
                other => other,
            };
            match incoming {
                Incoming::Message(message) => return Some(*message),
                Incoming::Ignored => {}
                Incoming::Refused(refusal) => self.refuse(refusal),
            }
        }
    }

    /// Reads to the end of a line; false at the end of input, which ends a line, too.
    async fn read_line(&mut self) -> io::Result<bool> {
        loop {
            let available = self.read.fill_buf().await?;
            if available.is_empty() {
                return Ok(false);
            }
            let end = memchr::memchr(b'\n', available);
            self.arriving.push(&available[..end.unwrap_or(available.len())]);
            let used = end.map_or(available.len(), |end| end + 1);
            self.read.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// Keeps account of what is asked and answered. Nothing is left of a message that would end the
    /// SDK or that it could not answer.
    fn take(&mut self, message: Box<ClientJsonRpcMessage>) -> Incoming {
        let mut requests = self.out.open.requests();
        match &*message {
            ClientJsonRpcMessage::Request(request) => {
                let refuse = |error| {
                    Incoming::Refused(Refusal { id: request.id.clone().into_json_value(), error })
                };
                if !self.has_begun {
                    if let ClientRequest::CustomRequest(unknown) = &request.request {
                        return refuse(unknown_method(&unknown.method));
                    }
                    self.has_begun = begins(&request.request);
                }
                if !requests.theirs.insert(request.id.clone()) {
                    let message = "duplicate id: a request with this id is still in progress";
                    return refuse(ErrorData::invalid_request(message, None));
                }
            }
            ClientJsonRpcMessage::Notification(notification) => {
                if !self.has_begun {
                    return Incoming::Ignored;
                }
                // A request that is taken back gets no answer.
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    requests.theirs.remove(id);
                }
            }
            ClientJsonRpcMessage::Response(response) => {
                if !requests.ours.remove(&response.id) {
                    return Incoming::Ignored;
                }
            }
            ClientJsonRpcMessage::Error(error) => {
                if !error.id.as_ref().is_some_and(|id| requests.ours.remove(id)) {
                    return Incoming::Ignored;
                }
            }
        }
        drop(requests);
        Incoming::Message(message)
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
            {
                let mut requests = self.out.open.requests();
                let unanswered = requests.ours.iter().next().cloned();
                if let Some(id) = unanswered {
                    requests.ours.remove(&id);
                    let error = ErrorData::internal_error("the client has closed its side", None);
                    return Some(ClientJsonRpcMessage::error(error, Some(id)));
                }
                if requests.theirs.is_empty() {
                    return None;
                }
            }
            self.out.open.changed.notified().await;
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
/// protocols without a handshake want. Until then it takes nothing but requests.
fn begins(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        request => {
            let meta = request.get_meta();
            let version = meta.protocol_version();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && version.is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}
