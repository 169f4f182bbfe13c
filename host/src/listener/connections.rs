//! Limits the connections: separately for strangers and for clients that have shown a token or a cookie.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The maximum number of connections that have not shown the token. One more ends the oldest.
const MAX_STRANGERS: usize = 256;

/// How long a stranger is protected from others: many clients may connect at the same moment.
const GRACE: Duration = Duration::from_millis(100);

/// The maximum number of connections that have shown the token. One more ends the one that has been
/// idle longest.
const MAX_CLIENTS: usize = 256;

/// How many of these may be event streams, which can stay open indefinitely. One more ends the oldest.
/// All clients have the same token and address, so a client with many sessions looks like many clients.
/// The rest is for requests. A client reopens a stream that has ended.
const MAX_STREAMS: usize = 192;

/// How long a client that is still sending a request is protected from others.
const BODY_GRACE: Duration = Duration::from_secs(1);

/// The connections of a server.
#[derive(Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    /// Notified when a stranger leaves or shows the token.
    fewer_strangers: Notify,
}

#[derive(Default)]
struct Table {
    /// The last number of a connection or an event. Numbers order them in time.
    next: u64,
    strangers: BTreeMap<u64, Stranger>,
    clients: HashMap<u64, Client>,
}

/// A connection that has not shown the token.
struct Stranger {
    end: CancellationToken,
    since: Instant,
}

/// A connection that has shown the token.
struct Client {
    end: CancellationToken,
    /// The number of requests without a response.
    open: usize,
    /// When it was used last, as a number of [`Table::next`].
    last: u64,
    /// When it began to send the body of a request, if it has not sent all of it.
    sending: Option<Instant>,
    /// When its event stream began, as a number of [`Table::next`].
    stream: Option<u64>,
}

/// A connection. Dropping it removes it from the table.
pub(crate) struct Connection(Handle);

/// A reference to a connection, for its requests.
#[derive(Clone)]
pub(crate) struct Handle {
    connections: Arc<Connections>,
    number: u64,
    /// Cancelled when the connection must make room for another.
    end: CancellationToken,
    /// Cancelled when the connection shows the token.
    is_known: CancellationToken,
}

/// A request on a connection. Dropping it means that its response has been sent.
pub(crate) struct InRequest(Handle);

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock leaves the table consistent.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the connection of a stranger, once there is room for it.
    pub(crate) async fn add(self: &Arc<Self>) -> Connection {
        loop {
            match self.try_add() {
                Ok(connection) => return connection,
                Err(wait) => {
                    // In both cases, try again.
                    let _ = tokio::time::timeout(wait, self.fewer_strangers.notified()).await;
                }
            }
        }
    }

    /// Adds the connection of a stranger.
    ///
    /// # Errors
    ///
    /// Returns the maximum time until there is room.
    fn try_add(self: &Arc<Self>) -> Result<Connection, Duration> {
        let mut table = self.table();
        if table.strangers.len() >= MAX_STRANGERS
            && let Some(oldest) = table.strangers.first_entry()
        {
            let age = oldest.get().since.elapsed();
            if age < GRACE {
                return Err(GRACE - age);
            }
            oldest.remove().end.cancel();
        }
        let (number, end) = (table.tick(), CancellationToken::new());
        table.strangers.insert(number, Stranger { end: end.clone(), since: Instant::now() });
        drop(table);
        let connections = Arc::clone(self);
        Ok(Connection(Handle { connections, number, end, is_known: CancellationToken::new() }))
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes room for one more event stream by ending the oldest.
    fn make_room_for_stream(&mut self) {
        let streams =
            || self.clients.iter().filter_map(|(number, client)| Some((client.stream?, *number)));
        if streams().count() >= MAX_STREAMS
            && let Some((_, oldest)) = streams().min()
            && let Some(client) = self.clients.remove(&oldest)
        {
            client.end.cancel();
        }
    }

    /// Makes room for one more client by ending the one that has been idle longest, or else the one
    /// that has been sending a request longest. Returns false if all have open requests.
    fn make_room(&mut self) -> bool {
        if self.clients.len() < MAX_CLIENTS {
            return true;
        }
        let idle = self.clients.iter().filter(|(_, client)| client.open == 0);
        let idle = idle.min_by_key(|(_, client)| client.last).map(|(number, _)| *number);
        let slow = || {
            let sending = self.clients.iter().filter_map(|(number, client)| {
                Some((client.sending.filter(|since| since.elapsed() >= BODY_GRACE)?, *number))
            });
            sending.min().map(|(_, number)| number)
        };
        let Some(number) = idle.or_else(slow) else { return false };
        if let Some(client) = self.clients.remove(&number) {
            client.end.cancel();
        }
        true
    }
}

impl Connection {
    pub(crate) fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// Waits until the connection must end: to make room, or because it has not shown the token in time.
    pub(crate) async fn ended(&self, patience: Duration) {
        let is_late = async {
            if tokio::time::timeout(patience, self.0.is_known.cancelled()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.0.end.cancelled() => {}
            () = is_late => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.0.connections.table();
        table.strangers.remove(&self.0.number);
        table.clients.remove(&self.0.number);
        drop(table);
        self.0.connections.fewer_strangers.notify_one();
    }
}

impl Handle {
    /// Records a request with the token. Returns `None` if there is no room for one more client.
    pub(crate) fn begin_request(self) -> Option<InRequest> {
        let mut table = self.connections.table();
        if !table.clients.contains_key(&self.number) {
            if self.end.is_cancelled() || !table.make_room() {
                return None;
            }
            table.strangers.remove(&self.number);
            let end = self.end.clone();
            let client = Client { end, open: 0, last: 0, sending: None, stream: None };
            table.clients.insert(self.number, client);
            self.is_known.cancel();
            self.connections.fewer_strangers.notify_one();
        }
        if let Some(client) = table.clients.get_mut(&self.number) {
            client.open += 1;
        }
        drop(table);
        Some(InRequest(self))
    }
}

/// A request's body. Dropping it means that the body has been read.
pub(crate) struct Sending(Handle);

impl InRequest {
    /// Records that the response is an event stream.
    #[cfg_attr(
        all(not(feature = "mcp"), not(test)),
        expect(dead_code, reason = "only MCP has event streams")
    )]
    pub(crate) fn begin_stream(&self) {
        let mut table = self.0.connections.table();
        table.make_room_for_stream();
        let began = table.tick();
        if let Some(client) = table.clients.get_mut(&self.0.number) {
            client.stream = Some(began);
        }
    }

