//! The state that outlasts a call: approvals and the audit log.
//!
//! Both are in one SQLite database in the user's state directory, which many processes use at the same
//! time. Rows of the audit log go to a spool first (`spool.rs`), so that a read does not wait for the
//! database. The beginning of a write is in the database, and on the disk, before the write is sent.

mod approval;
mod approvals;
mod archive;
mod audit;
mod cut;
mod database;
mod digest;
mod files;
mod freeze;
mod schema;
mod shared;
mod spool;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;

pub use approval::{ApprovalState, StoredApproval};
pub use audit::{AuditFilter, AuditOutcome, AuditRequest, AuditRow};

pub(crate) use approval::{Asker, Asking, Claim, Filed, Standing, new_id};
pub(crate) use audit::{Begin, Created, End};
pub(crate) use digest::{Digest, Subject};
pub(crate) use freeze::{Freeze, Gate, Selector};
pub(crate) use tokens::{CreatedToken, Revoked, Spent, TokenUse, is_id};
pub(crate) use usage::Counted;

use crate::error::Error;
use crate::system::clock::Clock;
use approval::check_id;
use approvals::Decision;
use audit::AuditRecord;
use database::Durability;
use shared::{Mover, Shared};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use whereby_authority::conditions::{Condition, CreatedRoom, Written};

/// How long a process waits for another one that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The approvals and the audit log of a user, in a directory.
///
/// Any number of threads can use a store, and any number of processes the directory. Methods may wait
/// for a disk or for another process, so an asynchronous program calls them on a thread of their own.
pub struct Store {
    shared: Arc<Shared>,
    /// Whether to move rows to the database in the background.
    in_background: bool,
    /// The thread that moves them, once there was a row.
    mover: Mutex<Option<Mover>>,
}

/// What tests change.
struct Options {
    clock: Clock,
    patience: Duration,
    in_background: bool,
}

/// Why the beginning of a call is not in the log.
#[derive(Debug)]
pub(crate) enum BeginError {
    /// The approval is not valid any more. Nothing was written.
    NotApproved,
    /// As many calls as a condition allows went ahead already. Nothing was written.
    OverQuota,
    /// The call's token cannot be used any more. Nothing was written.
    Spent(Spent),
    /// The database cannot be written.
    Store(Error),
}

