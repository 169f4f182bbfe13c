//! Passkeys in the database: those that may approve calls, the code that adds one, and what they sign.

use super::Store;
use super::approvals::{self, Voided};
use super::audit;
use super::decision::{Decided, Decider, What};
use super::digest;
use super::standing::{self, Terms, Which};
use crate::error::Error;
use crate::passkey::code::{CodeFault, EnrolmentCode};
use crate::passkey::decision::{Decision, Record, Request, Scope, Verdict};
use crate::passkey::registration::Registration;
use crate::passkey::{Credential, Fault, RelyingParty};
use crate::system::digest::{from_hex, hex};
use crate::system::random::random;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};
use whereby_authority::conditions::Condition;

/// What a person's browser answered when it was asked to sign a decision.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) request: Request,
    pub(crate) party: RelyingParty,
    pub(crate) response: String,
}

/// A decision that a passkey signed, as it is carried out.
pub(super) struct Signed {
    /// The id of the passkey.
    pub(super) id: String,
    /// What the log has of it, to verify it later.
    pub(super) details: Value,
    credential: Credential,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Usage { message: format!("{fault}; {}", fault.advice()) }
    }
}

fn corrupt(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

fn id_of(credential: &Credential) -> String {
    String::from(credential.id.clone())
}

/// Returns all passkeys, also those that were removed, the oldest first.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Credential>> {
    let mut statement = connection.prepare("SELECT credential FROM passkeys ORDER BY seq")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    texts.map(|text| serde_json::from_str(&text?).map_err(corrupt)).collect()
}

fn write(connection: &Connection, credential: &Credential) -> rusqlite::Result<()> {
    let text = serde_json::to_string(credential).map_err(corrupt)?;
    let sql = "INSERT INTO passkeys (id, credential) VALUES (?1, ?2)
        ON CONFLICT (id) DO UPDATE SET credential = excluded.credential";
    connection.execute(sql, params![id_of(credential), text]).map(drop)
}

/// Copies the passkeys to an archive, so that what they signed can be verified there.
pub(super) fn copy(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    all(from)?.iter().try_for_each(|credential| write(to, credential))
}

/// Returns what a passkey signs to approve a call, or also the next ones like it.
pub(super) fn decision(
    connection: &Connection,
    key: &[u8; 32],
    id: &str,
    terms: Option<&Terms>,
) -> rusqlite::Result<Option<Decision>> {
    let failed = |error: Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let installation = digest::of_installation(key).map_err(failed)?;
    let sql = "SELECT digest, expires_at FROM approvals WHERE id = ?1";
    let found: Option<([u8; 32], i64)> =
        connection.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.map(|(call, expires_at)| {
        let one = Scope { uses: 1, expires_at, conditions: Vec::new() };
        let scope = terms.map_or(one, |terms| Scope {
            uses: terms.uses,
            expires_at: terms.until,
            conditions: terms.conditions.clone(),
        });
        let verdict = if terms.is_some() { Verdict::AllowMore } else { Verdict::Approve };
        Decision { installation, approval: id.to_owned(), call, verdict, scope }
    }))
}

/// Verifies what a passkey signed to approve a call, or also the next ones like it. `None` if the person
/// used none.
pub(super) fn verify(
    connection: &Connection,
    now: i64,
    key: &[u8; 32],
    id: &str,
    terms: Option<&Terms>,
    by: &Decider,
) -> rusqlite::Result<Result<Option<Signed>, Fault>> {
    let Some(Answer { request, party, response }) = &by.passkey else { return Ok(Ok(None)) };
    let Some(decision) = decision(connection, key, id, terms)? else { return Ok(Ok(None)) };
    let registered = all(connection)?;
    let verified = request.verify(&decision, party, response, &registered, now);
    Ok(verified.map(|assertion| {
        let details = details(&assertion.record, &decision);
        let credential = assertion.credential;
        Some(Signed { id: id_of(&credential), details, credential })
    }))
}

/// Returns what a passkey signed and its record, from the details of a row of the log. `None` if these are
/// not such details.
pub(super) fn recorded(details: &Value) -> Option<(Record, Decision)> {
    let signed = details.get("passkey")?;
    let text = |name: &str| signed[name].as_str();
    let verdict =
        Verdict::ALL.into_iter().find(|known| text("decision") == Some(known.as_str()))?;
    let conditions = signed["conditions"].as_object()?.iter();
    let conditions = conditions.map(|(name, value)| Condition::parse(name, value, None));
    let decision = Decision {
        installation: text("installation")?.to_owned(),
        approval: text("approval_id")?.to_owned(),
        call: from_hex(text("call")?)?,
        verdict,
        scope: Scope {
            uses: signed["uses"].as_u64()?.try_into().ok()?,
            expires_at: signed["expires_at"].as_i64()?,
            conditions: conditions.collect::<Result<_, _>>().ok()?,
        },
    };
    Some((serde_json::from_value(signed["assertion"].clone()).ok()?, decision))
}

