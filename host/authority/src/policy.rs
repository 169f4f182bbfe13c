//! Permission rules, and the decision that follows from them.
//!
//! The host reads the rules from files, asks for a decision, and enforces it. Every layer (the user's
//! file, the agent, each tightening file, each block of a token) is decided by itself, and the strictest
//! result holds.

mod decision;

#[cfg(feature = "std")]
pub use decision::{AppliedRule, Needs, Outlook};
pub use decision::{Approval, Permit, Rule, Subject, Unmet, Verdict, in_line};

use crate::arguments::Arguments;
use crate::conditions::Condition;
#[cfg(not(feature = "std"))]
use crate::map::Map;
use crate::prelude::*;
#[cfg(feature = "std")]
use crate::table::FunctionRule;
#[cfg(feature = "std")]
use alloc::collections::BTreeMap as Map;
use whereby_catalog::Function;

/// The path of a file that rules come from.
#[cfg(feature = "std")]
type File = std::path::PathBuf;

/// The name of what rules come from.
#[cfg(not(feature = "std"))]
type File = String;

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

/// What calls see of the people in meetings, from the least to the most strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Participants {
    /// Their names and ids.
    #[default]
    Names,
    /// A pseudonym for each person, such as `Participant 3f9a1c`.
    Pseudonyms,
    /// Neither names nor ids.
    Hidden,
}

impl Participants {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Names, Self::Pseudonyms, Self::Hidden];

    /// Reads `names`, `pseudonyms` or `hidden`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// Returns `names`, `pseudonyms` or `hidden`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Pseudonyms => "pseudonyms",
            Self::Hidden => "hidden",
        }
    }
}

/// The effect of a call, as permission tables name it.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The permission, if every condition holds.
    pub permission: Permission,
    /// The line, counted from 1.
    pub line: usize,
    /// The conditions.
    pub conditions: Vec<Stated>,
    /// The permission if a condition does not hold. Never less strict than `permission`.
    pub otherwise: Permission,
}

/// A condition, and the line of the file that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The condition.
    pub condition: Condition,
    /// The line, counted from 1; 0 if it is in no file.
    pub line: usize,
}

impl Entry {
    /// Returns a permission without conditions.
    #[must_use]
    pub fn new(permission: Permission, line: usize) -> Self {
        Self { permission, line, conditions: Vec::new(), otherwise: Permission::Deny }
    }

    /// Adds conditions, and the permission if one of them does not hold. It is never less strict than
    /// the permission itself.
    #[must_use]
    pub fn when(mut self, conditions: Vec<Stated>, otherwise: Permission) -> Self {
        self.otherwise = otherwise.max(self.permission);
        self.conditions = conditions;
        self
    }
}

/// A permission table: `[permissions]`, or the table of one account or agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// By effect.
    pub effects: Map<Effect, Entry>,
    /// By function, under its name in JSON.
    pub functions: Map<String, Entry>,
    /// Whether `--force` may turn ask into allow.
    pub force: Option<Entry>,
    /// Whether MCP clients may ask for approval.
    pub elicitation: Option<Entry>,
    /// What calls see of the people in meetings.
    pub participants: Participants,
}

/// An entry, and its key in two parts, such as `functions.` and `create_room`.
type Named<'a> = ([&'static str; 2], &'a Entry);

impl Table {
    /// Returns the entry for a function, or else for its effect.
    #[cfg(feature = "std")]
    fn for_function(&self, function: &Function) -> Option<Named<'_>> {
        self.own(function).or_else(|| self.for_effect(FunctionRule::of(function).effect))
    }

    /// Returns the function's own entry.
    fn own(&self, function: &Function) -> Option<Named<'_>> {
        Some((["functions.", function.json], self.functions.get(function.json)?))
    }

    fn for_effect(&self, effect: Effect) -> Option<Named<'_>> {
        Some((["", effect.as_str()], self.effects.get(&effect)?))
    }
}

/// The permission tables of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// The file; absent for rules that a program set.
    pub file: Option<File>,
    /// For every account.
    pub all: Table,
    /// For single accounts.
    pub accounts: Map<String, Table>,
    /// The line that says that nothing but a passkey approves calls.
    pub requires_passkey: Option<usize>,
}

/// What one agent may do, besides the rules of the account.
#[cfg(feature = "std")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentRules {
    /// The accounts that it may use, and the line that says so. Absent for all.
    pub accounts: Option<(Vec<String>, usize)>,
    /// Until when it may call anything.
    pub valid_until: Option<Stated>,
    /// Its permission table, which can only make the account's rules stricter.
    pub table: Table,
    /// What it sees of the people in meetings, unless the account's rules are stricter.
    pub participants: Participants,
}

/// What one block of a capability token restricts calls to. Absent members restrict nothing.
#[cfg(feature = "std")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// The agent.
    pub agent: Option<String>,
    /// The accounts.
    pub accounts: Option<Vec<String>>,
    /// The functions, by their names in JSON.
    pub functions: Option<Vec<String>>,
    /// Whether only functions that read may be called.
    pub read_only: bool,
    /// How many calls may go ahead. The host counts them.
    pub uses: Option<u32>,
    /// Conditions. Each limits only the functions that support it.
    pub conditions: Vec<Stated>,
}

