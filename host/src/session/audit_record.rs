//! A call's row in the audit log: it begins before the first request leaves, and always ends.

use super::Outcome;
use super::authorization::{Authorization, STANDING, blocking, decider};
use super::decision::Decided;
use super::record::is_unused;
use crate::error::Error;
use crate::session::call::Call;
use crate::session::outbound::{Closed, Outbox, SentRequest};
use crate::session::resume;
use crate::store::{
    AuditOutcome, AuditRequest, Begin, BeginError, BeginTerms, Created, Decided as Decision, End,
    Store, TokenUse, What, new_id,
};
use crate::system::clock::{Clock, milliseconds};
use crate::system::digest::hex;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use whereby_authority::grant::{KnownRoom, WriteOutcome};
use whereby_authority::policy::{Effect, Participants};
use whereby_authority::secrets::{masked, outline};
use whereby_authority::table::FunctionRule;
use whereby_authority::text;

/// The kind that the log has for a call that was stopped.
const CANCELLED: &str = "cancelled";

/// The row of one call. If it is dropped without an end, the row says that the call was cancelled.
pub(super) struct AuditRecord {
    /// Absent if the session keeps no log.
    store: Option<Arc<Store>>,
    clock: Clock,
    begin: Begin,
    /// Whether the beginning is written.
    is_begun: bool,
    started: Instant,
    /// The call's requests, for the row of a call that is dropped.
    outbox: Option<Arc<Outbox>>,
    /// Why the call is not in the log.
    problem: Option<String>,
    /// The SHA-256 of the key that the account has.
    key_fingerprint: Option<[u8; 32]>,
    /// What the call uses of its token.
    token: Option<TokenUse>,
    /// How its result shows people, if it lists some.
    people: Option<Participants>,
    /// Whether a program makes it after its approval, so that a refusal is final.
    is_resumed: bool,
}

impl AuditRecord {
    pub(super) fn new(
        store: &Result<Option<Arc<Store>>, Error>,
        clock: &Clock,
        call: &Call,
    ) -> Self {
        let mut row = Self {
            store: store.as_ref().ok().cloned().flatten(),
            clock: clock.clone(),
            begin: Begin {
                id: String::new(),
                time: clock.unix_ms(),
                front_end: call.asked_by.front_end.clone(),
                client: call.asked_by.client.clone(),
                agent: call.agent.as_deref().map(|agent| text::printable(agent, 40)),
                token: call.token.as_ref().map(|token| token.ids().to_vec()),
                account: None,
                api: None,
                function: Some(text::printable(&call.function, 100)),
                arguments: Value::Null,
                effect: None,
                permission: None,
                rule: None,
                approved_by: None,
                approval: None,
                trace: call.trace.clone(),
            },
            is_begun: false,
            started: Instant::now(),
            outbox: None,
            problem: store.as_ref().err().map(Error::to_string),
            key_fingerprint: None,
            token: call.token.as_ref().map(|token| token.to_use()),
            people: None,
            is_resumed: call.resumes.is_some(),
        };
        if row.store.is_some() {
            match new_id() {
                Ok(id) => row.begin.id = id,
                Err(error) => row.give_up(&error),
            }
        }
        row
    }

    /// Records that the log cannot be written. Reads go on; a write is refused when it begins.
    fn give_up(&mut self, error: &Error) {
        self.problem.get_or_insert_with(|| error.to_string());
    }

    /// Records the outline of the arguments of a call that was refused before they were checked.
    pub(super) fn refused(&mut self, call: &Call) {
        if self.store.is_some() {
            let account = call.account.as_deref();
            self.begin.arguments = outline(&call.arguments);
            self.begin.account = account.map(|account| text::printable(account, 40));
        }
    }

    pub(super) fn decided(&mut self, decided: &Decided<'_>) {
        if self.store.is_none() {
            return;
        }
        let begin = &mut self.begin;
        begin.account = Some(decided.call.name.to_owned());
        begin.api = Some(decided.call.account.api.to_string());
        begin.function = Some(decided.call.function.json.to_owned());
        begin.arguments = decided.shown().clone();
        begin.effect = Some(decided.call.rule.effect.as_str().to_owned());
        begin.permission = Some(decided.verdict.permission.as_str().to_owned());
        begin.rule = Some(decided.verdict.rule.to_string());
    }

