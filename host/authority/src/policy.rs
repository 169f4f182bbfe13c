//! Permission rules, and the decision that follows from them.
//!
//! The host reads the rules from files, asks for a decision, and enforces it.

use crate::arguments::Arguments;
use crate::table::FunctionRule;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use whereby_catalog::Function;

/// What a rule says, from the least to the most strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// The call is allowed.
    Allow,
    /// The call needs a person's approval each time.
    Ask,
    /// The call is forbidden.
    Deny,
}

impl Permission {
    /// Reads `allow`, `ask` or `deny`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Ask, Self::Deny].into_iter().find(|known| known.as_str() == text)
    }

    /// Returns `allow`, `ask` or `deny`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// What a call does, in the words of the permission tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It reads.
    Read,
    /// It creates or deletes.
    Write,
    /// It sends a meeting's audio, video or transcript to a destination.
    Destination,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destination];

    /// Returns `read`, `write` or `destination`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destination => "destination",
        }
    }

    fn default_permission(self) -> Permission {
        match self {
            Self::Read => Permission::Allow,
            Self::Write | Self::Destination => Permission::Ask,
        }
    }
}

/// Whether the arguments send a meeting's content to a destination.
#[must_use]
pub fn has_destination(arguments: &Arguments) -> bool {
    arguments.list("fields").iter().any(|item| {
        let member = |name: &str| item.get(name);
        // A recording that is off has no destination.
        member("recording").is_some_and(|recording| {
            recording["type"] != "none" || recording.get("destination").is_some()
        }) || member("streaming").is_some()
            || member("liveTranscription").is_some()
    })
}

/// A permission, and the line of the file that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The permission.
    pub permission: Permission,
    /// The line, counted from 1.
    pub line: usize,
}

/// A permission table: `[permissions]`, or the table of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// By effect.
    pub effects: BTreeMap<Effect, Entry>,
    /// By function, under its name in JSON.
    pub functions: BTreeMap<String, Entry>,
    /// Whether `--force` may turn ask into allow.
    pub force: Option<Entry>,
    /// Whether MCP clients may ask for approval.
    pub elicitation: Option<Entry>,
}

/// The permission tables of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// The file; absent for rules that a program set.
    pub file: Option<PathBuf>,
    /// For every account.
    pub all: Table,
    /// For single accounts.
    pub accounts: BTreeMap<String, Table>,
}

impl Rules {
    /// Returns the most specific rule for a function.
    fn for_function(&self, account: &str, function: &Function) -> Option<Rule> {
        let effect = FunctionRule::of(function).effect;
        let own = self.accounts.get(account);
        self.rule(own.and_then(|table| table.functions.get(function.json)), || {
            format!("accounts.{account}.permissions.functions.{}", function.json)
        })
        .or_else(|| {
            self.rule(self.all.functions.get(function.json), || {
                format!("permissions.functions.{}", function.json)
            })
        })
        .or_else(|| self.for_effect(account, effect))
    }

    fn for_effect(&self, account: &str, effect: Effect) -> Option<Rule> {
        let own = self.accounts.get(account);
        self.rule(own.and_then(|table| table.effects.get(&effect)), || {
            format!("accounts.{account}.permissions.{}", effect.as_str())
        })
        .or_else(|| {
            self.rule(self.all.effects.get(&effect), || format!("permissions.{}", effect.as_str()))
        })
    }

    fn switch(
        &self,
        account: &str,
        name: &str,
        entry: impl Fn(&Table) -> Option<Entry>,
    ) -> impl Iterator<Item = Rule> {
        let own = self.accounts.get(account).and_then(&entry);
        let all = entry(&self.all);
        [
            self.rule(own.as_ref(), || format!("accounts.{account}.permissions.{name}")),
            self.rule(all.as_ref(), || format!("permissions.{name}")),
        ]
        .into_iter()
        .flatten()
    }

    fn rule(&self, entry: Option<&Entry>, key: impl FnOnce() -> String) -> Option<Rule> {
        entry.map(|entry| Rule {
            key: key(),
            permission: entry.permission,
            place: self.file.clone().map(|file| (file, entry.line)),
            is_default: false,
        })
    }
}

/// A rule that decided a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Its configuration key, such as `permissions.functions.delete_room`.
    pub key: String,
    /// The permission.
    pub permission: Permission,
    /// The file and the line; absent for a default, and for rules that a program set.
    pub place: Option<(PathBuf, usize)>,
    /// Whether it is a built-in default.
    pub is_default: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_default { "the default " } else { "" };
        write!(f, "{what}{} = \"{}\"", self.key, self.permission.as_str())?;
        if let Some((file, line)) = &self.place {
            let file = crate::text::printable(&file.display().to_string(), 300);
            write!(f, " ({file}, line {line})")?;
        }
        Ok(())
    }
}

