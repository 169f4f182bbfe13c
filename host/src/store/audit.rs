//! The audit log: the beginning and the end of every call. Rows are only added, until the log is
//! archived.

use super::approval::{date, new_id};
use super::approvals;
use super::chain::{Chain, Table};
use super::decision::{AuditDecision, Decided};
use super::usage::{self, Counted};
use crate::system::digest::hex;
use rusqlite::{Connection, ErrorCode, Row, Statement};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A call before it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) id: String,
    /// In milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) front_end: String,
    pub(crate) client: Option<String>,
    #[serde(default)]
    pub(crate) agent: Option<String>,
    /// The ids of the blocks of the token that the call was made with.
    #[serde(default)]
    pub(crate) token: Option<Vec<String>>,
    pub(crate) account: Option<String>,
    pub(crate) api: Option<String>,
    pub(crate) function: Option<String>,
    /// With secrets masked.
    pub(crate) arguments: Value,
    /// `read` or `write`.
    pub(crate) effect: Option<String>,
    pub(crate) permission: Option<String>,
    pub(crate) rule: Option<String>,
    /// `rule`, `force`, `terminal`, `elicitation`, `program` or `approval`.
    pub(crate) approved_by: Option<String>,
    /// The id of the approval that the call uses.
    pub(crate) approval: Option<String>,
    /// The span that the caller traces.
    #[serde(default)]
    pub(crate) trace: Option<String>,
}

impl Begin {
    /// Returns which calls count together with this one.
    pub(super) fn counted(&self) -> Counted<'_> {
        Counted {
            account: self.account.as_deref().unwrap_or_default(),
            agent: self.agent.as_deref(),
            function: self.function.as_deref().unwrap_or_default(),
        }
    }
}

/// The end of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// The id of the call.
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) outcome: AuditOutcome,
    /// The approval to return, if the call used one and sent no request that needed it. It stays valid
    /// for as long as before.
    pub(crate) give_back: Option<String>,
    /// The room that Whereby created.
    #[serde(default)]
    pub(crate) created: Option<Created>,
    /// The result for a caller that asks for it later, sealed, in Base64.
    #[serde(default)]
    pub(crate) kept: Option<String>,
}

/// A room that Whereby created, and for whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) account: String,
    pub(crate) api: String,
    /// In lower-case hexadecimal.
    pub(crate) key_digest: String,
    pub(crate) agent: Option<String>,
    pub(crate) name: String,
    pub(crate) id: String,
}

/// The beginning of a call, its end, or both, as a row of the spool.
#[derive(Serialize, Deserialize)]
pub(super) struct AuditRecord {
    pub(super) begin: Option<Begin>,
    pub(super) end: Option<End>,
}

/// A request that a call sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRequest {
    /// The method.
    pub method: String,
    /// The path, relative to the base URL of the API, without the query.
    pub path: String,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// The duration, in milliseconds.
    pub duration_ms: f64,
}

/// Selects rows of the audit log; by default all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Calls made at or after this time, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Calls made before this time, in milliseconds since 1970.
    pub until: Option<i64>,
    /// Calls with this account.
    pub account: Option<String>,
    /// Calls of this function, in snake_case.
    pub function: Option<String>,
    /// Calls of this agent.
    pub agent: Option<String>,
    /// Calls with this outcome: one of [`AuditFilter::OUTCOMES`], or the kind of an error.
    pub outcome: Option<String>,
    /// Calls that this approved, and decisions to approve: [`AuditRow::approved_by`], or who decided, by name
    /// or as `terminal`, `page`, `client`, `program` or `passkey`.
    pub approved_by: Option<String>,
    /// Calls about the room with this name or id.
    pub room: Option<String>,
    /// At most this many calls, the newest.
    pub limit: Option<u32>,
    /// Calls that used this approval, and decisions on it.
    pub approval: Option<String>,
    /// Only decisions of people, or only calls. Default: both.
    pub decisions: Option<bool>,
    /// Calls with a row after this position, [`AuditRow::seq`]. A call that was read before its end
    /// matches again when it has ended.
    pub after_seq: Option<i64>,
    /// With `after_seq`: not after this position.
    pub through_seq: Option<i64>,
}

