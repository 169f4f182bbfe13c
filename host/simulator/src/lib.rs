//! An imitation of the Whereby REST API on a loopback port, for tests, benchmarks and demonstrations.
//!
//! It behaves as the real API is known to behave. Where that is unknown, a [switch](SWITCHES) decides.

mod connection;
mod create;
mod demo;
mod identity;
mod insights;
mod meetings;
mod moment;
mod paging;
mod rate_limit;
mod recorder;
mod recordings;
mod response;
mod script;
mod seed;
mod service;
mod state;
pub mod switches;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use recorder::RecordedRequest;
pub use script::{Gate, Reply};
pub use seed::{ParticipantSeed, RoomSeed, SeededRoom, SessionSeed};
pub use switches::{SWITCHES, SwitchInfo, SwitchValues, Switches};

use connection::{Listener, Peer};
use moment::{Clock, Moment};
use recorder::Recorder;
use service::Service;

/// The options for starting a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The loopback address to listen on. Default: a free port of 127.0.0.1.
    pub listen: SocketAddr,
    /// The initial switches.
    pub switches: Switches,
    /// Whether to record requests for [`Simulator::requests`]. Default: true.
    pub record: bool,
    /// The time at which the clock stands still, for snapshots. Default: real time.
    pub now: Option<OffsetDateTime>,
    /// The organizations, each with its own API key. Default: one with [`Seed::Demo`].
    pub organizations: Vec<OrganizationSeed>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            switches: Switches::default(),
            record: true,
            now: None,
            organizations: vec![OrganizationSeed::new("acme-demo", Seed::Demo)],
        }
    }
}

/// An organization to start with.
#[derive(Clone)]
pub struct OrganizationSeed {
    subdomain: String,
    seed: Seed,
    token: Option<String>,
}

impl OrganizationSeed {
    /// Returns an organization whose rooms are at `https://<subdomain>.whereby.com/`, with a generated API key.
    #[must_use]
    pub fn new(subdomain: &str, seed: Seed) -> Self {
        Self { subdomain: subdomain.to_owned(), seed, token: None }
    }

    /// Uses this API key instead, for example one that is not a JWT.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }
}

impl fmt::Debug for OrganizationSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrganizationSeed")
            .field("subdomain", &self.subdomain)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The initial data of an organization.
#[derive(Clone, Debug)]
pub enum Seed {
    /// Rooms of fictitious people: used, in progress, recorded, ended, deleted and new.
    Demo,
    /// These rooms, possibly none.
    Rooms(Vec<RoomSeed>),
}

