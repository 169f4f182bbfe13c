//! Calls that are made after a person has approved them: by any program of the state directory that serves
//! clients, or when the caller asks for the result.
//!
//! Each is made once. The beginning of the call uses up its approval in one transaction, so of several
//! programs one makes it. The result is in the database together with the outcome. If a program ends in
//! between, the outcome is unknown, and the call is not made again.

use super::Session;
use super::authorization::{blocking, way};
use crate::error::{EarlierError, Error, PendingApproval};
use crate::session::call::{Call, Outcome};
use crate::store::{ApprovalState, AuditOutcome, Lifetime, Made, Store, StoredApproval};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
#[cfg(any(feature = "inbox", feature = "mcp"))]
use tokio_util::sync::CancellationToken;
use whereby_authority::grant::WriteOutcome;

/// How often a caller that waits looks for a decision or a result.
const POLL: Duration = Duration::from_millis(200);

/// How often a program looks for approved calls to make.
#[cfg(any(feature = "inbox", feature = "mcp"))]
const LOOK: Duration = Duration::from_millis(500);

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
    /// The files that may have rules for it.
    files: Vec<String>,
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
        files,
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
}

/// What came of a call, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    data: Option<Value>,
    error: Option<KeptError>,
    effect: String,
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
        // Whoever asks for it later is an agent.
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
pub(super) fn to_kept(result: &Result<Value, Error>, write: WriteOutcome) -> Option<Vec<u8>> {
    let kept = |result: Result<&Value, KeptError>| {
        let effect = write.as_str().to_owned();
        let (data, error) = match result {
            Ok(data) => (Some(data.clone()), None),
            Err(error) => (None, Some(error)),
        };
        serde_json::to_vec(&Kept { data, error, effect }).ok()
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
        let Self { id, result, write } = self;
        (outcome.is_earlier, outcome.write, outcome.approval) = (true, write, Some(id));
        result
    }

    fn of_kept(id: &str, kept: &[u8]) -> Option<Self> {
        let Kept { data, error, effect } = serde_json::from_slice(kept).ok()?;
        let result = match (data, error) {
            (Some(data), None) => Ok(data),
            (_, error) => Err(error?.into_error()),
        };
        Some(Self { id: id.to_owned(), result, write: write_outcome(&effect) })
    }

    /// Returns what the log has, where no result was kept.
    fn of_row(id: &str, outcome: &AuditOutcome) -> Self {
        let message = match (&outcome.message, outcome.success) {
            (Some(message), _) => message.clone(),
            (None, true) => "the call was made and succeeded, and its result was not kept".into(),
            (None, false) => "the call failed".into(),
        };
        let result = Err(Error::Internal { message });
        Self { id: id.to_owned(), result, write: write_outcome(&outcome.effect) }
    }

    /// Returns the error for a call whose program ended before the outcome was recorded.
    fn unknown(id: &str, is_write: bool) -> Self {
        let message =
            "the program that made this call after its approval ended before the outcome was \
                       recorded"
                .to_owned();
        let write = if is_write { WriteOutcome::Unknown } else { WriteOutcome::None };
        Self { id: id.to_owned(), result: Err(Error::Internal { message }), write }
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
    /// The id of the first block of the capability token.
    pub(crate) token: Option<&'a str>,
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
    /// `None` if another caller got it first: each result answers one call.
    pub(super) async fn earlier(&self, id: &str) -> Result<Option<Earlier>, Error> {
        let store = self.store_of_approvals()?;
        loop {
            if let Some(earlier) = self.earlier_now(id).await? {
                let own = id.to_owned();
                let is_first = blocking(store, move |store| store.collect(&own)).await?;
                return Ok(is_first.then_some(earlier));
            }
            tokio::time::sleep(POLL).await;
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
        Ok(Some(Earlier::unknown(id, is_write)))
    }

    /// Returns the stored approval that a caller asks for.
    async fn asked_for(&self, asking: &Asking<'_>) -> Result<StoredApproval, Error> {
        let id = asking.id.to_owned();
        let found = blocking(self.store_of_approvals()?, move |store| store.approval(&id)).await?;
        let is_own = |found: &StoredApproval| {
            let first = found.token.as_ref().and_then(|ids| ids.first());
            found.agent.as_deref() == asking.agent && first.map(String::as_str) == asking.token
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
            // With a result, the call was not made, or failed before it sent anything.
            ApprovalState::Approved => match self.kept(asking.id).await? {
                Some(earlier) => Progress::ended(earlier.into_outcome(&found)),
                None if found.component.as_deref().is_some_and(|own| own != self.digest_now()) => {
                    failed(changed(&found.function, &found.id))
                }
                None => Progress::UnderWay,
            },
            ApprovalState::Denied => failed(denied(&found)),
            ApprovalState::Used => match self.earlier_now(asking.id).await? {
                Some(earlier) => {
                    self.collect(&found).await?;
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

    /// Records that the caller has the result of a call.
    async fn collect(&self, found: &StoredApproval) -> Result<(), Error> {
        if found.is_collected {
            return Ok(());
        }
        let (store, id) = (self.store_of_approvals()?, found.id.clone());
        blocking(store, move |store| store.collect(&id)).await.map(drop)
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
        let needs_passkey = self.settings().policy.passkey_required_by().is_some();
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
    ) -> Result<Outcome, Error> {
        let until = Instant::now() + wait;
        let mut was_tried = false;
        loop {
            let found = self.asked_for(asking).await?;
            // After a first attempt, only if nobody knows what came of it.
            let is_open = found.state == ApprovalState::Approved
                && (!was_tried || self.kept(asking.id).await?.is_none());
            if is_open {
                was_tried = true;
                let (session, id, making) = (current()?, found.id.clone(), making.subscribe());
                let made = tokio::spawn(async move {
                    let made = session.make_approved(&id).await;
                    drop(making);
                    made
                });
                let made = made.await.map_err(|_| Error::internal("the approved call broke off"));
                let outcome = made??;
                // Otherwise another program was faster, or the reason was kept.
                if outcome.approval.as_deref() == Some(asking.id) {
                    self.collect(&found).await?;
                    return Ok(outcome);
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

    /// Makes the call of an approval that a person has given.
    async fn make_approved(&self, id: &str) -> Result<Outcome, Error> {
        let (store, own) = (self.store_of_approvals()?, id.to_owned());
        let stored = blocking(store, move |store| store.stored_call(&own)).await?;
        let stored = stored.and_then(|stored| serde_json::from_slice::<StoredCall>(&stored).ok());
        let Some(stored) = stored else {
            return Err(Error::usage(format!(
                "the approval {id} was not stored with its call; make the very same call again"
            )));
        };
        let StoredCall { account, agent, token, function, arguments, front_end, .. } = stored;
        let StoredCall { client, trace, files, .. } = stored;
        // Other rules may allow what those of the caller forbid, and forbid what they allow.
        if existing(files) != existing(self.rule_files()) {
            return Err(Error::usage(format!(
                "the call of the approval {id} was made under other configuration files, so it is not made \
                 here; make the very same call again"
            )));
        }
        let mut call = Call::new(function, arguments)
            .traceparent(trace.as_deref())
            .exact_account(&account)
            .agent(agent.as_deref())
            .asked_by(&front_end, client.as_deref())
            .resumes(id);
        let outcome = match token {
            Some(text) => match self.open_token(&text).await {
                Ok(token) => {
                    call = call.token(Some(&token));
                    self.run(call).await
                }
                Err(error) => self.refuse(call, error).await,
            },
            None => self.run(call).await,
        };
        let has_begun = outcome.approval.as_deref() == Some(id);
        if let Err(error) = &outcome.result
            && !has_begun
            && let Some(kept) = to_kept(&outcome.result, outcome.write)
        {
            let is_final = matches!(error, Error::Denied { .. } | Error::InvalidArgument { .. });
            let id = id.to_owned();
            blocking(store, move |store| store.fail(&id, &kept, is_final)).await?;
        }
        Ok(outcome)
    }
}

/// Returns the files that exist.
fn existing(files: Vec<String>) -> BTreeSet<String> {
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
    // One that could not be made is left to its caller, or to another program.
    let mut tried = BTreeSet::new();
    let mut running = tokio::task::JoinSet::new();
    let mut turns = tokio::time::interval(LOOK);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        while let Some(done) = running.try_join_next() {
            // What is not for this program is told to the caller.
            if let Ok((id, Err(error))) = done
                && !matches!(error, Error::Usage { .. })
            {
                notice(&format!("the approved call {id} could not be made: {error}"));
            }
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
        tried.retain(|id| found.contains(id));
        for id in found {
            if tried.insert(id.clone()) {
                let session = session.clone();
                running.spawn(async move {
                    let made = session.make_approved(&id).await;
                    (id, made.map(drop))
                });
            }
        }
    }
    while running.join_next().await.is_some() {}
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
            let kept = to_kept(&Ok(long.clone()), write).expect("kept");
            assert!(kept.len() < 1000);
            let earlier = Earlier::of_kept("id", &kept).expect("readable");
            assert_eq!(earlier.write, write);
            let message = earlier.result.expect_err("no result").to_string();
            assert!(message.contains("the call was made"), "{message}");
        }
        let fits = Value::from("x".repeat(1000));
        let kept = to_kept(&Ok(fits.clone()), WriteOutcome::Done).expect("kept");
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
        let kept = to_kept(&Err(error.clone()), WriteOutcome::None).expect("kept");
        let earlier = Earlier::of_kept("id", &kept).expect("readable");
        let again = earlier.result.expect_err("an error");
        assert_eq!((again.kind(), again.to_string()), ("denied", error.to_string()));
        assert_eq!(again.hint(WriteOutcome::None), error.hint(WriteOutcome::None));
    }
}
