//! What outlasts a call: approvals that a person has yet to give or has given, and the audit log.
//!
//! Both are in one SQLite database in the user's state directory, which many processes use at once.
//! Rows of the log go to a spool first (`spool.rs`), so that a read does not wait for a database; the
//! beginning of a write is in the database, and on the disk, before the write is sent.

mod approvals;
mod archive;
mod audit;
mod cut;
mod database;
mod files;
mod schema;
mod spool;
#[cfg(test)]
mod tests;

pub use approvals::{ApprovalState, StoredApproval};
pub use audit::{AuditFilter, AuditOutcome, AuditRequest, AuditRow};

pub(crate) use approvals::{Asker, Asking, Claim, Digest, Filed, Standing, Subject, new_id};
pub(crate) use audit::{Begin, End};

use crate::error::Error;
use crate::system::clock::Clock;
use approvals::{Decision, check_id};
use database::{Database, Durability};
use rusqlite::{Connection, Transaction};
use serde::Serialize;
use spool::{Spool, SpoolFile};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long rows of the log gather before they are moved into the database.
const INTERVAL: Duration = Duration::from_millis(250);

/// The longest pause before they are moved, where that has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a process waits for another one that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The approvals and the audit log of a user, in a directory.
///
/// It may be used by any number of threads, and the directory by any number of processes. What it
/// does may wait for a disk or for another process, so an asynchronous program does it elsewhere.
pub struct Store {
    shared: Arc<Shared>,
    /// Whether a thread moves the spool.
    in_background: bool,
    /// That thread; absent until there is something to move.
    mover: Mutex<Option<Mover>>,
    /// How many approvals were given back by rows that may not be in the database yet.
    given_back: AtomicUsize,
}

/// What the store and the thread that moves its spool both use.
struct Shared {
    directory: PathBuf,
    clock: Clock,
    patience: Duration,
    database: parking_lot::Mutex<Option<Opened>>,
    spool: Spool,
    /// Held by whoever moves the spool into the database: what could not be moved when that was tried.
    moving: Mutex<Option<SpoolFile>>,
}

struct Mover {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

/// What tests do in another way.
struct Options {
    clock: Clock,
    patience: Duration,
    in_background: bool,
}

struct Opened {
    database: Database,
    /// What digests are made with.
    key: [u8; 32],
}

/// Why a call's beginning is not in the log.
#[derive(Debug)]
pub(crate) enum BeginError {
    /// What it was to be made by is not there any more. Nothing was written.
    NotApproved,
    /// It could not be written.
    Store(Error),
}

impl From<Error> for BeginError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// The store in a directory. Nothing is opened or made until it is needed.
    #[must_use]
    pub fn new(directory: PathBuf) -> Arc<Self> {
        Self::with_clock(directory, Clock::system())
    }

    /// Returns the store in a directory, where approvals expire by the given clock.
    #[must_use]
    pub fn with_clock(directory: PathBuf, clock: Clock) -> Arc<Self> {
        Self::with_options(directory, Options { clock, patience: PATIENCE, in_background: true })
    }

    fn with_options(directory: PathBuf, options: Options) -> Arc<Self> {
        let Options { clock, patience, in_background } = options;
        let shared = Shared {
            spool: Spool::new(&directory),
            directory,
            clock,
            patience,
            database: parking_lot::Mutex::default(),
            moving: Mutex::default(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            in_background,
            mover: Mutex::default(),
            given_back: AtomicUsize::new(0),
        })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Finds out whether everything can be written, and makes what is not there.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.shared.spool.prepare()?;
        // Taking the lock of a writer needs all that writing does but the room.
        self.shared.write(|_| Ok(()))
    }

    /// What an approval of a call, and of no other, is bound to.
    pub(crate) fn digest(&self, subject: &Subject<'_>) -> Result<Digest, Error> {
        self.shared.with(|opened| Digest::of(subject, &opened.key))
    }

    /// Whether a person has approved the call, which was not made yet.
    pub(crate) fn is_approved(&self, digest: &Digest) -> Result<bool, Error> {
        self.take_back();
        self.shared
            .look(|connection, now| approvals::is_approved(connection, now, digest))
            .map(Option::unwrap_or_default)
    }

    /// Whether a person has denied this call within the last hour.
    pub(crate) fn is_denied(&self, digest: &Digest) -> Result<bool, Error> {
        self.shared
            .look(|connection, now| approvals::is_denied(connection, now, digest))
            .map(Option::unwrap_or_default)
    }

