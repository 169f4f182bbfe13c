//! The decision on a call: what each layer says about it, and the strictest of that.

#[cfg(feature = "std")]
mod host;

#[cfg(feature = "std")]
pub use host::{AppliedRule, Needs, Outlook};

#[cfg(feature = "std")]
use super::Restrictions;
use super::{Effect, Entry, File, Named, Permission, Policy, Rules, Stated, Table};
use crate::conditions::{Condition, Facts};
use crate::prelude::*;
use crate::scope::Scope;
use crate::table::FunctionRule;
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
    #[cfg(feature = "std")]
    pub force_denied_by: Option<Rule>,
    /// The rule that forbids approval through an MCP client, if any.
    #[cfg(feature = "std")]
    pub elicitation_denied_by: Option<Rule>,
    /// The rule that says that nothing but a passkey approves the call, if any.
    #[cfg(feature = "std")]
    pub passkey_required_by: Option<Rule>,
    /// The conditions that the decision relies on.
    pub relies_on: Vec<Condition>,
}

/// Returns conditions in one line: `rooms: bot-*; max_per_day: 10`.
#[must_use]
pub fn in_line(conditions: &[Condition]) -> String {
    crate::text::join(&conditions.iter().map(ToString::to_string).collect::<Vec<_>>(), "; ")
}

impl Policy {
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
        #[cfg(feature = "std")]
        let passkey = self.passkey_required_by();
        Verdict {
            permission: strictest,
            rule,
            // A passkey shuts both doors.
            #[cfg(feature = "std")]
            force_denied_by: passkey.clone().or_else(|| {
                self.denied_switch(subject, |table| Some((["", "force"], table.force.as_ref()?)))
            }),
            #[cfg(feature = "std")]
            elicitation_denied_by: passkey.clone().or_else(|| {
                self.denied_switch(subject, |table| {
                    Some((["", "elicitation"], table.elicitation.as_ref()?))
                })
            }),
            #[cfg(feature = "std")]
            passkey_required_by: passkey,
            relies_on,
        }
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
