//! Calls that are made after a person has approved them: by any program of the state directory that serves
//! clients, or when the caller asks for the result.
//!
//! Each is made once. The beginning of the call uses up its approval in one transaction, so of several
//! programs one makes it. The result is in the database together with the outcome. If a program ends in
//! between, the outcome is unknown, and the call is not made again.

use super::Session;
use super::authorization::{blocking, way};
use super::decision::Decided;
use crate::error::{EarlierError, Error, PendingApproval};
use crate::session::call::{Call, Outcome};
use crate::store::{ApprovalState, AuditOutcome, Lifetime, Made, Store, StoredApproval};
use serde::{Deserialize, Serialize};
use serde_json::Value;
#[cfg(any(feature = "inbox", feature = "mcp"))]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
#[cfg(any(feature = "inbox", feature = "mcp"))]
use tokio_util::sync::CancellationToken;
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::{Effect, Participants};
use whereby_authority::timestamp::Timestamp;

/// How often a caller that waits looks for a decision or a result.
const POLL: Duration = Duration::from_millis(200);

/// How often a program looks for approved calls to make.
#[cfg(any(feature = "inbox", feature = "mcp"))]
const LOOK: Duration = Duration::from_millis(500);

/// How long after a program could not make an approved call it tries again.
#[cfg(any(feature = "inbox", feature = "mcp"))]
const AGAIN: Duration = Duration::from_secs(10);

/// The maximum size of a result that is kept, in bytes.
const MAX_RESULT: usize = 4 * 1024 * 1024;

/// A call, as it is kept until a person has approved it.
#[derive(Serialize, Deserialize)]
struct StoredCall {
    account: String,
    agent: Option<String>,
    token: Option<String>,
    function: String,
    arguments: Value,
    front_end: String,
    client: Option<String>,
    #[serde(default)]
    trace: Option<String>,
    /// The files that may have rules for it, and whether each existed.
    files: Vec<(String, bool)>,
}

impl StoredCall {
    fn to_call(&self) -> Call {
        Call::new(self.function.as_str(), self.arguments.clone())
            .traceparent(self.trace.as_deref())
            .exact_account(&self.account)
            .agent(self.agent.as_deref())
            .asked_by(&self.front_end, self.client.as_deref())
    }

    /// Whether a program with these files has all the rules for it. Other rules may allow what those of the
    /// caller forbid, and forbid what they allow.
    fn is_under(&self, files: &[String]) -> bool {
        let is_gone = |(file, existed): &(String, bool)| *existed && !Path::new(file).exists();
        let own = self.files.iter().map(|(file, _)| file);
        !self.files.iter().any(is_gone) && existing(own) == existing(files)
    }
}

/// Returns a call with the account that it uses and the files with its rules, to keep it.
pub(super) fn to_stored(call: &Call, account: &str, files: Vec<String>) -> Result<Vec<u8>, Error> {
    let stored = StoredCall {
        account: account.to_owned(),
        agent: call.agent.clone(),
        token: call.token.as_ref().map(|token| token.text().to_owned()),
        function: call.function.clone(),
        arguments: call.arguments.clone(),
        front_end: call.asked_by.front_end.clone(),
        client: call.asked_by.client.clone(),
        trace: call.trace.clone(),
        files: files.into_iter().map(|file| (file.clone(), Path::new(&file).exists())).collect(),
    };
    serde_json::to_vec(&stored)
        .map_err(|error| Error::internal(format!("cannot serialize a call: {error}")))
}

/// What came of a call that was made after its approval.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    /// The id of the approval.
    pub(super) id: String,
    pub(super) result: Result<Value, Error>,
    pub(super) write: WriteOutcome,
    /// How the result shows people, if the call lists some.
    people: Option<Participants>,
}

/// What came of a call, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    data: Option<Value>,
    error: Option<KeptError>,
    effect: String,
    people: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptError {
    kind: String,
    message: String,
    hint: Option<String>,
    retryable: bool,
    http_status: Option<u16>,
    retry_after_seconds: Option<u64>,
}