    /// Stores a call for a person to approve. A call that waits already waits on under the same id.
    pub(crate) fn file_approval(&self, asking: &Asking<'_>) -> Result<Filed, Error> {
        self.take_back();
        let now = self.shared.now();
        let filed = self.shared.write(|transaction| approvals::file(transaction, now, asking))?;
        filed.map_err(|full| approvals::too_many(full, asking))
    }

    /// The handle by which an MCP client answers a stored question. The id alone, which agents get to
    /// see, is none.
    pub(crate) fn handle(&self, id: &str) -> Result<String, Error> {
        self.shared.with(|opened| approvals::handle(id, &opened.key))
    }

    /// The id that a handle was made for; `None` of anything else.
    pub(crate) fn id_of(&self, handle: &str) -> Result<Option<String>, Error> {
        let id = handle.split('.').next().unwrap_or_default();
        let made = self.handle(id)?;
        Ok(approvals::is_same(&made, handle).then(|| id.to_owned()))
    }

    /// Returns the state of an approval.
    pub(crate) fn standing(&self, id: &str) -> Result<Standing, Error> {
        let found = self.shared.look(|connection, now| approvals::one(connection, now, id))?;
        Ok(match found.flatten().map(|approval| approval.state) {
            Some(ApprovalState::Pending) => Standing::Pending,
            Some(ApprovalState::Approved) => Standing::Approved,
            Some(ApprovalState::Denied) => Standing::Denied,
            Some(ApprovalState::Used) => Standing::Used,
            Some(ApprovalState::Expired) | None => Standing::Gone,
        })
    }

