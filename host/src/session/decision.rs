//! The decision on a call: what it is, what is known about it, and what the policy says.

use super::Session;
use super::authorization::blocking;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::session::approval::Question;
use crate::session::call::Call;
use crate::store::{Counted, Gate, Store};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use whereby_authority::Scope;
use whereby_authority::arguments::Arguments;
use whereby_authority::conditions::Facts;
use whereby_authority::names::RoomName;
use whereby_authority::policy::{
    Needs, Outlook, Permission, Policy, Restrictions, Rule, Subject, Verdict, has_destination,
};
use whereby_authority::secrets;
use whereby_authority::table::FunctionRule;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::Function;

/// A call after the policy's decision.
pub(super) struct Decided<'a> {
    pub(super) call: Prepared<'a>,
    /// The arguments for display, made when something first shows them.
    shown: OnceLock<Value>,
    pub(super) verdict: Verdict,
    pub(super) facts: Facts,
    pub(super) policy: &'a Policy,
    /// Why nothing may be sent, if a person has frozen the call.
    frozen: Option<Error>,
}

/// A call before the policy's decision.
pub(super) struct Prepared<'a> {
    pub(super) name: &'a str,
    pub(super) account: &'a Account,
    pub(super) agent: Option<&'a str>,
    pub(super) token: &'a [Restrictions],
    pub(super) token_ids: Option<&'a [String]>,
    pub(super) function: &'static Function,
    pub(super) arguments: Arguments,
    pub(super) rule: &'static FunctionRule,
    pub(super) scope: Scope,
}

impl Prepared<'_> {
    fn subject(&self) -> Subject<'_> {
        let (account, agent, function) = (self.name, self.agent, self.function);
        Subject { account, agent, token: self.token, function }
    }
}

impl Decided<'_> {
    /// Returns the normalized arguments, with secrets masked.
    pub(super) fn shown(&self) -> &Value {
        let mask = || secrets::masked_arguments(self.call.function, &self.call.arguments.to_json());
        self.shown.get_or_init(mask)
    }

    /// Returns why a person or a rule forbids the call, if one does.
    pub(super) fn denial(&self, force: bool) -> Option<Error> {
        if let Some(frozen) = &self.frozen {
            return Some(frozen.clone());
        }
        let (what, rule) = self.verdict.forbidden_by(force)?;
        Some(self.denied(what, rule))
    }

    pub(super) fn denied(&self, what: &str, rule: &Rule) -> Error {
        Error::Denied {
            message: format!(
                "{} by the account `{}` {what}{}",
                self.call.function.json,
                self.call.name,
                reason(rule)
            ),
            rule: Some(Box::new(rule.clone())),
            instead: self.allowed(),
        }
    }

    /// Says what the account may do, for a caller that was denied.
    fn allowed(&self) -> String {
        let functions = |wanted: Permission| {
            let outlook = |function: &'static Function| {
                let subject = Subject { function, ..self.call.subject() };
                self.policy.outlook(subject, false)
            };
            let all =
                whereby_catalog::FUNCTIONS.iter().map(|function| (function, outlook(function)));
            let has = |(_, outlook): &(&Function, Outlook)| outlook.permission == wanted;
            let named = all.filter(has).map(|(function, outlook)| {
                let name = function.json;
                match outlook.terms().as_str() {
                    // This function was denied because of its destination.
                    "" if std::ptr::eq(function, self.call.function) => {
                        format!("{name} without recording, streaming and transcription")
                    }
                    "" => name.to_owned(),
                    terms => format!("{name} ({terms})"),
                }
            });
            named.collect::<Vec<_>>().join(", ")
        };
        let mut allowed = Vec::new();
        for (what, permission) in
            [("allowed", Permission::Allow), ("allowed with a person's approval", Permission::Ask)]
        {
            let names = functions(permission);
            if !names.is_empty() {
                allowed.push(format!("{what}: {names}"));
            }
        }
        if allowed.is_empty() {
            allowed.push("nothing is allowed".into());
        }
        let agent = self.call.agent.and_then(|name| self.policy.agents.get(name));
        if let Some((own, _)) = agent.and_then(|rules| rules.accounts.as_ref())
            && !own.iter().any(|own| own == self.call.name)
        {
            allowed.push(format!("the accounts that may be used are {}", own.join(", ")));
        }
        format!("do not try another way; for this account, {}", allowed.join("; "))
    }

    /// Returns the question for a person.
    pub(super) fn question(&self) -> Question {
        Question {
            account: self.call.name.to_owned(),
            agent: self.call.agent.map(str::to_owned),
            function: self.call.function,
            arguments: self.shown().clone(),
            is_destructive: self.call.rule.is_destructive,
            has_destination: has_destination(&self.call.arguments),
            api: self.call.account.api.to_string(),
            rule: self.verdict.rule.clone(),
        }
    }
}