impl Rules {
    /// Returns a name in the tables that is not a function's. A rule for it would have no effect.
    fn unknown_function(&self) -> Option<&str> {
        let tables = std::iter::once(&self.all).chain(self.accounts.values());
        let mut names = tables.flat_map(|table| table.functions.keys());
        names.find(|name| whereby_catalog::function(name).is_none()).map(String::as_str)
    }
}

/// All rules that apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The user's rules.
    pub own: Rules,
    /// The rules of the machine and of project folders, which can only make the policy stricter.
    pub tightening: Vec<Rules>,
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
}

impl Policy {
    /// Returns a name in any table that is not a function's.
    pub fn unknown_function(&self) -> Option<&str> {
        std::iter::once(&self.own).chain(&self.tightening).find_map(Rules::unknown_function)
    }

    /// Decides on a call.
    #[must_use]
    pub fn decide(&self, account: &str, function: &Function, has_destination: bool) -> Verdict {
        let default = |effect: Effect| Rule {
            key: format!("permissions.{}", effect.as_str()),
            permission: effect.default_permission(),
            place: None,
            is_default: true,
        };
        let own = self.own.for_function(account, function);
        let mut rules = vec![own.unwrap_or_else(|| default(FunctionRule::of(function).effect))];
        rules
            .extend(self.tightening.iter().filter_map(|file| file.for_function(account, function)));
        if has_destination {
            let effect = Effect::Destination;
            rules.push(self.own.for_effect(account, effect).unwrap_or_else(|| default(effect)));
            rules
                .extend(self.tightening.iter().filter_map(|file| file.for_effect(account, effect)));
        }
        // `rules` is never empty.
        let strictest = rules.iter().map(|rule| rule.permission).max().unwrap_or(Permission::Deny);
        let index = rules.iter().position(|rule| rule.permission == strictest).unwrap_or_default();
        Verdict {
            permission: strictest,
            rule: rules.swap_remove(index),
            force_denied_by: self.denied_switch(account, "force", |table| table.force),
            elicitation_denied_by: self
                .denied_switch(account, "elicitation", |table| table.elicitation),
        }
    }

    fn denied_switch(
        &self,
        account: &str,
        name: &str,
        entry: impl Fn(&Table) -> Option<Entry> + Copy,
    ) -> Option<Rule> {
        std::iter::once(&self.own)
            .chain(&self.tightening)
            .flat_map(|rules| rules.switch(account, name, entry))
            .find(|rule| rule.permission != Permission::Allow)
    }
}

/// The permission to make one call. Only a verdict gives it, and a grant uses it up.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

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
            (Permission::Allow, _) | (Permission::Ask, Some(Approval(()))) => Some(Permit(())),
            (Permission::Ask, None) | (Permission::Deny, _) => None,
        }
    }
}

impl Permit {
    /// Uses up the permit.
    pub(crate) fn use_up(self) {}

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Permission::{Allow, Ask, Deny};

    /// Makes rules from `key = permission` pairs, as a file has them.
    fn rules(entries: &[(&str, Permission)]) -> Rules {
        let mut rules = Rules::default();
        for (index, (key, permission)) in entries.iter().enumerate() {
            let entry = Entry { permission: *permission, line: index + 1 };
            let (table, key) = match key.strip_prefix("work.") {
                Some(key) => (rules.accounts.entry("work".into()).or_default(), key),
                None => (&mut rules.all, *key),
            };
            match Effect::ALL.into_iter().find(|effect| effect.as_str() == key) {
                Some(effect) => drop(table.effects.insert(effect, entry)),
                None if key == "force" => table.force = Some(entry),
                None if key == "elicitation" => table.elicitation = Some(entry),
                None => drop(table.functions.insert(key.to_owned(), entry)),
            }
        }
        rules
    }

    fn decide(own: &[(&str, Permission)], tight: &[(&str, Permission)], call: &str) -> Verdict {
        let policy = Policy { own: rules(own), tightening: vec![rules(tight)] };
        let (function, destination) = match call.strip_suffix('!') {
            Some(function) => (function, true),
            None => (call, false),
        };
        policy.decide("work", whereby_catalog::function(function).expect("known"), destination)
    }

