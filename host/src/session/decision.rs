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
use whereby_authority::conditions::{Facts, Written};
use whereby_authority::names::RoomName;
use whereby_authority::policy::{
    Needs, Participants, Permission, Policy, Restrictions, Rule, Subject, Verdict, has_destination,
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
    /// The rules of the session.
    policy: &'a Policy,
    /// The settings that the files have now, if they have changed. The strictest of both rules holds.
    newer: Option<Arc<Settings>>,
    /// What may stop the call while it is under way; absent if nothing can.
    pub(super) gate: Option<Gate>,
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
    pub(super) fn subject(&self) -> Subject<'_> {
        let (account, agent, function) = (self.name, self.agent, self.function);
        Subject { account, agent, token: self.token, function }
    }
}

impl Decided<'_> {
    /// Returns the rules in force.
    fn policies(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(self.policy).chain(self.newer.as_ref().map(|settings| &settings.policy))
    }

    /// Decides by the facts.
    fn judge(&mut self) {
        let (call, destination) = (&self.call, has_destination(&self.call.arguments));
        let decide =
            |policy: &Policy| policy.decide(call.subject(), destination, &call.scope, &self.facts);
        let verdicts = self.policies().map(decide);
        // There is always one.
        if let Some(verdict) = verdicts.reduce(Verdict::and) {
            self.verdict = verdict;
        }
    }

    /// Returns which facts the rules ask for.
    fn needs(&self) -> Needs {
        let needs = self.policies().map(|policy| policy.needs(self.call.subject()));
        needs.fold(Needs::default(), |all, needs| Needs {
            created: all.created || needs.created,
            written: all.written || needs.written,
        })
    }

    /// Returns what the call sees of the people in meetings.
    pub(super) fn participants(&self) -> Participants {
        let (account, agent) = (self.call.name, self.call.agent);
        let all = self.policies().map(|policy| policy.participants(account, agent));
        all.max().unwrap_or(Participants::Hidden)
    }

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
        let mut end = None;
        let named = whereby_catalog::FUNCTIONS.iter().map(|function| {
            let subject = Subject { function, ..self.call.subject() };
            let outlooks = self.policies().map(|policy| policy.outlook(subject, false));
            let outlook = outlooks.max_by_key(|outlook| outlook.permission);
            // There is always one.
            let Some(outlook) = outlook else { return (Permission::Deny, String::new()) };
            if outlook.ends.is_some_and(|end| end <= self.facts.now) {
                return (Permission::Deny, String::new());
            }
            end = outlook.ends;
            let name = function.json;
            let name = match outlook.terms().as_str() {
                // This function was denied because of its destination.
                "" if std::ptr::eq(function, self.call.function) => {
                    format!("{name} without recording, streaming and transcription")
                }
                "" => name.to_owned(),
                terms => format!("{name} ({terms})"),
            };
            (outlook.permission, name)
        });
        let named: Vec<(Permission, String)> = named.collect();
        let until = end.map(|end| format!(" until {}", end.to_rfc3339())).unwrap_or_default();
        let mut allowed = Vec::new();
        for (what, wanted) in
            [("allowed", Permission::Allow), ("allowed with a person's approval", Permission::Ask)]
        {
            let names = named.iter().filter(|(permission, _)| *permission == wanted);
            let names: Vec<&str> = names.map(|(_, name)| name.as_str()).collect();
            if !names.is_empty() {
                allowed.push(format!("{what}{until}: {}", names.join(", ")));
            }
        }
        if allowed.is_empty() {
            allowed.push("nothing is allowed".into());
        }
        let agents = self.policies().filter_map(|policy| policy.agents.get(self.call.agent?));
        let mut accounts = agents.filter_map(|rules| rules.accounts.as_ref());
        if let Some((own, _)) =
            accounts.find(|(own, _)| !own.iter().any(|own| own == self.call.name))
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
    pub(super) async fn decide<'a>(&'a self, call: &'a Call) -> Result<Box<Decided<'a>>, Error> {
        self.check_token(call).await?;
        let mut decided = self.undecided(call, self.0.resources.clock().timestamp())?;
        if decided.frozen.is_none() {
            self.complete(&mut decided).await?;
        }
        Ok(decided)
    }

    /// Decides on a call, and records nothing.
    pub(super) fn decide_now<'a>(&'a self, call: &'a Call) -> Result<Box<Decided<'a>>, Error> {
        self.look_at_token(call)?;
        let mut decided = self.undecided(call, self.0.resources.clock().timestamp())?;
        if decided.frozen.is_none() {
            let (name, account) = (decided.call.name, decided.call.account);
            let token = || account.token.fetch(name, self.0.resources.environment());
            if let Some(search) = self.search(&mut decided) {
                let fingerprint = || token().map(|token| token.fingerprint());
                let fingerprint = search.needs.created.then(fingerprint);
                decided.facts = search.run(fingerprint);
            }
            decided.judge();
        }
        Ok(decided)
    }

    /// Decides again, and refuses the call if the rules have become stricter while a person was asked.
    pub(super) async fn decide_again(&self, decided: &mut Decided<'_>) -> Result<(), Error> {
        let before = decided.verdict.permission;
        decided.newer = self.newer(&decided.call)?;
        self.complete(decided).await?;
        if decided.verdict.permission <= before {
            return Ok(());
        }
        let what = "is denied by rules that were changed meanwhile";
        Err(decided.denied(what, &decided.verdict.rule))
    }

    /// Returns the settings that the files have now, if they have changed. The call must be possible with
    /// them, too.
    fn newer(&self, call: &Prepared<'_>) -> Result<Option<Arc<Settings>>, Error> {
        let newer = self.0.resources.newer_settings()?;
        if let Some(settings) = &newer {
            settings.choose_as(call.agent, Some(call.name), true)?;
        }
        Ok(newer)
    }

    /// Returns how the result of a call that was made may show people now. What the call has used of a quota
    /// or of its token does not count.
    ///
    /// # Errors
    ///
    /// Says why the very same call would be refused now.
    pub(super) async fn still_allowed(
        &self,
        call: &Call,
        made_at: Timestamp,
    ) -> Result<Participants, Error> {
        self.check_token_but_uses(call).await?;
        let mut decided = self.undecided(call, made_at)?;
        if decided.frozen.is_none() {
            self.complete(&mut decided).await?;
            decided.facts.written = Ok(Written::default());
            decided.judge();
        }
        decided.denial(false).map_or_else(|| Ok(decided.participants()), Err)
    }

    /// Returns a call that is denied, as that of a frozen call stays. Its arguments must be valid at a time.
    ///
    /// Boxed, because each future that it passes through would hold a copy.
    fn undecided<'a>(
        &'a self,
        call: &'a Call,
        valid_at: Timestamp,
    ) -> Result<Box<Decided<'a>>, Error> {
        let resources = &self.0.resources;
        let now = resources.clock().timestamp();
        let call = self.prepare(call, valid_at)?;
        let gate = self.gate(&call);
        Ok(Box::new(Decided {
            shown: OnceLock::new(),
            verdict: Verdict::forbidden(FREEZE),
            facts: Facts::at(now, call.agent),
            policy: &resources.settings.policy,
            newer: self.newer(&call)?,
            frozen: gate.as_ref().and_then(|gate| gate.check().err()),
            gate,
            call,
        }))
    }

    /// Looks up the facts that the rules ask for, and decides by them.
    async fn complete(&self, decided: &mut Decided<'_>) -> Result<(), Error> {
        if let Some(search) = self.search(decided) {
            let (name, account) = (decided.call.name, decided.call.account);
            let mut fingerprint = None;
            if search.needs.created {
                let token = self.0.resources.token(name, account).await;
                fingerprint = Some(token.map(|token| token.fingerprint()));
            }
            let store = Arc::clone(&search.store);
            decided.facts = blocking(&store, move |_| Ok(search.run(fingerprint))).await?;
        }
        decided.judge();
        Ok(())
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

    /// Returns what may stop the call while it is under way, if there is a store.
    fn gate(&self, call: &Prepared<'_>) -> Option<Gate> {
        let store = Arc::clone(self.0.store.as_ref().ok()?.as_ref()?);
        let (account, agent) = (call.name.to_owned(), call.agent.map(str::to_owned));
        Some(Gate { store, account, agent, function: call.function.json })
    }

    /// Returns what to look up for the decision. `None` if the rules ask for nothing, or if there is no
    /// store; the facts then say why they are unknown.
    fn search(&self, decided: &mut Decided<'_>) -> Option<Search> {
        let call = &decided.call;
        let needs = decided.needs();
        if needs == Needs::default() {
            return None;
        }
        let why = match &self.0.store {
            Ok(Some(store)) => {
                return Some(Search {
                    store: Arc::clone(store),
                    needs,
                    facts: decided.facts.clone(),
                    account: call.name.to_owned(),
                    api: call.account.api.to_string(),
                    function: call.function.json,
                    // A name with spaces around it may mean either of two rooms.
                    room: call.scope.room().filter(|room| room.is_single()).cloned(),
                });
            }
            Ok(None) => "there is no state directory".to_owned(),
            Err(error) => error.to_string(),
        };
        (decided.facts.created, decided.facts.written) = (Err(why.clone()), Err(why));
        None
    }
}

