//! The part of decisions that only the host needs: agents, tokens, and what to expect before there is a call.

use super::{Key, Layer, Rule, Subject, Unmet, Verdict, in_line};
use crate::conditions::Condition;
use crate::policy::{
    Effect, Named, Participants, Permission, Policy, Restrictions, Rules, Stated, Table,
};
use crate::prelude::*;
use crate::table::FunctionRule;
use crate::timestamp::Timestamp;
use alloc::collections::BTreeMap;
use serde_json::Value;

/// What a caller can expect of a function, before there is a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outlook {
    /// The permission of a call for which every condition holds.
    pub permission: Permission,
    /// The rules that apply: the user's own first.
    pub rules: Vec<AppliedRule>,
    /// The conditions of all rules.
    pub conditions: Vec<Condition>,
    /// When the agent expires. After that, nothing is allowed.
    pub ends: Option<Timestamp>,
    /// The conditions by the permission of a call that does not meet them: see [`Self::otherwise`].
    otherwise: Vec<(Permission, Vec<Condition>)>,
}

impl Outlook {
    /// Returns the conditions by the permission of a call that does not meet them, the least strict first.
    /// Conditions that make no difference, and the agent's end, are left out.
    #[must_use]
    pub fn otherwise(&self) -> &[(Permission, Vec<Condition>)] {
        &self.otherwise
    }

    /// Returns the conditions in one line: `rooms: bot-*; max_per_day: 10; otherwise ask`. Without
    /// `otherwise`, that is `deny`. Empty without conditions. The agent's end is left out.
    #[must_use]
    pub fn terms(&self) -> String {
        if let [(Permission::Deny, conditions)] = self.otherwise.as_slice() {
            return in_line(conditions);
        }
        let group = |(permission, conditions): &(Permission, Vec<Condition>)| {
            format!("{}; otherwise {}", in_line(conditions), permission.as_str())
        };
        crate::text::join(&self.otherwise.iter().map(group).collect::<Vec<_>>(), "; also ")
    }
}

/// A rule that applies to calls of a function, before there is a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedRule {
    /// The rule as it is if its conditions hold.
    pub rule: Rule,
    /// Each condition, as the rule is if that one does not hold.
    pub conditions: Vec<Rule>,
}

/// Which facts the rules for a function ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Facts::created`](crate::conditions::Facts::created).
    pub created: bool,
    /// [`Facts::written`](crate::conditions::Facts::written).
    pub written: bool,
}

impl<'a> Key<'a> {
    /// A whole key.
    fn of(key: &'a str) -> Self {
        Self([key, "", "", "", ""])
    }
}

impl Verdict {
    /// Returns the strictest of two decisions on one call, which relies on the conditions of both.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        if other.permission > self.permission {
            core::mem::swap(&mut self, &mut other);
        }
        self.force_denied_by = self.force_denied_by.or(other.force_denied_by);
        self.elicitation_denied_by = self.elicitation_denied_by.or(other.elicitation_denied_by);
        self.passkey_required_by = self.passkey_required_by.or(other.passkey_required_by);
        for condition in other.relies_on {
            if !self.relies_on.contains(&condition) {
                self.relies_on.push(condition);
            }
        }
        self
    }

    /// Returns the decision on a call that something other than a rule forbids, whatever the rules say.
    /// `key` names it.
    #[must_use]
    pub fn forbidden(key: &str) -> Self {
        Self {
            permission: Permission::Deny,
            rule: Layer::word(Key::of(key), Permission::Deny, None).rule(),
            force_denied_by: None,
            elicitation_denied_by: None,
            passkey_required_by: None,
            relies_on: Vec::new(),
        }
    }

    /// Returns why the call is forbidden, and the rule that forbids it.
    pub fn forbidden_by(&self, force: bool) -> Option<(&'static str, &Rule)> {
        match (self.permission, &self.force_denied_by) {
            (Permission::Deny, _) => Some(("is denied", &self.rule)),
            (Permission::Ask, Some(rule)) if force => Some(("may not be forced", rule)),
            _ => None,
        }
    }
}

impl Rules {
    /// Returns a name in the tables that is not a function's. A rule for it would have no effect.
    fn unknown_function(&self) -> Option<&str> {
        let mut tables = core::iter::once(&self.all).chain(self.accounts.values());
        tables.find_map(Table::unknown_function)
    }
}

impl Table {
    fn unknown_function(&self) -> Option<&str> {
        let mut names = self.functions.keys();
        names.find(|name| whereby_catalog::function(name).is_none()).map(String::as_str)
    }
}