    /// Denies what waits, where the id and the call belong together.
    pub(crate) fn decline(&self, id: &str, digest: &Digest) -> Result<bool, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| approvals::decline(transaction, now, id, digest))
    }

    /// Writes to the log that a call is about to be made, and uses up what it is made by, in one step
    /// that is on the disk when this returns. Returns the id of the approval.
    pub(crate) fn begin(
        &self,
        begin: &Begin,
        claim: Option<Claim<'_>>,
    ) -> Result<Option<String>, BeginError> {
        let now = self.shared.now();
        let written = self.shared.with(|opened| {
            opened.database.transaction(Durability::Full, |transaction| {
                let approval = match claim {
                    None => begin.approval.clone(),
                    Some(claim) => match approvals::claim(transaction, now, claim)? {
                        Some(id) => Some(id),
                        None => return Ok(None),
                    },
                };
                match audit::Writer::new(transaction)?.begin(begin, approval.as_deref())? {
                    true => Ok(Some(approval)),
                    // Another call's beginning is not this one's.
                    false => Err(rusqlite::Error::StatementChangedRows(0).into()),
                }
            })
        })?;
        written.ok_or(BeginError::NotApproved)
    }

    /// Adds the beginning of a call to the log, its end, or both. It is written when this returns, so
    /// that it outlasts the process; what is durable outlasts a power failure, and waits for a disk.
    pub(crate) fn record(
        &self,
        begin: Option<&Begin>,
        end: Option<&End>,
        durable: bool,
    ) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            begin: Option<&'a Begin>,
            end: Option<&'a End>,
        }
        let (begin, end) = (begin.map(Begin::bounded), end.map(End::bounded));
        let line = Line { begin: begin.as_ref(), end: end.as_ref() };
        let mut line = serde_json::to_vec(&line).map_err(|error| Error::Internal {
            message: format!("a row of the audit log has no form: {error}"),
        })?;
        line.push(b'\n');
        let is_first = self.shared.spool.append(&line, durable)?;
        let is_moved = durable && self.shared.move_durably()?;
        if is_first && !is_moved {
            self.wake();
        }
        if !is_moved && end.is_some_and(|end| end.give_back.is_some()) {
            self.given_back.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Moves what was recorded into the database, also what processes that are no more have left
    /// behind.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the database cannot be written. Nothing is lost by it, and a
    /// later attempt goes on.
    pub fn flush(&self) -> Result<(), Error> {
        let mut waiting = self.shared.moving();
        self.shared.move_own(&mut waiting)?;
        for file in self.shared.spool.left_behind()? {
            self.shared.import(&file)?;
            file.delete();
        }
        Ok(())
    }

    /// The approvals in the order of their filing: those that something can be done about, or all.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the database cannot be read.
    pub fn approvals(&self, all: bool) -> Result<Vec<StoredApproval>, Error> {
        self.shared
            .look(|connection, now| approvals::list(connection, now, all))
            .map(Option::unwrap_or_default)
    }

    /// The approval of an id, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] where it is no whole id; [`Error::Configuration`] where the database cannot
    /// be read.
    pub fn approval(&self, id: &str) -> Result<Option<StoredApproval>, Error> {
        check_id(id)?;
        let found = self.shared.look(|connection, now| approvals::one(connection, now, id))?;
        Ok(found.flatten())
    }

    /// Approves a call: it can be made once, within 15 minutes. A call that was denied in the last
    /// hour gets a new approval, with another id. Never let an agent do this.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] where it is no whole id of a call that waits; [`Error::Configuration`] where
    /// the database cannot be written.
    pub fn approve(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Approve)
    }

    /// Denies a call that waits, or takes back an approval that was not used.
    ///
    /// # Errors
    ///
    /// As for [`Store::approve`].
    pub fn deny(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Deny)
    }

    /// Denies every open approval that the filter takes, in one step: those that wait, and those that
    /// are approved and not used. Returns them as they are now, in the order of their filing.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the database cannot be used.
    pub fn deny_all(
        &self,
        filter: impl Fn(&StoredApproval) -> bool,
    ) -> Result<Vec<StoredApproval>, Error> {
        // Nothing is made where there is nothing to deny.
        if !self.approvals(false)?.iter().any(&filter) {
            return Ok(Vec::new());
        }
        let now = self.shared.now();
        self.shared.write(|transaction| {
            approvals::expire(transaction, now)?;
            let mut denied = Vec::new();
            for open in approvals::list(transaction, now, false)?.iter().filter(|open| filter(open))
            {
                denied.extend(approvals::decide(transaction, now, &open.id, Decision::Deny)?);
            }
            Ok(denied)
        })
    }

    /// The calls in the audit log, in the order of their time, also those that other processes have
    /// just recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the database cannot be used.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.gather()?;
        self.audit_as_it_is(filter)
    }

    /// Writes into the database what any process has recorded. What others hold they move later, which
    /// then changes nothing. An archive that was interrupted is finished.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        self.finish_archive()?;
        let mut waiting = self.shared.moving();
        self.shared.move_own(&mut waiting)?;
        for file in self.shared.spool.others()? {
            self.shared.import(&file)?;
            file.delete();
        }
        Ok(())
    }

    /// How many calls a filter lets through, were it without its limit.
    pub(crate) fn audit_count(&self, filter: &AuditFilter) -> Result<u64, Error> {
        let counted = self.shared.look(|connection, _| audit::count(connection, filter))?;
        Ok(counted.unwrap_or_default())
    }

    /// Gives each row to a function, so that not all of them need to be kept.
    pub(crate) fn audit_each(
        &self,
        filter: &AuditFilter,
        each: impl FnMut(AuditRow),
    ) -> Result<(), Error> {
        self.shared
            .look(|connection, _| audit::each(connection, filter, each))
            .map(Option::unwrap_or_default)
    }

    /// The same of what is in the database already.
    pub(crate) fn audit_as_it_is(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.shared
            .look(|connection, _| audit::list(connection, filter))
            .map(Option::unwrap_or_default)
    }

    /// The position of what was added to the log last.
    pub(crate) fn log_end(&self) -> Result<i64, Error> {
        self.shared.look(|connection, _| audit::last(connection)).map(Option::unwrap_or_default)
    }

    fn decide(&self, id: &str, decision: Decision) -> Result<StoredApproval, Error> {
        check_id(id)?;
        let now = self.shared.now();
        // Nothing is made where there is nothing to decide on.
        if self.approval(id)?.is_none() {
            return Err(approvals::undecidable(None, now, id, decision));
        }
        let decided = self.shared.write(|transaction| {
            approvals::expire(transaction, now)?;
            match approvals::decide(transaction, now, id, decision)? {
                Some(decided) => Ok(Ok(decided)),
                None => Ok(Err(approvals::one(transaction, now, id)?)),
            }
        })?;
        decided.map_err(|found| approvals::undecidable(found, now, id, decision))
    }

    /// Moves rows that give an approval back, so that an immediate retry finds it.
    fn take_back(&self) {
        if self.given_back.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiting = self.shared.moving();
        let count = self.given_back.load(Ordering::SeqCst);
        // Where that fails, the approval is missing for now, and somebody is asked again.
        if self.shared.move_own(&mut waiting).is_ok() {
            self.given_back.fetch_sub(count, Ordering::SeqCst);
        }
    }

    /// Says that there is something to move.
    fn wake(&self) {
        if !self.in_background {
            return;
        }
        let mut mover = self.mover.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mover) = &*mover
            && mover.wake.send(()).is_ok()
        {
            return;
        }
        let (wake, woken) = channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("whereby-audit".into());
        // Without the thread, `flush` moves the rows, or dropping the store does.
        if let Ok(thread) = thread.spawn(move || move_in_background(&shared, &woken)) {
            // The thread cannot be gone so soon.
            let _ = wake.send(());
            *mover = Some(Mover { wake, thread });
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let mover = self.mover.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Mover { wake, thread }) = mover {
            drop(wake);
            // It may be moving rows, and the last user closes the database.
            let _ = thread.join();
        }
        // What cannot be moved now is left behind for others.
        let mut waiting = self.shared.moving();
        let _ = self.shared.move_own(&mut waiting);
    }
}