fn details(record: &Record, decision: &Decision) -> Value {
    let Decision { installation, approval, call, verdict, scope } = decision;
    json!({
        "passkey": {
            "assertion": record,
            "installation": installation,
            "approval_id": approval,
            "decision": verdict.as_str(),
            "call": hex(call),
            "uses": scope.uses,
            "expires_at": scope.expires_at,
            "conditions": standing::to_json(&scope.conditions),
        },
    })
}

impl Signed {
    /// Records that the passkey was used, for its counter.
    pub(super) fn use_up(&self, connection: &Connection) -> rusqlite::Result<()> {
        write(connection, &self.credential)
    }
}

impl Store {
    /// Returns the public name of this installation, which passkeys are bound to.
    pub(crate) fn installation(&self) -> Result<String, Error> {
        self.shared.with(|opened| digest::of_installation(&opened.key))
    }

    /// Returns all passkeys, also those that were removed, the oldest first.
    pub(crate) fn passkeys(&self) -> Result<Vec<Credential>, Error> {
        self.shared.look(|connection, _| all(connection)).map(Option::unwrap_or_default)
    }

    /// Whether there is a passkey that can approve calls.
    pub(crate) fn has_passkey(&self) -> Result<bool, Error> {
        Ok(self.passkeys()?.iter().any(|own| own.removed_at.is_none()))
    }

    /// Makes a one-time code that adds a passkey, in place of an earlier one. Returns its text.
    pub(crate) fn new_passkey_code(&self) -> Result<String, Error> {
        let random = random()?;
        let (code, printed) = EnrolmentCode::new(random, self.shared.now());
        self.shared.write(|transaction| write_code(transaction, &code))?;
        Ok(printed)
    }

    /// Checks the code that adds a passkey, which can then not be used again.
    pub(crate) fn use_passkey_code(&self, typed: &str) -> Result<Result<(), CodeFault>, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| {
            let sql = "SELECT code FROM passkey_code";
            let text: Option<String> =
                transaction.query_row(sql, [], |row| row.get(0)).optional()?;
            let Some(text) = text else { return Ok(Err(CodeFault::Used)) };
            let mut code: EnrolmentCode = serde_json::from_str(&text).map_err(corrupt)?;
            let checked = code.check(typed, now);
            write_code(transaction, &code)?;
            Ok(checked)
        })
    }

    /// Adds the passkey that a browser made for a registration.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] says what is wrong with the response.
    pub(crate) fn add_passkey(
        &self,
        registration: &Registration,
        party: &RelyingParty,
        response: &str,
        by: &Decider,
    ) -> Result<Credential, Error> {
        let now = self.shared.now();
        let added = self.shared.write(|transaction| {
            let known = all(transaction)?;
            let credential = match registration.verify(party, response, &known, now) {
                Ok(credential) => credential,
                Err(fault) => return Ok(Err(fault)),
            };
            write(transaction, &credential)?;
            let details = json!({
                "passkey added": id_of(&credential),
                "name": credential.name,
                "public_key": credential.public_key,
            });
            let decided = Decided { details, ..Decided::new(What::Configure, by) };
            audit::decide(transaction, now, &decided)?;
            Ok(Ok(credential))
        })?;
        added.map_err(Error::from)
    }

    /// Removes a passkey. What it signed and no call has used becomes void. Returns how much; `None` if there
    /// is no passkey with this id.
    pub(crate) fn remove_passkey(&self, id: &str, by: &Decider) -> Result<Option<Voided>, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| {
            let known = all(transaction)?.into_iter();
            let mut found = known.filter(|own| own.removed_at.is_none() && id_of(own) == id);
            let Some(mut credential) = found.next() else { return Ok(None) };
            credential.removed_at = Some(now);
            write(transaction, &credential)?;
            let voided = approvals::void(transaction, now, Which::Signed(id), by)?;
            let details = json!({
                "passkey removed": id,
                "name": credential.name,
                "approvals": voided.approvals,
                "standing approvals": voided.standing,
            });
            let decided = Decided { details, ..Decided::new(What::Revoke, by) };
            audit::decide(transaction, now, &decided)?;
            Ok(Some(voided))
        })
    }

    /// Returns what a browser is asked to sign to approve a call, or also the next ones like it.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if there is no such approval or no passkey, or if the terms do not fit the call.
    pub(crate) fn passkey_options(
        &self,
        id: &str,
        terms: Option<&Terms>,
        request: &Request,
    ) -> Result<Value, Error> {
        if let Some(terms) = terms
            && let Some(approval) = self.approval(id)?
        {
            standing::check(&approval, terms, self.shared.now())?;
        }
        let key = self.shared.with(|opened| Ok(opened.key))?;
        let found = self
            .shared
            .look(|connection, _| Ok((decision(connection, &key, id, terms)?, all(connection)?)))?;
        let Some((Some(decision), registered)) = found else {
            return Err(Error::usage(format!("there is no approval {id}")));
        };
        request.options(&decision, &registered).map_err(Error::from)
    }
}

fn write_code(connection: &Connection, code: &EnrolmentCode) -> rusqlite::Result<()> {
    let text = serde_json::to_string(code).map_err(corrupt)?;
    let sql = "INSERT OR REPLACE INTO passkey_code (one, code) VALUES (1, ?1)";
    connection.execute(sql, [text]).map(drop)
}
