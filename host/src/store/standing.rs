//! Standing approvals in the database: a person's yes to the next calls that are alike.

use super::approval::{StoredApproval, date, new_id};
use super::approvals::{change_where, is_past};
use super::audit;
use super::decision::{Decided, Decider, What};
use super::digest::Digest;
use super::passkeys::Signed;
use crate::error::Error;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};
use whereby_authority::arguments::Arguments;
use whereby_authority::conditions::{Condition, Facts, parse_span};
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// How long a standing approval is valid at most, in milliseconds.
pub(crate) const MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The maximum number of uses.
pub(crate) const MAX_USES: u32 = 1000;

/// The maximum number of standing approvals that are in force.
pub(super) const MAX_STANDING: i64 = 100;

/// How long one is kept after its end, in milliseconds.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What a person allows besides the one call.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// How many calls, the one that is approved included.
    pub(crate) uses: u32,
    /// Until when, in milliseconds since 1970.
    pub(crate) until: i64,
    /// Which calls. Without conditions, only the very same call.
    pub(crate) conditions: Vec<Condition>,
    /// Whether it may be for a function that destroys something, or for calls with a destination.
    pub(crate) is_destructive: bool,
}

impl Terms {
    /// Reads what a person allows besides a call: how many calls, for how long such as `2h`, and the
    /// patterns of the rooms, if not only the very same call.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] names the option that is wrong.
    pub(crate) fn parse(
        function: &str,
        uses: u32,
        lasting: &str,
        rooms: &[String],
        is_destructive: bool,
        now: i64,
    ) -> Result<Self, Error> {
        let usage = |message: String| Error::Usage { message };
        let span = parse_span(lasting).map(|seconds| seconds.saturating_mul(1000));
        let lasting = span.filter(|span| (1..=MAX_MS).contains(span)).ok_or_else(|| {
            let given = text::printable(lasting, 40);
            usage(format!("--for {given}: expected a time such as 90m, 2h or 7d, at most 7d"))
        })?;
        let mut conditions = Vec::new();
        if !rooms.is_empty() {
            let rule = whereby_catalog::function(function).map(FunctionRule::of);
            let rooms = Condition::parse("rooms", &json!(rooms), rule);
            conditions.push(rooms.map_err(|why| usage(format!("--rooms: {why}")))?);
        }
        Ok(Self { uses, until: now.saturating_add(lasting), conditions, is_destructive })
    }
}

/// Returns conditions as a JSON object.
pub(super) fn to_json(conditions: &[Condition]) -> Value {
    let conditions = conditions.iter();
    conditions.map(|condition| (condition.name().to_owned(), condition.value())).collect()
}

/// A standing approval. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StandingApproval {
    pub(crate) id: String,
    /// The id of the approval that it was given with.
    pub(crate) approval: String,
    pub(crate) created_at: i64,
    pub(crate) valid_until: i64,
    pub(crate) account: String,
    pub(crate) api: String,
    pub(crate) agent: Option<String>,
    /// The ids of the blocks of the capability token that the call was made with.
    token: Option<Vec<String>>,
    pub(crate) function: String,
    /// The arguments of the call that it was given with, masked.
    pub(crate) arguments: Value,
    /// The digest of the one call that it is for; without it, the conditions say which calls it is for.
    digest: Option<[u8; 32]>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) is_destructive: bool,
    pub(crate) uses: u32,
    pub(crate) used: u32,
    pub(crate) revoked_at: Option<i64>,
}