    /// Writes the beginning of the row, and uses up the call's approval.
    ///
    /// For a write, and for a call that uses up an approval or a use of its token, the row is on disk when this returns, or the
    /// call is refused.
    pub(super) async fn begin(
        &mut self,
        decided: &Decided<'_>,
        authorization: &Authorization,
        call: &Call,
        time_limit: Duration,
    ) -> Result<(), BeginError> {
        self.people = decided.call.scope.lists_people().then(|| decided.participants());
        let counts = self.token.as_ref().is_some_and(|token| !token.uses.is_empty());
        let is_read = decided.call.rule.effect == Effect::Read && !counts;
        if let Some(problem) = self.problem.as_ref().filter(|_| !is_read) {
            return Err(BeginError::Store(Error::Configuration { message: problem.clone() }));
        }
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.begin.approved_by = Some(authorization.as_str().to_owned());
        let person = match authorization {
            Authorization::Person(channel) => Some(decider(*channel, call)),
            _ => None,
        };
        if is_read && person.is_none() && authorization.claim().is_none() {
            match store.record(Some(&self.begin), None, false) {
                Ok(()) => self.is_begun = true,
                Err(error) => self.give_up(&error),
            }
            return Ok(());
        }
        let (begin, authorization) = (self.begin.clone(), authorization.clone());
        let relies_on = decided.verdict.relies_on.clone();
        let passkey = decided.verdict.passkey_required_by.is_some();
        let token = self.token.clone();
        let begun = blocking(&store, move |store| {
            let approval = person.as_ref().map(|by| Decision {
                account: begin.account.as_deref(),
                agent: begin.agent.as_deref(),
                function: begin.function.as_deref(),
                ..Decision::new(What::Approve, by)
            });
            let terms = BeginTerms {
                claim: authorization.claim(),
                relies_on: &relies_on,
                token: token.as_ref(),
                time_limit,
                passkey,
                approval: approval.as_ref(),
            };
            Ok(store.begin(&begin, &terms))
        });
        self.begin.approval = begun.await.map_err(BeginError::Store)??;
        self.is_begun = true;
        Ok(())
    }

    /// Writes nothing about a call that has not begun, because another program may make it.
    pub(super) fn discard_unbegun(&mut self) {
        if !self.is_begun {
            self.store = None;
        }
    }

    /// Returns the id of the approval that the call used up.
    pub(super) fn approval(&self) -> Option<&str> {
        self.begin.approval.as_deref()
    }

    /// Sets the call's requests, and the fingerprint of the key that they are sent with.
    pub(super) fn watch(&mut self, outbox: &Arc<Outbox>, key_fingerprint: [u8; 32]) {
        self.outbox = Some(Arc::clone(outbox));
        self.key_fingerprint = Some(key_fingerprint);
    }

    /// Returns the room that the call created, if Whereby named it.
    fn created(&self, store: &Store, write: WriteOutcome, room: &KnownRoom) -> Option<Created> {
        let begin = &self.begin;
        let function = whereby_catalog::function(begin.function.as_deref()?)?;
        if write != WriteOutcome::Done || FunctionRule::of(function).is_destructive {
            return None;
        }
        // Without it, nobody is known to have created the room, and a condition on that refuses.
        let key_digest = store.key_digest(self.key_fingerprint.as_ref()?).ok()?;
        Some(Created {
            account: begin.account.clone()?,
            api: begin.api.clone()?,
            key_digest: hex(&key_digest),
            agent: begin.agent.clone(),
            name: room.name.as_ref()?.as_str().to_owned(),
            id: room.id.as_ref()?.as_str().to_owned(),
        })
    }

    /// Stops the call's requests, if it has begun to send, and returns their outcome so far.
    pub(super) fn close(&mut self) -> Option<Closed> {
        self.outbox.take().map(|outbox| outbox.close())
    }