/// All rules that apply. Without the feature `std`, there are only the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The user's rules.
    pub own: Rules,
    /// The rules of the machine and of project folders, which can only make the policy stricter.
    #[cfg(feature = "std")]
    pub tightening: Vec<Rules>,
    /// The agents, by name, from the user's file.
    #[cfg(feature = "std")]
    pub agents: Map<String, AgentRules>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Condition, Facts};
    use crate::timestamp::Timestamp;
    use Permission::{Allow, Ask, Deny};

    /// Makes rules from `key = permission` pairs, as a file has them.
    fn rules(entries: &[(&str, Permission)]) -> Rules {
        let mut rules = Rules::default();
        for (index, (key, permission)) in entries.iter().enumerate() {
            let entry = Entry::new(*permission, index + 1);
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
        let policy = Policy { own: rules(own), tightening: vec![rules(tight)], agents: Map::new() };
        let (function, destination) = match call.strip_suffix('!') {
            Some(function) => (function, true),
            None => (call, false),
        };
        let function = whereby_catalog::function(function).expect("known");
        let arguments = match function.json {
            "delete_room" | "get_room" => serde_json::json!({"room_name": "daily"}),
            _ => serde_json::json!({}),
        };
        let arguments = Arguments::check(function, arguments).expect("good arguments");
        let now = Timestamp::parse("2026-03-01T12:00:00Z").expect("a time");
        let scope = FunctionRule::of(function).scope(&arguments, now).expect("a scope");
        let facts = Facts::at(now, None);
        policy.decide(Subject::of("work", function), destination, &scope, &facts)
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
    fn of_two_verdicts_the_strictest_holds_with_the_conditions_of_both() {
        let verdict = |permission: Permission, fields: &str| Verdict {
            permission,
            relies_on: vec![
                Condition::parse("fields", &serde_json::json!([fields]), None).expect("good"),
            ],
            ..decide(&[("create_room", permission)], &[], "create_room")
        };
        for (one, other) in [(Allow, Allow), (Allow, Ask), (Ask, Deny), (Deny, Allow)] {
            let both = verdict(one, "hostRoomUrl").and(verdict(other, "viewerRoomUrl"));
            assert_eq!(both.permission, one.max(other));
            assert_eq!(both.rule.permission, one.max(other));
            assert_eq!(both.relies_on.len(), 2, "{one:?} {other:?}");
            let same = verdict(one, "hostRoomUrl").and(verdict(other, "hostRoomUrl"));
            assert_eq!(same.relies_on.len(), 1);
        }
        let free = || decide(&[("write", Allow)], &[], "create_room");
        let bound = || decide(&[("force", Deny), ("elicitation", Deny)], &[], "create_room");
        for both in [free().and(bound()), bound().and(free())] {
            assert!(both.force_denied_by.is_some() && both.elicitation_denied_by.is_some());
        }
    }

    #[test]
    fn only_an_allowed_or_approved_call_gets_a_permit() {
        let verdict = |permission| Verdict {
            permission,
            rule: decide(&[], &[], "create_room").rule,
            force_denied_by: None,
            elicitation_denied_by: None,
            passkey_required_by: None,
            relies_on: Vec::new(),
        };
        assert!(verdict(Allow).permit(None).is_some());
        assert!(verdict(Ask).permit(None).is_none());
        assert!(verdict(Ask).permit(Some(Approval::given())).is_some());
        assert!(verdict(Deny).permit(Some(Approval::given())).is_none());
    }

    #[test]
    fn the_strictest_choice_of_what_is_seen_of_people_holds() {
        use Participants::{Hidden, Names, Pseudonyms};
        assert_eq!(Policy::default().participants("work", None), Names);
        let all = Participants::ALL;
        let choices = (0..27).map(|index| (all[index / 9], all[index / 3 % 3], all[index % 3]));
        for (own, account, tight) in choices {
            let mut policy = Policy::default();
            policy.own.all.participants = own;
            policy.own.accounts.entry("work".into()).or_default().participants = account;
            policy.tightening.extend([Rules::default(), Rules::default()]);
            policy.tightening[1].all.participants = tight;
            let table = policy.tightening[0].accounts.entry("other".into()).or_default();
            table.participants = Hidden;
            let agent = AgentRules { participants: Pseudonyms, ..AgentRules::default() };
            policy.agents.insert("assistant".into(), agent);
            let strictest = own.max(account).max(tight);
            assert_eq!(policy.participants("work", None), strictest);
            assert_eq!(policy.participants("work", Some("assistant")), strictest.max(Pseudonyms));
            assert_eq!(policy.participants("work", Some("unknown")), Hidden);
            assert_eq!(policy.participants("other", None), Hidden);
            assert_eq!(policy.participants("third", None), own.max(tight));
        }
        for known in all {
            assert_eq!(Participants::parse(known.as_str()), Some(known));
        }
        assert_eq!(Participants::parse("Names"), None);
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
