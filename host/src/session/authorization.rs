//! Authorizes calls that need approval: by a stored approval, by a person's answer, or by storing the
//! question for a person to answer later.

use super::Session;
use super::decision::{Decided, reason};
use crate::error::Error;
use crate::error::{PendingApproval, Way};
use crate::session::approval::{Answer, Channel};
use crate::session::call::Call;
use crate::session::notify::NewApproval;
use crate::session::resume::{self, Earlier};
use crate::store::{
    ApprovalState, Asking, Claim, Decided as Decision, Decider, Digest, Filed, Place, Store,
    Subject, Wanted, What,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Effect, Permission, has_destination};

/// How often a stored question is checked for an answer.
const POLL: Duration = Duration::from_millis(200);

/// The name of a standing approval in the audit log.
pub(super) const STANDING: &str = "standing";

/// What authorizes a call.
#[derive(Clone, Debug)]
pub(super) enum Authorization {
    /// The rules allow it.
    Rule,
    /// The user's `--force`.
    Force,
    /// A person approved it just now.
    Person(Channel),
    /// A stored approval, which the call has not used up yet.
    Approved(Digest),
    /// A stored approval, whose call this is.
    Resumed { id: String, digest: Digest },
    /// A stored question that an MCP client has just approved.
    Answered { id: String, digest: Digest, by: Decider },
    /// A standing approval, and the conditions that the call relies on.
    Standing { id: String, relies_on: Vec<Condition> },
}

/// A call that may go ahead, or has been made before.
pub(super) enum Cleared {
    Authorized(Authorization),
    /// A program has made it after its approval, and its caller did not have the result.
    Earlier(Box<Earlier>),
}

impl From<Authorization> for Cleared {
    fn from(authorization: Authorization) -> Self {
        Self::Authorized(authorization)
    }
}

impl Authorization {
    /// Returns its name in the audit log.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Force => "force",
            Self::Person(channel) => channel.as_str(),
            Self::Approved(_) | Self::Resumed { .. } => "approval",
            Self::Standing { .. } => STANDING,
            Self::Answered { .. } => Channel::Elicitation.as_str(),
        }
    }

    /// Returns the approval that it uses up.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        match self {
            Self::Rule | Self::Force | Self::Person(_) => None,
            Self::Approved(digest) => Some(Claim::Approved(digest)),
            Self::Resumed { id, digest } => Some(Claim::Resumed { id, digest }),
            Self::Answered { id, digest, by } => Some(Claim::Answered { id, digest, by }),
            Self::Standing { id, .. } => Some(Claim::Standing(id)),
        }
    }

    fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Rule | Self::Force | Self::Person(_) | Self::Standing { .. } => None,
            Self::Approved(digest)
            | Self::Resumed { digest, .. }
            | Self::Answered { digest, .. } => Some(digest),
        }
    }
}

/// Uses the store on a thread that may wait for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    let failed = || Error::Internal { message: "the state directory could not be used".into() };
    done.unwrap_or_else(|_| Err(failed()))
}

impl Session {
    fn store(&self) -> Option<&Arc<Store>> {
        self.0.store.as_ref().ok()?.as_ref()
    }

    /// Authorizes a call.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] or [`Error::ApprovalRequired`] if the call may not be made.
    pub(super) async fn clear(&self, decided: &Decided<'_>, call: &Call) -> Result<Cleared, Error> {
        if let Some(denial) = decided.denial(call.force) {
            return Err(denial);
        }
        if let Some(id) = &call.resumes {
            return self.resumed(decided, id).await.map(Cleared::from);
        }
        if decided.verdict.permission == Permission::Allow {
            return Ok(Authorization::Rule.into());
        }
        let digest = self.digest(decided).await?;
        if call.force {
            self.check_denied(decided, digest).await?;
            return Ok(Authorization::Force.into());
        }
        if let Some(digest) = &digest {
            if let Some(cleared) = self.stored_authorization(decided, call, digest).await? {
                return Ok(cleared);
            }
            if let Some(authorization) = self.standing_authorization(decided, digest).await? {
                return Ok(authorization.into());
            }
        }
        let approver = call.approver.as_ref().unwrap_or(&self.0.approver);
        let channel = approver.channel();
        // Nobody who is asked here has a passkey.
        if decided.verdict.passkey_required_by.is_some() {
            return self.ask_later(decided, call, digest).await;
        }
        if channel == Channel::Elicitation {
            return self.ask_client(decided, call, digest).await;
        }
        match approver.ask(&decided.question()).await {
            Answer::Approved => Ok(Authorization::Person(channel).into()),
            Answer::Declined => {
                self.record_no(decided, call, channel).await?;
                if channel != Channel::Terminal {
                    return Err(declined(decided));
                }
                // The person who declined it reads this message.
                let message =
                    format!("{} was declined; nothing was sent", decided.call.function.json);
                Err(Error::Denied { message, rule: None, instead: String::new() })
            }
            Answer::Nobody => self.ask_later(decided, call, digest).await,
        }
    }

