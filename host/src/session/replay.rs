//! Decides the calls of the audit log again, without making them.

use super::Session;
use super::decision::FREEZE;
use crate::session::call::Call;
use crate::store::AuditRow;
use serde_json::Value;
use whereby_authority::conditions::{CreatedRoom, Facts, Written};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::names::Id;
use whereby_authority::policy::{Permission, Verdict, has_destination};
use whereby_authority::timestamp::Timestamp;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What came of deciding again.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// How many calls were decided.
    pub(crate) decided: usize,
    /// How many calls could not be decided.
    pub(crate) undecided: usize,
    /// The calls that would be decided differently, the oldest first.
    pub(crate) changed: Vec<Change>,
}

/// A call that would be decided differently.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: String,
    /// When it was made, in RFC 3339.
    pub(crate) time: Option<String>,
    pub(crate) function: &'static str,
    pub(crate) account: String,
    pub(crate) agent: Option<String>,
    pub(crate) arguments: Value,
    /// The permission that was decided then.
    pub(crate) was: String,
    /// What would be decided now.
    pub(crate) verdict: Verdict,
}

impl Session {
    /// Decides each call since a time, in milliseconds since 1970, by the rules of this session. All rows
    /// before it must be there as well, the oldest first: quotas and creators are taken from them.
    pub(crate) fn replay(&self, rows: &[AuditRow], since: i64) -> Replayed {
        let mut replayed = Replayed::default();
        let mut before = Vec::new();
        for row in rows {
            if row.time >= since {
                let Some(change) = self.decide_row(row, &before) else {
                    replayed.undecided += 1;
                    before.push(row);
                    continue;
                };
                replayed.decided += 1;
                let now = change.verdict.permission;
                if now.as_str() != change.was {
                    replayed.changed.push(change);
                }
                // It would not have gone ahead, so it counts towards no quota, and created no room.
                if now == Permission::Deny {
                    continue;
                }
            }
            before.push(row);
        }
        replayed
    }

    fn decide_row(&self, row: &AuditRow, before: &[&AuditRow]) -> Option<Change> {
        let (function, account) = (row.function.as_ref()?, row.account.as_ref()?);
        let was = row.permission.clone()?;
        // The log does not have the limits of its token, or what was frozen at the time.
        let was_frozen = row.rule.as_ref().is_some_and(|rule| rule.starts_with(FREEZE));
        if row.token.is_some() || was_frozen {
            return None;
        }
        let now = Timestamp::of_unix_ms(row.time)?;
        let call = Call::new(function, row.arguments.clone()).exact_account(account);
        let mut prepared = self.prepare(&call, now).ok()?;
        // The rules decide about an agent that is no longer configured, too.
        prepared.agent = row.agent.as_deref();
        let mut facts = Facts::at(now, row.agent.as_deref());
        facts.written = Ok(written(row, before));
        let room = prepared.scope.room();
        facts.created = Ok(room.map_or_else(Vec::new, |room| created(row, room.as_str(), before)));
        let function = prepared.function.json;
        let destination = has_destination(&prepared.arguments);
        let policy = &self.settings().policy;
        let verdict = policy.decide(prepared.subject(), destination, &prepared.scope, &facts);
        Some(Change {
            id: row.id.clone(),
            time: Some(now.to_rfc3339_ms()),
            function,
            account: account.clone(),
            agent: row.agent.clone(),
            arguments: row.arguments.clone(),
            was,
            verdict,
        })
    }
}

/// Counts the writes before a call that went ahead.
fn written(row: &AuditRow, before: &[&AuditRow]) -> Written {
    let went_ahead = |other: &&&AuditRow| {
        let is_alike = other.function == row.function
            && other.account == row.account
            && other.agent == row.agent
            && other.effect.as_deref() == Some("write");
        let is_none = other
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.effect == WriteOutcome::None.as_str());
        is_alike && !is_none
    };
    let since = |ms: i64| {
        let rows = before.iter().filter(went_ahead).filter(|other| other.time > row.time - ms);
        u32::try_from(rows.count()).unwrap_or(u32::MAX)
    };
    Written { last_hour: since(HOUR_MS), last_day: since(24 * HOUR_MS) }
}

/// Returns the rooms of a name that earlier calls created.
fn created(row: &AuditRow, name: &str, before: &[&AuditRow]) -> Vec<CreatedRoom> {
    let of_name =
        before.iter().filter(|other| other.account == row.account && other.api == row.api);
    let room = |other: &&AuditRow| {
        let outcome = other.outcome.as_ref()?;
        let function = whereby_catalog::function(other.function.as_deref()?)?;
        let rule = whereby_authority::table::FunctionRule::of(function);
        let is_created = outcome.effect == WriteOutcome::Done.as_str() && !rule.is_destructive;
        let is_named = outcome.room_name.as_ref()?.eq_ignore_ascii_case(name);
        let id = Id::parse(outcome.room_id.as_deref()?)?;
        (is_created && is_named).then(|| CreatedRoom { id, agent: other.agent.clone() })
    };
    of_name.filter_map(room).collect()
}
