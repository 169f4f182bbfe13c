//! The audit log: the beginning and the end of every call. Rows are only added, until the log is
//! archived.

use super::approval::{date, new_id};
use super::approvals;
use super::decision::{AuditDecision, Decided};
use super::usage::{self, Counted};
use rusqlite::{Connection, ErrorCode, Row, Statement, params};
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
    /// Calls with this account.
    pub account: Option<String>,
    /// Calls of this function, in snake_case.
    pub function: Option<String>,
    /// Calls of this agent.
    pub agent: Option<String>,
    /// At most this many calls, the newest.
    pub limit: Option<u32>,
    /// Calls that used this approval, and decisions on it.
    pub approval: Option<String>,
    /// Only decisions of people, or only calls. Default: both.
    pub decisions: Option<bool>,
    /// Calls with a row after this position, [`AuditRow::seq`]. A call that was read before its end
    /// matches again when it has ended.
    pub after_seq: Option<i64>,
}

/// A call in the audit log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditRow {
    /// The position of the last row about the call.
    pub seq: i64,
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
        Ok(Self {
            seq: ended.map_or(begun, |ended| ended.max(begun)),
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

/// The last position in the log, as SQL.
const LAST: &str = "max((SELECT ifnull(max(seq), 0) FROM calls),
    (SELECT ifnull(max(seq), 0) FROM outcomes), (SELECT ifnull(max(seq), 0) FROM archives))";

/// Returns the last position in the log.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(&format!("SELECT {LAST}"), [], |row| row.get(0))
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
    let added = format!(
        "INSERT INTO calls (seq, id, time, front_end, client, account, function, arguments, approval,
             agent, decision)
         VALUES ({LAST} + 1, ?1, ?2, ?3, ?4, ?5, ?6, '{{}}', ?7, ?8, ?9)"
    );
    let Decided { by, account, agent, function, approval, .. } = decided;
    let front_end = decided.front_end();
    let values = params![id, now, front_end, by.client, account, function, approval, agent, row];
    connection.execute(&added, values).map(drop)
}

/// Adds rows to the log within a transaction.
pub(super) struct Writer<'a> {
    connection: &'a Connection,
    begin: Statement<'a>,
    end: Statement<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let begin = connection.prepare(&format!(
            "INSERT INTO calls (seq, id, time, front_end, client, account, api, function, arguments,
                 effect, permission, rule, approved_by, approval, agent, token, trace)
             VALUES ({LAST} + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        ))?;
        let end = connection.prepare(&format!(
            "INSERT INTO outcomes (seq, call_id, time, success, kind, message, effect, requests,
                 duration_ms, room_name, room_id)
             VALUES ({LAST} + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?;
        Ok(Self { connection, begin, end })
    }

    /// Adds the beginning of a call. Returns `false` if the log has a beginning with this id.
    pub(super) fn begin(
        &mut self,
        begin: &Begin,
        approval: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let begin = begin.bounded();
        let added = self.begin.execute(params![
            begin.id,
            begin.time,
            begin.front_end,
            begin.client,
            begin.account,
            begin.api,
            begin.function,
            begin.arguments.to_string(),
            begin.effect,
            begin.permission,
            begin.rule,
            begin.approved_by,
            approval,
            begin.agent,
            begin.token.as_ref().map(|ids| json!(ids).to_string()),
            begin.trace,
        ])?;
        Ok(added > 0)
    }

    /// Adds the end of a call, and returns its approval if the end says so. Does nothing if the log has
    /// the end already.
    fn end(&mut self, end: &End) -> rusqlite::Result<()> {
        let end = end.bounded();
        let requests = serde_json::to_string(&end.outcome.requests)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let added = self.end.execute(params![
            end.id,
            end.outcome.time,
            end.outcome.success,
            end.outcome.kind,
            end.outcome.message,
            end.outcome.effect,
            requests,
            end.outcome.duration_ms,
            end.outcome.room_name,
            end.outcome.room_id,
        ])?;
        if added > 0 && end.outcome.effect == "none" {
            usage::take_out(self.connection, &end.id)?;
        }
        if let Some(created) = end.created.as_ref().filter(|_| added > 0) {
            usage::add_room(self.connection, end.outcome.time, created)?;
        }
        if added > 0 {
            approvals::end(self.connection, end.outcome.time, &end.id, end.kept.as_deref())?;
        }
        match &end.give_back {
            // A call that may have changed something has used its approval up.
            Some(approval) if added > 0 && end.outcome.effect == "none" => {
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

/// Passes each of these calls to a function.
pub(super) fn each(
    connection: &Connection,
    filter: &AuditFilter,
    mut each: impl FnMut(AuditRow),
) -> rusqlite::Result<()> {
    let mut sql = format!(
        "SELECT c.*, o.seq AS o_seq, o.time AS o_time, o.success, o.kind, o.message,
            o.effect AS o_effect, o.room_name, o.room_id, o.requests, o.duration_ms
         FROM calls AS c LEFT JOIN outcomes AS o ON o.call_id = c.id WHERE {}",
        conditions(filter)
    );
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

/// Returns how many calls match a filter, regardless of its limit.
pub(super) fn count(connection: &Connection, filter: &AuditFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM calls AS c WHERE {}", conditions(filter));
    let mut statement = bound(connection, &sql, filter)?;
    let mut rows = statement.raw_query();
    rows.next()?.map_or(Ok(0), |row| row.get(0).map(i64::unsigned_abs))
}

/// Returns the conditions of a filter, as SQL. It contains only those that the filter sets, so that
/// SQLite can use their indexes.
fn conditions(filter: &AuditFilter) -> String {
    let conditions = [
        (filter.since.is_some(), " AND c.time >= :since"),
        (filter.account.is_some(), " AND c.account = :account"),
        (filter.function.is_some(), " AND c.function = :function"),
        (filter.agent.is_some(), " AND c.agent = :agent"),
        (filter.approval.is_some(), " AND c.approval = :approval"),
        (filter.decisions == Some(true), " AND c.decision IS NOT NULL"),
        (filter.decisions == Some(false), " AND c.decision IS NULL"),
        (
            filter.after_seq.is_some(),
            " AND c.id IN (SELECT id FROM calls WHERE seq > :after
                UNION SELECT call_id FROM outcomes WHERE seq > :after)",
        ),
    ];
    let wanted = conditions.iter().filter(|(wanted, _)| *wanted).map(|(_, condition)| *condition);
    std::iter::once("1").chain(wanted).collect()
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
    bind(":account", &filter.account)?;
    bind(":function", &filter.function)?;
    bind(":agent", &filter.agent)?;
    bind(":approval", &filter.approval)?;
    bind(":after", &filter.after_seq)?;
    bind(":limit", &filter.limit)?;
    Ok(statement)
}
