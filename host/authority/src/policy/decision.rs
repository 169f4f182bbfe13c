//! The decision on a call: what each layer says about it, and the strictest of that.

use super::{Effect, Entry, File, Named, Permission, Policy, Rules, Stated, Table};
#[cfg(feature = "std")]
use super::{Participants, Restrictions};
use crate::conditions::{Condition, Facts};
use crate::prelude::*;
use crate::scope::Scope;
use crate::table::FunctionRule;
#[cfg(feature = "std")]
use crate::timestamp::Timestamp;
#[cfg(feature = "std")]
use alloc::collections::BTreeMap;
use core::fmt;
use serde_json::Value;
use whereby_catalog::Function;

/// Who calls what.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The account.
    pub account: &'a str,
    /// The agent, if the call is one's.
    #[cfg(feature = "std")]
    pub agent: Option<&'a str>,
    /// The blocks of the agent's capability token, from the first.
    #[cfg(feature = "std")]
    pub token: &'a [Restrictions],
    /// The function.
    pub function: &'static Function,
}

impl<'a> Subject<'a> {
    /// Returns a call of a function by an account, without an agent or a token.
    #[must_use]
    pub fn of(account: &'a str, function: &'static Function) -> Self {
        Self {
            account,
            #[cfg(feature = "std")]
            agent: None,
            #[cfg(feature = "std")]
            token: &[],
            function,
        }
    }
}

/// The parts of a configuration key. It is written only for the rules that are shown.
#[derive(Clone, Copy, Debug)]
struct Key<'a>([&'a str; 5]);

impl<'a> Key<'a> {
    /// A whole key.
    fn of(key: &'a str) -> Self {
        Self([key, "", "", "", ""])
    }

    /// A key with a name in it, such as `agents.NAME.accounts`.
    fn named(before: &'static str, name: &'a str, after: &'static str) -> Self {
        Self([before, name, after, "", ""])
    }
}

/// One rule that applies to a call: what one layer says about it.
#[derive(Clone, Debug)]
struct Layer<'a> {
    key: Key<'a>,
    permission: Permission,
    place: Option<(&'a File, usize)>,
    is_default: bool,
    /// What does not hold, of a rule that is in no table.
    unmet: Option<Unmet>,
    conditions: Vec<&'a Stated>,
    otherwise: Permission,
}

/// What one layer says about one call.
struct Decided<'a> {
    layer: Layer<'a>,
    permission: Permission,
    /// The conditions that do not hold, and why.
    unmet: Vec<(&'a Stated, String)>,
}

impl<'a> Layer<'a> {
    /// An entry of a table. `owner` is the key of the table, and `key` that of the entry in it.
    fn of(
        entry: &'a Entry,
        owner: [&'a str; 3],
        key: [&'static str; 2],
        file: Option<&'a File>,
    ) -> Self {
        let ([before, name, after], [group, last]) = (owner, key);
        let place = file.map(|file| (file, entry.line));
        Self {
            conditions: entry.conditions.iter().collect(),
            otherwise: entry.otherwise,
            ..Self::word(Key([before, name, after, group, last]), entry.permission, place)
        }
    }

    /// A rule without conditions that is in no table.
    fn word(key: Key<'a>, permission: Permission, place: Option<(&'a File, usize)>) -> Self {
        Self {
            key,
            permission,
            place,
            is_default: false,
            unmet: None,
            conditions: Vec::new(),
            otherwise: permission,
        }
    }

    fn default(effect: Effect) -> Self {
        let key = Key::named("permissions.", effect.as_str(), "");
        Self { is_default: true, ..Self::word(key, effect.default_permission(), None) }
    }

    /// Decides on a call.
    fn decide(self, scope: &Scope, facts: &Facts) -> Decided<'a> {
        let unmet = |stated: &&'a Stated| Some((*stated, stated.condition.unmet(scope, facts)?));
        let unmet: Vec<_> = self.conditions.iter().filter_map(unmet).collect();
        let permission = if unmet.is_empty() { self.permission } else { self.otherwise };
        Decided { layer: self, permission, unmet }
    }

    /// Returns the rule as it is if every condition holds.
    fn rule(&self) -> Rule {
        Rule {
            key: self.key.0.concat(),
            permission: self.permission,
            place: self.place.map(|(file, line)| (file.clone(), line)),
            is_default: self.is_default,
            unmet: self.unmet.clone(),
        }
    }