/// A running simulator. It stops when it is dropped.
pub struct Simulator {
    address: SocketAddr,
    tokens: Vec<String>,
    service: Arc<Service>,
    connections: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if the address is not loopback or cannot be listened on, or if the clock is outside the years 0 to
    /// 9999.
    pub async fn start(options: Options) -> io::Result<Self> {
        let refuse = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        if !options.listen.ip().is_loopback() {
            return Err(refuse("the simulator listens on loopback addresses only"));
        }
        let now = options.now.map(|now| {
            Moment::from_date(now).ok_or_else(|| refuse("the clock's year must be from 0 to 9999"))
        });
        let clock = Clock::new(now.transpose()?);
        let mut organizations = Vec::new();
        let mut tokens = Vec::new();
        for (index, seed) in options.organizations.iter().enumerate() {
            let mut organization = state::Organization::new(index, &seed.subdomain);
            let now = clock.now();
            let (rooms, now) = match &seed.seed {
                // Round times look better in demonstrations.
                Seed::Demo => (&demo::rooms(), now.rounded_down()),
                Seed::Rooms(rooms) => (rooms, now),
            };
            for room in rooms {
                organization.seed_room(room, now, &options.switches);
            }
            tokens.push(seed.token.clone().unwrap_or_else(|| identity::api_key(organization.id)));
            organizations.push(Mutex::new(organization));
        }
        let service = Arc::new(Service {
            organizations,
            keys: tokens.iter().cloned().zip(0..).collect::<HashMap<_, _>>(),
            switches: RwLock::new(options.switches),
            clock,
            recorder: options.record.then(Recorder::default),
            scripts: script::Scripts::default(),
        });

        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        let listener = Listener { listener, accepted: Arc::clone(&connections), stop: stopped };
        let app = Router::new().fallback(service::handle).with_state(Arc::clone(&service));
        let app = app.into_make_service_with_connect_info::<Peer>();
        let server = tokio::spawn(async move {
            // This never returns: the listener retries failed accepts.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, tokens, service, connections, stop, server })
    }

    /// Returns the base URL of the API: `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the first organization's API key; empty if there is no organization.
    ///
    /// A generated key has the form and claims of a real one, and is the same in every run.
    #[must_use]
    pub fn token(&self) -> &str {
        self.tokens.first().map_or("", String::as_str)
    }

    /// Returns the API keys of all organizations, in order.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Returns all requests in the order of arrival; empty if recording is off.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.service.recorder.as_ref().map(Recorder::all).unwrap_or_default()
    }

    /// Clears the recorded requests.
    pub fn clear_requests(&self) {
        if let Some(recorder) = &self.service.recorder {
            recorder.clear();
        }
    }

    /// Waits until at least this many requests have arrived since the last [`Simulator::clear_requests`]. Returns
    /// immediately if recording is off.
    pub async fn wait_for_requests(&self, count: usize) {
        if let Some(recorder) = &self.service.recorder {
            recorder.wait_for(count).await;
        }
    }

    /// Returns the number of accepted TCP connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Sends this reply to the next `times` requests with this method (`*` for any) and this path prefix (`/v1/…`).
    ///
    /// If several scripts match a request, the first one is used. The key and the rate limit are checked only if the
    /// reply carries the request out.
    pub fn script(&self, method: &str, path_prefix: &str, times: usize, reply: Reply) {
        self.service.scripts.add(method, path_prefix, times, reply);
    }

    /// Responds to the next `times` requests with this status and no body.
    pub fn fail_next(&self, times: usize, status: u16) {
        self.script("*", "", times, Reply::status(status));
    }

    /// Returns the number of replies that are still scripted.
    #[must_use]
    pub fn scripts_left(&self) -> usize {
        self.service.scripts.left()
    }

    /// Drops all scripts.
    pub fn clear_scripts(&self) {
        self.service.scripts.clear();
    }

    /// Returns the current switches.
    #[must_use]
    pub fn switches(&self) -> Switches {
        self.service.switches()
    }

    /// Sets all switches. Existing rooms keep the form of their `meetingId`.
    pub fn set_switches(&self, switches: Switches) {
        *self.service.switches.write().unwrap_or_else(PoisonError::into_inner) = switches;
    }

    /// Returns the time of the simulated API.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.service.clock.now().to_date()
    }

    /// Moves the clock forward, even if it stands still: rooms end, insights catch up, and rate limits reset.
    pub fn advance(&self, by: Duration) {
        self.service.clock.advance(by);
    }

    /// Adds a room with its sessions to an organization, counted from 0.
    ///
    /// # Panics
    ///
    /// Panics if the organization does not exist.
    pub fn add_room(&self, organization: usize, room: &RoomSeed) -> SeededRoom {
        let (now, switches) = (self.service.clock.now(), self.switches());
        self.service.organization(organization).seed_room(room, now, &switches)
    }

    /// Adds a session to a room, whose name may have a leading slash. Returns the session's id, or `None` if the
    /// room does not exist or the session never had two people.
    ///
    /// # Panics
    ///
    /// Panics if the organization does not exist.
    pub fn add_session(
        &self,
        organization: usize,
        room_name: &str,
        session: &SessionSeed,
    ) -> Option<String> {
        let now = self.service.clock.now();
        let organization = &mut *self.service.organization(organization);
        let room = organization.room_by_name(&format!("/{}", room_name.trim_start_matches('/')))?;
        organization.seed_session(room, session, now)
    }

    /// Stops listening and closes all connections.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.server.abort();
        // The error only says that the task was cancelled.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.server.abort();
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}