impl StandingApproval {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let function: String = row.get("function")?;
        let arguments: String = row.get("arguments")?;
        let conditions: String = row.get("conditions")?;
        let rule = whereby_catalog::function(&function).map(FunctionRule::of);
        let unknown = |what: String| {
            let error = Error::internal(what);
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        };
        let token: Option<String> = row.get("token")?;
        // One that cannot be read is no missing one.
        let token = token.map(|token| serde_json::from_str(&token)).transpose();
        let token = token.map_err(|error| unknown(error.to_string()))?;
        let conditions: serde_json::Map<String, Value> =
            serde_json::from_str(&conditions).map_err(|error| unknown(error.to_string()))?;
        let conditions = conditions.iter().map(|(name, value)| Condition::parse(name, value, rule));
        Ok(Self {
            id: row.get("id")?,
            approval: row.get("approval")?,
            created_at: row.get("created_at")?,
            valid_until: row.get("valid_until")?,
            account: row.get("account")?,
            api: row.get("api")?,
            agent: row.get("agent")?,
            token,
            arguments: serde_json::from_str(&arguments).unwrap_or_default(),
            digest: row.get("digest")?,
            conditions: conditions.collect::<Result<_, _>>().map_err(unknown)?,
            is_destructive: row.get("is_destructive")?,
            uses: row.get("uses")?,
            used: row.get("used")?,
            revoked_at: row.get("revoked_at")?,
            function,
        })
    }

    /// Whether it is for this call, as far as the call's digest tells.
    pub(crate) fn is_for(&self, digest: &Digest) -> bool {
        self.digest.is_none_or(|own| own == digest.0)
    }

    /// Whether it is for calls with this token: the same one, or one that was narrowed from it.
    fn covers(&self, token: Option<&[String]>) -> bool {
        match (&self.token, token) {
            (None, None) => true,
            (Some(own), Some(token)) => token.starts_with(own),
            _ => false,
        }
    }

    /// Whether it is for one call only.
    pub(crate) fn is_exact(&self) -> bool {
        self.digest.is_some()
    }

    pub(crate) fn left(&self) -> u32 {
        self.uses.saturating_sub(self.used)
    }

    /// Returns it as a JSON document, its times in RFC 3339.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "approval_id": self.approval,
            "created_at": date(self.created_at),
            "valid_until": date(self.valid_until),
            "account": self.account,
            "api_url": self.api,
            "agent": self.agent,
            "function": self.function,
            "arguments": self.is_exact().then_some(&self.arguments),
            "conditions": to_json(&self.conditions),
            "destructive": self.is_destructive,
            "uses": self.uses,
            "used": self.used,
            "revoked_at": self.revoked_at.map(date),
        })
    }
}

/// The condition that a standing approval is in force. A clock that was set back revives none, as for
/// approvals.
const IS_IN_FORCE: &str = concat!(
    "revoked_at IS NULL AND used < uses AND ",
    is_past!("created_at"),
    " AND ?1 < valid_until"
);

/// A call that looks for a standing approval.
pub(crate) struct Wanted<'a> {
    pub(crate) account: &'a str,
    pub(crate) api: &'a str,
    pub(crate) key_fingerprint: &'a [u8],
    pub(crate) component: &'a str,
    pub(crate) agent: Option<&'a str>,
    /// The ids of the blocks of the call's capability token.
    pub(crate) token: Option<&'a [String]>,
    pub(crate) function: &'a str,
    /// Whether only what a passkey signed counts.
    pub(crate) passkey: bool,
}

/// Returns the standing approvals that are in force, the oldest first: all, or those that may be for a call.
pub(super) fn in_force(
    connection: &Connection,
    now: i64,
) -> rusqlite::Result<Vec<StandingApproval>> {
    let sql = format!("SELECT * FROM standing_approvals WHERE {IS_IN_FORCE} ORDER BY seq");
    connection.prepare(&sql)?.query_map([now], StandingApproval::from_row)?.collect()
}

/// Returns the standing approvals that may be for a call, the oldest first.
pub(super) fn for_call(
    connection: &Connection,
    now: i64,
    wanted: &Wanted<'_>,
    key_digest: &[u8; 32],
) -> rusqlite::Result<Vec<StandingApproval>> {
    let sql = format!(
        "SELECT * FROM standing_approvals WHERE {IS_IN_FORCE} AND account = ?2 AND api = ?3
             AND key_digest = ?4 AND component = ?5 AND agent IS ?6 AND function = ?7
             AND (NOT ?8 OR passkey IS NOT NULL)
         ORDER BY seq"
    );
    let Wanted { account, api, component, agent, token, function, passkey, .. } = wanted;
    let values = params![now, account, api, key_digest, component, agent, function, passkey];
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(values, StandingApproval::from_row)?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.retain(|standing| standing.covers(*token));
    Ok(found)
}

/// Returns how many standing approvals are in force.
pub(super) fn count(connection: &Connection, now: i64) -> rusqlite::Result<i64> {
    let sql = format!("SELECT count(*) FROM standing_approvals WHERE {IS_IN_FORCE}");
    connection.query_row(&sql, [now], |row| row.get(0))
}

