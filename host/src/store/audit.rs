//! The audit log: what a call was to do, and what came of it. Rows are only
//! added, until the log is archived.

use super::approvals::{self, date};
use rusqlite::{Connection, ErrorCode, Row, Statement, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is known of a call before it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) id: String,
    /// In milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) front_end: String,
    pub(crate) client: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) api: Option<String>,
    pub(crate) function: Option<String>,
    /// Masked.
    pub(crate) arguments: Value,
    /// `read` or `write`.
    pub(crate) effect: Option<String>,
    pub(crate) permission: Option<String>,
    pub(crate) rule: Option<String>,
    /// `rule`, `force`, `terminal`, `elicitation`, `program` or `approval`.
    pub(crate) approved_by: Option<String>,
    /// The id of the approval that it uses.
    pub(crate) approval: Option<String>,
}

/// What came of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// The call's.
    pub(crate) id: String,
    /// In milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) success: bool,
    /// The kind of the error.
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<String>,
    /// Whether something was changed: `none`, `unknown` or `done`.
    pub(crate) effect: String,
    /// The room that it created or deleted, or tried to delete, where Whereby named it.
    pub(crate) room_name: Option<String>,
    pub(crate) room_id: Option<String>,
    pub(crate) requests: Vec<AuditRequest>,
    pub(crate) duration_ms: f64,
    /// The approval that it used, where nothing was sent that it was for: it can be used again, for
    /// as long as it could before.
    pub(crate) give_back: Option<String>,
}

/// A request that a call has sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRequest {
    /// The method.
    pub method: String,
    /// The path, relative to the API's base, without the query.
    pub path: String,
    /// The status of the answer, where one came.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// Which rows of the audit log are wanted; by default all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Calls made then or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Calls by this account.
    pub account: Option<String>,
    /// Calls of this function, as JSON names it.
    pub function: Option<String>,
    /// At most so many, the newest.
    pub limit: Option<u32>,
    /// Calls of which something was added after this position, [`AuditRow::seq`]. A call that was
    /// seen before it ended comes once more when it has.
    pub after_seq: Option<i64>,
}

/// A call in the audit log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditRow {
    /// The position at which something was last added about the call.
    pub seq: i64,
    /// The call's id.
    pub id: String,
    /// When it was made, in milliseconds since 1970.
    pub time: i64,
    /// Where it came from: `cli`, `mcp`, `lua`, or what the embedding program calls itself.
    pub front_end: String,
    /// The MCP client that it came from, as it calls itself.
    pub client: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The base of the API.
    pub api: Option<String>,
    /// The function, as JSON names it where there is such a one.
    pub function: Option<String>,
    /// The arguments, secrets masked.
    pub arguments: Value,
    /// `read` or `write`.
    pub effect: Option<String>,
    /// `allow`, `ask` or `deny`.
    pub permission: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// What the call was made by: `rule`, `force`, `terminal`, `elicitation`, `program` or `approval`.
    pub approved_by: Option<String>,
    /// The id of the approval that it used.
    pub approval: Option<String>,
    /// What came of it; absent where that was never written, because the call is under way or the
    /// program ended in the middle of it. Whether a write was then made is unknown.
    pub outcome: Option<AuditOutcome>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditOutcome {
    /// When it was over, in milliseconds since 1970.
    pub time: i64,
    /// Whether it did what was asked.
    pub success: bool,
    /// The kind of the error.
    pub kind: Option<String>,
    /// The error in words.
    pub message: Option<String>,
    /// Whether something was changed: `none`, `unknown` or `done`.
    pub effect: String,
    /// The name of the room that it created or deleted. With another effect than `done`, the name of
    /// the room that it tried to delete. `None` if Whereby did not name one.
    pub room_name: Option<String>,
    /// The same room's id.
    pub room_id: Option<String>,
    /// The requests that it sent, in order.
    pub requests: Vec<AuditRequest>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

impl AuditRow {
    /// Whether the call may have made a write whose outcome was never recorded.
    #[must_use]
    pub fn is_unfinished_write(&self) -> bool {
        self.outcome.is_none() && self.effect.as_deref() == Some("write")
    }

    /// The row as a JSON document, its time in RFC 3339.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "time": date(self.time),
            "front_end": self.front_end,
            "client": self.client,
            "account": self.account,
            "api_url": self.api,
            "function": self.function,
            "arguments": self.arguments,
            "effect": self.effect,
            "permission": self.permission,
            "rule": self.rule,
            "approved_by": self.approved_by,
            "approval_id": self.approval,
            "outcome": self.outcome.as_ref().map(|outcome| json!({
                "success": outcome.success,
                "kind": outcome.kind,
                "message": outcome.message,
                "effect": outcome.effect,
                "room_name": outcome.room_name,
                "room_id": outcome.room_id,
                "requests": outcome.requests,
                "duration_ms": outcome.duration_ms,
            })),
        })
    }
}

