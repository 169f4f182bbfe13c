//! What people decide on: the calls that wait, what happened, and what each agent may do.
//!
//! This is the model of every display: the page ([`Inbox::listen`]) and the screen on a terminal show what
//! it returns, and have no rules of their own. Each action is one function here.

#[cfg(unix)]
pub(crate) mod terminal;
mod web;
mod words;

pub use web::{Link, Listening};

use crate::config::credentials::TokenSource;
use crate::config::environment::Environment;
use crate::config::{Account, Settings, is_account_name};
use crate::error::Error;
use crate::store::{
    ApprovalState, AuditFilter, AuditOutcome, AuditRow, Counted, CreatedToken, Decider, Decision,
    Freeze, Selector, StandingApproval, Store, StoredApproval, Terms,
};
use jiff::tz::TimeZone;
use std::path::PathBuf;
use std::sync::Arc;
use whereby_authority::conditions::{Condition, Written};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::{Effect, Outlook, Participants, Permission, Subject};
use whereby_authority::sentence::Sentence;
use whereby_authority::table::FunctionRule;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::{FUNCTIONS, Function};
use words::Times;

/// How long a call stays among the waiting ones after somebody decided or it expired, in milliseconds.
const SETTLED_MS: i64 = 10 * 60 * 1000;

/// The approvals, the audit log, the rules and the accounts of one user, for a person who decides.
///
/// Never give an agent access to it: it approves calls.
pub struct Inbox {
    store: Arc<Store>,
    environment: Environment,
    config: Option<PathBuf>,
    zone: TimeZone,
}

/// A call that waits for a person, or that was decided a short time ago.
pub(crate) struct Item {
    pub(crate) approval: StoredApproval,
    /// What the call will do.
    pub(crate) sentence: Sentence,
    /// Whether it destroys something permanently.
    pub(crate) is_destructive: bool,
}

/// What came of a decision.
pub(crate) enum Decided {
    /// It holds. A call that was denied before has a new approval.
    Now(StoredApproval),
    /// The approval is no longer as the person saw it. Nothing was changed.
    Late(StoredApproval),
    /// There is no such approval.
    Unknown,
}

/// Selects calls of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) account: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) result: Option<Class>,
    /// At most this many calls, the newest.
    pub(crate) limit: u32,
}

/// What came of a call, in one word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It succeeded.
    Done,
    /// A rule or a person refused it.
    Refused,
    /// It needs approval.
    Waits,
    /// It failed, and changed nothing.
    Failed,
    /// It failed or was cut off, and may have changed something, or did.
    Unclear,
    /// It is under way, or the program was killed during it.
    Open,
    /// It is no call, but what a person decided.
    Decision,
}

/// A call of the log.
pub(crate) struct Event {
    pub(crate) row: AuditRow,
    pub(crate) sentence: Sentence,
    pub(crate) class: Class,
}

/// What is known about the rules: what each agent may do.
pub(crate) struct Rules {
    /// The calls without an agent first, then the agents by name.
    pub(crate) actors: Vec<Actor>,
    /// Tokens that name no agent.
    pub(crate) tokens: Vec<CreatedToken>,
    /// The configuration's warnings.
    pub(crate) warnings: Vec<String>,
}

/// An agent, or all calls without one.
pub(crate) struct Actor {
    /// The name; absent for calls without an agent.
    pub(crate) name: Option<String>,
    /// Until when it may call anything.
    pub(crate) valid_until: Option<Timestamp>,
    /// The accounts that it may use and that are switched on, with equal rules together.
    pub(crate) accounts: Vec<Access>,
    /// What stops it, wholly or in part.
    pub(crate) freezes: Vec<Freeze>,
    /// Its tokens.
    pub(crate) tokens: Vec<CreatedToken>,
}

/// What an agent may do with some accounts.
pub(crate) struct Access {
    pub(crate) accounts: Vec<String>,
    pub(crate) participants: Participants,
    pub(crate) functions: Vec<(&'static Function, Outlook)>,
    /// The writes that went ahead, for each of the accounts.
    pub(crate) usage: Vec<Usage>,
}

/// How often an agent wrote with an account.
pub(crate) struct Usage {
    pub(crate) account: String,
    pub(crate) function: &'static Function,
    pub(crate) written: Written,
    pub(crate) max_per_hour: Option<u32>,
    pub(crate) max_per_day: Option<u32>,
}

/// An account and its key.
pub(crate) struct AccountState {
    pub(crate) name: String,
    pub(crate) account: Account,
    pub(crate) is_default: bool,
    pub(crate) key: Key,
    pub(crate) participants: Participants,
    pub(crate) freezes: Vec<Freeze>,
}

/// What is known about an account's key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// It says when it expires.
    Expires(Timestamp),
    /// It does not say when it expires.
    Undated,
    /// A command prints it, which only a call runs: it may ask for a password.
    Unread,
    /// It cannot be read.
    Problem(String),
}

