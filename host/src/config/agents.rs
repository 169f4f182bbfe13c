//! The agents of the configuration: who they are, and which accounts each may use.

use super::{Account, Settings, is_account_name, listed};
use crate::error::Error;
use whereby_authority::policy::AgentRules;
use whereby_authority::suggest;
use whereby_authority::text;

impl Settings {
    /// Returns the rules of an agent.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the configuration has no such agent.
    pub(crate) fn agent(&self, name: &str) -> Result<&AgentRules, Error> {
        self.policy.agents.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.policy.agents.keys().map(String::as_str).collect();
            let near = suggest::did_you_mean(name, &names);
            let known = match names.as_slice() {
                [] => "; the configuration has no agents".to_owned(),
                names => format!("{near}; the agents are {}", listed(names)),
            };
            let fix = is_account_name(name)
                .then(|| format!("to add the agent, run: whereby agents add {name}"));
            Error::Blocked {
                message: format!("no agent is called `{}`", text::printable(name, 60)),
                detail: known,
                fix: fix.unwrap_or_default(),
                instead: "do not try again; a person must start this program for another agent"
                    .into(),
            }
        })
    }

    /// Returns the account of a call by an agent: the named one, or the default one. If the agent may not
    /// use the default account and may use only one, that one.
    ///
    /// Whether it may use a named account is for the policy to decide.
    ///
    /// # Errors
    ///
    /// As for [`Self::choose`] and [`Self::agent`]; [`Error::Configuration`] if it is unclear which account
    /// is meant.
    pub(crate) fn choose_as(
        &self,
        agent: Option<&str>,
        name: Option<&str>,
        is_exact: bool,
    ) -> Result<(&str, &Account), Error> {
        let Some(agent) = agent else { return self.choose(name, is_exact) };
        let Some((own, _)) = &self.agent(agent)?.accounts else {
            return self.choose(name, is_exact);
        };
        let is_named = name.is_some_and(|name| is_exact || name != "default");
        if let Some(name) = name.filter(|_| is_named) {
            // Its error would name the accounts of others.
            if !self.accounts.contains_key(name) {
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                return Err(Error::Usage {
                    message: format!(
                        "no account is called `{}`{}; the agent `{agent}` may use {}",
                        text::printable(name, 60),
                        suggest::did_you_mean(name, &own),
                        listed(&own)
                    ),
                });
            }
            return self.choose(Some(name), true);
        }
        let default = self.account_name(None).ok();
        match (default.filter(|name| own.iter().any(|own| own == name)), own.as_slice()) {
            (Some(name), _) => self.choose(Some(name), true),
            (None, [only]) => self.choose(Some(only), true),
            (None, own) => {
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                Err(Error::Configuration {
                    message: format!(
                        "the agent `{agent}` may use several accounts ({}) and none is the default: \
                         name one",
                        listed(&own)
                    ),
                })
            }
        }
    }

    /// Returns the accounts that are switched on and that an agent may use; without an agent, all of them.
    #[cfg(any(feature = "lua", feature = "mcp"))]
    pub(crate) fn offered(&self, agent: Option<&str>) -> impl Iterator<Item = &str> {
        let rules = agent.map(|name| self.policy.agents.get(name));
        let may = move |account: &str| match rules {
            None => true,
            Some(None) => false,
            Some(Some(AgentRules { accounts: None, .. })) => true,
            Some(Some(AgentRules { accounts: Some((own, _)), .. })) => {
                own.iter().any(|own| own == account)
            }
        };
        let enabled = self.accounts.iter().filter(|(_, account)| account.enabled);
        enabled.map(|(name, _)| name.as_str()).filter(move |name| may(name))
    }
}