    /// Records that the request's body is being sent.
    pub(crate) fn begin_body(&self) -> Sending {
        let mut table = self.0.connections.table();
        if let Some(client) = table.clients.get_mut(&self.0.number) {
            client.sending = Some(Instant::now());
        }
        drop(table);
        Sending(self.0.clone())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(client) = self.0.connections.table().clients.get_mut(&self.0.number) {
            client.sending = None;
        }
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        let mut table = self.0.connections.table();
        let last = table.tick();
        if let Some(client) = table.clients.get_mut(&self.0.number) {
            client.open -= 1;
            client.last = last;
            // A connection has one request at a time.
            client.stream = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_ended(connection: &Connection) -> bool {
        connection.0.end.is_cancelled()
    }

    /// Opens the maximum number of client connections, each with an open request.
    async fn fill(connections: &Arc<Connections>) -> (Vec<Connection>, Vec<InRequest>) {
        let (mut clients, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..MAX_CLIENTS {
            let client = connections.add().await;
            requests.push(client.handle().begin_request().expect("room"));
            clients.push(client);
        }
        (clients, requests)
    }

    #[tokio::test]
    async fn strangers_do_not_displace_clients() {
        let connections = Arc::<Connections>::default();
        let client = connections.add().await;
        drop(client.handle().begin_request().expect("room"));
        let mut strangers = Vec::new();
        for _ in 0..300 {
            strangers.push(connections.add().await);
        }
        let open = strangers.iter().filter(|stranger| !has_ended(stranger)).count();
        assert_eq!((open, has_ended(&client)), (MAX_STRANGERS, false));
        // The newest stay, and become clients with the token.
        assert!(!has_ended(&strangers[299]) && strangers[0].handle().begin_request().is_none());
        assert!(strangers[299].handle().begin_request().is_some());
        drop(strangers);
        assert_eq!(connections.table().strangers.len(), 0);
        assert_eq!(connections.table().clients.len(), 1);
    }

    #[tokio::test]
    async fn a_client_displaces_the_one_that_has_been_idle_longest() {
        let connections = Arc::<Connections>::default();
        let (clients, mut requests) = fill(&connections).await;
        let late = connections.add().await;
        assert!(late.handle().begin_request().is_none());
        // The second becomes idle before the first.
        let (first, second) = (requests.remove(0), requests.remove(0));
        drop((second, first));
        assert!(late.handle().begin_request().is_some());
        assert_eq!((has_ended(&clients[0]), has_ended(&clients[1])), (false, true));
        assert!(clients[1].handle().begin_request().is_none());
        assert!(clients[0].handle().begin_request().is_some());
    }

    #[tokio::test]
    async fn streams_leave_room_for_requests_and_the_oldest_makes_room() {
        let connections = Arc::<Connections>::default();
        let (mut streams, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..MAX_CLIENTS + 10 {
            let client = connections.add().await;
            let request = client.handle().begin_request().expect("room");
            request.begin_stream();
            requests.push(request);
            streams.push(client);
        }
        let ended = streams.iter().take_while(|stream| has_ended(stream)).count();
        assert_eq!(ended, MAX_CLIENTS + 10 - MAX_STREAMS);
        assert!(!streams[ended..].iter().any(has_ended));
        let others = MAX_CLIENTS - MAX_STREAMS;
        let mut open = Vec::new();
        for _ in 0..others {
            let client = connections.add().await;
            open.push((client.handle().begin_request().expect("room"), client));
        }
        assert!(!streams[ended..].iter().any(has_ended), "requests end no stream");
        // A closed stream no longer counts.
        drop(requests.pop());
        drop(streams.pop());
        let client = connections.add().await;
        client.handle().begin_request().expect("room").begin_stream();
        assert!(!has_ended(&streams[ended]));
    }

    #[tokio::test]
    async fn a_client_that_sends_a_request_slowly_makes_room() {
        let connections = Arc::<Connections>::default();
        let (clients, requests) = fill(&connections).await;
        let sent = requests[0].begin_body();
        let sending = requests[1].begin_body();
        drop(sent);
        let late = connections.add().await;
        assert!(late.handle().begin_request().is_none(), "the client is still protected");
        if let Some(client) = connections.table().clients.get_mut(&clients[1].0.number) {
            client.sending = client.sending.and_then(|since| since.checked_sub(BODY_GRACE));
        }
        assert!(late.handle().begin_request().is_some());
        assert_eq!((has_ended(&clients[0]), has_ended(&clients[1])), (false, true));
        drop(sending);
    }

    #[tokio::test]
    async fn a_connection_without_the_token_ends_in_time() {
        let connections = Arc::<Connections>::default();
        let (stranger, client) = (connections.add().await, connections.add().await);
        drop(client.handle().begin_request());
        stranger.ended(Duration::ZERO).await;
        tokio::select! {
            biased;
            () = client.ended(Duration::ZERO) => panic!("the client has ended"),
            () = tokio::task::yield_now() => {}
        }
    }
}
