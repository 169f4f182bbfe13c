//! The resources that the calls of a session share, each made when it is first needed: the compiled
//! component, the HTTP client, and the access tokens.

use crate::config::credentials::Token;
use crate::config::environment::Environment;
use crate::config::limits::Limits;
use crate::config::origin::ApiBase;
use crate::config::sources::Stamp;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::session::outbound::Transport;
use crate::session::outbound::client::{Client, check_roots};
use crate::session::outbound::connection_limit::ConnectionLimits;
use crate::session::outbound::proxy::Proxy;
pub use crate::session::sandbox::built_in::{
    BUILT_IN_COMPONENT, BUILT_IN_GATEWAY, BUILT_IN_READER, BUILT_IN_READER_GATEWAY,
};
use crate::session::sandbox::engine::{Engine, MAX_COMPONENT_BYTES};
#[cfg(any(feature = "lua", feature = "mcp"))]
use crate::session::sandbox::inspect;
use crate::system::clock::Clock;
use crate::system::digest;
use crate::system::file;
use crate::system::resource_limit;
use secrecy::ExposeSecret;
use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OnceCell, watch};
use whereby_authority::text;
#[cfg(any(feature = "lua", feature = "mcp"))]
use whereby_catalog::{FUNCTIONS, Function};

/// The SHA-256 of the built-in component, in lower-case hexadecimal.
const BUILT_IN_DIGEST: &str = env!("COMPONENT_SHA256");

/// Reads the file of a component, and checks its SHA-256 if one is given.
///
/// # Errors
///
/// [`Error::Configuration`], which names the file.
pub fn read_component(path: &Path, sha256: Option<&str>) -> Result<Vec<u8>, Error> {
    let shown = text::printable(&path.display().to_string(), 300);
    let wrong =
        |what: String| Error::Configuration { message: format!("the component {shown} {what}") };
    let bytes = file::read(path, MAX_COMPONENT_BYTES).map_err(wrong)?.bytes;
    if let Some(expected) = sha256 {
        let found = digest::sha256(&bytes);
        if found != expected {
            return Err(wrong(format!(
                "has the SHA-256 {found}; component.sha256 requires {expected}"
            )));
        }
    }
    Ok(bytes)
}

/// Refuses a component that is too large.
pub(crate) fn check_size(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.len() as u64 <= MAX_COMPONENT_BYTES {
        return Ok(bytes);
    }
    let message = format!("the component is larger than {MAX_COMPONENT_BYTES} bytes");
    Err(Error::Configuration { message })
}

/// The maximum size of a file of certificates, in bytes.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the file that `ca_file` names.
///
/// # Errors
///
/// [`Error::Configuration`], which names the file.
fn read_certificates(path: &Path) -> Result<Vec<u8>, Error> {
    let contents = file::read(path, MAX_CERTIFICATES_BYTES).map_err(|what| {
        let shown = text::printable(&path.display().to_string(), 300);
        Error::Configuration { message: format!("ca_file {shown} {what}") }
    })?;
    Ok(contents.bytes)
}

/// Checks that the certificates in the file can be added to the built-in ones.
///
/// # Errors
///
/// [`Error::Configuration`], which names the file or says which certificate cannot be used.
pub(crate) fn check_certificates(path: &Path) -> Result<(), Error> {
    read_certificates(path).and_then(|pem| check_roots(&pem))
}

/// An engine that is being made: `None`, then the engine or an error.
type Making = watch::Receiver<Option<Result<Arc<Engine>, Error>>>;

/// The session's component.
#[derive(Default)]
struct OwnComponent {
    /// Absent for the built-in one.
    bytes: Option<Vec<u8>>,
    /// The SHA-256 of the bytes.
    digest: OnceLock<String>,
    /// The functions that it exports, cached because a file can be large and clients ask often.
    #[cfg(any(feature = "lua", feature = "mcp"))]
    functions: OnceLock<Vec<&'static Function>>,
}

/// The resources that calls share.
pub(crate) struct Resources {
    pub(crate) settings: Settings,
    environment: Environment,
    component: Arc<OwnComponent>,
    cache: Option<PathBuf>,
    engine: Arc<OnceLock<Making>>,
    connections: Connections,
    tokens: Arc<Mutex<HashMap<String, Arc<OnceCell<Token>>>>>,
    /// What the files of the settings said after their last change.
    newer: Arc<Mutex<Option<Newer>>>,
}