/// Adds a standing approval to an approval that was just given, whose call is its first use. `None` if the
/// approval does not say which key and component its call is made with.
pub(super) fn add(
    connection: &Connection,
    now: i64,
    approval: &str,
    terms: &Terms,
    by: &Decider,
    signed: Option<&Signed>,
) -> rusqlite::Result<Option<StandingApproval>> {
    let id = new_id().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let sql = "INSERT INTO standing_approvals (id, approval, created_at, valid_until, account, api,
            key_digest, component, agent, token, function, arguments, digest, conditions,
            is_destructive, uses, used, passkey)
        SELECT ?1, id, ?2, ?3, account, api, key_digest, component, agent, token, function, arguments,
            iif(?4 = '{}', digest, NULL), ?4, ?5, ?6, 1, passkey
        FROM approvals WHERE id = ?7 AND key_digest IS NOT NULL AND component IS NOT NULL";
    let Terms { uses, until, is_destructive, .. } = terms;
    let conditions = to_json(&terms.conditions).to_string();
    let values = params![id, now, until, conditions, is_destructive, uses, approval];
    if connection.execute(sql, values)? == 0 {
        return Ok(None);
    }
    let added = one(connection, &id)?;
    if let Some(added) = &added {
        record(connection, now, What::Approve, by, added, signed)?;
    }
    Ok(added)
}

/// Records a decision on a standing approval. What a passkey signed for it is in the row.
fn record(
    connection: &Connection,
    now: i64,
    what: What,
    by: &Decider,
    standing: &StandingApproval,
    signed: Option<&Signed>,
) -> rusqlite::Result<()> {
    let mut details = json!({
        "standing": standing.id,
        "uses": standing.uses,
        "valid_until": date(standing.valid_until),
        "conditions": to_json(&standing.conditions),
    });
    if let (Value::Object(details), Some(Value::Object(signed))) =
        (&mut details, signed.map(|signed| &signed.details))
    {
        details.extend(signed.clone());
    }
    let decided = Decided {
        passkey: signed.map(|signed| signed.id.as_str()),
        account: Some(&standing.account),
        agent: standing.agent.as_deref(),
        function: Some(&standing.function),
        approval: Some(&standing.approval),
        details,
        ..Decided::new(what, by)
    };
    audit::decide(connection, now, &decided)
}

/// Checks that terms fit the call that is approved with them.
pub(super) fn check(approval: &StoredApproval, terms: &Terms, now: i64) -> Result<(), Error> {
    let usage = |message: String| Err(Error::Usage { message });
    if !(1..=MAX_USES).contains(&terms.uses) {
        return usage(format!("the number of uses must be between 1 and {MAX_USES}"));
    }
    if !(1..=MAX_MS).contains(&terms.until.saturating_sub(now)) {
        return usage("a standing approval lasts at most 7 days".into());
    }
    if let Some(why) = misfit(approval, terms, now) {
        return usage(why);
    }
    let function = whereby_catalog::function(&approval.function);
    let is_destructive = function.is_none_or(|function| FunctionRule::of(function).is_destructive);
    if terms.is_destructive {
        return Ok(());
    }
    if is_destructive {
        return usage(format!(
            "{} deletes permanently, so an approval of several calls of it needs --destructive",
            approval.function
        ));
    }
    if approval.has_destination {
        return usage(
            "this call sends audio, video or a transcript to a destination, so an approval of several \
             such calls needs --destructive"
                .into(),
        );
    }
    Ok(())
}

/// Returns why the call itself is none of those that terms with conditions allow, if it is none.
fn misfit(approval: &StoredApproval, terms: &Terms, now: i64) -> Option<String> {
    let function = whereby_catalog::function(&approval.function)?;
    let now = Timestamp::of_unix_ms(now)?;
    let reason = match Arguments::check(function, approval.arguments.clone()) {
        Ok(arguments) => {
            let scope = FunctionRule::of(function).scope(&arguments, now).ok()?;
            let facts = Facts::at(now, approval.agent.as_deref());
            terms.conditions.iter().find_map(|own| Some((own, own.unmet(&scope, &facts)?)))
        }
        Err(_) => return None,
    };
    let (condition, reason) = reason?;
    Some(format!(
        "the call that you approve does not fit {condition}, because {reason}; choose a pattern that it \
         fits"
    ))
}