impl KeptError {
    fn of(error: &Error, write: WriteOutcome) -> Self {
        // An agent asks for it later.
        let error = error.clone().for_agent();
        let function = match &error {
            Error::Function(error) => Some(error),
            _ => None,
        };
        Self {
            kind: error.kind().to_owned(),
            message: error.to_string(),
            hint: error.hint(write),
            retryable: error.is_retryable(),
            http_status: function.and_then(|error| error.http_status),
            retry_after_seconds: function.and_then(|error| error.retry_after_seconds),
        }
    }

    fn into_error(self) -> Error {
        let Self { kind, message, hint, retryable, http_status, retry_after_seconds } = self;
        Error::Earlier(Box::new(EarlierError {
            kind: EarlierError::known_kind(&kind),
            message,
            hint,
            retryable,
            http_status,
            retry_after_seconds,
        }))
    }
}

/// Returns what is kept of a result.
pub(super) fn to_kept(
    result: &Result<Value, Error>,
    write: WriteOutcome,
    people: Option<Participants>,
) -> Option<Vec<u8>> {
    let kept = |result: Result<&Value, KeptError>| {
        let effect = write.as_str().to_owned();
        let (data, error) = match result {
            Ok(data) => (Some(data.clone()), None),
            Err(error) => (None, Some(error)),
        };
        let people = people.map(|people| people.as_str().to_owned());
        serde_json::to_vec(&Kept { data, error, effect, people }).ok()
    };
    let whole = kept(result.as_ref().map_err(|error| KeptError::of(error, write)))?;
    if whole.len() <= MAX_RESULT {
        return Some(whole);
    }
    kept(Err(KeptError {
        kind: "internal".into(),
        message: format!("the call was made, and its result is longer than {MAX_RESULT} bytes"),
        hint: None,
        retryable: false,
        http_status: None,
        retry_after_seconds: None,
    }))
}

impl Earlier {
    /// Makes it the outcome of another call with the same arguments, and returns the result.
    pub(super) fn told_by(self, outcome: &mut Outcome) -> Result<Value, Error> {
        let Self { id, result, write, .. } = self;
        (outcome.is_earlier, outcome.write, outcome.approval) = (true, write, Some(id));
        result
    }

    fn of_kept(id: &str, kept: &[u8]) -> Option<Self> {
        let Kept { data, error, effect, people } = serde_json::from_slice(kept).ok()?;
        let result = match (data, error) {
            (Some(data), None) => Ok(data),
            (_, error) => Err(error?.into_error()),
        };
        // What a later version may write is taken for the least strict.
        let people = people.map(|people| Participants::parse(&people).unwrap_or_default());
        Some(Self { people, ..Self::new(id, result, write_outcome(&effect)) })
    }

    fn new(id: &str, result: Result<Value, Error>, write: WriteOutcome) -> Self {
        Self { id: id.to_owned(), result, write, people: None }
    }

    /// Whether it shows more of people than calls may see now.
    fn shows_more_than(&self, now: Participants) -> bool {
        self.people.is_some_and(|people| people < now)
    }

    /// Returns only that the call was made, for a caller who would be refused the very same call now.
    fn withheld(self, why: Error) -> Self {
        let why = why.for_agent();
        let made = match (&self.result, self.write) {
            (Err(_), WriteOutcome::None) => "tried",
            _ => "made",
        };
        let error = EarlierError {
            kind: EarlierError::known_kind(why.kind()),
            message: format!(
                "this call was {made} after its approval, and its result is not given out now: {why}"
            ),
            hint: why.hint(self.write),
            retryable: false,
            http_status: None,
            retry_after_seconds: None,
        };
        Self { result: Err(Error::Earlier(Box::new(error))), ..self }
    }

    /// Returns what the log has, where no result was kept.
    fn of_row(id: &str, outcome: &AuditOutcome) -> Self {
        let message = match (&outcome.message, outcome.success) {
            (Some(message), _) => message.clone(),
            (None, true) => "the call was made and succeeded, and its result was not kept".into(),
            (None, false) => "the call failed".into(),
        };
        let result = Err(Error::Internal { message });
        Self::new(id, result, write_outcome(&outcome.effect))
    }

    /// Returns the error for a call whose outcome is not known.
    fn unknown(id: &str, error: Error, is_write: bool) -> Self {
        let write = if is_write { WriteOutcome::Unknown } else { WriteOutcome::None };
        Self::new(id, Err(error), write)
    }
}

