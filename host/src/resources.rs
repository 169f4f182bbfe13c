//! What the calls of a session share, each made when it is first needed: the compiled component, the
//! HTTP client, and the access tokens.

use crate::config::{Account, Environment, Settings};
use crate::credentials::Token;
use crate::engine::{Engine, MAX_COMPONENT_BYTES};
use crate::error::Error;
use crate::text;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::watch;

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
    let failed = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(wrong("is not a file".into()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(wrong(format!("is larger than {MAX_COMPONENT_BYTES} bytes")));
    }
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
    tokens: Mutex<HashMap<String, Token>>,
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

    fn make_engine(self: &Arc<Self>) -> Making {
        let (sender, receiver) = watch::channel(None);
        let own = Arc::clone(self);
        let make = move || {
            let bytes = own.component.as_deref().unwrap_or(BUILT_IN_COMPONENT);
            let engine = Engine::new(bytes, &own.settings.limits, own.cache.as_deref());
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
                Some(path) => Some(std::fs::read(path).map_err(|error| Error::Configuration {
                    message: format!(
                        "ca_file {} cannot be read: {error}",
                        text::printable(&path.display().to_string(), 300)
                    ),
                })?),
            };
            crate::http::client(
                own_roots.as_deref(),
                settings.https_proxy.as_deref(),
                settings.no_proxy.as_deref(),
            )
        };
        self.client.get_or_init(make).clone()
    }

    /// The access token of an account, fetched once.
    pub(crate) async fn token(&self, name: &str, account: &Account) -> Result<Token, Error> {
        if let Some(token) = self.tokens().get(name) {
            return Ok(token.clone());
        }
        let token = if account.token.is_literal() {
            account.token.fetch(name, &self.environment)?
        } else {
            // A file or a command may take its time.
            let (source, name) = (account.token.clone(), name.to_owned());
            let environment = self.environment.clone();
            let fetch = tokio::task::spawn_blocking(move || source.fetch(&name, &environment));
            fetch.await.map_err(|_| Error::Internal {
                message: "reading the access token failed".into(),
            })??
        };
        self.tokens().insert(name.to_owned(), token.clone());
        Ok(token)
    }

    /// Forgets the token of an account, which may have been replaced where it comes from.
    pub(crate) fn forget_token(&self, name: &str) {
        self.tokens().remove(name);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
