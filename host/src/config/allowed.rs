//! Describes the conditions in force, for the documentation of a function.

use super::Settings;
use whereby_authority::policy::{Outlook, Permission, Restrictions, Subject};
use whereby_catalog::Function;

impl Settings {
    /// Says under which conditions a function is allowed, such as `Allowed here: rooms: bot-*. Anything
    /// else is denied.` If accounts differ, each has a sentence. `None` without conditions. Only accounts
    /// that the caller may know are named.
    pub(crate) fn allowed(
        &self,
        agent: Option<&str>,
        token: &[Restrictions],
        function: &'static Function,
        is_known: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let enabled = self.accounts.iter().filter(|(name, of)| of.enabled && is_known(name));
        let each: Vec<(&str, Option<String>)> = enabled
            .map(|(name, _)| {
                let subject = Subject { agent, token, ..Subject::of(name, function) };
                (name.as_str(), in_words(&self.policy.outlook(subject, false)))
            })
            .collect();
        let (_, first) = each.first()?;
        if each.iter().all(|(_, other)| other == first) {
            return first.as_ref().map(|words| format!("Allowed here: {words}"));
        }
        let said: Vec<String> = each
            .iter()
            .filter_map(|(name, words)| {
                Some(format!("Allowed here for the account `{name}`: {}", words.as_ref()?))
            })
            .collect();
        Some(said.join("\n"))
    }
}

fn in_words(outlook: &Outlook) -> Option<String> {
    if outlook.conditions.is_empty() || outlook.permission == Permission::Deny {
        return None;
    }
    let unmet = outlook.rules.iter().flat_map(|applied| &applied.conditions);
    let is_denied = unmet.into_iter().any(|rule| rule.permission == Permission::Deny);
    let else_ = if is_denied { "is denied" } else { "needs a person's approval" };
    Some(format!("{}. Anything else {else_}.", outlook.terms()))
}
