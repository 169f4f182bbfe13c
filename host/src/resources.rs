//! What the calls of a session share, each made when it is first needed: the compiled component, the
//! HTTP client, and the access tokens.

use crate::config::{Account, Settings};
use crate::credentials::Token;
use crate::engine::{Engine, MAX_COMPONENT_BYTES};
use crate::environment::Environment;
use crate::error::Error;
use crate::{file, text};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OnceCell, watch};

/// The component that the program brings along, with every function.
pub static BUILT_IN_COMPONENT: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/integration.wasm"));

/// The component that the program brings along, with the functions that only read.
pub static BUILT_IN_READER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reader.wasm"));

/// Reads the file of a component, whose digest is checked where one is given.
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
        let found = crate::cache::sha256(&bytes);
        if found != expected {
            return Err(wrong(format!(
                "has the SHA-256 {found}, and component.sha256 says {expected}"
            )));
        }
    }
    Ok(bytes)
}

/// Refuses a component that is too large to be one.
pub(crate) fn check_size(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.len() as u64 <= MAX_COMPONENT_BYTES {
        return Ok(bytes);
    }
    let message = format!("the component is larger than {MAX_COMPONENT_BYTES} bytes");
    Err(Error::Configuration { message })
}

/// The greatest size of a file of certificates, in bytes.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// An engine that is being made: nothing yet, then the engine or why there is none.
type Making = watch::Receiver<Option<Result<Arc<Engine>, Error>>>;

/// What calls share.
pub(crate) struct Resources {
    pub(crate) settings: Settings,
    environment: Environment,
    component: Option<Vec<u8>>,
    cache: Option<PathBuf>,
    engine: OnceLock<Making>,
    client: OnceLock<Result<reqwest::Client, Error>>,
    tokens: Mutex<HashMap<String, Arc<OnceCell<Token>>>>,
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
            component,
            cache,
            engine: OnceLock::new(),
            client: OnceLock::new(),
            tokens: Mutex::new(HashMap::new()),
        })
    }

    /// The engine. It is made once, in a thread of its own: compiling takes a while, a foreign
    /// component can make it take long, and whoever waits for it waits within the call's time.
    pub(crate) async fn engine(self: &Arc<Self>) -> Result<Arc<Engine>, Error> {
        let mut made = self.engine.get_or_init(|| self.make_engine()).clone();
        let made = made.wait_for(Option::is_some).await;
        let failed = || Error::Internal { message: "compiling the component failed".into() };
        // Its thread ended without a word only if it panicked.
        made.ok().and_then(|made| made.clone()).unwrap_or_else(|| Err(failed()))
    }

    /// The component's bytes.
    pub(crate) fn component(&self) -> &[u8] {
        self.component.as_deref().unwrap_or(BUILT_IN_COMPONENT)
    }

    fn make_engine(self: &Arc<Self>) -> Making {
        let (sender, receiver) = watch::channel(None);
        let own = Arc::clone(self);
        let make = move || {
            let engine = Engine::new(own.component(), &own.settings.limits, own.cache.as_deref());
            sender.send_replace(Some(engine.map(Arc::new)));
        };
        // Where there is no thread to be had, the sender is gone and the wait above ends.
        drop(std::thread::Builder::new().name("whereby-compiler".into()).spawn(make));
        receiver
    }

    pub(crate) fn client(&self) -> Result<reqwest::Client, Error> {
        let settings = &self.settings;
        let make = || {
            let own_roots = match &settings.ca_file {
                None => None,
                Some(path) => {
                    let read = file::read(path, MAX_CERTIFICATES_BYTES);
                    let shown = text::printable(&path.display().to_string(), 300);
                    let contents = read.map_err(|what| Error::Configuration {
                        message: format!("ca_file {shown} {what}"),
                    })?;
                    Some(contents.bytes)
                }
            };
            crate::http::client(
                own_roots.as_deref(),
                settings.https_proxy.as_ref().map(ExposeSecret::expose_secret),
                settings.no_proxy.as_deref(),
            )
        };
        self.client.get_or_init(make).clone()
    }

    /// The access token of an account, fetched once, whoever wants it meanwhile.
    pub(crate) async fn token(&self, name: &str, account: &Account) -> Result<Token, Error> {
        let cell = Arc::clone(self.tokens().entry(name.to_owned()).or_default());
        let fetch = || async {
            if account.token.is_at_hand() {
                return account.token.fetch(name, &self.environment);
            }
            // A file or a command may take its time.
            let (source, name) = (account.token.clone(), name.to_owned());
            let environment = self.environment.clone();
            let fetch = tokio::task::spawn_blocking(move || source.fetch(&name, &environment));
            let failed = || Error::Internal { message: "reading the access token failed".into() };
            fetch.await.unwrap_or_else(|_| Err(failed()))
        };
        cell.get_or_try_init(fetch).await.cloned()
    }

    /// Forgets the token of an account, which may have been replaced where it comes from.
    pub(crate) fn forget_token(&self, name: &str) {
        self.tokens().remove(name);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Token>>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