impl AuditFilter {
    /// The outcomes that are no kinds of errors. The effect of a call is unknown if its write may have
    /// happened, also if it has not ended.
    pub const OUTCOMES: [&str; 4] = ["success", "failed", "unfinished", "unknown"];
}

/// A call in the audit log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditRow {
    /// The position of the last row about the call. Positions begin at 1 and have no gaps.
    pub seq: i64,
    /// The hash of that row and of all rows before it, in lower-case hexadecimal.
    pub hash: String,
    /// The id of the call.
    pub id: String,
    /// When the call was made, in milliseconds since 1970.
    pub time: i64,
    /// The front end: `cli`, `mcp`, `lua`, or the name that the embedding program gives itself.
    pub front_end: String,
    /// The name that the MCP client gives itself.
    pub client: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The ids of the blocks of the capability token that the call was made with, from the first. The
    /// last is that of the token.
    pub token: Option<Vec<String>>,
    /// The account.
    pub account: Option<String>,
    /// The base URL of the API.
    pub api: Option<String>,
    /// The function, in snake_case if it exists.
    pub function: Option<String>,
    /// The arguments, with secrets masked.
    pub arguments: Value,
    /// `read` or `write`.
    pub effect: Option<String>,
    /// `allow`, `ask` or `deny`.
    pub permission: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Who or what approved it: `rule`, `force`, `terminal`, `elicitation`, `program` or `approval`.
    pub approved_by: Option<String>,
    /// The id of the approval that the call used.
    pub approval: Option<String>,
    /// The span that the caller traces, as in the header `traceparent` of W3C Trace Context.
    pub traceparent: Option<String>,
    /// What a person decided. The row is then no call, and has no outcome; its approval is the one that
    /// was decided on.
    pub decision: Option<AuditDecision>,
    /// The outcome; `None` if the call is under way or the program was killed during it. Whether a write
    /// was made is then unknown.
    pub outcome: Option<AuditOutcome>,
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditOutcome {
    /// When the call ended, in milliseconds since 1970.
    pub time: i64,
    /// Whether the call succeeded.
    pub success: bool,
    /// The kind of the error.
    pub kind: Option<String>,
    /// The error message.
    pub message: Option<String>,
    /// Whether the call changed something: `none`, `unknown` or `done`.
    pub effect: String,
    /// The name of the room that the call created or deleted. If `effect` is not `done`, the name of the
    /// room that it tried to delete. `None` if Whereby did not name one.
    pub room_name: Option<String>,
    /// The id of that room.
    pub room_id: Option<String>,
    /// The requests that the call sent, in order.
    pub requests: Vec<AuditRequest>,
    /// The duration, in milliseconds.
    pub duration_ms: f64,
}

impl AuditRow {
    /// Reads a call and its outcome, as [`each`] selects them.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let arguments: String = row.get("arguments")?;
        let begun: i64 = row.get("seq")?;
        let ended: Option<i64> = row.get("o_seq")?;
        let hash: [u8; 32] =
            row.get(if ended.is_some_and(|ended| ended > begun) { "o_hash" } else { "hash" })?;
        Ok(Self {
            seq: ended.map_or(begun, |ended| ended.max(begun)),
            hash: hex(&hash),
            id: row.get("id")?,
            time: row.get("time")?,
            front_end: row.get("front_end")?,
            client: row.get("client")?,
            agent: row.get("agent")?,
            token: ids(row.get("token")?),
            account: row.get("account")?,
            api: row.get("api")?,
            function: row.get("function")?,
            arguments: serde_json::from_str(&arguments).unwrap_or_default(),
            effect: row.get("effect")?,
            permission: row.get("permission")?,
            rule: row.get("rule")?,
            approved_by: row.get("approved_by")?,
            approval: row.get("approval")?,
            traceparent: row.get("trace")?,
            decision: row
                .get::<_, Option<String>>("decision")?
                .and_then(|decision| serde_json::from_str(&decision).ok()),
            outcome: ended.map(|_| AuditOutcome::from_row(row)).transpose()?,
        })
    }

    /// Returns whether the call may have made a write whose outcome was not recorded.
    #[must_use]
    pub fn is_unfinished_write(&self) -> bool {
        self.outcome.is_none() && self.effect.as_deref() == Some("write")
    }

    /// Returns the row as a JSON document, its time in RFC 3339.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "position": self.seq,
            "hash": self.hash,
            "id": self.id,
            "time": date(self.time),
            "front_end": self.front_end,
            "client": self.client,
            "agent": self.agent,
            "token": self.token,
            "account": self.account,
            "api_url": self.api,
            "function": self.function,
            "arguments": self.arguments,
            "effect": self.effect,
            "permission": self.permission,
            "rule": self.rule,
            "approved_by": self.approved_by,
            "approval_id": self.approval,
            "traceparent": self.traceparent,
            "decision": self.decision,
            "outcome": self.outcome.as_ref().map(AuditOutcome::to_json),
        })
    }
}