    /// Returns the rule as it is if a condition does not hold.
    fn rule_unmet(&self, stated: &Stated, reason: String) -> Rule {
        Rule {
            key: format!("{}.{}", self.key.0.concat(), stated.condition.name()),
            permission: self.otherwise,
            place: self.place.map(|(file, _)| (file.clone(), stated.line)),
            is_default: false,
            unmet: Some(Unmet { value: stated.condition.value(), reason }),
        }
    }
}

impl Rules {
    /// Returns the most specific rule for a function: its own entry before that of its effect, and in each
    /// case the account's table before the general one.
    fn for_function<'a>(&'a self, account: &'a str, function: &Function) -> Option<Layer<'a>> {
        self.entries(account, |table| table.own(function))
            .next()
            .or_else(|| self.for_effect(account, FunctionRule::of(function).effect))
    }

    fn for_effect<'a>(&'a self, account: &'a str, effect: Effect) -> Option<Layer<'a>> {
        self.entries(account, |table| table.for_effect(effect)).next()
    }

    /// Returns an entry of the account's table and of the general one, where they have it.
    fn entries<'a>(
        &'a self,
        account: &'a str,
        entry: impl Fn(&'a Table) -> Option<Named<'a>>,
    ) -> impl Iterator<Item = Layer<'a>> {
        let file = self.file.as_ref();
        let own = self.accounts.get(account).and_then(&entry).map(|(key, entry)| {
            Layer::of(entry, ["accounts.", account, ".permissions."], key, file)
        });
        let all = entry(&self.all)
            .map(|(key, entry)| Layer::of(entry, ["permissions.", "", ""], key, file));
        own.into_iter().chain(all)
    }

    /// Returns a name in the tables that is not a function's. A rule for it would have no effect.
    #[cfg(feature = "std")]
    fn unknown_function(&self) -> Option<&str> {
        let mut tables = core::iter::once(&self.all).chain(self.accounts.values());
        tables.find_map(Table::unknown_function)
    }
}

#[cfg(feature = "std")]
impl Table {
    fn unknown_function(&self) -> Option<&str> {
        let mut names = self.functions.keys();
        names.find(|name| whereby_catalog::function(name).is_none()).map(String::as_str)
    }
}

/// A rule that decided a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Its configuration key, such as `permissions.functions.delete_room`, or that of its condition that
    /// does not hold.
    pub key: String,
    /// The permission.
    pub permission: Permission,
    /// The file and the line; absent for a default, and for rules that a program set.
    pub place: Option<(File, usize)>,
    /// Whether it is a built-in default.
    pub is_default: bool,
    /// The condition that does not hold, if the permission follows from that.
    pub unmet: Option<Unmet>,
}

/// A condition that does not hold for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unmet {
    /// The value of the condition.
    pub value: Value,
    /// Why it does not hold, such as `the call names no room`.
    pub reason: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_default { "the default " } else { "" };
        write!(f, "{what}{} = ", self.key)?;
        match &self.unmet {
            Some(unmet) => {
                f.write_str(&crate::text::printable(&crate::text::json(&unmet.value), 300))?
            }
            None => write!(f, "\"{}\"", self.permission.as_str())?,
        }
        if let Some((file, line)) = &self.place {
            #[cfg(feature = "std")]
            let file = &file.display().to_string();
            let file = crate::text::printable(file, 300);
            write!(f, " ({file}, line {line})")?;
        }
        Ok(())
    }
}

/// The policy's decision on one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The decision.
    pub permission: Permission,
    /// The rule that decided: the strictest, or the user's own among equally strict ones.
    pub rule: Rule,
    /// The rule that forbids `--force`, if any.
    pub force_denied_by: Option<Rule>,
    /// The rule that forbids approval through an MCP client, if any.
    pub elicitation_denied_by: Option<Rule>,
    /// The rule that says that nothing but a passkey approves the call, if any.
    pub passkey_required_by: Option<Rule>,
    /// The conditions that the decision relies on.
    pub relies_on: Vec<Condition>,
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
}

#[cfg(feature = "std")]
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

#[cfg(feature = "std")]
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

/// Returns conditions in one line: `rooms: bot-*; max_per_day: 10`.
#[must_use]
pub fn in_line(conditions: &[Condition]) -> String {
    crate::text::join(&conditions.iter().map(ToString::to_string).collect::<Vec<_>>(), "; ")
}

#[cfg(feature = "std")]
/// A rule that applies to calls of a function, before there is a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedRule {
    /// The rule as it is if its conditions hold.
    pub rule: Rule,
    /// Each condition, as the rule is if that one does not hold.
    pub conditions: Vec<Rule>,
}

