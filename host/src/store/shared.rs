//! The database and the spool of a store, and the thread that moves rows from the spool to the database.

use super::approvals;
use super::audit::{self, AuditRecord};
use super::database::{self, Database, Durability};
use super::files;
use super::spool::{Spool, SpoolFile};
use crate::error::Error;
use crate::system::clock::Clock;
use rusqlite::{Connection, Transaction};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use whereby_authority::text;

/// The time between a row of the spool and its move to the database.
const INTERVAL: Duration = Duration::from_millis(250);

/// The maximum time between two attempts to move rows.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Everything that a store shares with the thread that moves its rows.
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) clock: Clock,
    /// How long to wait for other threads and processes that use the database.
    pub(super) patience: Duration,
    database: parking_lot::Mutex<Option<Opened>>,
    pub(super) spool: Spool,
    /// Locked while rows of this process are moved. Contains a file that could not be moved.
    unmoved: Mutex<Option<SpoolFile>>,
}

/// An open database.
pub(super) struct Opened {
    pub(super) database: Database,
    /// The installation's key, for digests of calls.
    pub(super) key: [u8; 32],
}

impl Shared {
    pub(super) fn new(directory: PathBuf, clock: Clock, patience: Duration) -> Self {
        Self {
            spool: Spool::new(&directory),
            directory,
            clock,
            patience,
            database: parking_lot::Mutex::default(),
            unmoved: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// Uses the database. Opens it first, and creates it where missing.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Opened) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // The thread that has the lock may wait for another process. The others must not wait in turn.
        let patience = self.patience;
        let mut guard = self.database.try_lock_for(patience).ok_or_else(|| {
            let path = self.directory.join(database::FILE);
            let shown = text::printable(&path.display().to_string(), 300);
            Error::Configuration {
                message: format!(
                    "the state database {shown} is busy: another program uses it, or too many calls \
                     wait for it; try again later"
                ),
            }
        })?;
        if let Some(gone) = guard.take_if(|opened| opened.database.is_gone()) {
            // The person who moved the file may want to keep its rows.
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

    /// Reads from the database; `None` if there is none.
    pub(super) fn look<T>(
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

    /// Runs a transaction, which is on the disk when this returns.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let written = self.with(|opened| {
            opened.database.transaction(Durability::Full, |t| Ok(Some(write(t)?)))
        })?;
        written.ok_or_else(|| Error::Internal { message: "nothing was written".into() })
    }

    /// Moves the rows of this process to the database.
    pub(super) fn move_own(&self) -> Result<(), Error> {
        self.move_locked(&mut self.unmoved())
    }

    /// Moves the rows of this process to the database. If that fails, waits until they are on the disk.
    /// Returns whether they were moved.
    pub(super) fn move_durably(&self) -> Result<bool, Error> {
        let mut unmoved = self.unmoved();
        if self.move_locked(&mut unmoved).is_ok() {
            return Ok(true);
        }
        unmoved.as_ref().map_or(Ok(()), SpoolFile::sync)?;
        self.spool.sync()?;
        Ok(false)
    }

    /// Moves the rows of this process and those of processes that have ended. Copies the rows of
    /// processes that still run, if asked to; they move the same rows later, which changes nothing.
    pub(super) fn move_all(&self, including_running: bool) -> Result<(), Error> {
        let mut unmoved = self.unmoved();
        self.move_locked(&mut unmoved)?;
        for file in self.spool.others()?.filter(|file| including_running || file.is_held()) {
            self.import(&file)?;
            file.delete();
        }
        Ok(())
    }

    fn unmoved(&self) -> MutexGuard<'_, Option<SpoolFile>> {
        self.unmoved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the file that could not be moved before the current one, so that a process has two at most.
    fn move_locked(&self, unmoved: &mut Option<SpoolFile>) -> Result<(), Error> {
        while let Some(file) = unmoved.take().or_else(|| self.spool.take()) {
            if let Err(error) = self.import(&file) {
                *unmoved = Some(file);
                return Err(error);
            }
            file.delete();
        }
        Ok(())
    }

    /// Adds the rows of a file to the database, in one transaction.
    fn import(&self, file: &SpoolFile) -> Result<(), Error> {
        let durability = if file.is_durable() { Durability::Full } else { Durability::Normal };
        let now = self.now();
        let records = file.rows::<AuditRecord>()?;
        self.with(|opened| {
            opened.database.transaction(durability, |transaction| {
                let mut writer = audit::Writer::new(transaction);
                for record in records {
                    writer.add(&record?)?;
                }
                approvals::expire(transaction, now)?;
                Ok(Some(()))
            })
        })?;
        Ok(())
    }
}

/// The thread that moves rows to the database.
pub(super) struct Mover {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Mover {
    /// Starts the thread and wakes it; `None` if the system has no more threads.
    pub(super) fn start(shared: Arc<Shared>) -> Option<Self> {
        let (wake, woken) = channel();
        let thread = std::thread::Builder::new().name("whereby-audit".into());
        let thread = thread.spawn(move || move_in_background(&shared, &woken)).ok()?;
        let mover = Self { wake, thread };
        mover.wake();
        Some(mover)
    }

    /// Says that the spool has rows. Returns whether the thread still runs.
    pub(super) fn wake(&self) -> bool {
        self.wake.send(()).is_ok()
    }

    /// Waits until the thread has moved what it is moving.
    pub(super) fn stop(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

fn move_in_background(shared: &Shared, woken: &Receiver<()>) {
    let mut pause = INTERVAL;
    while woken.recv().is_ok() {
        loop {
            match woken.recv_timeout(pause) {
                // A new file was started, so the rows before it have been moved.
                Ok(()) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let written = shared.spool.write_unwritten();
            if shared.move_own().is_ok() && written.is_ok() {
                pause = INTERVAL;
                break;
            }
            // Callers that need the rows get the error from `flush`.
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