/// Returns the error for an approval that does not say which key and component its call is made with.
pub(super) fn too_old(id: &str) -> Error {
    Error::usage(format!(
        "the approval {id} was requested with an earlier version, so it can be given for one call only; \
         make the call again and decide on its new approval"
    ))
}

/// Returns the error for one standing approval too many.
pub(super) fn too_many() -> Error {
    Error::Usage {
        message: format!(
            "there are {MAX_STANDING} standing approvals, the maximum; revoke one with: whereby approvals \
             deny ID"
        ),
    }
}

/// Returns the error for a standing approval that is not in force.
pub(super) fn not_in_force(found: Option<StandingApproval>, now: i64, id: &str) -> Error {
    let message = match found {
        None => format!("there is no approval {id}; run: whereby approvals list --all"),
        Some(found) if found.revoked_at.is_some() => {
            format!("the standing approval {id} was revoked before")
        }
        Some(found) if found.left() == 0 => {
            format!("the standing approval {id} is used up, so it needs no revocation")
        }
        Some(found) if now < found.valid_until => {
            format!("the standing approval {id} is void because this machine's clock was set back")
        }
        Some(_) => format!("the standing approval {id} has expired, so it needs no revocation"),
    };
    Error::Usage { message }
}

/// Uses a standing approval once. Returns whether it is in force.
pub(super) fn use_up(
    connection: &Connection,
    now: i64,
    id: &str,
    passkey: bool,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE standing_approvals SET used = used + 1
         WHERE id = ?2 AND {IS_IN_FORCE} AND (NOT ?3 OR passkey IS NOT NULL)"
    );
    Ok(connection.execute(&sql, params![now, id, passkey])? > 0)
}

/// Gives back the use of a call that changed nothing.
pub(super) fn give_back(connection: &Connection, id: &str, call: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE standing_approvals SET used = used - 1
        WHERE id = ?1 AND used > 0
        AND EXISTS (SELECT 1 FROM calls WHERE calls.id = ?2 AND calls.approval = standing_approvals.id)";
    connection.execute(sql, [id, call]).map(drop)
}

/// Which standing approvals to revoke.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    /// The one with this id.
    One(&'a str),
    /// The one that was given with this approval.
    GivenWith(&'a str),
    /// Those that this passkey signed.
    Signed(&'a str),
    /// Those of this agent.
    OfAgent(&'a str),
}

impl<'a> Which<'a> {
    /// Returns a column and its value.
    pub(super) fn column(self) -> (&'static str, &'a str) {
        match self {
            Self::One(id) => ("id", id),
            Self::GivenWith(approval) => ("approval", approval),
            Self::Signed(passkey) => ("passkey", passkey),
            Self::OfAgent(agent) => ("agent", agent),
        }
    }
}

/// Revokes standing approvals. Returns those that were in force.
pub(super) fn revoke(
    connection: &Connection,
    now: i64,
    which: Which<'_>,
    by: &Decider,
) -> rusqlite::Result<Vec<StandingApproval>> {
    let (column, value) = which.column();
    let sql = format!(
        "UPDATE standing_approvals SET revoked_at = ?1 WHERE {column} = ?2 AND {IS_IN_FORCE} RETURNING *"
    );
    let revoked: Vec<StandingApproval> = connection
        .prepare(&sql)?
        .query_map(params![now, value], StandingApproval::from_row)?
        .collect::<rusqlite::Result<_>>()?;
    revoked.iter().try_for_each(|own| record(connection, now, What::Revoke, by, own, None))?;
    Ok(revoked)
}

/// Returns the standing approval with an id.
pub(super) fn one(connection: &Connection, id: &str) -> rusqlite::Result<Option<StandingApproval>> {
    let sql = "SELECT * FROM standing_approvals WHERE id = ?1";
    connection.query_row(sql, [id], StandingApproval::from_row).optional()
}

/// Ends those that are from the future, because the clock was set back, and deletes old ones.
pub(super) fn expire(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let change = |change: &str, condition: &str, time: i64| {
        change_where(connection, "standing_approvals", change, condition, &[time])
    };
    let is_of_the_future = concat!("valid_until > created_at AND NOT ", is_past!("created_at"));
    change("UPDATE standing_approvals SET valid_until = created_at", is_of_the_future, now)?;
    change("DELETE FROM standing_approvals", "valid_until < ?1", now - KEPT_MS)
}