#[cfg(feature = "std")]
/// Which facts the rules for a function ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Facts::created`].
    pub created: bool,
    /// [`Facts::written`].
    pub written: bool,
}

impl Policy {
    /// Returns the rules of every file.
    fn files(&self) -> impl Iterator<Item = &Rules> {
        let files = core::iter::once(&self.own);
        #[cfg(feature = "std")]
        let files = files.chain(&self.tightening);
        files
    }

    /// Returns a name in any table that is not a function's.
    #[cfg(feature = "std")]
    pub fn unknown_function(&self) -> Option<&str> {
        self.files()
            .find_map(Rules::unknown_function)
            .or_else(|| self.agents.values().find_map(|agent| agent.table.unknown_function()))
    }

    /// Returns what a call sees of the people in meetings: the strictest choice of all that apply.
    #[cfg(feature = "std")]
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

    /// Returns the rule that says that nothing but a passkey approves calls, if there is one.
    #[must_use]
    pub fn passkey_required_by(&self) -> Option<Rule> {
        let of_files = self.files();
        of_files
            .filter_map(|rules| Some((rules.file.as_ref(), rules.requires_passkey?)))
            .next()
            .map(|(file, line)| {
                let place = file.map(|file| (file, line));
                let key = Key::of("approvals.require");
                let rule = Layer::word(key, Permission::Deny, place).rule();
                let reason = "nothing but a passkey approves calls".to_owned();
                Rule { unmet: Some(Unmet { value: "passkey".into(), reason }), ..rule }
            })
    }

    /// Decides on a call.
    #[must_use]
    pub fn decide(
        &self,
        subject: Subject<'_>,
        has_destination: bool,
        scope: &Scope,
        facts: &Facts,
    ) -> Verdict {
        let layers = self.layers(subject, has_destination);
        let mut decided: Vec<_> =
            layers.into_iter().map(|layer| layer.decide(scope, facts)).collect();
        // `layers` is never empty.
        let strictest =
            decided.iter().map(|decided| decided.permission).max().unwrap_or(Permission::Deny);
        let relies_on = decided
            .iter()
            .filter(|decided| decided.unmet.is_empty() && decided.layer.otherwise > strictest)
            .flat_map(|decided| &decided.layer.conditions)
            .map(|stated| stated.condition.clone())
            .collect();
        // Among equally strict rules, one with conditions says more than one without.
        let says_more = |layer: &Layer<'_>| {
            strictest != Permission::Deny
                && layer
                    .conditions
                    .iter()
                    .any(|own| !matches!(own.condition, Condition::ValidUntil(_)))
        };
        let mut own = decided.iter().enumerate().filter(|(_, own)| own.permission == strictest);
        let first = own.clone().next();
        let index = own.find(|(_, own)| says_more(&own.layer)).or(first).map(|(index, _)| index);
        let Decided { layer, unmet, .. } = decided.swap_remove(index.unwrap_or_default());
        let rule = match unmet.first() {
            None => layer.rule(),
            Some((first, _)) => {
                let reasons: Vec<&str> = unmet.iter().map(|(_, reason)| reason.as_str()).collect();
                layer.rule_unmet(first, crate::text::join(&reasons, ", and "))
            }
        };
        let passkey = self.passkey_required_by();
        Verdict {
            permission: strictest,
            rule,
            // A passkey shuts both doors.
            force_denied_by: passkey.clone().or_else(|| {
                self.denied_switch(subject, |table| Some((["", "force"], table.force.as_ref()?)))
            }),
            elicitation_denied_by: passkey.clone().or_else(|| {
                self.denied_switch(subject, |table| {
                    Some((["", "elicitation"], table.elicitation.as_ref()?))
                })
            }),
            passkey_required_by: passkey,
            relies_on,
        }
    }

    /// Returns what a caller can expect of a function.
    #[cfg(feature = "std")]
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
    #[cfg(feature = "std")]
    #[must_use]
    pub fn may_ask(&self, subject: Subject<'_>) -> bool {
        // Only calls that write can have a destination.
        let writes = FunctionRule::of(subject.function).effect == Effect::Write;
        let layers = self.layers(subject, writes);
        let words = |layer: &Layer<'_>| [layer.permission, layer.otherwise];
        layers.iter().flat_map(words).any(|permission| permission == Permission::Ask)
    }

    /// Returns which facts the decision on a call asks for.
    #[cfg(feature = "std")]
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
    #[cfg(feature = "std")]
    fn has_conditions(&self) -> bool {
        self.files()
            .flat_map(|rules| core::iter::once(&rules.all).chain(rules.accounts.values()))
            .chain(self.agents.values().map(|agent| &agent.table))
            .flat_map(|table| table.functions.values())
            .any(|entry| !entry.conditions.is_empty())
    }

    /// Returns the rules that apply to a call: one of each layer. The user's own come first.
    fn layers<'a>(&'a self, subject: Subject<'a>, has_destination: bool) -> Vec<Layer<'a>> {
        let Subject { account, function, .. } = subject;
        let effect = FunctionRule::of(function).effect;
        let own = self.own.for_function(account, function);
        let mut layers = vec![own.unwrap_or_else(|| Layer::default(effect))];
        #[cfg(feature = "std")]
        {
            self.add_agent(&mut layers, subject);
            layers.extend(self.of_agent(subject.agent, |table| table.for_function(function)));
            let files = self.tightening.iter();
            layers.extend(files.filter_map(|file| file.for_function(account, function)));
        }
        if has_destination {
            let effect = Effect::Destination;
            layers.push(
                self.own.for_effect(account, effect).unwrap_or_else(|| Layer::default(effect)),
            );
            #[cfg(feature = "std")]
            {
                layers.extend(self.of_agent(subject.agent, |table| table.for_effect(effect)));
                let files = self.tightening.iter();
                layers.extend(files.filter_map(|file| file.for_effect(account, effect)));
            }
        }
        #[cfg(feature = "std")]
        for block in subject.token {
            block.add_to(&mut layers, subject);
        }
        layers
    }

    /// Adds what the rules say about the agent of a call, apart from its permission table.
    #[cfg(feature = "std")]
    fn add_agent<'a>(&'a self, layers: &mut Vec<Layer<'a>>, subject: Subject<'a>) {
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

    fn denied_switch<'a>(
        &'a self,
        subject: Subject<'a>,
        entry: impl Fn(&'a Table) -> Option<Named<'a>>,
    ) -> Option<Rule> {
        let layers = self.files().flat_map(|rules| rules.entries(subject.account, &entry));
        #[cfg(feature = "std")]
        let layers = layers.chain(self.of_agent(subject.agent, &entry));
        let mut denied = layers.filter(|layer| layer.permission != Permission::Allow);
        denied.next().map(|layer| layer.rule())
    }

    /// Returns an entry of the agent's table, if it has it.
    #[cfg(feature = "std")]
    fn of_agent<'a>(
        &'a self,
        agent: Option<&'a str>,
        entry: impl Fn(&'a Table) -> Option<Named<'a>>,
    ) -> Option<Layer<'a>> {
        let name = agent?;
        let (key, entry) = entry(&self.agents.get(name)?.table)?;
        Some(Layer::of(entry, ["agents.", name, ".permissions."], key, self.own.file.as_ref()))
    }
}

