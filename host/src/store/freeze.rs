//! What a person has frozen: calls that send nothing until it is lifted.
//!
//! It is in a small file of its own, and not in the database, so that every process can look at it
//! immediately before each request. Where nothing is frozen there is no file.

use super::decision::{Decided, Decider, What};
use super::{Store, files};
use crate::error::Error;
use crate::system::file;
use crate::system::user::User;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The name of the file in the state directory.
const FILE: &str = "frozen.json";

/// The maximum size of the file, in bytes. The largest one that is written is smaller.
const MAX_FILE: u64 = 256 * 1024;

/// The maximum number of freezes.
const MAX_FREEZES: usize = 100;

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 300;

/// The version of the file's format.
const VERSION: u32 = 1;

/// The calls that one `whereby freeze` stops: those of an agent, of an account, of both together, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) agent: Option<String>,
    pub(crate) account: Option<String>,
}

impl Selector {
    /// Whether it covers the calls of an account by an agent.
    pub(crate) fn covers(&self, account: &str, agent: Option<&str>) -> bool {
        self.agent.as_deref().is_none_or(|own| agent == Some(own))
            && self.account.as_deref().is_none_or(|own| own == account)
    }

    /// Whether it covers calls of an agent with at least one of its accounts; absent for all accounts.
    pub(crate) fn concerns_agent(&self, name: &str, accounts: Option<&[String]>) -> bool {
        self.agent.as_deref().is_none_or(|own| own == name)
            && self.account.as_ref().is_none_or(|own| accounts.is_none_or(|of| of.contains(own)))
    }

    /// Returns the calls in words, such as ``the agent `assistant` ``.
    pub(crate) fn describe(&self) -> String {
        let shown = |name: &str| text::printable(name, 60);
        match (&self.agent, &self.account) {
            (None, None) => "everything".into(),
            (Some(agent), None) => format!("the agent `{}`", shown(agent)),
            (None, Some(account)) => format!("the account `{}`", shown(account)),
            (Some(agent), Some(account)) => {
                format!("the agent `{}` with the account `{}`", shown(agent), shown(account))
            }
        }
    }

    /// Returns the command that lifts the freeze.
    pub(crate) fn command(&self) -> String {
        let mut command = "whereby unfreeze".to_owned();
        for (option, name) in [("--agent", &self.agent), ("--account", &self.account)] {
            if let Some(name) = name {
                command += &format!(" {option} {}", text::printable(name, 60));
            }
        }
        command
    }
}

/// A freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Freeze {
    pub(crate) selector: Selector,
    pub(crate) reason: Option<String>,
    /// When it was last set, in milliseconds since 1970.
    pub(crate) time: i64,
    /// The operating system's user who set it.
    pub(crate) by: String,
}

impl Freeze {
    /// Returns the freeze in words: what, since when, by whom, and why.
    pub(crate) fn describe(&self) -> String {
        let by = text::printable(&self.by, 60);
        let reason = self.reason.as_ref().map(|reason| text::printable(reason, MAX_REASON));
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} since {} by {by}{reason}", self.selector.describe(), self.since())
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "agent": self.selector.agent,
            "account": self.selector.account,
            "reason": self.reason,
            "since": self.since(),
            "by": self.by,
        })
    }

    fn since(&self) -> String {
        let time = Timestamp::of_unix_ms(self.time);
        time.map_or_else(|| "an unknown time".into(), |time| time.to_seconds().to_rfc3339())
    }
}

/// The result of a change of what is frozen.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    pub(crate) changed: T,
    /// Everything that is frozen now.
    pub(crate) freezes: Vec<Freeze>,
    /// Why the change is not in the audit log, if it is not.
    pub(crate) unrecorded: Option<Error>,
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    frozen: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    agent: Option<String>,
    account: Option<String>,
    reason: Option<String>,
    time: i64,
    by: String,
}

impl From<Entry> for Freeze {
    fn from(Entry { agent, account, reason, time, by }: Entry) -> Self {
        Self { selector: Selector { agent, account }, reason, time, by }
    }
}

impl From<&Freeze> for Entry {
    fn from(freeze: &Freeze) -> Self {
        let Freeze { selector: Selector { agent, account }, reason, time, by } = freeze.clone();
        Self { agent, account, reason, time, by }
    }
}

/// Whether a call may send a request, as far as freezes go.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) store: Arc<Store>,
    pub(crate) account: String,
    pub(crate) agent: Option<String>,
    pub(crate) function: &'static str,
}

impl Gate {
    /// Checks that nothing stops the call. If nothing is frozen, this costs one look for the file.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if a person has frozen it, or if it is unknown what is frozen.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { store, account, agent, function } = self;
        let stopped = |detail: String, fix: String, instead: &str| {
            let message = format!("{function} by the account `{account}` is stopped");
            Err(Error::Blocked { message, detail, fix, instead: instead.to_owned() })
        };
        match store.frozen() {
            Ok(freezes) => {
                let covers = |freeze: &&Freeze| freeze.selector.covers(account, agent.as_deref());
                let Some(freeze) = freezes.iter().find(covers) else { return Ok(()) };
                stopped(
                    format!("; frozen: {}", freeze.describe()),
                    format!("to lift it, run: {}", freeze.selector.command()),
                    "a person has stopped it; do not try again",
                )
            }
            Err(error) => stopped(
                format!(": {error}"),
                "repair that file, or move it away and freeze again what it had frozen".into(),
                "a person must repair this program first; do not try again",
            ),
        }
    }
}