fn write_outcome(effect: &str) -> WriteOutcome {
    match effect {
        "none" => WriteOutcome::None,
        "done" => WriteOutcome::Done,
        _ => WriteOutcome::Unknown,
    }
}

/// Returns the error for an approval that is of no use any more. The call needs another one.
fn void(message: String) -> Error {
    Error::Earlier(Box::new(EarlierError {
        kind: "approval-required",
        message,
        hint: Some("make the very same call again to ask for another approval".into()),
        retryable: false,
        http_status: None,
        retry_after_seconds: None,
    }))
}

/// Returns the error for an approval that is not for the call as it would be made now.
pub(super) fn changed(function: &str, id: &str) -> Error {
    void(format!(
        "the approval {id} of {function} was not used: it is for another key, component or API than there \
         is now"
    ))
}

/// Returns the error for an approval that another program used first, or that has expired.
pub(super) fn taken(function: &str, id: &str) -> Error {
    void(format!("the approval {id} of {function} can no longer be used"))
}

/// Whether an error ends the approval of a call that was not made. After any other, such as a key that is not
/// there, another program may make the call.
pub(super) fn ends_approval(error: &Error) -> bool {
    matches!(error, Error::Denied { .. } | Error::Blocked { .. } | Error::InvalidArgument { .. })
}

/// Returns the error for a caller whose approved call this program cannot make.
fn left_alone(error: &Error) -> Error {
    Error::Earlier(Box::new(EarlierError {
        kind: error.kind(),
        message: format!("{error}; this program has sent nothing, and the approval stays valid"),
        hint: error.hint(WriteOutcome::None),
        retryable: error.is_retryable(),
        http_status: None,
        retry_after_seconds: None,
    }))
}

/// What came of an attempt to make an approved call.
enum Attempt {
    /// The call began.
    Begun(Box<Outcome>),
    /// The call was refused for good, and its approval has ended, unless another program was faster.
    Refused,
}

/// What has become of a call that was stored for approval.
pub(crate) enum Progress {
    /// Nobody has decided.
    Pending,
    /// A person has approved it, and it is being made.
    UnderWay,
    /// Its caller has withdrawn it.
    Withdrawn,
    /// It was made, or will not be made.
    Ended(Box<Outcome>),
}

impl Progress {
    fn ended(outcome: Outcome) -> Self {
        Self::Ended(Box::new(outcome))
    }
}

/// Who asks for a call that was stored for approval. It must be the one who made it.
pub(crate) struct Asking<'a> {
    pub(crate) id: &'a str,
    pub(crate) agent: Option<&'a str>,
    /// The ids of the blocks of the capability token.
    pub(crate) token: Option<&'a [String]>,
}

impl Session {
    fn store_of_approvals(&self) -> Result<&Arc<Store>, Error> {
        match &self.0.store {
            Ok(Some(store)) => Ok(store),
            Ok(None) => Err(Error::usage("there is no state directory, so no approval is stored")),
            Err(error) => Err(error.clone()),
        }
    }

    /// Returns what came of the call that used an approval. Waits for its program, if that may still run.
    /// `None` if another caller got it first, as each result answers one call, or if it shows more of people
    /// than the call may see now.
    pub(super) async fn earlier(
        &self,
        id: &str,
        decided: &Decided<'_>,
    ) -> Result<Option<Earlier>, Error> {
        loop {
            match self.earlier_now(id).await {
                Ok(Some(earlier)) if earlier.shows_more_than(decided.participants()) => {
                    return Ok(None);
                }
                Ok(Some(earlier)) => return Ok(self.collect(id).await.then_some(earlier)),
                Ok(None) => tokio::time::sleep(POLL).await,
                Err(error) => {
                    let is_write = decided.call.rule.effect == Effect::Write;
                    return Ok(Some(Earlier::unknown(id, error, is_write)));
                }
            }
        }
    }