#[cfg(feature = "std")]
fn other_account(accounts: &[String], account: &str) -> Unmet {
    Unmet {
        value: Value::from(accounts.to_vec()),
        reason: format!(
            "the agent may not use the account `{}`",
            crate::text::printable(account, 60)
        ),
    }
}

#[cfg(feature = "std")]
impl Restrictions {
    /// Adds what the block says about a call.
    fn add_to<'a>(&'a self, layers: &mut Vec<Layer<'a>>, subject: Subject<'_>) {
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

/// The permission to make one call, and what it relies on. Only a verdict gives it, and a grant uses it
/// up.
#[derive(Debug)]
#[must_use]
pub struct Permit(Vec<Condition>);

/// A person's approval of one call, or the user's `--force`.
#[derive(Debug)]
pub struct Approval(());

impl Approval {
    /// Asserts that a person approved this one call, or that its caller forced it.
    #[must_use]
    pub fn given() -> Self {
        Self(())
    }
}

impl Verdict {
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

    /// Returns a permit if the call is allowed, or needs approval and has it.
    pub fn permit(&self, approval: Option<Approval>) -> Option<Permit> {
        match (self.permission, approval) {
            (Permission::Allow, _) | (Permission::Ask, Some(Approval(()))) => {
                Some(Permit(self.relies_on.clone()))
            }
            (Permission::Ask, None) | (Permission::Deny, _) => None,
        }
    }
}

impl Permit {
    /// Uses up the permit, and returns the conditions that it relies on.
    pub(crate) fn use_up(self) -> Vec<Condition> {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self(Vec::new())
    }
}
