//! The state that outlasts a call: approvals and the audit log.
//!
//! Both are in one SQLite database in the user's state directory, which many processes use at the same
//! time. Rows of the audit log go to a spool first (`spool.rs`), so that a read does not wait for the
//! database. The beginning of a write is in the database, and on the disk, before the write is sent.

mod anchor;
mod approval;
mod approvals;
mod archive;
mod audit;
mod chain;
mod cut;
mod database;
mod decision;
mod digest;
mod files;
mod freeze;
mod log;
#[cfg_attr(not(any(feature = "inbox", test)), expect(dead_code, reason = "the page uses it"))]
mod page;
#[cfg_attr(not(feature = "inbox"), expect(dead_code, reason = "the page uses it"))]
mod passkeys;
mod schema;
mod seal;
mod shared;
mod spool;
mod standing;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;
mod verify;

pub use approval::{ApprovalState, StoredApproval};
pub use audit::{AuditFilter, AuditOutcome, AuditRequest, AuditRow};
pub use decision::AuditDecision;

pub(crate) use anchor::{Due, Head, Interval};
pub(crate) use approval::{Asker, Asking, Claim, Filed, new_id};
pub(crate) use approvals::{Decision, Voided};
pub(crate) use audit::{Begin, Created, End};
pub(crate) use chain::Start;
pub(crate) use decision::{Decided, Decider, Place, What};
pub(crate) use digest::{Digest, Subject};
pub(crate) use freeze::{Freeze, Gate, Selector};
pub(crate) use log::AuditLog;
#[cfg(feature = "inbox")]
pub(crate) use page::{Announced, BadLink, LINK_MS};
#[cfg(feature = "inbox")]
pub(crate) use passkeys::Answer;
pub(crate) use standing::{MAX_USES, StandingApproval, Terms, Wanted};
pub(crate) use tokens::{CreatedToken, Known, NotRevoked, Revocation, Spent, TokenUse, is_id};
pub(crate) use usage::Counted;
pub(crate) use verify::{Problem, Verified};

use crate::error::Error;
use crate::system::clock::Clock;
use crate::system::random::random;
use approval::{check_id, is_whole};
use audit::AuditRecord;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use database::Durability;
use seal::Content;
use shared::{Mover, Shared};
use standing::Which;
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

/// How much longer than its time limit a call may take before its program counts as ended.
const GRACE: Duration = Duration::from_secs(10);

/// When an approval was requested and changed, and how long it and its result are kept from its request
/// on. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "mcp"), expect(dead_code, reason = "tasks of MCP clients have one"))]
pub(crate) struct Lifetime {
    pub(crate) created_at: i64,
    pub(crate) changed_at: i64,
    pub(crate) kept_ms: u64,
}

impl From<&StoredApproval> for Lifetime {
    fn from(approval: &StoredApproval) -> Self {
        let StoredApproval { created_at, decided_at, used_at, .. } = *approval;
        let changed_at = used_at.or(decided_at).unwrap_or(created_at);
        Self { created_at, changed_at, kept_ms: approvals::RESULT_MS.unsigned_abs() * 2 }
    }
}

/// What is known of the call that used an approval.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Its result, as it was kept.
    pub(crate) result: Option<Vec<u8>>,
    /// Its row in the log; absent if no call was made.
    pub(crate) row: Option<AuditRow>,
    /// Whether the program that makes it may still run.
    pub(crate) is_under_way: bool,
}