impl Inbox {
    /// Returns the inbox of a store. `config` is the configuration file, if it is not the default one of the
    /// environment. It is read again for each page.
    #[must_use]
    pub fn new(store: Arc<Store>, environment: Environment, config: Option<PathBuf>) -> Self {
        let zone = environment.zone();
        Self { store, environment, config, zone }
    }

    /// Returns the current time, in milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.environment.clock.unix_ms()
    }

    /// Returns the current time, and the user's time zone.
    fn times(&self) -> Times {
        Times { now: self.now(), zone: self.zone.clone() }
    }

    /// Returns the calls that wait or are approved and not made, and those that were decided a short time
    /// ago, in the order in which they were requested.
    pub(crate) fn items(&self) -> Result<Vec<Item>, Error> {
        let found = self.store.approvals_since(self.now().saturating_sub(SETTLED_MS))?;
        Ok(found.into_iter().map(Item::of).collect())
    }

    /// Returns how many calls wait.
    pub(crate) fn waiting(&self) -> Result<usize, Error> {
        let is_pending = |open: &&StoredApproval| open.state == ApprovalState::Pending;
        Ok(self.store.approvals(false)?.iter().filter(is_pending).count())
    }

    /// Returns an approval in any state; `None` if there is none with this id.
    pub(crate) fn item(&self, id: &str) -> Result<Option<Item>, Error> {
        match self.store.approval(id) {
            Ok(found) => Ok(found.map(Item::of)),
            // It cannot be an id.
            Err(Error::Usage { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns an approval by its id, or by a beginning that no other one has, as a person may write it.
    pub(crate) fn item_beginning(&self, id: &str) -> Result<Option<Item>, Error> {
        match self.store.approval_id(id) {
            Ok(id) => self.item(&id),
            Err(Error::Usage { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Approves or denies a call, if its approval is still in the state that the person saw.
    pub(crate) fn decide(
        &self,
        id: &str,
        decision: Decision,
        terms: Option<&Terms>,
        seen: ApprovalState,
        by: &Decider,
    ) -> Result<Decided, Error> {
        let Some(Item { approval, .. }) = self.item(id)? else { return Ok(Decided::Unknown) };
        if approval.state != seen {
            return Ok(Decided::Late(approval));
        }
        // While the configuration cannot be read, every call is refused anyway.
        if decision == Decision::Approve
            && let Ok(settings) = self.settings()
        {
            settings.check_approvable(&approval.account)?;
            if by.passkey.is_none() && requires_passkey(&settings) {
                let place = self.store.passkey_place(id);
                return Err(Error::usage(format!(
                    "nothing was approved, because nothing but a passkey approves calls; approve it with a \
                     passkey {place}"
                )));
            }
        }
        let by = Decider { saw: Some(seen), ..by.clone() };
        let decided = match terms {
            Some(terms) => self.store.approve_more(id, terms, &by).map(|(approval, _)| approval),
            None => self.store.decide(id, decision, &by),
        };
        match decided {
            Ok(decided) => return Ok(Decided::Now(decided)),
            // It was decided, or expired, at the same moment. A passkey or terms that do not fit are told.
            Err(error @ Error::Usage { .. })
                if self.store.approval(id)?.is_some_and(|approval| approval.state == seen) =>
            {
                return Err(error);
            }
            Err(Error::Usage { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(self.item(id)?.map_or(Decided::Unknown, |item| Decided::Late(item.approval)))
    }

    /// Returns the standing approvals that are in force, the oldest first.
    pub(crate) fn standing(&self) -> Result<Vec<StandingApproval>, Error> {
        self.store.standing()
    }

    /// Revokes a standing approval.
    pub(crate) fn revoke_standing(&self, id: &str, by: &Decider) -> Result<(), Error> {
        self.store.revoke_standing(id, by).map(drop)
    }

    /// Returns the store, for what only the page does.
    fn store(&self) -> &Store {
        &self.store
    }

    /// Returns what is frozen. An error means that everything is.
    pub(crate) fn frozen(&self) -> Result<Vec<Freeze>, Error> {
        self.store.frozen()
    }

    /// Freezes everything, or the calls of an agent, of an account, or of both together.
    pub(crate) fn freeze(
        &self,
        selector: Selector,
        reason: &str,
        by: &Decider,
    ) -> Result<(), Error> {
        let names = [&selector.agent, &selector.account];
        if names.into_iter().flatten().any(|name| !is_account_name(name)) {
            return Err(Error::usage("this cannot be the name of an agent or an account"));
        }
        let reason = Some(reason.trim()).filter(|reason| !reason.is_empty());
        recorded(self.store.freeze(selector, reason, by)?.unrecorded)
    }

    /// Lifts the freeze with this selector, if there is one.
    pub(crate) fn unfreeze(&self, selector: &Selector, by: &Decider) -> Result<(), Error> {
        recorded(self.store.unfreeze(Some(selector), by)?.unrecorded)
    }

    /// Returns the newest calls of the log that match, the newest first.
    pub(crate) fn events(&self, filter: &Filter) -> Result<Vec<Event>, Error> {
        let own = AuditFilter {
            account: filter.account.clone(),
            function: filter.function.clone(),
            agent: filter.agent.clone(),
            limit: Some(filter.limit),
            ..AuditFilter::default()
        };
        let is_wanted =
            |row: &AuditRow| filter.result.is_none_or(|wanted| wanted == Class::of_row(row));
        let rows = self.store.audit_newest(&own, is_wanted)?;
        Ok(rows.into_iter().map(Event::of).collect())
    }

    /// Returns the settings as the configuration says now.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        Settings::load(self.config.as_deref(), &self.environment)
    }

    /// Returns what each agent may do.
    pub(crate) fn rules(&self, settings: &Settings) -> Result<Rules, Error> {
        // What cannot be read is said on every page.
        let freezes = self.frozen().unwrap_or_default();
        let mut tokens = self.store.tokens()?;
        let names = settings.policy.agents.keys().map(|name| Some(name.as_str()));
        let mut actors = Vec::new();
        for name in std::iter::once(None).chain(names) {
            let rules = name.and_then(|name| settings.policy.agents.get(name));
            let own =
                rules.and_then(|rules| rules.accounts.as_ref()).map(|(own, _)| own.as_slice());
            let valid_until = rules.and_then(|rules| rules.valid_until.as_ref());
            let concerns = |freeze: &&Freeze| match name {
                Some(name) => freeze.selector.concerns_agent(name, own),
                None => freeze.selector.agent.is_none(),
            };
            let has =
                |token: &mut CreatedToken| name.is_some_and(|name| token.limits["agent"] == name);
            actors.push(Actor {
                name: name.map(str::to_owned),
                valid_until: valid_until.and_then(|stated| match &stated.condition {
                    Condition::ValidUntil(date) => Some(*date),
                    _ => None,
                }),
                accounts: self.access(settings, name, own)?,
                freezes: freezes.iter().filter(concerns).cloned().collect(),
                tokens: tokens.extract_if(.., has).collect(),
            });
        }
        Ok(Rules { actors, tokens, warnings: settings.warnings.clone() })
    }

    /// Returns what an agent may do with each of its accounts.
    fn access(
        &self,
        settings: &Settings,
        agent: Option<&str>,
        own: Option<&[String]>,
    ) -> Result<Vec<Access>, Error> {
        let mut all: Vec<Access> = Vec::new();
        for (account, of) in &settings.accounts {
            if !of.enabled || own.is_some_and(|own| !own.contains(account)) {
                continue;
            }
            let outlook = |function: &'static Function| {
                let subject = Subject { agent, ..Subject::of(account, function) };
                (function, settings.policy.outlook(subject, false))
            };
            let functions: Vec<_> = FUNCTIONS.iter().map(outlook).collect();
            let participants = settings.policy.participants(account, agent);
            let mut usage = Vec::new();
            for (function, outlook) in &functions {
                let is_read = FunctionRule::of(function).effect == Effect::Read;
                if is_read || outlook.permission == Permission::Deny {
                    continue;
                }
                let counted = Counted { account, agent, function: function.json };
                let (mut max_per_hour, mut max_per_day) = (None::<u32>, None::<u32>);
                for condition in &outlook.conditions {
                    let (max, count) = match condition {
                        Condition::MaxPerHour(count) => (&mut max_per_hour, *count),
                        Condition::MaxPerDay(count) => (&mut max_per_day, *count),
                        _ => continue,
                    };
                    *max = Some(max.map_or(count, |max| max.min(count)));
                }
                let (account, written) = (account.clone(), self.store.written(counted)?);
                usage.push(Usage { account, function, written, max_per_hour, max_per_day });
            }
            let is_alike = |known: &&mut Access| {
                let mut pairs = known.functions.iter().zip(&functions);
                known.participants == participants
                    && pairs.all(|((_, a), (_, b))| {
                        (a.permission, a.terms()) == (b.permission, b.terms())
                    })
            };
            match all.iter_mut().find(is_alike) {
                Some(known) => {
                    known.accounts.push(account.clone());
                    known.usage.extend(usage);
                }
                None => {
                    all.push(Access {
                        accounts: vec![account.clone()],
                        participants,
                        functions,
                        usage,
                    });
                }
            }
        }
        Ok(all)
    }

    /// Returns the accounts and what is known about their keys. May read files, and runs nothing.
    pub(crate) fn accounts(&self, settings: &Settings) -> Vec<AccountState> {
        let freezes = self.frozen().unwrap_or_default();
        let default = settings.account_name(None).ok();
        let state = |(name, account): (&String, &Account)| AccountState {
            name: name.clone(),
            account: account.clone(),
            is_default: default == Some(name),
            key: self.key(name, account),
            participants: settings.policy.participants(name, None),
            freezes: freezes
                .iter()
                .filter(|freeze| freeze.selector.agent.is_none())
                .filter(|freeze| freeze.selector.account.as_ref().is_none_or(|own| own == name))
                .cloned()
                .collect(),
        };
        settings.accounts.iter().map(state).collect()
    }

    fn key(&self, name: &str, account: &Account) -> Key {
        let found = match &account.token {
            TokenSource::Command(_) => {
                account.token.check(name, &self.environment).map(|()| Key::Unread)
            }
            source => source
                .fetch(name, &self.environment)
                .map(|token| token.expires().map_or(Key::Undated, Key::Expires)),
        };
        found.unwrap_or_else(|error| Key::Problem(error.to_string()))
    }
}

/// Whether nothing but a passkey approves calls. While the configuration cannot be read, every call is
/// refused anyway.
fn requires_passkey(settings: &Settings) -> bool {
    settings.policy.passkey_required_by().is_some()
}

/// Returns an error if what was done is not in the log.
fn recorded(problem: Option<Error>) -> Result<(), Error> {
    let told = |problem| format!("this was done, but the audit log does not have it: {problem}");
    problem.map_or(Ok(()), |problem| Err(Error::configuration(told(problem))))
}

impl Item {
    fn of(approval: StoredApproval) -> Self {
        let function = whereby_catalog::function(&approval.function);
        Self {
            sentence: Sentence::of(&approval.function, &approval.arguments),
            // What is unknown counts as destructive.
            is_destructive: function.is_none_or(|f| FunctionRule::of(f).is_destructive),
            approval,
        }
    }
}

impl Item {
    /// Returns when the call was decided, made or due, if it no longer waits.
    pub(crate) fn settled_at(&self) -> i64 {
        let approval = &self.approval;
        match approval.state {
            ApprovalState::Used => approval.used_at,
            ApprovalState::Expired => approval.valid_until.or(Some(approval.expires_at)),
            _ => approval.decided_at,
        }
        .unwrap_or_default()
    }
}

impl Event {
    fn of(row: AuditRow) -> Self {
        let function = row.function.as_deref();
        let (sentence, class) = match &row.decision {
            Some(decision) => {
                let (agent, account) = (row.agent.as_deref(), row.account.as_deref());
                (Sentence::decided(&decision.what, function, agent, account), Class::Decision)
            }
            None => {
                let sentence = Sentence::of(function.unwrap_or("no function"), &row.arguments);
                (sentence, Class::of(row.outcome.as_ref()))
            }
        };
        Self { sentence, class, row }
    }
}

impl Class {
    /// Every class, with its name in a query and for people.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Done, "done", "Done"),
        (Self::Refused, "refused", "Refused"),
        (Self::Waits, "waits", "Needs approval"),
        (Self::Failed, "failed", "Failed"),
        (Self::Unclear, "unclear", "May have happened"),
        (Self::Open, "open", "No result yet"),
        (Self::Decision, "decision", "Decision"),
    ];

    fn of_row(row: &AuditRow) -> Self {
        match row.decision {
            Some(_) => Self::Decision,
            None => Self::of(row.outcome.as_ref()),
        }
    }

    fn of(outcome: Option<&AuditOutcome>) -> Self {
        let Some(outcome) = outcome else { return Self::Open };
        match outcome.kind.as_deref() {
            _ if outcome.success => Self::Done,
            _ if outcome.effect != WriteOutcome::None.as_str() => Self::Unclear,
            Some("denied") => Self::Refused,
            Some("approval-required") => Self::Waits,
            _ => Self::Failed,
        }
    }
}