impl Shared {
    fn now(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// Does something with the database, opened and made where it is not.
    fn with<T>(&self, work: impl FnOnce(&mut Opened) -> Result<T, Error>) -> Result<T, Error> {
        // The holder may be waiting for another process. The others must not wait one after the other.
        let patience = self.patience;
        let mut guard = self.database.try_lock_for(patience).ok_or_else(|| {
            let path = self.directory.join(database::FILE);
            let shown = whereby_authority::text::printable(&path.display().to_string(), 300);
            Error::Configuration {
                message: format!(
                    "the state database {shown} is busy: another program has it, or too many calls \
                     wait for it; try again later"
                ),
            }
        })?;
        if let Some(gone) = guard.take_if(|opened| opened.database.is_gone()) {
            // It may have been moved to be kept.
            gone.database.complete();
        }
        let opened = match &mut *guard {
            Some(opened) => opened,
            none => {
                let database = Database::open(&self.directory, patience)?;
                none.insert(Opened { key: database.key()?, database })
            }
        };
        work(opened)
    }

    /// Reads where there is a database.
    fn look<T>(
        &self,
        read: impl FnOnce(&Connection, i64) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let now = self.now();
        self.with(|Opened { database, .. }| {
            read(&database.connection, now).map(Some).map_err(|error| database.explain(error))
        })
    }

    fn exists(&self) -> Result<bool, Error> {
        let path = self.directory.join(database::FILE);
        path.try_exists().map_err(|error| files::failed("state database", &path, &error))
    }

    /// Writes, in one step that is on the disk when this returns.
    fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let written = self.with(|opened| {
            opened.database.transaction(Durability::Full, |t| Ok(Some(write(t)?)))
        })?;
        written.ok_or_else(|| Error::Internal { message: "nothing was written".into() })
    }

    fn moving(&self) -> MutexGuard<'_, Option<SpoolFile>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what was recorded into the database, which takes one look at the disk; where that fails,
    /// it is at least on the disk. Says whether it was moved.
    fn move_durably(&self) -> Result<bool, Error> {
        let mut waiting = self.moving();
        if self.move_own(&mut waiting).is_ok() {
            return Ok(true);
        }
        waiting.as_ref().map_or(Ok(()), SpoolFile::sync)?;
        self.spool.sync()?;
        Ok(false)
    }

    /// Moves what this process has recorded. While something waits, nothing is taken after it, so
    /// that there are two files of a process at most.
    fn move_own(&self, waiting: &mut Option<SpoolFile>) -> Result<(), Error> {
        loop {
            let Some(file) = waiting.take().or_else(|| self.spool.take()) else {
                return Ok(());
            };
            if let Err(error) = self.import(&file) {
                *waiting = Some(file);
                return Err(error);
            }
            file.delete();
        }
    }

    /// Writes what is in a file into the database, whole or not at all.
    fn import(&self, file: &SpoolFile) -> Result<(), Error> {
        let durability = if file.is_durable() { Durability::Full } else { Durability::Normal };
        let now = self.now();
        let lines = file.lines::<audit::Entry>()?;
        self.with(|opened| {
            opened.database.transaction(durability, |transaction| {
                let mut writer = audit::Writer::new(transaction)?;
                for line in lines {
                    writer.add(&line?)?;
                }
                approvals::expire(transaction, now)?;
                Ok(Some(()))
            })
        })?;
        Ok(())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

/// Moves the spool whenever rows have gathered for a while, until the store is dropped.
fn move_in_background(shared: &Shared, woken: &Receiver<()>) {
    let mut pause = INTERVAL;
    while woken.recv().is_ok() {
        loop {
            match woken.recv_timeout(pause) {
                // Somebody else has moved them, and others have come.
                Ok(()) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let moved = shared.move_own(&mut shared.moving());
            if moved.is_ok() {
                pause = INTERVAL;
                break;
            }
            // `flush` reports the error to callers that need the rows.
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Random bytes of the system's.
fn random<const COUNT: usize>() -> Result<[u8; COUNT], String> {
    let mut bytes = [0; COUNT];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(bytes)
}