    /// Returns what came of the call that used an approval; `None` if it may still be under way.
    async fn earlier_now(&self, id: &str) -> Result<Option<Earlier>, Error> {
        let own = id.to_owned();
        let made = blocking(self.store_of_approvals()?, move |store| store.made(&own)).await?;
        let Made { result, row, is_under_way } = made;
        if let Some(earlier) = result.and_then(|kept| Earlier::of_kept(id, &kept)) {
            return Ok(Some(earlier));
        }
        let outcome = row.as_ref().and_then(|row| row.outcome.as_ref());
        if let Some(outcome) = outcome {
            return Ok(Some(Earlier::of_row(id, outcome)));
        }
        if is_under_way {
            return Ok(None);
        }
        let is_write = row.is_none_or(|row| row.effect.as_deref() != Some("read"));
        let message = "this call was made after its approval, and its outcome is not recorded: the program \
                       that made it has ended, or cannot write to the state directory";
        Ok(Some(Earlier::unknown(id, Error::internal(message), is_write)))
    }

    /// Returns what came of a call for its caller: all of it, or only that it was made, if the very same call
    /// would be refused now. Says whether it is all.
    async fn released(&self, found: &StoredApproval, earlier: Earlier) -> (Earlier, bool) {
        match self.check_release(found, &earlier).await {
            Ok(()) => (earlier, true),
            Err(why) => (earlier.withheld(why), false),
        }
    }

    async fn check_release(&self, found: &StoredApproval, earlier: &Earlier) -> Result<(), Error> {
        let Some(stored) = self.stored(&found.id).await? else {
            // It goes an hour after the call was made. Then no result is kept either.
            return match earlier.result {
                Ok(_) => Err(Error::internal("it is not kept any more")),
                Err(_) => Ok(()),
            };
        };
        let mut call = stored.to_call();
        if let Some(text) = &stored.token {
            call = call.token(Some(&self.read_token(text).await?));
        }
        let made_at = found.used_at.and_then(Timestamp::of_unix_ms);
        let made_at = made_at.unwrap_or_else(|| self.0.resources.clock().timestamp());
        let participants = self.still_allowed(&call.of_its_agent(), made_at).await?;
        if earlier.shows_more_than(participants) {
            return Err(Error::Denied {
                message: format!(
                    "it shows people in a way that participants = \"{}\" does not allow",
                    participants.as_str()
                ),
                rule: None,
                instead: "make the very same call again, which needs another approval".into(),
            });
        }
        Ok(())
    }

    /// Returns the stored approval that a caller asks for.
    async fn asked_for(&self, asking: &Asking<'_>) -> Result<StoredApproval, Error> {
        let id = asking.id.to_owned();
        let found = blocking(self.store_of_approvals()?, move |store| store.approval(&id)).await?;
        // A narrower token may not do what the call does, and a wider one has made another call.
        let is_own = |found: &StoredApproval| {
            found.agent.as_deref() == asking.agent && found.token.as_deref() == asking.token
        };
        found.filter(is_own).ok_or_else(|| {
            let id = whereby_authority::text::printable(asking.id, 60);
            Error::usage(format!("there is no approval {id} of a call of yours"))
        })
    }

    /// Returns what has become of a call that was stored for approval.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the caller has no such call; [`Error::Configuration`] if the store cannot be
    /// used.
    pub(crate) async fn progress(&self, asking: &Asking<'_>) -> Result<Progress, Error> {
        let found = self.asked_for(asking).await?;
        let failed =
            |error: Error| Progress::ended(outcome(&found, Err(error), WriteOutcome::None));
        Ok(match found.state {
            ApprovalState::Pending => Progress::Pending,
            // With a result, the call failed before it sent anything that counts.
            ApprovalState::Approved => match self.kept(asking.id).await? {
                Some(earlier) => Progress::ended(earlier.into_outcome(&found)),
                None => Progress::UnderWay,
            },
            ApprovalState::Denied => failed(denied(&found)),
            ApprovalState::Used => match self.earlier_now(asking.id).await? {
                Some(earlier) => {
                    let (earlier, is_all) = self.released(&found, earlier).await;
                    if is_all && !found.is_collected {
                        self.collect(asking.id).await;
                    }
                    Progress::ended(earlier.into_outcome(&found))
                }
                None => Progress::UnderWay,
            },
            ApprovalState::Expired if found.is_withdrawn => Progress::Withdrawn,
            ApprovalState::Expired => match self.kept(asking.id).await? {
                Some(earlier) => Progress::ended(earlier.into_outcome(&found)),
                None => failed(expired(&found)),
            },
        })
    }