impl Session {
    /// Decides on a call.
    pub(super) async fn decide<'a>(&'a self, call: &'a Call) -> Result<Decided<'a>, Error> {
        self.check_token(call).await?;
        let prepared = self.prepare(call, self.0.resources.clock().timestamp())?;
        let frozen = self.frozen(&prepared);
        let facts = self.facts(&prepared);
        let needs = self.needs(&prepared, frozen.as_ref());
        let facts = match &self.0.store {
            Ok(Some(store)) if needs != Needs::default() => {
                let resources = &self.0.resources;
                let mut fingerprint = None;
                if needs.created {
                    let token = resources.token(prepared.name, prepared.account).await;
                    fingerprint = Some(token.map(|token| super::fingerprint(&token)));
                }
                let asked = self.asked_for(&prepared);
                let found = blocking(store, move |store| {
                    Ok(look_up(store, needs, facts, &asked, fingerprint))
                });
                found.await?
            }
            _ => facts,
        };
        Ok(self.judge(prepared, facts, frozen))
    }

    /// Decides on a call, and records nothing.
    pub(super) fn decide_now<'a>(&'a self, call: &'a Call) -> Result<Decided<'a>, Error> {
        self.look_at_token(call)?;
        let prepared = self.prepare(call, self.0.resources.clock().timestamp())?;
        let frozen = self.frozen(&prepared);
        let needs = self.needs(&prepared, frozen.as_ref());
        let mut facts = self.facts(&prepared);
        if let Ok(Some(store)) = &self.0.store {
            let account = prepared.account;
            let token = || account.token.fetch(prepared.name, self.0.resources.environment());
            let fingerprint =
                needs.created.then(|| token().map(|token| super::fingerprint(&token)));
            facts = look_up(store, needs, facts, &self.asked_for(&prepared), fingerprint);
        }
        Ok(self.judge(prepared, facts, frozen))
    }

