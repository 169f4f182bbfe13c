//! Describes the conditions in force, for the documentation of a function.

use super::Settings;
use whereby_authority::policy::{Outlook, Permission, Restrictions, Subject, in_line};
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
            return first.as_ref().map(|words| format!("Allowed here{words}"));
        }
        let said: Vec<String> = each
            .iter()
            .filter_map(|(name, words)| {
                Some(format!("Allowed here for the account `{name}`{}", words.as_ref()?))
            })
            .collect();
        Some(said.join("\n"))
    }
}

fn in_words(outlook: &Outlook) -> Option<String> {
    let is_limited = outlook.ends.is_some() || !outlook.otherwise().is_empty();
    if !is_limited || outlook.permission == Permission::Deny {
        return None;
    }
    let mut words = match outlook.permission {
        Permission::Ask => " with a person's approval".to_owned(),
        _ => String::new(),
    };
    if let Some(end) = outlook.ends {
        words += &format!(" until {}", end.to_rfc3339());
    }
    for (index, (permission, conditions)) in outlook.otherwise().iter().enumerate() {
        let conditions = in_line(conditions);
        words += &match (index, permission) {
            (0, Permission::Deny) => format!(": {conditions}. Anything else is denied."),
            (0, _) => format!(": {conditions}. Anything else needs a person's approval."),
            // Those that ask come first.
            _ => format!(" Denied unless: {conditions}."),
        };
    }
    if outlook.otherwise().is_empty() {
        words.push('.');
    }
    Some(words)
}