impl AuditOutcome {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let requests: String = row.get("requests")?;
        Ok(Self {
            time: row.get("o_time")?,
            success: row.get("success")?,
            kind: row.get("kind")?,
            message: row.get("message")?,
            effect: row.get("o_effect")?,
            room_name: row.get("room_name")?,
            room_id: row.get("room_id")?,
            requests: serde_json::from_str(&requests).unwrap_or_default(),
            duration_ms: row.get("duration_ms")?,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "success": self.success,
            "kind": self.kind,
            "message": self.message,
            "effect": self.effect,
            "room_name": self.room_name,
            "room_id": self.room_id,
            "requests": self.requests,
            "duration_ms": self.duration_ms,
        })
    }
}

/// Reads a column with the ids of a token's blocks.
pub(super) fn ids(column: Option<String>) -> Option<Vec<String>> {
    column.and_then(|ids| serde_json::from_str(&ids).ok())
}

/// Adds a person's decision to the log.
pub(super) fn decide(
    connection: &Connection,
    now: i64,
    decided: &Decided<'_>,
) -> rusqlite::Result<()> {
    let failed = |error| rusqlite::Error::ToSqlConversionFailure(error);
    let id = new_id().map_err(|error| failed(Box::new(error)))?;
    let row = serde_json::to_string(&decided.to_row()).map_err(|error| failed(Box::new(error)))?;
    let Decided { by, account, agent, function, approval, .. } = decided;
    let added = Chain::new(connection).add(
        Table::Calls,
        &[
            ("id", &id),
            ("time", &now),
            ("front_end", &decided.front_end()),
            ("client", &by.client),
            ("account", account),
            ("function", function),
            ("arguments", &"{}"),
            ("approval", approval),
            ("agent", agent),
            ("decision", &row),
        ],
    );
    added.map(drop)
}

/// Adds rows to the log within a transaction.
pub(super) struct Writer<'a> {
    connection: &'a Connection,
    chain: Chain<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, chain: Chain::new(connection) }
    }

    /// Adds the beginning of a call. Returns `false` if the log has a beginning with this id.
    pub(super) fn begin(
        &mut self,
        begin: &Begin,
        approval: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let begin = begin.bounded();
        self.chain.add(
            Table::Calls,
            &[
                ("id", &begin.id),
                ("time", &begin.time),
                ("front_end", &begin.front_end),
                ("client", &begin.client),
                ("account", &begin.account),
                ("api", &begin.api),
                ("function", &begin.function),
                ("arguments", &begin.arguments.to_string()),
                ("effect", &begin.effect),
                ("permission", &begin.permission),
                ("rule", &begin.rule),
                ("approved_by", &begin.approved_by),
                ("approval", &approval),
                ("agent", &begin.agent),
                ("token", &begin.token.as_ref().map(|ids| json!(ids).to_string())),
                ("trace", &begin.trace),
            ],
        )
    }

    /// Adds the end of a call, and returns its approval if the end says so. Does nothing if the log has
    /// the end already.
    fn end(&mut self, end: &End) -> rusqlite::Result<()> {
        let end = end.bounded();
        let requests = serde_json::to_string(&end.outcome.requests)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let is_added = self.chain.add(
            Table::Outcomes,
            &[
                ("call_id", &end.id),
                ("time", &end.outcome.time),
                ("success", &end.outcome.success),
                ("kind", &end.outcome.kind),
                ("message", &end.outcome.message),
                ("effect", &end.outcome.effect),
                ("requests", &requests),
                ("duration_ms", &end.outcome.duration_ms),
                ("room_name", &end.outcome.room_name),
                ("room_id", &end.outcome.room_id),
            ],
        )?;
        if !is_added {
            return Ok(());
        }
        let is_harmless = end.outcome.effect == "none";
        if is_harmless {
            usage::take_out(self.connection, &end.id)?;
        }
        if let Some(created) = &end.created {
            usage::add_room(self.connection, end.outcome.time, created)?;
        }
        approvals::end(self.connection, end.outcome.time, &end.id, end.kept.as_deref())?;
        match &end.give_back {
            // A call that may have changed something has used its approval up.
            Some(approval) if is_harmless => {
                approvals::give_back(self.connection, approval, &end.id)
            }
            _ => Ok(()),
        }
    }

    /// Adds a row of the spool. Skips one that violates a constraint, because it would keep the rows
    /// after it out of the database.
    pub(super) fn add(&mut self, record: &AuditRecord) -> rusqlite::Result<()> {
        let or_skipped = |result: rusqlite::Result<()>| match result {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                debug_assert!(false, "the audit log does not take a row: {error}");
                Ok(())
            }
            result => result,
        };
        if let Some(begin) = &record.begin {
            or_skipped(self.begin(begin, begin.approval.as_deref()).map(drop))?;
        }
        if let Some(end) = &record.end {
            or_skipped(self.end(end))?;
        }
        Ok(())
    }
}