    #[test]
    fn the_most_specific_rule_decides_and_others_only_tighten() {
        for (own, tight, call, expected) in [
            (&[][..], &[][..], "list_rooms", Allow),
            (&[], &[], "create_room", Ask),
            (&[], &[], "delete_room", Ask),
            (&[("write", Allow)], &[], "create_room", Allow),
            (&[("write", Allow)], &[], "create_room!", Ask),
            (&[("write", Allow), ("destination", Allow)], &[], "create_room!", Allow),
            (&[("create_room", Allow)], &[], "create_room!", Ask),
            (&[("write", Deny), ("create_room", Allow)], &[], "create_room", Allow),
            (&[("write", Deny), ("create_room", Allow)], &[], "delete_room", Deny),
            (&[("write", Deny), ("work.write", Allow)], &[], "delete_room", Allow),
            (&[("delete_room", Deny), ("work.write", Allow)], &[], "delete_room", Deny),
            (&[("delete_room", Deny), ("work.delete_room", Ask)], &[], "delete_room", Ask),
            (&[("read", Deny)], &[("read", Allow)], "list_rooms", Deny),
            (&[], &[("read", Ask)], "list_rooms", Ask),
            (&[], &[("read", Deny), ("list_rooms", Allow)], "list_rooms", Allow),
            (&[], &[("write", Allow)], "create_room", Ask),
            (&[("write", Allow)], &[("work.create_room", Deny)], "create_room", Deny),
            (
                &[("write", Allow), ("destination", Allow)],
                &[("destination", Deny)],
                "create_room!",
                Deny,
            ),
            (&[("write", Allow), ("destination", Deny)], &[], "create_room", Allow),
        ] {
            let verdict = decide(own, tight, call);
            assert_eq!(verdict.permission, expected, "{call} by {own:?} and {tight:?}");
        }
    }

    #[test]
    fn the_verdict_names_its_rule() {
        let verdict = decide(&[("write", Allow)], &[("work.delete_room", Deny)], "delete_room");
        assert_eq!(verdict.rule.key, "accounts.work.permissions.functions.delete_room");
        let verdict = decide(&[], &[], "delete_room");
        assert_eq!(verdict.rule.to_string(), "the default permissions.write = \"ask\"");
        let verdict = decide(&[("write", Ask)], &[("write", Ask)], "delete_room");
        assert!(!verdict.rule.is_default);
    }

    #[test]
    fn force_is_denied_by_any_file() {
        assert!(decide(&[], &[], "create_room").force_denied_by.is_none());
        assert!(decide(&[("force", Allow)], &[], "create_room").force_denied_by.is_none());
        for (own, tight) in [
            (&[("force", Deny)][..], &[][..]),
            (&[("work.force", Deny)], &[]),
            (&[("force", Allow), ("work.force", Deny)], &[]),
            (&[("force", Deny), ("work.force", Allow)], &[]),
            (&[("force", Allow)], &[("force", Deny)]),
        ] {
            assert!(
                decide(own, tight, "create_room").force_denied_by.is_some(),
                "{own:?} {tight:?}"
            );
        }
    }

    #[test]
    fn elicitation_is_denied_by_any_file() {
        assert!(decide(&[], &[], "create_room").elicitation_denied_by.is_none());
        for (own, tight) in [
            (&[("elicitation", Deny)][..], &[][..]),
            (&[("work.elicitation", Deny)], &[]),
            (&[("elicitation", Allow)], &[("elicitation", Deny)]),
        ] {
            let denied = decide(own, tight, "create_room").elicitation_denied_by;
            assert!(denied.is_some(), "{own:?} {tight:?}");
        }
    }

    #[test]
    fn only_an_allowed_or_approved_call_gets_a_permit() {
        let verdict = |permission| Verdict {
            permission,
            rule: decide(&[], &[], "create_room").rule,
            force_denied_by: None,
            elicitation_denied_by: None,
        };
        assert!(verdict(Allow).permit(None).is_some());
        assert!(verdict(Ask).permit(None).is_none());
        assert!(verdict(Ask).permit(Some(Approval(()))).is_some());
        assert!(verdict(Deny).permit(Some(Approval(()))).is_none());
    }

    #[test]
    fn a_recording_that_is_off_has_no_destination() {
        let function = whereby_catalog::function("create_room").expect("known");
        for (fields, expected) in [
            (serde_json::json!(["hostRoomUrl", "isLocked"]), false),
            (serde_json::json!([{"recording": {"type": "none"}}]), false),
            (serde_json::json!([{"recording": {"type": "local"}}]), true),
            (serde_json::json!([{"recording": {"type": "cloud"}}]), true),
            (
                serde_json::json!([{"streaming": {"destination": {"url": "rtmp://a.example/x"}}}]),
                true,
            ),
            (serde_json::json!([{"liveTranscription": {}}]), true),
        ] {
            let arguments = serde_json::json!({"fields": fields});
            let checked = Arguments::check(function, arguments).expect("good arguments");
            assert_eq!(has_destination(&checked), expected, "{fields}");
        }
    }
}