/// What stands in place of the rule's key in the decision on a frozen call.
pub(super) const FREEZE: &str = "freeze";

/// Returns why a rule's condition does not hold, to follow what is denied.
pub(super) fn reason(rule: &Rule) -> String {
    rule.unmet.as_ref().map_or_else(String::new, |unmet| format!(": {}", unmet.reason))
}

/// The facts to look up for a decision.
struct Search {
    store: Arc<Store>,
    needs: Needs,
    facts: Facts,
    account: String,
    api: String,
    function: &'static str,
    room: Option<RoomName>,
}

impl Search {
    /// Returns the facts. May wait for a disk. The fingerprint is that of the account's key, if it is
    /// needed.
    fn run(self, fingerprint: Option<Result<[u8; 32], Error>>) -> Facts {
        let Self { store, needs, mut facts, account, api, function, room } = self;
        let why = |error: Error| error.to_string();
        if needs.written {
            let agent = facts.agent.as_deref();
            let counted = Counted { account: &account, agent, function };
            facts.written = store.written(counted).map_err(why);
        }
        if let Some(fingerprint) = fingerprint {
            let rooms = |fingerprint: [u8; 32]| match &room {
                Some(room) => store.created_rooms(&account, &api, &fingerprint, room.as_str()),
                None => Ok(Vec::new()),
            };
            facts.created = fingerprint.and_then(rooms).map_err(why);
        }
        facts
    }
}