    /// Writes the outcome of the call. Returns why the call is not in the log, if it is not.
    pub(super) async fn end(mut self, outcome: &Outcome) -> Option<String> {
        let Some(store) = self.store.take() else { return self.problem.take() };
        if self.begin.id.is_empty() {
            return self.problem.take();
        }
        let error = outcome.result.as_ref().err();
        let give_back = self.begin.approval.clone().filter(|_| {
            // A component that broke a rule has run.
            let has_run = matches!(error, None | Some(Error::ComponentFault { .. }));
            let is_over = self.is_resumed && error.is_some_and(resume::ends_approval);
            !has_run && !is_over && is_unused(&outcome.requests, outcome.write)
        });
        let created = self.created(&store, outcome.write, &outcome.room);
        // Without it, callers are told what the log says.
        let is_standing = self.begin.approved_by.as_deref() == Some(STANDING);
        let own = self.begin.approval.as_deref().filter(|_| !is_standing);
        let kept = own.and_then(|approval| {
            let kept = resume::to_kept(&outcome.result, outcome.write, self.people)?;
            store.seal_result(approval, &kept).ok()
        });
        // A call whose result was there already did nothing itself.
        let write = if outcome.is_earlier { WriteOutcome::None } else { outcome.write };
        let outcome = AuditOutcome {
            success: error.is_none(),
            kind: error.map(|error| match error {
                Error::Interrupted => CANCELLED.to_owned(),
                error => error.kind().to_owned(),
            }),
            message: error.map(|error| shown(&error.to_string())),
            effect: write.as_str().to_owned(),
            room_name: outcome.room.name.as_ref().map(|name| name.as_str().to_owned()),
            room_id: outcome.room.id.as_ref().map(|id| id.as_str().to_owned()),
            requests: outcome.requests.iter().map(request).collect(),
            duration_ms: milliseconds(outcome.duration),
            ..self.blank_outcome()
        };
        let end = End { id: self.begin.id.clone(), outcome, give_back, created, kept };
        let begin = (!self.is_begun).then(|| self.begin.clone());
        let is_write = self.is_begun && self.begin.effect.as_deref() == Some("write");
        let recorded = if is_write || end.give_back.is_some() {
            blocking(&store, move |store| store.record(begin.as_ref(), Some(&end), true)).await
        } else {
            store.record(begin.as_ref(), Some(&end), false)
        };
        if let Err(error) = recorded {
            self.give_up(&error);
        }
        self.problem.take()
    }

    /// Returns the outcome of a call that did nothing.
    fn blank_outcome(&self) -> AuditOutcome {
        AuditOutcome {
            time: self.clock.unix_ms(),
            success: false,
            kind: None,
            message: None,
            effect: WriteOutcome::None.as_str().into(),
            room_name: None,
            room_id: None,
            requests: Vec::new(),
            duration_ms: milliseconds(self.started.elapsed()),
        }
    }
}

impl Drop for AuditRecord {
    fn drop(&mut self) {
        let Some(store) = self.store.take().filter(|_| !self.begin.id.is_empty()) else { return };
        let closed = self.close();
        let write = closed.as_ref().map_or(WriteOutcome::None, |closed| closed.write);
        let room = closed.as_ref().map(|closed| closed.room.clone()).unwrap_or_default();
        let created = self.created(&store, write, &room);
        let outcome = AuditOutcome {
            kind: Some(CANCELLED.into()),
            message: Some("the caller cancelled the call".into()),
            effect: write.as_str().into(),
            room_name: room.name.map(|name| name.as_str().to_owned()),
            room_id: room.id.map(|id| id.as_str().to_owned()),
            requests: closed.iter().flat_map(|closed| &closed.requests).map(request).collect(),
            ..self.blank_outcome()
        };
        let give_back = self.begin.approval.clone().filter(|_| {
            let requests = closed.as_ref().map_or(&[][..], |closed| &closed.requests);
            is_unused(requests, write)
        });
        let end = End { id: self.begin.id.clone(), outcome, give_back, created, kept: None };
        let begin = (!self.is_begun).then_some(&self.begin);
        // There is nobody to report a failure to. A write that has begun then stays in the log without an
        // end.
        let _ = store.record(begin, Some(&end), false);
    }
}

/// Masks the secrets that a message may quote.
fn shown(message: &str) -> String {
    match masked(&Value::from(message)) {
        Value::String(message) => text::printable(&message, 2000),
        _ => String::new(),
    }
}

fn request(sent: &SentRequest) -> AuditRequest {
    AuditRequest {
        method: sent.method.clone(),
        path: sent.path.clone(),
        status: sent.status,
        duration_ms: milliseconds(sent.duration),
    }
}