/// The last position in the log.
const LAST: &str = "max((SELECT ifnull(max(seq), 0) FROM calls),
    (SELECT ifnull(max(seq), 0) FROM outcomes), (SELECT ifnull(max(seq), 0) FROM archives))";

pub(super) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(&format!("SELECT {LAST}"), [], |row| row.get(0))
}

/// What adds rows to the log, within a transaction.
pub(super) struct Writer<'a> {
    connection: &'a Connection,
    begin: Statement<'a>,
    end: Statement<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        let begin = connection.prepare(&format!(
            "INSERT INTO calls (seq, id, time, front_end, client, account, api, function, arguments,
                 effect, permission, rule, approved_by, approval)
             VALUES ({LAST} + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        ))?;
        let end = connection.prepare(&format!(
            "INSERT INTO outcomes (seq, call_id, time, success, kind, message, effect, requests,
                 duration_ms, room_name, room_id)
             VALUES ({LAST} + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?;
        Ok(Self { connection, begin, end })
    }

    /// Adds the beginning of a call; `false` where it is there already.
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
        ])?;
        Ok(added > 0)
    }

    /// Adds the end of a call, and gives its approval back where it says so; nothing where the end is
    /// there already.
    fn end(&mut self, end: &End) -> rusqlite::Result<()> {
        let end = end.bounded();
        let requests = serde_json::to_string(&end.requests)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let added = self.end.execute(params![
            end.id,
            end.time,
            end.success,
            end.kind,
            end.message,
            end.effect,
            requests,
            end.duration_ms,
            end.room_name,
            end.room_id,
        ])?;
        match &end.give_back {
            // What was sent and is not known to have failed has used the approval up.
            Some(approval) if added > 0 && end.effect == "none" => {
                approvals::give_back(self.connection, approval, &end.id)
            }
            _ => Ok(()),
        }
    }

    /// Adds what a line of a spool file says. A line that the tables do not take is left out, so that
    /// it does not hold up the others for ever.
    pub(super) fn add(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        let taken = |result: rusqlite::Result<()>| match result {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                debug_assert!(false, "a row of the log was not taken: {error}");
                Ok(())
            }
            result => result,
        };
        if let Some(row) = &entry.begin {
            taken(self.begin(row, row.approval.as_deref()).map(drop))?;
        }
        if let Some(row) = &entry.end {
            taken(self.end(row))?;
        }
        Ok(())
    }
}

/// What a line of a spool file says.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) begin: Option<Begin>,
    pub(super) end: Option<End>,
}

/// The rows that are wanted, in the order of their time.
pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
) -> rusqlite::Result<Vec<AuditRow>> {
    let mut found = Vec::new();
    each(connection, filter, |row| found.push(row))?;
    Ok(found)
}

/// Gives each of them to a function.
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
        each(from_row(row)?);
    }
    Ok(())
}

/// How many rows there are, were it not for the limit.
pub(super) fn count(connection: &Connection, filter: &AuditFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM calls AS c WHERE {}", conditions(filter));
    let mut statement = bound(connection, &sql, filter)?;
    let mut rows = statement.raw_query();
    rows.next()?.map_or(Ok(0), |row| row.get(0).map(i64::unsigned_abs))
}

/// What a row must fulfil. What is not asked for is not in the statement, so that each has the index
/// that it needs.
fn conditions(filter: &AuditFilter) -> String {
    let conditions = [
        (filter.since.is_some(), " AND c.time >= :since"),
        (filter.account.is_some(), " AND c.account = :account"),
        (filter.function.is_some(), " AND c.function = :function"),
        (
            filter.after_seq.is_some(),
            " AND c.id IN (SELECT id FROM calls WHERE seq > :after
                UNION SELECT call_id FROM outcomes WHERE seq > :after)",
        ),
    ];
    let wanted = conditions.iter().filter(|(wanted, _)| *wanted).map(|(_, condition)| *condition);
    std::iter::once("1").chain(wanted).collect()
}

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
    bind(":after", &filter.after_seq)?;
    bind(":limit", &filter.limit)?;
    Ok(statement)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let arguments: String = row.get("arguments")?;
    let ended: Option<i64> = row.get("o_seq")?;
    let outcome = match ended {
        None => None,
        Some(_) => {
            let requests: String = row.get("requests")?;
            Some(AuditOutcome {
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
    };
    let begun: i64 = row.get("seq")?;
    Ok(AuditRow {
        seq: ended.map_or(begun, |ended| ended.max(begun)),
        id: row.get("id")?,
        time: row.get("time")?,
        front_end: row.get("front_end")?,
        client: row.get("client")?,
        account: row.get("account")?,
        api: row.get("api")?,
        function: row.get("function")?,
        arguments: serde_json::from_str(&arguments).unwrap_or_default(),
        effect: row.get("effect")?,
        permission: row.get("permission")?,
        rule: row.get("rule")?,
        approved_by: row.get("approved_by")?,
        approval: row.get("approval")?,
        outcome,
    })
}