    /// Refuses a call that a person denied within the last hour: `force` replaces an approval, but does
    /// not override a denial.
    async fn check_denied(
        &self,
        decided: &Decided<'_>,
        digest: Option<Digest>,
    ) -> Result<(), Error> {
        let (Some(store), Some(digest)) = (self.store(), digest) else { return Ok(()) };
        if !blocking(store, move |store| store.is_denied(&digest)).await? {
            return Ok(());
        }
        Err(Error::Denied {
            message: format!(
                "{} by the account `{}` was denied by a person within the last hour",
                decided.call.function.json, decided.call.name
            ),
            rule: None,
            instead:
                "--force does not override a denial; a person can still approve the call with \
                      whereby approvals approve"
                    .into(),
        })
    }

    /// Asks through an MCP client. The question is stored first, so that a denial holds, however often an
    /// agent repeats the call.
    async fn ask_client(
        &self,
        decided: &Decided<'_>,
        call: &Call,
        digest: Option<Digest>,
    ) -> Result<Cleared, Error> {
        let may_ask = decided.verdict.elicitation_denied_by.is_none() && call.answer.is_none();
        let approver = call.approver.as_ref().unwrap_or(&self.0.approver);
        let (Some(store), Some(own)) = (self.store(), digest.clone()) else {
            let answer =
                if may_ask { approver.ask(&decided.question()).await } else { Answer::Nobody };
            return match answer {
                Answer::Approved => Ok(Authorization::Person(Channel::Elicitation).into()),
                Answer::Declined => Err(declined(decided)),
                Answer::Nobody => Err(required(decided, None)),
            };
        };
        if !may_ask {
            return self.ask_later(decided, call, digest).await;
        }
        let pending = self.pending(store, decided, call, &own).await?;
        if pending.way.needs_passkey {
            return self.ask_later(decided, call, digest).await;
        }
        let by = Decider::at(Place::Client).client(call.asked_by.client.as_deref());
        match approver.ask(&decided.question()).await {
            Answer::Approved => {
                Ok(Authorization::Answered { id: pending.id, digest: own, by }.into())
            }
            Answer::Declined => {
                blocking(store, move |store| store.decline(&pending.id, &own, &by)).await?;
                Err(declined(decided))
            }
            Answer::Nobody => {
                // A person may have decided elsewhere meanwhile.
                if let Some(cleared) = self.stored_authorization(decided, call, &own).await? {
                    return Ok(cleared);
                }
                self.ask_later(decided, call, digest).await
            }
        }
    }

    /// Authorizes the call of a stored approval, which a person has given.
    async fn resumed(&self, decided: &Decided<'_>, id: &str) -> Result<Authorization, Error> {
        let digest = self.digest(decided).await?;
        let (Some(store), Some(digest)) = (self.store(), digest) else {
            return Err(Error::internal("an approval was given without a state directory"));
        };
        let (own, approval) = (digest.clone(), id.to_owned());
        if blocking(store, move |store| store.is_for(&approval, &own)).await? {
            return Ok(Authorization::Resumed { id: id.to_owned(), digest });
        }
        Err(resume::changed(decided.call.function.json, id))
    }