    /// Records that the caller has the result of a call. Returns whether it is the first. If this cannot be
    /// recorded, the caller has the result nevertheless.
    async fn collect(&self, id: &str) -> bool {
        let own = id.to_owned();
        let collected = match self.store_of_approvals() {
            Ok(store) => blocking(store, move |store| store.collect(&own)).await,
            Err(error) => Err(error),
        };
        collected.unwrap_or_else(|error| {
            (self.0.notice)(&format!(
                "the very same call as that of the approval {id} may get its result once more, because it \
                 could not be recorded that its caller has it: {error}"
            ));
            true
        })
    }

    /// Returns the digest of the component that calls are made with.
    fn digest_now(&self) -> &str {
        self.0.resources.component_digest()
    }

    /// Returns the files that may have rules for calls of this session.
    pub(super) fn rule_files(&self) -> Vec<String> {
        let resources = &self.0.resources;
        let files = resources.settings.rule_files(resources.environment());
        files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
    }

    /// Returns what was kept of the call of an approval.
    async fn kept(&self, id: &str) -> Result<Option<Earlier>, Error> {
        let own = id.to_owned();
        let made = blocking(self.store_of_approvals()?, move |store| store.made(&own)).await?;
        Ok(made.result.and_then(|kept| Earlier::of_kept(id, &kept)))
    }

    /// Returns when a stored call was stored and changed, and how long it is kept.
    ///
    /// # Errors
    ///
    /// As for [`Self::progress`].
    pub(crate) async fn lifetime(&self, asking: &Asking<'_>) -> Result<Lifetime, Error> {
        self.asked_for(asking).await.map(|found| Lifetime::from(&found))
    }

    async fn to_pending(&self, found: &StoredApproval) -> Result<PendingApproval, Error> {
        let store = self.store_of_approvals()?;
        let needs_passkey =
            found.needs_passkey || self.settings().policy.passkey_required_by().is_some();
        let way = way(store, &found.id, true, needs_passkey).await?;
        Ok(PendingApproval { id: found.id.clone(), expires_at: found.expires_at, way })
    }

    /// Waits for a person's decision on a stored call, makes the call, and returns its outcome. The call
    /// goes on if nobody waits for its result any more, and `making` is not closed as long as it does.
    /// `current` returns the session under the settings of the moment at which the call is made.
    pub(crate) async fn resume(
        &self,
        asking: &Asking<'_>,
        wait: Duration,
        making: &watch::Sender<()>,
        current: impl Fn() -> Result<Self, Error>,
    ) -> Outcome {
        let resumed = self.wait_for(asking, wait, making, current).await;
        resumed.unwrap_or_else(|error| {
            let is_none = matches!(error, Error::Usage { .. });
            let mut failed = Outcome::refused(&Call::new("", Value::Null), error);
            // Nobody knows what came of the call.
            failed.write = if is_none { WriteOutcome::None } else { WriteOutcome::Unknown };
            failed.is_earlier = true;
            failed
        })
    }