/// Returns the calls that match a filter, in the order of their time.
pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
) -> rusqlite::Result<Vec<AuditRow>> {
    let mut found = Vec::new();
    each(connection, filter, |row| found.push(row))?;
    Ok(found)
}

/// Returns the newest calls that match a filter and that a function wants, the newest first: as many as the
/// filter says.
#[cfg(feature = "inbox")]
pub(super) fn newest(
    connection: &Connection,
    filter: &AuditFilter,
    wants: impl Fn(&AuditRow) -> bool,
) -> rusqlite::Result<Vec<AuditRow>> {
    let most = filter.limit.map_or(usize::MAX, |limit| limit as usize);
    let sql = selected(filter) + " ORDER BY c.time DESC, c.seq DESC";
    let mut statement = bound(connection, &sql, filter)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let row = AuditRow::from_row(row)?;
        if wants(&row) {
            found.push(row);
        }
    }
    Ok(found)
}

/// Returns the SQL that selects the calls that match a filter, with their outcomes.
fn selected(filter: &AuditFilter) -> String {
    format!(
        "SELECT c.*, o.seq AS o_seq, o.time AS o_time, o.success, o.kind, o.message,
            o.effect AS o_effect, o.hash AS o_hash, o.room_name, o.room_id, o.requests, o.duration_ms
         FROM calls AS c LEFT JOIN outcomes AS o ON o.call_id = c.id WHERE {}",
        conditions(filter)
    )
}

/// Passes each of these calls to a function.
pub(super) fn each(
    connection: &Connection,
    filter: &AuditFilter,
    mut each: impl FnMut(AuditRow),
) -> rusqlite::Result<()> {
    let mut sql = selected(filter);
    if filter.limit.is_some() {
        sql = format!("SELECT * FROM ({sql} ORDER BY c.time DESC, c.seq DESC LIMIT :limit)");
        sql.push_str(" ORDER BY time, seq");
    } else {
        sql.push_str(" ORDER BY c.time, c.seq");
    }
    let mut statement = bound(connection, &sql, filter)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        each(AuditRow::from_row(row)?);
    }
    Ok(())
}

/// Returns the calls whose last row is after one position and not after another, in the order of those rows.
pub(super) fn between(
    connection: &Connection,
    after: i64,
    through: i64,
) -> rusqlite::Result<Vec<AuditRow>> {
    let filter = AuditFilter {
        after_seq: Some(after),
        through_seq: Some(through),
        ..AuditFilter::default()
    };
    let mut found = list(connection, &filter)?;
    // The others come with their last row.
    found.retain(|row| row.seq <= through);
    found.sort_unstable_by_key(|row| row.seq);
    Ok(found)
}

/// Returns the position of the last row about a call.
pub(super) fn position_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT max(seq) FROM (SELECT seq FROM calls WHERE id = ?1
        UNION ALL SELECT seq FROM outcomes WHERE call_id = ?1)";
    connection.query_row(sql, [id], |row| row.get(0))
}