/// Settings that were read again, and the stamps of their files.
struct Newer {
    stamps: Vec<Stamp>,
    settings: Arc<Settings>,
}

/// The connections, which belong to the runtime on which they were first used.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    client: Arc<OnceLock<Result<Client, Error>>>,
    limits_by_origin: Arc<ConnectionLimits>,
}

#[cfg(feature = "lua")]
impl Connections {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
    }

    /// Whether there is another clone.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.client) > 1
    }
}

impl Resources {
    pub(crate) fn new(
        settings: Settings,
        environment: Environment,
        component: Option<Vec<u8>>,
        cache: Option<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            environment,
            component: Arc::new(OwnComponent { bytes: component, ..OwnComponent::default() }),
            cache,
            engine: Arc::default(),
            connections: Connections::default(),
            tokens: Arc::default(),
            newer: Arc::default(),
        })
    }

    /// Returns the resources for other settings. Tokens are fetched again; everything else is shared unless
    /// the settings change it.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the settings name another component, which needs a new session.
    pub(crate) fn with_settings(&self, settings: Settings) -> Result<Arc<Self>, Error> {
        if settings.component != self.settings.component {
            let message =
                "the configuration names another component; restart the program to use it";
            return Err(Error::Configuration { message: message.into() });
        }
        let old = &self.settings;
        let of_engine = |limits: &Limits| {
            (
                limits.concurrent_calls,
                limits.memory_bytes,
                limits.component_functions,
                limits.component_steps,
            )
        };
        let same_engine = of_engine(&settings.limits) == of_engine(&old.limits);
        let proxy = |settings: &Settings| {
            settings.https_proxy.as_ref().map(|proxy| proxy.expose_secret().to_owned())
        };
        let same_client = settings.ca_file == old.ca_file
            && proxy(&settings) == proxy(old)
            && settings.no_proxy == old.no_proxy;
        Ok(Arc::new(Self {
            environment: self.environment.clone(),
            component: Arc::clone(&self.component),
            cache: self.cache.clone(),
            engine: if same_engine { Arc::clone(&self.engine) } else { Arc::default() },
            connections: if same_client {
                self.connections.clone()
            } else {
                Connections::default()
            },
            tokens: Arc::default(),
            newer: Arc::default(),
            settings,
        }))
    }

    /// Returns the resources with other connections, for calls on another runtime.
    #[cfg(feature = "lua")]
    pub(crate) fn over(&self, connections: &Connections) -> Arc<Self> {
        Arc::new(Self {
            settings: self.settings.clone(),
            environment: self.environment.clone(),
            component: Arc::clone(&self.component),
            cache: self.cache.clone(),
            engine: Arc::clone(&self.engine),
            connections: connections.clone(),
            tokens: Arc::clone(&self.tokens),
            newer: Arc::clone(&self.newer),
        })
    }

    /// Returns the connections.
    #[cfg(feature = "lua")]
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns the engine. It is made once, on its own thread, because a third-party component can take
    /// long to compile, and a call must be able to time out.
    pub(crate) async fn engine(self: &Arc<Self>) -> Result<Arc<Engine>, Error> {
        let mut made = self.engine.get_or_init(|| self.make_engine()).clone();
        let made = made.wait_for(Option::is_some).await;
        let failed = || Error::Internal { message: "compiling the component failed".into() };
        // The thread always sends a result.
        made.ok().and_then(|made| made.clone()).unwrap_or_else(|| Err(failed()))
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the settings as the files have them now, if a file has changed since these were read. A file
    /// is read only after a change. Settings that a program made, and not a file, do not change.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if they cannot be read.
    pub(crate) fn newer_settings(&self) -> Result<Option<Arc<Settings>>, Error> {
        let Some(sources) = &self.settings.sources else { return Ok(None) };
        // Before the files are read, so that no change is missed.
        let stamps = sources.stamps_now();
        if stamps == sources.stamps {
            return Ok(None);
        }
        let mut newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = newer.as_ref().filter(|known| known.stamps == stamps) {
            return Ok(Some(Arc::clone(&known.settings)));
        }
        let settings = Arc::new(sources.load()?);
        *newer = Some(Newer { stamps, settings: Arc::clone(&settings) });
        Ok(Some(settings))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.environment.clock
    }

    /// Whether the component is built in.
    pub(crate) fn is_built_in(&self) -> bool {
        let is_built_in = |bytes: &[u8]| [BUILT_IN_COMPONENT, BUILT_IN_READER].contains(&bytes);
        self.component.bytes.as_deref().is_none_or(is_built_in)
    }

    /// Returns the component's bytes.
    pub(crate) fn component(&self) -> &[u8] {
        self.component.bytes.as_deref().unwrap_or(BUILT_IN_COMPONENT)
    }

    /// Returns the component's SHA-256, in lower-case hexadecimal.
    pub(crate) fn component_digest(&self) -> &str {
        match &self.component.bytes {
            Some(bytes) => self.component.digest.get_or_init(|| digest::sha256(bytes)),
            None => BUILT_IN_DIGEST,
        }
    }

    /// Returns the functions that the component exports. For a file that is not a component, that is all
    /// of them, and their calls fail.
    #[cfg(any(feature = "lua", feature = "mcp"))]
    pub(crate) fn functions(&self) -> Vec<&'static Function> {
        let find = || match self.component.bytes.as_deref().map(inspect::functions) {
            Some(Ok(functions)) => functions,
            Some(Err(_)) | None => FUNCTIONS.iter().collect(),
        };
        self.component.functions.get_or_init(find).clone()
    }

    fn make_engine(self: &Arc<Self>) -> Making {
        let (sender, receiver) = watch::channel(None);
        let (own, made_by_thread) = (Arc::clone(self), sender.clone());
        let make = move || {
            // The compiler panics if it cannot start its threads.
            let made = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let packaged = own.environment.compiled_code.as_deref();
                let packaged = packaged.filter(|_| own.component.bytes.is_none());
                let (bytes, digest) = (own.component(), own.component_digest());
                let (limits, cache) = (&own.settings.limits, own.cache.as_deref());
                Engine::new(bytes, digest, limits, packaged, cache)
            }));
            let failed = |panic: Box<dyn Any + Send>| {
                Err(resource_limit::panicked("compiling the component failed", &*panic))
            };
            let engine = made.unwrap_or_else(failed);
            made_by_thread.send_replace(Some(engine.map(Arc::new)));
        };
        if let Err(error) = std::thread::Builder::new().name("whereby-compiler".into()).spawn(make)
        {
            sender.send_replace(Some(Err(resource_limit::no_thread(&error))));
        }
        receiver
    }

    fn client(&self) -> Result<Client, Error> {
        let settings = &self.settings;
        let make = || {
            let own_roots = settings.ca_file.as_deref().map(read_certificates).transpose()?;
            let proxy = settings.https_proxy.as_ref().map(ExposeSecret::expose_secret);
            let no_proxy = settings.no_proxy.as_deref();
            let variable = settings.proxy_variable.unwrap_or("HTTPS_PROXY");
            let proxy = proxy.map(|url| Proxy::new(variable, url, no_proxy));
            Client::new(own_roots.as_deref(), proxy)
        };
        self.connections.client.get_or_init(make).clone()
    }

    /// Returns the transport for requests to an API.
    pub(crate) fn transport(&self, api: &ApiBase) -> Result<Transport, Error> {
        let client = self.client()?;
        client.check_proxy(api)?;
        Ok(Transport { client, connection_limit: self.connections.limits_by_origin.to(api) })
    }

    /// Returns the access token of an account. Concurrent calls fetch it once.
    pub(crate) async fn token(&self, name: &str, account: &Account) -> Result<Token, Error> {
        let cell = Arc::clone(self.tokens().entry(name.to_owned()).or_default());
        let fetch = || async {
            if account.token.is_at_hand() {
                return account.token.fetch(name, &self.environment);
            }
            // A file or a command may block.
            let (source, name) = (account.token.clone(), name.to_owned());
            let environment = self.environment.clone();
            let fetch = tokio::task::spawn_blocking(move || source.fetch(&name, &environment));
            let failed = || Error::Internal { message: "reading the access token failed".into() };
            fetch.await.unwrap_or_else(|_| Err(failed()))
        };
        cell.get_or_try_init(fetch).await.cloned()
    }

    /// Forgets the token of an account, so that the next call fetches it again.
    pub(crate) fn forget_token(&self, name: &str) {
        self.tokens().remove(name);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Token>>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_built_in_component_is_known() {
        assert_eq!(BUILT_IN_DIGEST, digest::sha256(BUILT_IN_COMPONENT));
    }
}