    /// Returns the standing approval that covers this call.
    async fn standing_authorization(
        &self,
        decided: &Decided<'_>,
        digest: &Digest,
    ) -> Result<Option<Authorization>, Error> {
        let Some(store) = self.store() else { return Ok(None) };
        let own = digest.clone();
        // A no to this very call counts more than a yes to calls like it.
        if blocking(store, move |store| store.is_denied(&own)).await? {
            return Ok(None);
        }
        let call = &decided.call;
        let resources = Arc::clone(&self.0.resources);
        let fingerprint = resources.token(call.name, call.account).await?.fingerprint();
        let (account, api) = (call.name.to_owned(), call.account.api.to_string());
        let (agent, function) = (call.agent.map(str::to_owned), call.function.json);
        let token = call.token_ids.map(<[String]>::to_vec);
        let passkey = decided.verdict.passkey_required_by.is_some();
        let found = blocking(store, move |store| {
            store.standing_for(&Wanted {
                account: &account,
                api: &api,
                key_fingerprint: &fingerprint,
                component: resources.component_digest(),
                agent: agent.as_deref(),
                token: token.as_deref(),
                function,
                passkey,
            })
        });
        let sends = call.rule.is_destructive || has_destination(&call.arguments);
        let covers = |standing: &&crate::store::StandingApproval| {
            let unmet = |condition: &Condition| condition.unmet(&call.scope, &decided.facts);
            standing.is_for(digest)
                && (standing.is_destructive || !sends)
                && standing.conditions.iter().all(|condition| unmet(condition).is_none())
        };
        let found = found.await?;
        Ok(found.iter().find(covers).map(|standing| Authorization::Standing {
            id: standing.id.clone(),
            relies_on: standing.conditions.clone(),
        }))
    }

    /// Records that a person who was asked declined the call.
    async fn record_no(
        &self,
        decided: &Decided<'_>,
        call: &Call,
        channel: Channel,
    ) -> Result<(), Error> {
        let Some(store) = self.store() else { return Ok(()) };
        let by = decider(channel, call);
        let (account, function) = (decided.call.name.to_owned(), decided.call.function.json);
        let agent = decided.call.agent.map(str::to_owned);
        let record = blocking(store, move |store| {
            store.record_decision(&Decision {
                account: Some(&account),
                agent: agent.as_deref(),
                function: Some(function),
                ..Decision::new(What::Deny, &by)
            })
        });
        record.await
    }

    /// Returns the stored approval of this call, the answer that came with the call, or what came of the
    /// call if it was made by itself after its approval.
    async fn stored_authorization(
        &self,
        decided: &Decided<'_>,
        call: &Call,
        digest: &Digest,
    ) -> Result<Option<Cleared>, Error> {
        let Some(store) = self.store() else { return Ok(None) };
        let own = digest.clone();
        let passkey = decided.verdict.passkey_required_by.is_some();
        if blocking(store, move |store| store.is_approved(&own, passkey)).await? {
            return Ok(Some(Authorization::Approved(digest.clone()).into()));
        }
        if let Some(made) = self.made_by_itself(decided, digest).await? {
            return Ok(Some(Cleared::Earlier(Box::new(made))));
        }
        let Some(given) = &call.answer else { return Ok(None) };
        if decided.verdict.elicitation_denied_by.is_some() {
            return Ok(None);
        }
        let handle = given.handle.clone();
        let Some(id) = blocking(store, move |store| store.id_of(&handle)).await? else {
            return Ok(None);
        };
        let digest = digest.clone();
        let by = Decider::at(Place::Client).client(call.asked_by.client.as_deref());
        match given.answer {
            Answer::Approved => Ok(Some(Authorization::Answered { id, digest, by }.into())),
            Answer::Declined => {
                // An answer to another question changes nothing. The call is not made either way.
                blocking(store, move |store| store.decline(&id, &digest, &by)).await?;
                Err(declined(decided))
            }
            Answer::Nobody => Ok(None),
        }
    }

    /// Returns what came of this call, if a program made it after its approval and no caller has the result.
    async fn made_by_itself(
        &self,
        decided: &Decided<'_>,
        digest: &Digest,
    ) -> Result<Option<Earlier>, Error> {
        let Some(store) = self.store() else { return Ok(None) };
        let own = digest.clone();
        match blocking(store, move |store| store.uncollected(&own)).await? {
            Some(id) => self.earlier(&id, decided).await,
            None => Ok(None),
        }
    }

    /// Returns what came of a call whose approval was used up before the call began, if it was that a
    /// program made it.
    pub(super) async fn made_meanwhile(
        &self,
        decided: &Decided<'_>,
        authorization: &Authorization,
    ) -> Result<Option<Earlier>, Error> {
        match authorization.digest() {
            Some(digest) => self.made_by_itself(decided, digest).await,
            None => Ok(None),
        }
    }