    /// Finds the function and the account, and checks the arguments.
    pub(super) fn prepare<'a>(
        &'a self,
        call: &'a Call,
        now: Timestamp,
    ) -> Result<Prepared<'a>, Error> {
        let function = whereby_authority::find(&call.function)?;
        let settings = &self.0.resources.settings;
        let agent = call.agent.as_deref();
        let token = call.token.as_ref().map_or(&[][..], |token| token.blocks());
        let token_ids = call.token.as_ref().map(|token| token.ids());
        let (name, account) = settings.choose_as(agent, call.account.as_deref(), call.is_exact)?;
        let arguments = Arguments::check(function, call.arguments.clone())?;
        // Before anybody is asked about a call that cannot be made.
        let rule = FunctionRule::of(function);
        let scope = rule.scope(&arguments, now)?;
        Ok(Prepared { name, account, agent, token, token_ids, function, arguments, rule, scope })
    }

    /// Refuses a call if its rules have become stricter while a person was asked. Rules that a program set,
    /// and not a file, do not change.
    pub(super) fn check_still_allowed(&self, decided: &Decided<'_>) -> Result<(), Error> {
        let resources = &self.0.resources;
        if resources.settings.file.is_none() {
            return Ok(());
        }
        let file = resources.settings.file.as_deref();
        let settings = Settings::load(file, resources.environment())?;
        let Decided { call, facts, verdict, .. } = decided;
        settings.choose_as(call.agent, Some(call.name), true)?;
        let destination = has_destination(&call.arguments);
        let now = settings.policy.decide(call.subject(), destination, &call.scope, facts);
        if now.permission <= verdict.permission {
            return Ok(());
        }
        Err(decided.denied("is denied by rules that were changed meanwhile", &now.rule))
    }

    /// Returns what may stop a call of this function, if there is a store.
    pub(super) fn gate(
        &self,
        name: &str,
        agent: Option<&str>,
        function: &'static Function,
    ) -> Option<Gate> {
        let store = Arc::clone(self.0.store.as_ref().ok()?.as_ref()?);
        let (account, agent) = (name.to_owned(), agent.map(str::to_owned));
        Some(Gate { store, account, agent, function: function.json })
    }

    /// Returns why nothing may be sent, if a person has frozen the call.
    fn frozen(&self, prepared: &Prepared<'_>) -> Option<Error> {
        self.gate(prepared.name, prepared.agent, prepared.function)?.check().err()
    }

    /// Returns which facts the rules ask for. A frozen call needs none.
    fn needs(&self, prepared: &Prepared<'_>, frozen: Option<&Error>) -> Needs {
        let policy = &self.0.resources.settings.policy;
        let has_conditions = !prepared.token.is_empty() || policy.has_conditions();
        if frozen.is_none() && has_conditions {
            policy.needs(prepared.subject())
        } else {
            Needs::default()
        }
    }

    /// Returns what is known without a look at the store.
    fn facts(&self, prepared: &Prepared<'_>) -> Facts {
        let mut facts = Facts::at(self.0.resources.clock().timestamp(), prepared.agent);
        let why = match &self.0.store {
            Ok(_) => "there is no state directory".to_owned(),
            Err(error) => error.to_string(),
        };
        (facts.created, facts.written) = (Err(why.clone()), Err(why));
        facts
    }

    fn asked_for(&self, prepared: &Prepared<'_>) -> AskedFor {
        AskedFor {
            account: prepared.name.to_owned(),
            api: prepared.account.api.to_string(),
            function: prepared.function.json,
            // A name with spaces around it stands for two names.
            room: prepared.scope.room().filter(|room| room.is_single()).cloned(),
        }
    }

    /// Decides by facts.
    pub(super) fn judge<'a>(
        &'a self,
        prepared: Prepared<'a>,
        facts: Facts,
        frozen: Option<Error>,
    ) -> Decided<'a> {
        let policy = &self.0.resources.settings.policy;
        let destination = has_destination(&prepared.arguments);
        let verdict = match &frozen {
            Some(_) => Verdict::forbidden(FREEZE),
            None => policy.decide(prepared.subject(), destination, &prepared.scope, &facts),
        };
        Decided { call: prepared, shown: OnceLock::new(), verdict, facts, policy, frozen }
    }
}

/// What stands in place of the rule's key in the decision on a frozen call.
pub(super) const FREEZE: &str = "freeze";

/// Returns why a rule's condition does not hold, to follow what is denied.
pub(super) fn reason(rule: &Rule) -> String {
    rule.unmet.as_ref().map_or_else(String::new, |unmet| format!(": {}", unmet.reason))
}

/// What facts are looked up for.
struct AskedFor {
    account: String,
    api: String,
    function: &'static str,
    room: Option<RoomName>,
}

/// Completes the facts from the store.
fn look_up(
    store: &Store,
    needs: Needs,
    mut facts: Facts,
    asked: &AskedFor,
    fingerprint: Option<Result<Vec<u8>, Error>>,
) -> Facts {
    let why = |error: Error| error.to_string();
    if needs.written {
        let (account, agent) = (asked.account.as_str(), facts.agent.as_deref());
        let counted = Counted { account, agent, function: asked.function };
        facts.written = store.written(counted).map_err(why);
    }
    if let Some(fingerprint) = fingerprint {
        facts.created = fingerprint.map_err(why).and_then(|fingerprint| {
            let Some(room) = &asked.room else { return Ok(Vec::new()) };
            let found =
                store.created_rooms(&asked.account, &asked.api, &fingerprint, room.as_str());
            found.map_err(why)
        });
    }
    facts
}