/// What the beginning of a call depends on.
pub(crate) struct BeginTerms<'a> {
    /// The approval to use up.
    pub(crate) claim: Option<Claim<'a>>,
    pub(crate) relies_on: &'a [Condition],
    pub(crate) token: Option<&'a TokenUse>,
    pub(crate) time_limit: Duration,
    /// Whether only an approval that a passkey signed counts.
    pub(crate) passkey: bool,
    /// The decision of a person who was asked just now.
    pub(crate) approval: Option<&'a Decided<'a>>,
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
    ///
    /// If `passkey` is true, only an approval that a passkey signed counts.
    pub(crate) fn is_approved(&self, digest: &Digest, passkey: bool) -> Result<bool, Error> {
        self.return_approvals();
        self.shared
            .look(|connection, now| approvals::is_approved(connection, now, digest, passkey))
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
        let digest = self.key_digest(asking.key_fingerprint)?;
        let keys = approvals::Keys { sealing: self.sealing_key()?, digest };
        let filed =
            self.shared.write(|transaction| approvals::file(transaction, now, asking, &keys))?;
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

    /// Denies a pending approval, if it is for this call.
    pub(crate) fn decline(&self, id: &str, digest: &Digest, by: &Decider) -> Result<bool, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| approvals::decline(transaction, now, id, digest, by))
    }

    /// Withdraws a pending approval, because its caller does not want the call any more. Returns whether
    /// it was pending.
    pub(crate) fn withdraw(&self, id: &str) -> Result<bool, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| approvals::withdraw(transaction, now, id))
    }

    /// Returns whether an approval is for this call.
    pub(crate) fn is_for(&self, id: &str, digest: &Digest) -> Result<bool, Error> {
        let found = self.shared.look(|connection, _| approvals::is_for(connection, id, digest))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the ids of approved calls that a program with this component is to make by itself, the
    /// oldest first.
    #[cfg(any(feature = "inbox", feature = "mcp", test))]
    pub(crate) fn runnable(&self, component: &str) -> Result<Vec<String>, Error> {
        let found =
            self.shared.look(|connection, now| approvals::runnable(connection, now, component))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the call that was made by itself within the last hour, if its caller does not have the
    /// result.
    pub(crate) fn uncollected(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let found =
            self.shared.look(|connection, now| approvals::uncollected(connection, now, digest))?;
        Ok(found.flatten())
    }

    /// Records that a caller has the result of the call that used an approval. Returns whether it is the
    /// first.
    pub(crate) fn collect(&self, id: &str) -> Result<bool, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| approvals::collect(transaction, now, id))
    }

    /// Returns the call that an approval is for, if it is stored with it.
    pub(crate) fn stored_call(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let key = self.sealing_key()?;
        let sealed = self.shared.look(|connection, _| approvals::sealed_call(connection, id))?;
        Ok(sealed.flatten().and_then(|sealed| seal::open(&key, Content::Call, id, &sealed)))
    }

    /// Returns what is known of the call that used an approval.
    pub(crate) fn made(&self, id: &str) -> Result<Made, Error> {
        let made = self.made_so_far(id)?;
        let has_outcome = made.row.as_ref().is_some_and(|row| row.outcome.is_some());
        if made.result.is_some() || has_outcome {
            return Ok(made);
        }
        // Its program may have ended before its rows were in the database.
        self.shared.move_all(false)?;
        self.made_so_far(id)
    }

    fn made_so_far(&self, id: &str) -> Result<Made, Error> {
        let key = self.sealing_key()?;
        let found = self.shared.look(|connection, now| {
            let filter = AuditFilter {
                approval: Some(id.to_owned()),
                decisions: Some(false),
                ..AuditFilter::default()
            };
            let rows = audit::list(connection, &filter)?;
            // The last attempt counts.
            let row = rows.into_iter().max_by_key(|row| row.seq);
            let sealed = approvals::sealed_result(connection, now, id)?;
            let is_under_way = approvals::is_under_way(connection, now, id)?;
            Ok((sealed, row, is_under_way))
        })?;
        let Some((sealed, row, is_under_way)) = found else { return Ok(Made::default()) };
        let result = sealed.and_then(|sealed| seal::open(&key, Content::Result, id, &sealed));
        Ok(Made { result, row, is_under_way })
    }

    /// Keeps the reason why a call was not made in place of its result, and ends its approval. Returns
    /// whether the approval could still be used.
    pub(crate) fn fail(&self, id: &str, result: &[u8]) -> Result<bool, Error> {
        let now = self.shared.now();
        let sealed = seal::seal(&self.sealing_key()?, Content::Result, id, result)?;
        self.shared.write(|transaction| approvals::fail(transaction, now, id, &sealed))
    }

    /// Seals the result of a call that used an approval, for [`End::kept`].
    pub(crate) fn seal_result(&self, id: &str, result: &[u8]) -> Result<String, Error> {
        let sealed = seal::seal(&self.sealing_key()?, Content::Result, id, result)?;
        Ok(BASE64_STANDARD.encode(sealed))
    }

    fn sealing_key(&self) -> Result<[u8; 32], Error> {
        self.shared.with(|opened| digest::of_seal(&opened.key))
    }

    /// Returns the standing approvals that may be for a call, the oldest first.
    pub(crate) fn standing_for(&self, wanted: &Wanted<'_>) -> Result<Vec<StandingApproval>, Error> {
        let key_digest = self.key_digest(wanted.key_fingerprint)?;
        let found = self
            .shared
            .look(|connection, now| standing::for_call(connection, now, wanted, &key_digest))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the standing approvals that are in force, the oldest first.
    pub(crate) fn standing(&self) -> Result<Vec<StandingApproval>, Error> {
        self.shared.look(standing::in_force).map(Option::unwrap_or_default)
    }

    /// Returns the standing approval with an id, if there is one.
    pub(crate) fn standing_approval(&self, id: &str) -> Result<Option<StandingApproval>, Error> {
        self.shared.look(|connection, _| standing::one(connection, id)).map(Option::flatten)
    }

    /// Records a person's decision that changes nothing in the database.
    pub(crate) fn record_decision(&self, decided: &Decided<'_>) -> Result<(), Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| audit::decide(transaction, now, decided))
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
        terms: &BeginTerms<'_>,
    ) -> Result<Option<String>, BeginError> {
        let BeginTerms { claim, relies_on, token, time_limit, passkey, approval: decision } =
            *terms;
        let now = self.shared.now();
        let ends_by = i64::try_from((time_limit + GRACE).as_millis()).unwrap_or(i64::MAX);
        let ends_by = now.saturating_add(ends_by);
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
                    Some(claim) => {
                        match approvals::claim(transaction, now, claim, ends_by, passkey)? {
                            Some(id) => Some(id),
                            None => return Ok(None),
                        }
                    }
                };
                if !audit::Writer::new(transaction).begin(begin, approval.as_deref())? {
                    // Another call has the same id.
                    return Err(rusqlite::Error::StatementChangedRows(0).into());
                }
                decision.map_or(Ok(()), |decided| audit::decide(transaction, now, decided))?;
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
        let new: [u8; 32] = random()?;
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
    pub(crate) fn revoke_token(&self, id: &str) -> Result<Result<Revocation, NotRevoked>, Error> {
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
        let appended = self.shared.spool.append(&record, is_durable);
        if appended.is_err() {
            // It is tried again in the background.
            self.wake();
        }
        let is_first = appended?;
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

    /// Returns the id of the approval that a person means: a whole id, or at least six characters of the
    /// beginning of one that is stored. Whether an approval has a whole id is left to what uses it.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the text is too short, no stored id begins with it, or several do;
    /// [`Error::Configuration`] if the database cannot be read.
    pub(crate) fn approval_id(&self, beginning: &str) -> Result<String, Error> {
        // People may write it in upper case.
        let is_hexadecimal = beginning.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lower = beginning.to_ascii_lowercase();
        let beginning = if is_hexadecimal { lower.as_str() } else { beginning };
        if is_whole(beginning)? {
            return Ok(beginning.to_owned());
        }
        let look = |connection: &_, _| approvals::beginning_with(connection, beginning);
        let mut found = self.shared.look(look)?.unwrap_or_default();
        match (found.pop(), found.len()) {
            (Some(id), 0) => Ok(id),
            (None, _) => Err(Error::Usage {
                message: format!(
                    "no approval has an id that begins with {beginning}; run: whereby approvals list --all"
                ),
            }),
            (Some(_), others) => Err(Error::Usage {
                message: format!(
                    "{} approvals have ids that begin with {beginning}; give more characters, or run: \
                     whereby approvals list --all",
                    others + 1
                ),
            }),
        }
    }

    /// Approves a call: it can be made once, within 15 minutes. A call that was denied in the last hour
    /// gets a new approval with another id. Never let an agent do this.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the id is malformed, incomplete, or not one of a pending approval, or if nothing
    /// but a passkey approves the call; [`Error::Configuration`] if the database cannot be written.
    pub fn approve(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Approve, &Decider::at(Place::Program))
    }

    /// Denies a pending call, or revokes an approval that was not used.
    ///
    /// # Errors
    ///
    /// As for [`Store::approve`].
    pub fn deny(&self, id: &str) -> Result<StoredApproval, Error> {
        self.decide(id, Decision::Deny, &Decider::at(Place::Program))
    }

    /// Approves a call, and the next calls like it. Returns the approval and the standing one.
    ///
    /// # Errors
    ///
    /// As for [`Store::approve`], and [`Error::Usage`] if the terms do not fit the call.
    pub(crate) fn approve_more(
        &self,
        id: &str,
        terms: &Terms,
        by: &Decider,
    ) -> Result<(StoredApproval, StandingApproval), Error> {
        check_id(id)?;
        let now = self.shared.now();
        let Some(found) = self.approval(id)? else {
            return Err(approvals::undecidable(None, now, id, Decision::Approve));
        };
        if found.component.is_none() {
            return Err(standing::too_old(id));
        }
        standing::check(&found, terms, now)?;
        let key = self.shared.with(|opened| Ok(opened.key))?;
        let sealing = digest::of_seal(&key)?;
        let mut is_too_old = false;
        let decided = self.shared.write(|transaction| {
            approvals::expire(transaction, now)?;
            if standing::count(transaction, now)? >= standing::MAX_STANDING {
                return Ok(Err(standing::too_many()));
            }
            let signed = match passkeys::verify(transaction, now, &key, id, Some(terms), by)? {
                Ok(signed) => signed,
                Err(fault) => return Ok(Err(fault.into())),
            };
            let approved = Decision::Approve;
            let Some((_, approved)) =
                approvals::apply(transaction, now, id, approved, by, signed.as_ref())?
            else {
                let found = approvals::one(transaction, now, id)?;
                return Ok(Err(approvals::undecidable(found, now, id, Decision::Approve)));
            };
            approvals::hand_over(transaction, &sealing, id, &approved.id)?;
            match standing::add(transaction, now, &approved.id, terms, by, signed.as_ref())? {
                Some(standing) => Ok(Ok((approved, standing))),
                None => {
                    // Rolls the approval back.
                    is_too_old = true;
                    Err(rusqlite::Error::QueryReturnedNoRows)
                }
            }
        });
        if is_too_old {
            return Err(standing::too_old(id));
        }
        decided?
    }

    /// Revokes a standing approval.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if there is no such one in force.
    pub(crate) fn revoke_standing(
        &self,
        id: &str,
        by: &Decider,
    ) -> Result<StandingApproval, Error> {
        let now = self.shared.now();
        let revoked = self.shared.write(|transaction| {
            let mut revoked = standing::revoke(transaction, now, Which::One(id), by)?;
            match revoked.pop() {
                Some(revoked) => Ok(Ok(revoked)),
                None => Ok(Err(standing::one(transaction, id)?)),
            }
        })?;
        revoked.map_err(|found| standing::not_in_force(found, now, id))
    }

    /// Ends the open approvals of an agent, and its standing ones. Returns how many.
    pub(crate) fn void_agent(&self, agent: &str, by: &Decider) -> Result<Voided, Error> {
        let is_own = |own: &Option<String>| own.as_deref() == Some(agent);
        let has_open = self.approvals(false)?.iter().any(|open| is_own(&open.agent));
        // With nothing to end, do not create a database.
        if !has_open && !self.standing()?.iter().any(|standing| is_own(&standing.agent)) {
            return Ok(Voided::default());
        }
        let now = self.shared.now();
        self.shared
            .write(|transaction| approvals::void(transaction, now, Which::OfAgent(agent), by))
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
        self.deny_all_by(filter, &Decider::at(Place::Program))
    }

    pub(crate) fn deny_all_by(
        &self,
        filter: impl Fn(&StoredApproval) -> bool,
        by: &Decider,
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
                denied.extend(approvals::decide(
                    transaction,
                    now,
                    &open.id,
                    Decision::Deny,
                    by,
                    None,
                )?);
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

    /// Returns the newest calls that match a filter and that a function wants, the newest first, including
    /// those that other processes have just recorded.
    #[cfg(feature = "inbox")]
    pub(crate) fn audit_newest(
        &self,
        filter: &AuditFilter,
        wants: impl Fn(&AuditRow) -> bool,
    ) -> Result<Vec<AuditRow>, Error> {
        self.gather()?;
        let found = self.shared.look(|connection, _| audit::newest(connection, filter, wants))?;
        Ok(found.unwrap_or_default())
    }

    /// Adds to the database what any process has recorded so far. Finishes an interrupted archive.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        self.finish_archive()?;
        self.shared.move_all(true)
    }

    /// Returns the calls that are in the database already.
    pub(crate) fn audit_as_it_is(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, Error> {
        self.shared
            .look(|connection, _| audit::list(connection, filter))
            .map(Option::unwrap_or_default)
    }

    pub(crate) fn decide(
        &self,
        id: &str,
        decision: Decision,
        by: &Decider,
    ) -> Result<StoredApproval, Error> {
        check_id(id)?;
        let now = self.shared.now();
        // With nothing to decide on, do not create a database.
        if self.approval(id)?.is_none() {
            return Err(approvals::undecidable(None, now, id, decision));
        }
        let key = self.shared.with(|opened| Ok(opened.key))?;
        let sealing = digest::of_seal(&key)?;
        self.shared.write(|transaction| {
            approvals::expire(transaction, now)?;
            let signed = match passkeys::verify(transaction, now, &key, id, None, by)? {
                Ok(signed) => signed,
                Err(fault) => return Ok(Err(fault.into())),
            };
            match approvals::decide(transaction, now, id, decision, by, signed.as_ref())? {
                Some(decided) => {
                    approvals::hand_over(transaction, &sealing, id, &decided.id)?;
                    Ok(Ok(decided))
                }
                None => {
                    let found = approvals::one(transaction, now, id)?;
                    Ok(Err(approvals::undecidable(found, now, id, decision)))
                }
            }
        })?
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
        // This is the last attempt.
        let _ = self.shared.spool.write_unwritten();
        // If this fails, another process moves the rows.
        let _ = self.shared.move_own();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.shared.directory).finish_non_exhaustive()
    }
}