impl Store {
    /// Returns what is frozen.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if that is unknown. Everything counts as frozen then.
    pub(crate) fn frozen(&self) -> Result<Vec<Freeze>, Error> {
        read(&self.shared.directory.join(FILE))
    }

    /// Freezes calls. Says whether they were not frozen by the same selector. If they were, a reason
    /// replaces what is known about the freeze, and without one that stays.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the file cannot be read or written; [`Error::Usage`] if too many names
    /// are frozen.
    pub(crate) fn freeze(
        &self,
        selector: Selector,
        reason: Option<&str>,
        by: &Decider,
    ) -> Result<Changed<bool>, Error> {
        let reason = reason.map(|reason| text::printable(reason, MAX_REASON));
        let user = User::current().name;
        let freeze = Freeze { selector, reason, time: self.shared.now(), by: user };
        let decided = freeze.clone();
        let (changed, freezes) = self.change_frozen(|freezes| {
            let before = freezes.len();
            let own = freezes.iter().position(|known| known.selector == freeze.selector);
            if own.is_some() && freeze.reason.is_none() {
                // What is known about the freeze stays.
                return Ok(false);
            }
            own.map(|own| freezes.remove(own));
            let is_new = own.is_none();
            // Everything can always be frozen.
            if is_new && before >= MAX_FREEZES && freeze.selector != Selector::default() {
                return Err(Error::Usage {
                    message: format!(
                        "there are {MAX_FREEZES} freezes, the maximum; lift one with whereby unfreeze, or \
                         freeze everything"
                    ),
                });
            }
            freezes.push(freeze);
            Ok(is_new)
        })?;
        let unrecorded = self.record_freeze(What::Freeze, by, &decided).err();
        Ok(Changed { changed, freezes, unrecorded })
    }

    fn record_freeze(&self, what: What, by: &Decider, freeze: &Freeze) -> Result<(), Error> {
        self.record_decision(&Decided {
            account: freeze.selector.account.as_deref(),
            agent: freeze.selector.agent.as_deref(),
            details: json!({"reason": freeze.reason}),
            ..Decided::new(what, by)
        })
    }

    /// Lifts the freezes with this selector, or all of them. Returns those that were lifted.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the file cannot be read or written.
    pub(crate) fn unfreeze(
        &self,
        selector: Option<&Selector>,
        by: &Decider,
    ) -> Result<Changed<Vec<Freeze>>, Error> {
        if self.frozen()?.is_empty() {
            // With nothing to lift, do not create a directory.
            return Ok(Changed { changed: Vec::new(), freezes: Vec::new(), unrecorded: None });
        }
        let (changed, freezes): (Vec<Freeze>, _) = self.change_frozen(|freezes| {
            let is_lifted = |freeze: &Freeze| selector.is_none_or(|own| *own == freeze.selector);
            Ok(freezes.extract_if(.., |freeze| is_lifted(freeze)).collect())
        })?;
        let record = |lifted: &Freeze| self.record_freeze(What::Unfreeze, by, lifted).err();
        let unrecorded = changed.iter().find_map(record);
        Ok(Changed { changed, freezes, unrecorded })
    }

    /// Changes what is frozen, while no other process does. Returns the result, and all freezes.
    fn change_frozen<T>(
        &self,
        change: impl FnOnce(&mut Vec<Freeze>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Freeze>), Error> {
        let directory = &self.shared.directory;
        files::prepare_directory(directory)?;
        let path = directory.join(FILE);
        let failed = |error: io::Error| files::failed("list of what is frozen", &path, &error);
        let folder = File::open(directory).map_err(failed)?;
        // Closing the directory releases the lock.
        folder.lock().map_err(failed)?;
        let mut freezes = read(&path)?;
        let changed = change(&mut freezes)?;
        write(&path, &freezes).and_then(|()| folder.sync_all()).map_err(failed)?;
        Ok((changed, freezes))
    }
}

fn read(path: &Path) -> Result<Vec<Freeze>, Error> {
    match path.symlink_metadata() {
        // Where the state directory is none, reads go on, and writes are refused for that.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        _ => {}
    }
    let parsed = file::read(path, MAX_FILE).and_then(|contents| {
        if contents.access.readable_by_others || contents.access.writable_by_others {
            return Err("can be read or changed by others".into());
        }
        let contents: Contents = serde_json::from_slice(&contents.bytes)
            .map_err(|error| format!("is damaged: {}", text::printable(&error.to_string(), 100)))?;
        if contents.version != VERSION {
            return Err("was made by another version of this program".into());
        }
        Ok(contents.frozen.into_iter().map(Freeze::from).collect())
    });
    parsed.map_err(|what: String| {
        let path = text::printable(&path.display().to_string(), 300);
        Error::Configuration { message: format!("everything is frozen, because {path} {what}") }
    })
}

/// Replaces the file atomically, or removes it if nothing is frozen.
fn write(path: &Path, freezes: &[Freeze]) -> io::Result<()> {
    if freezes.is_empty() {
        return file::remove(path);
    }
    let frozen = freezes.iter().map(Entry::from).collect();
    let contents = serde_json::to_vec_pretty(&Contents { version: VERSION, frozen })?;
    file::replace(path, &path.with_extension("json.new"), &contents, true)
}