    /// Returns the digest that binds an approval to this call, or `None` if nothing is stored.
    async fn digest(&self, decided: &Decided<'_>) -> Result<Option<Digest>, Error> {
        let is_read = decided.call.rule.effect == Effect::Read;
        let store = match &self.0.store {
            Ok(Some(store)) => store,
            Err(error) if !is_read => return Err(error.clone()),
            Ok(None) | Err(_) => return Ok(None),
        };
        let resources = Arc::clone(&self.0.resources);
        let token = resources.token(decided.call.name, decided.call.account).await?;
        let fingerprint = token.fingerprint();
        let (account, api) = (decided.call.name.to_owned(), decided.call.account.api.to_string());
        let agent = decided.call.agent.map(str::to_owned);
        // Narrower tokens of one token share its approvals, and other tokens do not.
        let token = decided.call.token_ids.and_then(|ids| ids.first()).cloned();
        let (function, arguments) = (decided.call.function.json, decided.call.arguments.to_json());
        let found = blocking(store, move |store| {
            store.digest(&Subject {
                account: &account,
                agent: agent.as_deref(),
                token: token.as_deref(),
                api: &api,
                key_fingerprint: &fingerprint,
                component: resources.component_digest(),
                function,
                arguments: &arguments,
            })
        });
        match found.await {
            Ok(digest) => Ok(Some(digest)),
            // A person can approve a read without the store.
            Err(_) if is_read => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the call for a person to approve, and waits for the answer for [`Call::wait`].
    async fn ask_later(
        &self,
        decided: &Decided<'_>,
        call: &Call,
        digest: Option<Digest>,
    ) -> Result<Cleared, Error> {
        let (Some(store), Some(digest)) = (self.store(), digest) else {
            return Err(required(decided, None));
        };
        let pending = self.pending(store, decided, call, &digest).await?;
        let approver = call.approver.as_ref().unwrap_or(&self.0.approver);
        approver.stored(&decided.question(), &pending);
        let until = Instant::now() + call.wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let mut error = required(decided, Some(pending));
                if let Error::ApprovalRequired { message, .. } = &mut error
                    && !call.wait.is_zero()
                {
                    *message += &format!(", and nobody decided within {} s", call.wait.as_secs());
                }
                return Err(error);
            }
            tokio::time::sleep(POLL.min(left)).await;
            let id = pending.id.clone();
            let found = blocking(store, move |store| store.approval(&id)).await?;
            match found.map(|approval| approval.state) {
                Some(ApprovalState::Denied) => return Err(declined(decided)),
                Some(ApprovalState::Approved) => return Ok(Authorization::Approved(digest).into()),
                Some(ApprovalState::Used) => {
                    return Ok(match self.made_by_itself(decided, &digest).await? {
                        Some(made) => Cleared::Earlier(Box::new(made)),
                        // Claiming it fails with the right error.
                        None => Authorization::Approved(digest).into(),
                    });
                }
                Some(ApprovalState::Expired) | None => {
                    let mut error = required(decided, None);
                    if let Error::ApprovalRequired { message, .. } = &mut error {
                        *message += ", and the request for it is gone: nobody decided within an hour, \
                                     newer requests took its place, or its agent was removed";
                    }
                    return Err(error);
                }
                Some(ApprovalState::Pending) => {}
            }
        }
    }

    /// Stores the call for a person to approve. If it was not stored before, people are told.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if a person denied the call within the last hour.
    async fn pending(
        &self,
        store: &Arc<Store>,
        decided: &Decided<'_>,
        call: &Call,
        digest: &Digest,
    ) -> Result<PendingApproval, Error> {
        match self.file(store, decided, call, digest).await? {
            Filed::Pending { id, expires_at, is_new, needs_passkey } => {
                let way = way(store, &id, call.is_resumable, needs_passkey).await?;
                if is_new {
                    let question = &decided.question();
                    let link = way.page.clone();
                    let approval = NewApproval { id: &id, expires_at, question, link };
                    let environment = self.0.resources.environment();
                    self.0.notifier.tell(self.settings(), environment, &approval, &self.0.notice);
                }
                Ok(PendingApproval { id, expires_at, way })
            }
            Filed::Denied { id, .. } => Err(Error::Denied {
                message: format!(
                    "{} by the account `{}` was declined (approval {id})",
                    decided.call.function.json, decided.call.name
                ),
                rule: None,
                instead: "a person denied this call within the last hour; do not ask again".into(),
            }),
        }
    }