/// Returns how many calls match a filter, regardless of its limit.
pub(super) fn count(connection: &Connection, filter: &AuditFilter) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT count(*) FROM calls AS c LEFT JOIN outcomes AS o ON o.call_id = c.id WHERE {}",
        conditions(filter)
    );
    let mut statement = bound(connection, &sql, filter)?;
    let mut rows = statement.raw_query();
    rows.next()?.map_or(Ok(0), |row| row.get(0).map(i64::unsigned_abs))
}

/// Returns the conditions of a filter, as SQL. It contains only those that the filter sets, so that
/// SQLite can use their indexes.
fn conditions(filter: &AuditFilter) -> String {
    let conditions = [
        (filter.since.is_some(), " AND c.time >= :since"),
        (filter.until.is_some(), " AND c.time < :until"),
        (filter.account.is_some(), " AND c.account = :account"),
        (filter.function.is_some(), " AND c.function = :function"),
        (filter.agent.is_some(), " AND c.agent = :agent"),
        (
            filter.outcome.is_some(),
            outcome_condition(filter.outcome.as_deref().unwrap_or_default()),
        ),
        (
            filter.approved_by.is_some(),
            // A standing approval has an id of its own.
            " AND (c.approved_by = :by COLLATE NOCASE OR c.approval IN (
                SELECT value FROM calls AS d,
                    json_each(json_array(d.approval, d.decision ->> '$.details.standing'))
                WHERE d.decision ->> '$.what' = 'approve' AND (
                    d.decision ->> '$.user' = :by COLLATE NOCASE OR d.decision ->> '$.place' = :by
                    OR :by = 'passkey' AND d.decision ->> '$.passkey' IS NOT NULL)))",
        ),
        (
            filter.room.is_some(),
            " AND (o.room_name = :room COLLATE NOCASE OR o.room_id = :room
                OR c.arguments ->> '$.room_name' = :room COLLATE NOCASE)",
        ),
        (filter.approval.is_some(), " AND c.approval = :approval"),
        (filter.decisions == Some(true), " AND c.decision IS NOT NULL"),
        (filter.decisions == Some(false), " AND c.decision IS NULL"),
        (
            filter.after_seq.is_some(),
            " AND c.id IN (SELECT id FROM calls WHERE seq > :after AND seq <= :through
                UNION SELECT call_id FROM outcomes WHERE seq > :after AND seq <= :through)",
        ),
    ];
    let wanted = conditions.iter().filter(|(wanted, _)| *wanted).map(|(_, condition)| *condition);
    std::iter::once("1").chain(wanted).collect()
}

/// Returns the condition for an outcome.
fn outcome_condition(outcome: &str) -> &'static str {
    match outcome {
        "success" => " AND o.success = 1",
        "failed" => " AND o.success = 0",
        "unfinished" => " AND o.seq IS NULL AND c.decision IS NULL",
        "unknown" => {
            " AND (o.effect = 'unknown'
                OR o.seq IS NULL AND c.decision IS NULL AND c.effect = 'write')"
        }
        _ => " AND o.kind = :outcome",
    }
}

/// Prepares a statement and binds the values of a filter.
fn bound<'a>(
    connection: &'a Connection,
    sql: &str,
    filter: &AuditFilter,
) -> rusqlite::Result<Statement<'a>> {
    let mut statement = connection.prepare(sql)?;
    let mut bind =
        |name: &str, value: &dyn rusqlite::ToSql| match statement.parameter_index(name)? {
            Some(index) => statement.raw_bind_parameter(index, value),
            None => Ok(()),
        };
    bind(":since", &filter.since)?;
    bind(":until", &filter.until)?;
    bind(":account", &filter.account)?;
    bind(":outcome", &filter.outcome)?;
    bind(":by", &filter.approved_by)?;
    bind(":room", &filter.room)?;
    bind(":function", &filter.function)?;
    bind(":agent", &filter.agent)?;
    bind(":approval", &filter.approval)?;
    bind(":after", &filter.after_seq)?;
    bind(":through", &filter.through_seq.unwrap_or(i64::MAX))?;
    bind(":limit", &filter.limit)?;
    Ok(statement)
}