impl From<Error> for BeginError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Returns the store in a directory. Opens and creates nothing until it is used.
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
        let shared = Arc::new(Shared::new(directory, clock, patience));
        Arc::new(Self { shared, in_background, mover: Mutex::default() })
    }

    /// Returns the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Checks that everything can be written. Creates what is missing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.shared.spool.prepare()?;
        // A transaction needs everything that writing needs, except space.
        self.shared.write(|_| Ok(()))
    }

    /// Returns the digest of a call, which an approval is bound to.
    pub(crate) fn digest(&self, subject: &Subject<'_>) -> Result<Digest, Error> {
        self.shared.with(|opened| Digest::of(subject, &opened.key))
    }

    /// Returns whether a person has approved the call and the approval was not used.
    pub(crate) fn is_approved(&self, digest: &Digest) -> Result<bool, Error> {
        self.return_approvals();
        self.shared
            .look(|connection, now| approvals::is_approved(connection, now, digest))
            .map(Option::unwrap_or_default)
    }

    /// Returns whether a person has denied the call within the last hour.
    pub(crate) fn is_denied(&self, digest: &Digest) -> Result<bool, Error> {
        self.shared
            .look(|connection, now| approvals::is_denied(connection, now, digest))
            .map(Option::unwrap_or_default)
    }

    /// Stores a call for a person to approve. A call that is stored already keeps its id.
    pub(crate) fn file_approval(&self, asking: &Asking<'_>) -> Result<Filed, Error> {
        self.return_approvals();
        let now = self.shared.now();
        let filed = self.shared.write(|transaction| approvals::file(transaction, now, asking))?;
        filed.map_err(|full| approvals::too_many(full, asking))
    }

    /// Returns the handle that an MCP client needs to answer a stored question. Agents see the id, so the
    /// id alone is not enough.
    pub(crate) fn handle(&self, id: &str) -> Result<String, Error> {
        self.shared.with(|opened| digest::handle(id, &opened.key))
    }

    /// Returns the id of a handle; `None` if the handle is not one that this installation made.
    pub(crate) fn id_of(&self, handle: &str) -> Result<Option<String>, Error> {
        let id = handle.split('.').next().unwrap_or_default();
        let made = self.handle(id)?;
        Ok(digest::is_same(&made, handle).then(|| id.to_owned()))
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

    /// Denies a pending approval, if it is for this call.
    pub(crate) fn decline(&self, id: &str, digest: &Digest) -> Result<bool, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| approvals::decline(transaction, now, id, digest))
    }

    /// Adds the beginning of a call to the log and uses up its approval, in one transaction that is on
    /// the disk when this returns. Returns the id of the approval.
    ///
    /// A write is counted in the same transaction, and refused if its conditions allow no more, so that
    /// calls of several processes cannot exceed them together. So is a use of a token: it stays used, even
    /// if the call then sends nothing.
    pub(crate) fn begin(
        &self,
        begin: &Begin,
        claim: Option<Claim<'_>>,
        relies_on: &[Condition],
        token: Option<&TokenUse>,
    ) -> Result<Option<String>, BeginError> {
        let now = self.shared.now();
        let mut is_over = false;
        let mut spent = None;
        let written = self.shared.with(|opened| {
            opened.database.transaction(Durability::Full, |transaction| {
                if let Some(token) = token {
                    spent = tokens::use_up(transaction, now, token)?;
                    if spent.is_some() {
                        return Ok(None);
                    }
                }
                if begin.effect.as_deref() == Some("write") {
                    if relies_on.iter().any(Condition::is_quota) {
                        let written = usage::written(transaction, now, begin.counted())?;
                        is_over =
                            relies_on.iter().any(|condition| condition.is_exceeded_by(written));
                    }
                    if is_over {
                        return Ok(None);
                    }
                    usage::add(transaction, now, begin)?;
                }
                let approval = match claim {
                    None => begin.approval.clone(),
                    Some(claim) => match approvals::claim(transaction, now, claim)? {
                        Some(id) => Some(id),
                        None => return Ok(None),
                    },
                };
                if !audit::Writer::new(transaction)?.begin(begin, approval.as_deref())? {
                    // Another call has the same id.
                    return Err(rusqlite::Error::StatementChangedRows(0).into());
                }
                Ok(Some(approval))
            })
        })?;
        written.ok_or(match spent {
            Some(spent) => BeginError::Spent(spent),
            None if is_over => BeginError::OverQuota,
            None => BeginError::NotApproved,
        })
    }

    /// Returns the secret key that signs tokens, if there is one.
    pub(crate) fn token_key(&self) -> Result<Option<[u8; 32]>, Error> {
        self.shared.look(|connection, _| tokens::key(connection)).map(Option::flatten)
    }

    /// Returns the secret key that signs tokens. Makes it first.
    pub(crate) fn new_token_key(&self) -> Result<[u8; 32], Error> {
        let new: [u8; 32] = random().map_err(|message| Error::Internal { message })?;
        self.shared.write(|transaction| match tokens::key(transaction)? {
            Some(key) => Ok(key),
            None => tokens::keep_key(transaction, &new).map(|()| new),
        })
    }

    /// Records a token that was created.
    pub(crate) fn add_token(&self, id: &str, limits: &serde_json::Value) -> Result<(), Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| tokens::add(transaction, now, id, limits))
    }

    /// Returns why a token cannot be used any more, if it cannot. Records the time at which it was seen, if
    /// it expires, so that it does not become younger.
    pub(crate) fn check_token(&self, token: &TokenUse) -> Result<Option<Spent>, Error> {
        let found = self.shared.look(|connection, now| tokens::check(connection, now, token))?;
        let Some((spent, latest)) = found else { return Ok(Some(Spent::Unknown)) };
        let now = self.shared.now();
        let is_stale = now > latest.saturating_add(tokens::STALE_MS)
            || (now > latest && matches!(spent, Some(Spent::Expired { .. })));
        if token.valid_until.is_some() && is_stale && spent != Some(Spent::Unknown) {
            self.shared.write(|transaction| tokens::see(transaction, now, token))?;
        }
        Ok(spent)
    }

    /// Returns why a token cannot be used any more, if it cannot. Records nothing.
    pub(crate) fn look_at_token(&self, token: &TokenUse) -> Result<Option<Spent>, Error> {
        let found = self.shared.look(|connection, now| tokens::check(connection, now, token))?;
        Ok(found.map_or(Some(Spent::Unknown), |(spent, _)| spent))
    }

    /// Revokes a block and every token with it, by its id or the beginning of a known one.
    pub(crate) fn revoke_token(&self, id: &str) -> Result<Revoked, Error> {
        let now = self.shared.now();
        // An id that only the spool has is known, too.
        self.gather()?;
        self.shared.write(|transaction| tokens::revoke(transaction, now, id))
    }

    /// Returns the tokens that were created here, the oldest first.
    pub(crate) fn tokens(&self) -> Result<Vec<CreatedToken>, Error> {
        self.shared.look(|connection, _| tokens::list(connection)).map(Option::unwrap_or_default)
    }

    /// Counts the writes that went ahead.
    pub(crate) fn written(&self, counted: Counted<'_>) -> Result<Written, Error> {
        let found = self.shared.look(|connection, now| usage::written(connection, now, counted))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the rooms with a name that Whereby created for an account and its key, in a call of any
    /// agent.
    pub(crate) fn created_rooms(
        &self,
        account: &str,
        api: &str,
        key_fingerprint: &[u8],
        name: &str,
    ) -> Result<Vec<CreatedRoom>, Error> {
        let key_digest = self.key_digest(key_fingerprint)?;
        let found = self
            .shared
            .look(|connection, _| usage::rooms(connection, account, api, &key_digest, name))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns what rooms are recorded with in place of the key's fingerprint.
    pub(crate) fn key_digest(&self, key_fingerprint: &[u8]) -> Result<[u8; 32], Error> {
        self.shared.with(|opened| digest::of_key(key_fingerprint, &opened.key))
    }

    /// Returns the key that makes people's pseudonyms.
    pub(crate) fn people_key(&self) -> Result<[u8; 32], Error> {
        self.shared.with(|opened| digest::of_people(&opened.key))
    }

    /// Adds the beginning of a call to the log, its end, or both. They survive the end of the process
    /// from then on. If `is_durable`, they survive a power failure too, and this waits for the disk.
    pub(crate) fn record(
        &self,
        begin: Option<&Begin>,
        end: Option<&End>,
        is_durable: bool,
    ) -> Result<(), Error> {
        let record = AuditRecord { begin: begin.map(Begin::bounded), end: end.map(End::bounded) };
        let is_first = self.shared.spool.append(&record, is_durable)?;
        let is_moved = is_durable && self.shared.move_durably()?;
        if is_first && !is_moved {
            self.wake();
        }
        Ok(())
    }

    /// Moves recorded rows to the database, including those of processes that have ended.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the database cannot be written. The rows are kept for a later
    /// attempt.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.move_all(false)
    }

    /// Returns the approvals in the order in which they were requested: all of them, or those that are
    /// pending or approved.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the database cannot be read.
    pub fn approvals(&self, all: bool) -> Result<Vec<StoredApproval>, Error> {
        self.shared
            .look(|connection, now| approvals::list(connection, now, all))
            .map(Option::unwrap_or_default)
    }

    /// Returns the approvals that are open, or were decided, used or due since a time, in the order in
    /// which they were requested.
    #[cfg(feature = "inbox")]
    pub(crate) fn approvals_since(&self, since: i64) -> Result<Vec<StoredApproval>, Error> {
        self.shared
            .look(|connection, now| approvals::since(connection, now, since))
            .map(Option::unwrap_or_default)
    }

    /// Returns the approval with an id, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the id is malformed or incomplete; [`Error::Configuration`] if the database
    /// cannot be read.
    pub fn approval(&self, id: &str) -> Result<Option<StoredApproval>, Error> {
        check_id(id)?;
        let found = self.shared.look(|connection, now| approvals::one(connection, now, id))?;
        Ok(found.flatten())
    }

    /// Approves a call: it can be made once, within 15 minutes. A call that was denied in the last hour
    /// gets a new approval with another id. Never let an agent do this.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the id is malformed, incomplete, or not one of a pending approval;
    /// [`Error::Configuration`] if the database cannot be written.
    pub fn approve(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Approve)
    }

    /// Denies a pending call, or revokes an approval that was not used.
    ///
    /// # Errors
    ///
    /// As for [`Store::approve`].
    pub fn deny(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Deny)
    }

    /// Denies every open approval that matches the filter, in one transaction: pending ones, and
    /// approved ones that were not used. Returns them in the order in which they were requested.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the database cannot be used.
    pub fn deny_all(
        &self,
        filter: impl Fn(&StoredApproval) -> bool,
    ) -> Result<Vec<StoredApproval>, Error> {
        // With nothing to deny, do not create a database.
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

    /// Returns the calls in the audit log in the order of their time, including those that other
    /// processes have just recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the database cannot be used.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.gather()?;
        self.audit_as_it_is(filter)
    }

    /// Adds to the database what any process has recorded so far. Finishes an interrupted archive.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        self.finish_archive()?;
        self.shared.move_all(true)
    }

    /// Returns how many calls match a filter, regardless of its limit.
    pub(crate) fn audit_count(&self, filter: &AuditFilter) -> Result<u64, Error> {
        let counted = self.shared.look(|connection, _| audit::count(connection, filter))?;
        Ok(counted.unwrap_or_default())
    }

    /// Passes each call to a function, without collecting them in memory.
    pub(crate) fn audit_each(
        &self,
        filter: &AuditFilter,
        each: impl FnMut(AuditRow),
    ) -> Result<(), Error> {
        self.shared
            .look(|connection, _| audit::each(connection, filter, each))
            .map(Option::unwrap_or_default)
    }

    /// Returns the calls that are in the database already.
    pub(crate) fn audit_as_it_is(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.shared
            .look(|connection, _| audit::list(connection, filter))
            .map(Option::unwrap_or_default)
    }

    /// Returns the last position in the log.
    pub(crate) fn log_end(&self) -> Result<i64, Error> {
        self.shared.look(|connection, _| audit::last(connection)).map(Option::unwrap_or_default)
    }

    fn decide(&self, id: &str, decision: Decision) -> Result<StoredApproval, Error> {
        check_id(id)?;
        let now = self.shared.now();
        // With nothing to decide on, do not create a database.
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

    /// Moves the rows of this process, because a call that failed may have returned its approval, and
    /// a retry needs it. If that fails, a person has to approve the call again.
    fn return_approvals(&self) {
        let _ = self.shared.move_own();
    }

    /// Has the spool moved to the database soon.
    fn wake(&self) {
        if !self.in_background {
            return;
        }
        let mut mover = self.mover.lock().unwrap_or_else(PoisonError::into_inner);
        if mover.as_ref().is_some_and(Mover::wake) {
            return;
        }
        // Without a thread, `flush` or dropping the store moves the rows.
        *mover = Mover::start(Arc::clone(&self.shared));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let mover = self.mover.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The last user closes the database, which must not be the thread.
        if let Some(mover) = mover {
            mover.stop();
        }
        // If this fails, another process moves the rows.
        let _ = self.shared.move_own();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}

/// Returns random bytes from the system.
fn random<const COUNT: usize>() -> Result<[u8; COUNT], String> {
    let mut bytes = [0; COUNT];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(bytes)
}