    async fn file(
        &self,
        store: &Arc<Store>,
        decided: &Decided<'_>,
        call: &Call,
        digest: &Digest,
    ) -> Result<Filed, Error> {
        let own = &decided.call;
        let resources = Arc::clone(&self.0.resources);
        let fingerprint = resources.token(own.name, own.account).await?.fingerprint();
        let (digest, has_destination) = (digest.clone(), has_destination(&own.arguments));
        let (account, api) = (own.name.to_owned(), own.account.api.to_string());
        let function = own.function.json;
        let arguments = decided.shown().clone();
        let (rule, asked_by) = (decided.verdict.rule.to_string(), call.asked_by.clone());
        let agent = own.agent.map(str::to_owned);
        let token = own.token_ids.map(<[String]>::to_vec);
        let stored = || resume::to_stored(call, own.name, self.rule_files());
        let stored = call.is_resumable.then(stored).transpose()?;
        let passkey = decided.verdict.passkey_required_by.is_some();
        let filed = blocking(store, move |store| {
            store.file_approval(&Asking {
                digest: &digest,
                account: &account,
                api: &api,
                function,
                arguments: &arguments,
                rule: &rule,
                front_end: &asked_by.front_end,
                client: asked_by.client.as_deref(),
                agent: agent.as_deref(),
                token: token.as_deref(),
                asker: &asked_by.asker,
                key_fingerprint: &fingerprint,
                component: resources.component_digest(),
                has_destination,
                passkey,
                call: stored.as_deref(),
            })
        });
        filed.await
    }

    /// Returns the error for a call whose approval was used up before the call began.
    pub(super) async fn not_approved(
        &self,
        decided: &Decided<'_>,
        call: &Call,
        authorization: &Authorization,
    ) -> Error {
        let (Some(store), Some(digest)) = (self.store(), authorization.digest()) else {
            return required(decided, None);
        };
        if let Authorization::Resumed { id, .. } = authorization {
            return resume::taken(decided.call.function.json, id);
        }
        let mut error = match self.pending(store, decided, call, digest).await {
            Ok(pending) => required(decided, Some(pending)),
            Err(error) => error,
        };
        if let (
            Error::ApprovalRequired { message, pending: Some(pending), .. },
            Authorization::Approved(_),
        ) = (&mut error, authorization)
            // Without a passkey, nobody can have used it.
            && !pending.way.needs_passkey
        {
            *message = format!(
                "the approval of {} was used by another call with the same arguments; this call needs \
                 its own approval",
                decided.call.function.json
            );
        }
        error
    }
}

/// Returns how a person and a client get to a stored approval.
pub(super) async fn way(
    store: &Arc<Store>,
    id: &str,
    is_resumable: bool,
    needs_passkey: bool,
) -> Result<Box<Way>, Error> {
    let id = id.to_owned();
    let found = blocking(store, move |store| Ok((store.handle(&id)?, store.page_of(&id))));
    let (handle, page) = found.await?;
    Ok(Box::new(Way { handle, is_resumable, page, needs_passkey }))
}

/// Returns the person whom a front end asked.
pub(super) fn decider(channel: Channel, call: &Call) -> Decider {
    let place = match channel {
        Channel::Terminal => Place::Terminal,
        Channel::Elicitation => Place::Client,
        Channel::Program => Place::Program,
    };
    Decider::at(place).client(call.asked_by.client.as_deref())
}

fn declined(decided: &Decided<'_>) -> Error {
    Error::Denied {
        message: format!(
            "{} by the account `{}` was declined",
            decided.call.function.json, decided.call.name
        ),
        rule: None,
        instead: "a person declined this call; do not ask again".into(),
    }
}

fn required(decided: &Decided<'_>, pending: Option<PendingApproval>) -> Error {
    Error::ApprovalRequired {
        message: format!(
            "{} by the account `{}` needs a person's approval{}",
            decided.call.function.json,
            decided.call.name,
            reason(&decided.verdict.rule)
        ),
        rule: Some(Box::new(decided.verdict.rule.clone())),
        pending,
    }
}