    async fn wait_for(
        &self,
        asking: &Asking<'_>,
        wait: Duration,
        making: &watch::Sender<()>,
        current: impl Fn() -> Result<Self, Error>,
    ) -> Result<Outcome, Error> {
        let until = Instant::now() + wait;
        let mut left = None;
        loop {
            let found = self.asked_for(asking).await?;
            if found.state == ApprovalState::Approved {
                if let Some(error) = left {
                    return Ok(outcome(&found, Err(left_alone(&error)), WriteOutcome::None));
                }
                left = match current() {
                    Ok(session) => {
                        let (id, making) = (found.id.clone(), making.subscribe());
                        let made = tokio::spawn(async move {
                            let made = session.make_approved(&id).await;
                            drop(making);
                            made
                        });
                        let broke = |_| Error::internal("the approved call broke off");
                        match made.await.map_err(broke)? {
                            Ok(Attempt::Begun(outcome)) => {
                                self.collect(asking.id).await;
                                return Ok(*outcome);
                            }
                            Ok(Attempt::Refused) => None,
                            Err(error) => Some(error),
                        }
                    }
                    Err(error) => Some(error),
                };
                if left.is_some() {
                    continue;
                }
            }
            match self.progress(asking).await? {
                Progress::Ended(outcome) => return Ok(*outcome),
                Progress::Withdrawn => {
                    return Ok(outcome(&found, Err(expired(&found)), WriteOutcome::None));
                }
                Progress::Pending if Instant::now() >= until => {
                    let pending = self.to_pending(&found).await?;
                    let message = format!(
                        "{} by the account `{}` still needs a person's approval",
                        found.function, found.account
                    );
                    let error =
                        Error::ApprovalRequired { message, rule: None, pending: Some(pending) };
                    let mut waiting = outcome(&found, Err(error), WriteOutcome::None);
                    waiting.approval = Some(found.id);
                    return Ok(waiting);
                }
                Progress::Pending | Progress::UnderWay => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Withdraws a stored call that nobody has decided on. Returns whether it could be.
    pub(crate) async fn withdraw(&self, asking: &Asking<'_>) -> Result<bool, Error> {
        let StoredApproval { id, state, .. } = self.asked_for(asking).await?;
        if state != ApprovalState::Pending {
            return Ok(false);
        }
        blocking(self.store_of_approvals()?, move |store| store.withdraw(&id)).await
    }

    /// Returns the call that an approval is stored with.
    async fn stored(&self, id: &str) -> Result<Option<StoredCall>, Error> {
        let (store, own) = (self.store_of_approvals()?, id.to_owned());
        let stored = blocking(store, move |store| store.stored_call(&own)).await?;
        Ok(stored.and_then(|stored| serde_json::from_slice(&stored).ok()))
    }

    /// Makes the call of an approval that a person has given.
    ///
    /// # Errors
    ///
    /// Says why this program cannot make the call. Nothing was sent, and nothing has changed.
    async fn make_approved(&self, id: &str) -> Result<Attempt, Error> {
        let Some(stored) = self.stored(id).await? else {
            return Err(Error::usage(format!(
                "the approval {id} was not stored with its call; make the very same call again"
            )));
        };
        if !stored.is_under(&self.rule_files()) {
            return Err(Error::usage(format!(
                "the call of the approval {id} was made under other configuration files, so it is not made \
                 here; make the very same call again"
            )));
        }
        let call = stored.to_call().resumes(id);
        let outcome = match &stored.token {
            Some(text) => match self.open_token(text).await {
                Ok(token) => self.run(call.token(Some(&token))).await,
                Err(error) if ends_approval(&error) => self.refuse(call, error).await,
                Err(error) => return Err(error),
            },
            None => self.run(call).await,
        };
        match &outcome.result {
            Err(error) if outcome.approval.as_deref() != Some(id) => {
                if !ends_approval(error) {
                    return Err(error.clone());
                }
                let kept = to_kept(&outcome.result, outcome.write, None).unwrap_or_default();
                let (store, id) = (self.store_of_approvals()?, id.to_owned());
                blocking(store, move |store| store.fail(&id, &kept)).await?;
                Ok(Attempt::Refused)
            }
            _ => Ok(Attempt::Begun(Box::new(outcome))),
        }
    }
}

/// Returns the files that exist.
fn existing<'a>(files: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a String> {
    files.into_iter().filter(|file| Path::new(file).exists()).collect()
}

/// Makes approved calls until `stop` is cancelled, and then finishes those under way. `session` returns the
/// session under the current settings. `notice` tells the person who runs the program what could not be
/// done.
#[cfg(any(feature = "inbox", feature = "mcp"))]
pub(crate) async fn make_approved_calls(
    stop: CancellationToken,
    session: impl Fn() -> Option<Session>,
    notice: impl Fn(&str),
) {
    // When each was tried. Another program may make one that could not be made.
    let mut tried: BTreeMap<String, Instant> = BTreeMap::new();
    let mut running = tokio::task::JoinSet::new();
    let tell = |done: Result<(String, Result<Attempt, Error>), tokio::task::JoinError>| match done {
        Ok((_, Ok(Attempt::Begun(outcome)))) => {
            if let Some(problem) = outcome.unrecorded {
                notice(&format!("the audit log is missing part of a call: {problem}"));
            }
        }
        // What is not for this program is told to the caller.
        Ok((_, Ok(Attempt::Refused) | Err(Error::Usage { .. } | Error::Earlier(_)))) | Err(_) => {}
        Ok((id, Err(error))) => {
            notice(&format!("the approved call {id} could not be made: {error}"));
        }
    };
    let mut turns = tokio::time::interval(LOOK);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        while let Some(done) = running.try_join_next() {
            tell(done);
        }
        let Some(session) = session() else { continue };
        let Ok(store) = session.store_of_approvals() else { continue };
        let component = session.digest_now().to_owned();
        let found = match blocking(store, move |store| store.runnable(&component)).await {
            Ok(found) => found,
            Err(error) => {
                notice(&format!("approved calls are not made: {error}"));
                continue;
            }
        };
        tried.retain(|id, at| found.contains(id) && at.elapsed() < AGAIN);
        for id in found {
            if !tried.contains_key(&id) {
                tried.insert(id.clone(), Instant::now());
                let session = session.clone();
                running.spawn(async move {
                    let made = session.make_approved(&id).await;
                    (id, made)
                });
            }
        }
    }
    while let Some(done) = running.join_next().await {
        tell(done);
    }
}

impl Earlier {
    fn into_outcome(self, approval: &StoredApproval) -> Outcome {
        let mut outcome = outcome(approval, self.result, self.write);
        outcome.approval = Some(self.id);
        outcome
    }
}

fn outcome(
    approval: &StoredApproval,
    result: Result<Value, Error>,
    write: WriteOutcome,
) -> Outcome {
    let call = Call::new(approval.function.as_str(), Value::Null);
    let mut outcome = Outcome::refused(&call, Error::Interrupted);
    outcome.account = Some(approval.account.clone());
    (outcome.result, outcome.write, outcome.is_earlier) = (result, write, true);
    outcome
}

fn denied(approval: &StoredApproval) -> Error {
    Error::Denied {
        message: format!(
            "{} by the account `{}` was declined (approval {})",
            approval.function, approval.account, approval.id
        ),
        rule: None,
        instead: "a person declined this call; do not ask again".into(),
    }
}

fn expired(approval: &StoredApproval) -> Error {
    void(format!(
        "the approval {} of {} has expired, or newer requests took its place",
        approval.id, approval.function
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_to_keep_is_said_to_have_been_made() {
        let long = Value::from("x".repeat(MAX_RESULT));
        for write in [WriteOutcome::None, WriteOutcome::Done, WriteOutcome::Unknown] {
            let kept = to_kept(&Ok(long.clone()), write, None).expect("kept");
            assert!(kept.len() < 1000);
            let earlier = Earlier::of_kept("id", &kept).expect("readable");
            assert_eq!(earlier.write, write);
            let message = earlier.result.expect_err("no result").to_string();
            assert!(message.contains("the call was made"), "{message}");
        }
        let fits = Value::from("x".repeat(1000));
        let kept = to_kept(&Ok(fits.clone()), WriteOutcome::Done, None).expect("kept");
        assert_eq!(Earlier::of_kept("id", &kept).expect("readable").result.expect("ok"), fits);
        for broken in [&b""[..], b"{}", b"{\"data\":null,\"error\":null}", &kept[1..]] {
            assert!(Earlier::of_kept("id", broken).is_none());
        }
        // What a later version may write is not taken for nothing.
        assert_eq!(write_outcome("perhaps"), WriteOutcome::Unknown);
    }

    #[test]
    fn an_error_is_kept_as_agents_see_it() {
        let error = Error::Denied {
            message: "denied".into(),
            rule: None,
            instead: "do not try another way".into(),
        };
        let kept = to_kept(&Err(error.clone()), WriteOutcome::None, None).expect("kept");
        let earlier = Earlier::of_kept("id", &kept).expect("readable");
        let again = earlier.result.expect_err("an error");
        assert_eq!((again.kind(), again.to_string()), ("denied", error.to_string()));
        assert_eq!(again.hint(WriteOutcome::None), error.hint(WriteOutcome::None));
    }
}