impl Policy {
    /// Returns the rules of every file.
    fn files(&self) -> impl Iterator<Item = &Rules> {
        core::iter::once(&self.own).chain(&self.tightening)
    }

    /// Returns the rule that says that nothing but a passkey approves calls, if there is one.
    #[must_use]
    pub fn passkey_required_by(&self) -> Option<Rule> {
        self.files().find_map(|rules| Some((rules.file.as_ref(), rules.requires_passkey?))).map(
            |(file, line)| {
                let place = file.map(|file| (file, line));
                let key = Key::of("approvals.require");
                let rule = Layer::word(key, Permission::Deny, place).rule();
                let reason = "nothing but a passkey approves calls".to_owned();
                Rule { unmet: Some(Unmet { value: "passkey".into(), reason }), ..rule }
            },
        )
    }

    /// Returns the first rule that sets a switch (`force` or `elicitation`) to anything but `allow`.
    pub(super) fn denied_switch<'a>(
        &'a self,
        subject: Subject<'a>,
        entry: impl Fn(&'a Table) -> Option<Named<'a>>,
    ) -> Option<Rule> {
        let layers = self.files().flat_map(|rules| rules.entries(subject.account, &entry));
        let layers = layers.chain(self.of_agent(subject.agent, &entry));
        let mut denied = layers.filter(|layer| layer.permission != Permission::Allow);
        denied.next().map(|layer| layer.rule())
    }

    /// Returns a name in any table that is not a function's.
    pub fn unknown_function(&self) -> Option<&str> {
        self.files()
            .find_map(Rules::unknown_function)
            .or_else(|| self.agents.values().find_map(|agent| agent.table.unknown_function()))
    }

    /// Returns what a call sees of the people in meetings: the strictest choice of all that apply.
    #[must_use]
    pub fn participants(&self, account: &str, agent: Option<&str>) -> Participants {
        let of_files = self
            .files()
            .flat_map(|rules| core::iter::once(&rules.all).chain(rules.accounts.get(account)));
        let of_agent = agent.map(|agent| match self.agents.get(agent) {
            Some(rules) => rules.participants.max(rules.table.participants),
            // Its calls are denied.
            None => Participants::Hidden,
        });
        of_files.map(|table| table.participants).chain(of_agent).max().unwrap_or_default()
    }

    /// Returns what a caller can expect of a function.
    #[must_use]
    pub fn outlook(&self, subject: Subject<'_>, has_destination: bool) -> Outlook {
        let layers = self.layers(subject, has_destination);
        // `layers` is never empty.
        let permission =
            layers.iter().map(|layer| layer.permission).max().unwrap_or(Permission::Deny);
        let mut conditions: Vec<Condition> = Vec::new();
        for stated in layers.iter().flat_map(|layer| &layer.conditions) {
            if !conditions.contains(&stated.condition) {
                conditions.push(stated.condition.clone());
            }
        }
        let agent = subject.agent.and_then(|agent| self.agents.get(agent));
        let end = agent.and_then(|rules| rules.valid_until.as_ref());
        let mut otherwise: BTreeMap<Permission, Vec<Condition>> = BTreeMap::new();
        for condition in &conditions {
            let is_it = |stated: &&&Stated| stated.condition == *condition;
            let of_rules =
                layers.iter().filter(|layer| layer.conditions.iter().any(|own| is_it(&own)));
            // All rules apply, so the strictest of those that have the condition decides.
            let strictest = of_rules.map(|layer| layer.otherwise).max().unwrap_or(permission);
            let is_end = end.is_some_and(|end| end.condition == *condition);
            if strictest > permission && !is_end {
                otherwise.entry(strictest).or_default().push(condition.clone());
            }
        }
        let rules = layers.into_iter().map(|layer| AppliedRule {
            conditions: layer
                .conditions
                .iter()
                .map(|stated| layer.rule_unmet(stated, String::new()))
                .collect(),
            rule: layer.rule(),
        });
        Outlook {
            permission,
            conditions,
            rules: rules.collect(),
            ends: end.and_then(|end| match &end.condition {
                Condition::ValidUntil(date) => Some(*date),
                _ => None,
            }),
            otherwise: otherwise.into_iter().collect(),
        }
    }

    /// Whether a call of a function may need a person's approval.
    #[must_use]
    pub fn may_ask(&self, subject: Subject<'_>) -> bool {
        // Only calls that write can have a destination.
        let writes = FunctionRule::of(subject.function).effect == Effect::Write;
        let layers = self.layers(subject, writes);
        let words = |layer: &Layer<'_>| [layer.permission, layer.otherwise];
        layers.iter().flat_map(words).any(|permission| permission == Permission::Ask)
    }

    /// Returns which facts the decision on a call asks for.
    #[must_use]
    pub fn needs(&self, subject: Subject<'_>) -> Needs {
        let mut needs = Needs::default();
        if subject.token.is_empty() && !self.has_conditions() {
            return needs;
        }
        for stated in self.layers(subject, false).iter().flat_map(|layer| &layer.conditions) {
            needs.created |= matches!(stated.condition, Condition::CreatedBy(_));
            needs.written |= stated.condition.is_quota();
        }
        needs
    }

    /// Whether any rule for functions has a condition.
    fn has_conditions(&self) -> bool {
        self.files()
            .flat_map(|rules| core::iter::once(&rules.all).chain(rules.accounts.values()))
            .chain(self.agents.values().map(|agent| &agent.table))
            .flat_map(|table| table.functions.values())
            .any(|entry| !entry.conditions.is_empty())
    }

    /// Adds what the rules say about the agent of a call, apart from its permission table.
    pub(super) fn add_agent<'a>(&'a self, layers: &mut Vec<Layer<'a>>, subject: Subject<'a>) {
        let Some(agent) = subject.agent else { return };
        let Some(rules) = self.agents.get(agent) else {
            let key = Key::named("agents.", agent, "");
            layers.push(Layer::word(key, Permission::Deny, None));
            return;
        };
        let place = |line| self.own.file.as_ref().map(|file| (file, line));
        if let Some((accounts, line)) = &rules.accounts
            && !accounts.iter().any(|known| known == subject.account)
        {
            let key = Key::named("agents.", agent, ".accounts");
            let mut layer = Layer::word(key, Permission::Deny, place(*line));
            layer.unmet = Some(other_account(accounts, subject.account));
            layers.push(layer);
        }
        if let Some(stated) = &rules.valid_until {
            let key = Key::named("agents.", agent, "");
            let mut layer = Layer::word(key, Permission::Allow, place(stated.line));
            layer.conditions.push(stated);
            layer.otherwise = Permission::Deny;
            layers.push(layer);
        }
    }

    /// Returns an entry of the agent's table, if it has it.
    pub(super) fn of_agent<'a>(
        &'a self,
        agent: Option<&'a str>,
        entry: impl Fn(&'a Table) -> Option<Named<'a>>,
    ) -> Option<Layer<'a>> {
        let name = agent?;
        let (key, entry) = entry(&self.agents.get(name)?.table)?;
        Some(Layer::of(entry, ["agents.", name, ".permissions."], key, self.own.file.as_ref()))
    }
}

fn other_account(accounts: &[String], account: &str) -> Unmet {
    Unmet {
        value: Value::from(accounts.to_vec()),
        reason: format!(
            "the agent may not use the account `{}`",
            crate::text::printable(account, 60)
        ),
    }
}

impl Restrictions {
    /// Adds what the block says about a call.
    pub(super) fn add_to<'a>(&'a self, layers: &mut Vec<Layer<'a>>, subject: Subject<'_>) {
        let rule = FunctionRule::of(subject.function);
        let mut deny = |key: &'static str, value: Value, reason: String| {
            let mut layer = Layer::word(Key::named("token.", key, ""), Permission::Deny, None);
            layer.unmet = Some(Unmet { value, reason });
            layers.push(layer);
        };
        if let Some(agent) = &self.agent
            && subject.agent != Some(agent)
        {
            let reason =
                format!("the token is for the agent `{}` only", crate::text::printable(agent, 60));
            deny("agent", agent.as_str().into(), reason);
        }
        if let Some(accounts) = &self.accounts
            && !accounts.iter().any(|known| known == subject.account)
        {
            let account = crate::text::printable(subject.account, 60);
            let reason = format!("the token does not allow the account `{account}`");
            deny("accounts", accounts.clone().into(), reason);
        }
        if let Some(functions) = &self.functions
            && !functions.iter().any(|known| known == rule.name)
        {
            let reason = format!("the token does not allow {}", rule.name);
            deny("functions", functions.clone().into(), reason);
        }
        if self.read_only && rule.effect != Effect::Read {
            let reason = format!("the token allows reading only, and {} writes", rule.name);
            deny("read_only", true.into(), reason);
        }
        let applies = |stated: &&Stated| rule.conditions.contains(&stated.condition.name());
        let conditions: Vec<&Stated> = self.conditions.iter().filter(applies).collect();
        if !conditions.is_empty() {
            let mut layer = Layer::word(Key::of("token"), Permission::Allow, None);
            (layer.conditions, layer.otherwise) = (conditions, Permission::Deny);
            layers.push(layer);
        }
    }
}
