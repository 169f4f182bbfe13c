//! The tables of the state database, and the steps that upgrade an older one.
//!
//! The schema enforces what the code promises: rows are only added to the log until it is archived, the
//! state of an approval only goes forward, and none of its dates moves to a later time.

use super::chain;
use crate::error::Error;
use crate::system::random::random;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::BTreeMap;

/// The `application_id` of this program's databases.
const APPLICATION: i32 = i32::from_be_bytes(*b"whby");

/// Each step upgrades the version before it. Released steps, including their comments, never change.
const STEPS: [&str; 6] = [FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH];

/// The version whose rows have hashes.
const CHAINED: i64 = 6;

/// The current version.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Problem {
    /// It has a newer version.
    Newer(i64),
    /// It belongs to another program.
    Foreign,
    /// The file system does not support memory that processes share.
    NoSharedMemory,
    Sql(rusqlite::Error),
    Random(Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

const FIRST: &str = "
CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- What digests of calls are made with, so that they tell nothing to whoever has only them.
    hmac_key BLOB NOT NULL CHECK (length(hmac_key) = 32)
) STRICT;

CREATE TABLE approvals (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
    -- Of the one call that it is for, with its arguments unmasked.
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'used', 'denied', 'expired')),
    account TEXT NOT NULL,
    api TEXT NOT NULL,
    function TEXT NOT NULL,
    -- As they are shown: masked.
    arguments TEXT NOT NULL CHECK (json_valid(arguments)),
    rule TEXT NOT NULL,
    front_end TEXT NOT NULL,
    client TEXT,
    -- Milliseconds since 1970, as everywhere here.
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at <= created_at + 3600000),
    decided_at INTEGER,
    valid_until INTEGER CHECK (valid_until <= decided_at + 900000),
    used_at INTEGER,
    CHECK (state <> 'pending' OR decided_at IS NULL),
    CHECK (state NOT IN ('approved', 'used', 'denied') OR decided_at IS NOT NULL),
    CHECK (state NOT IN ('approved', 'used') OR valid_until IS NOT NULL),
    CHECK (valid_until IS NULL OR decided_at IS NOT NULL),
    CHECK ((state = 'used') = (used_at IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX approvals_open_once ON approvals (digest) WHERE state IN ('pending', 'approved');
CREATE INDEX approvals_by_digest ON approvals (digest);

CREATE TRIGGER approvals_begin_pending BEFORE INSERT ON approvals
WHEN NEW.state <> 'pending'
    OR EXISTS (SELECT 1 FROM approvals WHERE id = NEW.id OR seq = NEW.seq)
    OR EXISTS (
        SELECT 1 FROM approvals WHERE digest = NEW.digest AND state IN ('pending', 'approved'))
BEGIN SELECT RAISE(ABORT, 'an approval begins as pending, once'); END;

CREATE TRIGGER approvals_go_forward BEFORE UPDATE ON approvals
WHEN OLD.state || ' ' || NEW.state NOT IN (
        'pending approved', 'pending used', 'pending denied', 'pending expired',
        'approved used', 'approved denied', 'approved expired',
        -- Given back by a call that has not reached Whereby.
        'used approved')
    OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.digest <> OLD.digest
    OR NEW.account <> OLD.account OR NEW.api <> OLD.api OR NEW.function <> OLD.function
    OR NEW.arguments <> OLD.arguments OR NEW.rule <> OLD.rule
    OR NEW.front_end <> OLD.front_end OR NEW.client IS NOT OLD.client
    OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
    OR NEW.valid_until > OLD.valid_until
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals
BEGIN SELECT RAISE(ABORT, 'approvals are kept'); END;

-- One position counts the rows of both tables of the log, so that whoever follows it sees what was
-- added to either.
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    front_end TEXT NOT NULL,
    client TEXT,
    account TEXT,
    api TEXT,
    function TEXT,
    arguments TEXT NOT NULL CHECK (json_valid(arguments)),
    effect TEXT,
    permission TEXT,
    rule TEXT,
    approved_by TEXT,
    approval TEXT
) STRICT;

CREATE INDEX calls_by_time ON calls (time);

-- The beginning of a call may come in after its end: there is no foreign key.
CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    success INTEGER NOT NULL CHECK (success IN (0, 1)),
    kind TEXT,
    message TEXT,
    effect TEXT NOT NULL CHECK (effect IN ('none', 'unknown', 'done')),
    requests TEXT NOT NULL CHECK (json_valid(requests)),
    duration_ms REAL NOT NULL
) STRICT;

-- What is there already stays as it is; nor can a row be replaced, which no DELETE trigger sees.
CREATE TRIGGER calls_once BEFORE INSERT ON calls
WHEN EXISTS (SELECT 1 FROM calls WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER outcomes_once BEFORE INSERT ON outcomes
WHEN EXISTS (SELECT 1 FROM outcomes WHERE call_id = NEW.call_id)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER calls_in_order BEFORE INSERT ON calls
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER outcomes_in_order BEFORE INSERT ON outcomes
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER calls_are_not_changed BEFORE UPDATE ON calls
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER calls_are_not_deleted BEFORE DELETE ON calls
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER outcomes_are_not_changed BEFORE UPDATE ON outcomes
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER outcomes_are_not_deleted BEFORE DELETE ON outcomes
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER installation_is_not_changed BEFORE UPDATE ON installation
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;
CREATE TRIGGER installation_is_not_deleted BEFORE DELETE ON installation
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;
CREATE TRIGGER installation_is_not_replaced BEFORE INSERT ON installation
WHEN EXISTS (SELECT 1 FROM installation)
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;
";

const SECOND: &str = "
-- Old approvals are deleted, but never one that a person can still answer or a call can still use.
DROP TRIGGER approvals_stay;
CREATE TRIGGER approvals_stay_while_open BEFORE DELETE ON approvals
WHEN OLD.state IN ('pending', 'approved')
BEGIN SELECT RAISE(ABORT, 'an open approval is kept'); END;
CREATE INDEX approvals_by_creation ON approvals (created_at);

-- The room that the call created or deleted, where Whereby named it.
ALTER TABLE outcomes ADD COLUMN room_name TEXT;
ALTER TABLE outcomes ADD COLUMN room_id TEXT;

-- When the log was moved to a file, and how many calls it had. Its position comes after theirs, and
-- positions go on from it, so that whoever follows the log misses nothing.
CREATE TABLE archives (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    calls INTEGER NOT NULL
) STRICT;

-- Calls that are in an archive and still in a spool file as well. They are not added again.
CREATE TABLE archived_calls (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

DROP TRIGGER calls_once;
CREATE TRIGGER calls_once BEFORE INSERT ON calls
WHEN EXISTS (SELECT 1 FROM calls WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM archived_calls WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END;
DROP TRIGGER outcomes_once;
CREATE TRIGGER outcomes_once BEFORE INSERT ON outcomes
WHEN EXISTS (SELECT 1 FROM outcomes WHERE call_id = NEW.call_id)
    OR EXISTS (SELECT 1 FROM archived_calls WHERE id = NEW.call_id)
BEGIN SELECT RAISE(IGNORE); END;
DROP TRIGGER calls_in_order;
CREATE TRIGGER calls_in_order BEFORE INSERT ON calls
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER outcomes_in_order;
CREATE TRIGGER outcomes_in_order BEFORE INSERT ON outcomes
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER archives_in_order BEFORE INSERT ON archives
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER archives_are_not_changed BEFORE UPDATE ON archives
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
CREATE TRIGGER archives_are_not_deleted BEFORE DELETE ON archives
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER calls_are_not_deleted;
CREATE TRIGGER calls_are_not_deleted BEFORE DELETE ON calls
WHEN NOT EXISTS (SELECT 1 FROM archives WHERE seq > OLD.seq)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER outcomes_are_not_deleted;
CREATE TRIGGER outcomes_are_not_deleted BEFORE DELETE ON outcomes
WHEN NOT EXISTS (SELECT 1 FROM archives WHERE seq > OLD.seq)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
";

const THIRD: &str = "
-- Whose share of the open approvals it takes up: that of a front end, and within it of one client.
-- What is older has none and counts for its front end alone.
ALTER TABLE approvals ADD COLUMN asker_group TEXT;
ALTER TABLE approvals ADD COLUMN asker TEXT;
CREATE TRIGGER approvals_keep_their_asker BEFORE UPDATE OF asker_group, asker ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;
";

const FOURTH: &str = "
-- Whose call it was. What is older was no agent's.
ALTER TABLE calls ADD COLUMN agent TEXT;
ALTER TABLE approvals ADD COLUMN agent TEXT;
CREATE TRIGGER approvals_keep_their_agent BEFORE UPDATE OF agent ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

-- The writes that went ahead, for quotas. The log has them too, but may be archived at any time. A write
-- that is known not to have happened is taken out again.
CREATE TABLE writes (
    call_id TEXT PRIMARY KEY,
    time INTEGER NOT NULL,
    account TEXT NOT NULL,
    agent TEXT,
    function TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX writes_by_time ON writes (account, function, time);
CREATE TRIGGER writes_are_not_changed BEFORE UPDATE ON writes
BEGIN SELECT RAISE(ABORT, 'a write that went ahead stays one'); END;

-- The rooms that this program saw Whereby create.
CREATE TABLE created_rooms (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    account TEXT NOT NULL,
    api TEXT NOT NULL,
    -- Of the account's key, so that another organization's room is not taken for it.
    key_digest BLOB NOT NULL CHECK (length(key_digest) = 32),
    agent TEXT,
    name TEXT NOT NULL,
    id TEXT NOT NULL
) STRICT;
CREATE INDEX created_rooms_by_name ON created_rooms (name COLLATE NOCASE);
CREATE TRIGGER created_rooms_are_not_changed BEFORE UPDATE ON created_rooms
BEGIN SELECT RAISE(ABORT, 'who created a room does not change'); END;
CREATE TRIGGER created_rooms_are_not_deleted BEFORE DELETE ON created_rooms
BEGIN SELECT RAISE(ABORT, 'who created a room does not change'); END;

-- The ids of the blocks of the capability token that the call was made with, from the first.
ALTER TABLE calls ADD COLUMN token TEXT;
ALTER TABLE approvals ADD COLUMN token TEXT;
CREATE TRIGGER approvals_keep_their_token BEFORE UPDATE OF token ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

-- What tokens are signed with, made with the first of them.
CREATE TABLE token_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    secret_key BLOB NOT NULL CHECK (length(secret_key) = 32)
) STRICT;
CREATE TRIGGER token_key_is_not_changed BEFORE UPDATE ON token_key
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;
CREATE TRIGGER token_key_is_not_deleted BEFORE DELETE ON token_key
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;
CREATE TRIGGER token_key_is_not_replaced BEFORE INSERT ON token_key
WHEN EXISTS (SELECT 1 FROM token_key)
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

-- The tokens that were created here, by the id of their first block, without the tokens themselves.
CREATE TABLE tokens (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
    created_at INTEGER NOT NULL,
    limits TEXT NOT NULL CHECK (json_valid(limits)),
    -- The latest time at which it was seen, so that setting the clock back does not renew it.
    latest INTEGER NOT NULL
) STRICT;
CREATE TRIGGER tokens_begin_once BEFORE INSERT ON tokens
WHEN EXISTS (SELECT 1 FROM tokens WHERE id = NEW.id OR seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a token is created once'); END;
CREATE TRIGGER tokens_go_forward BEFORE UPDATE ON tokens
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.created_at <> OLD.created_at
    OR NEW.limits <> OLD.limits OR NEW.latest < OLD.latest
BEGIN SELECT RAISE(ABORT, 'a token only gets older'); END;
CREATE TRIGGER tokens_are_not_deleted BEFORE DELETE ON tokens
BEGIN SELECT RAISE(ABORT, 'tokens are kept'); END;

-- Whoever has a token with one of these blocks can do nothing with it.
CREATE TABLE revoked_tokens (
    id TEXT PRIMARY KEY CHECK (length(id) = 32),
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER revoked_tokens_are_not_changed BEFORE UPDATE ON revoked_tokens
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;
CREATE TRIGGER revoked_tokens_are_not_replaced BEFORE INSERT ON revoked_tokens
WHEN EXISTS (SELECT 1 FROM revoked_tokens WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;
CREATE TRIGGER revoked_tokens_are_not_deleted BEFORE DELETE ON revoked_tokens
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;

-- How many calls went ahead with each block that limits them.
CREATE TABLE token_uses (
    id TEXT PRIMARY KEY CHECK (length(id) = 32),
    used INTEGER NOT NULL CHECK (used > 0)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER token_uses_go_forward BEFORE UPDATE ON token_uses
WHEN NEW.id <> OLD.id OR NEW.used <= OLD.used
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;
CREATE TRIGGER token_uses_are_not_replaced BEFORE INSERT ON token_uses
WHEN NEW.used <= (SELECT used FROM token_uses WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;
CREATE TRIGGER token_uses_are_not_deleted BEFORE DELETE ON token_uses
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;
";

const FIFTH: &str = "
-- The call, sealed, so that it can be made once a person has approved it. It goes when the call is made, or
-- cannot be made any more.
ALTER TABLE approvals ADD COLUMN call BLOB;
-- When a program first made it, and by when that program has its outcome, unless it has ended.
ALTER TABLE approvals ADD COLUMN run_at INTEGER;
ALTER TABLE approvals ADD COLUMN ends_by INTEGER;
-- When the caller took the request back.
ALTER TABLE approvals ADD COLUMN withdrawn_at INTEGER;
-- When the caller got the result.
ALTER TABLE approvals ADD COLUMN collected_at INTEGER;
-- Which key and component the call is made with, and whether it has a destination, for standing approvals.
-- What is older has none, and becomes no standing approval.
ALTER TABLE approvals ADD COLUMN key_digest BLOB CHECK (length(key_digest) = 32);
ALTER TABLE approvals ADD COLUMN component TEXT;
ALTER TABLE approvals ADD COLUMN has_destination INTEGER CHECK (has_destination IN (0, 1));
DROP TRIGGER approvals_go_forward;
CREATE TRIGGER approvals_go_forward BEFORE UPDATE ON approvals
WHEN NEW.state <> OLD.state AND OLD.state || ' ' || NEW.state NOT IN (
        'pending approved', 'pending used', 'pending denied', 'pending expired',
        'approved used', 'approved denied', 'approved expired',
        -- Given back by a call that has not reached Whereby.
        'used approved')
    OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.digest <> OLD.digest
    OR NEW.account <> OLD.account OR NEW.api <> OLD.api OR NEW.function <> OLD.function
    OR NEW.arguments <> OLD.arguments OR NEW.rule <> OLD.rule
    OR NEW.front_end <> OLD.front_end OR NEW.client IS NOT OLD.client
    OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
    OR NEW.valid_until > OLD.valid_until
    OR NEW.state = OLD.state
        AND (NEW.decided_at IS NOT OLD.decided_at OR NEW.valid_until IS NOT OLD.valid_until
            OR NEW.used_at IS NOT OLD.used_at)
    OR OLD.run_at IS NOT NULL AND NEW.run_at IS NOT OLD.run_at
    OR OLD.collected_at IS NOT NULL AND NEW.collected_at IS NOT OLD.collected_at
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;
CREATE TRIGGER approvals_keep_their_call BEFORE UPDATE OF call ON approvals
WHEN OLD.call IS NOT NULL AND NEW.call IS NOT NULL AND NEW.call <> OLD.call
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;
CREATE TRIGGER approvals_keep_what_they_are_for BEFORE UPDATE OF key_digest, component, has_destination
ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

-- The passkey that approved it, if one did.
ALTER TABLE approvals ADD COLUMN passkey TEXT;
-- Whether nothing but a passkey approves it. Once it is so, it stays so.
ALTER TABLE approvals ADD COLUMN needs_passkey INTEGER NOT NULL DEFAULT 0 CHECK (needs_passkey IN (0, 1));
CREATE TRIGGER approvals_keep_their_need BEFORE UPDATE ON approvals
WHEN NEW.needs_passkey < OLD.needs_passkey
    OR NEW.needs_passkey AND NEW.passkey IS NULL
        AND NEW.state <> OLD.state AND NEW.state IN ('approved', 'used')
BEGIN SELECT RAISE(ABORT, 'nothing but a passkey approves it'); END;

-- The passkeys that may approve calls. Those that were removed are kept, for what they approved before.
CREATE TABLE passkeys (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    credential TEXT NOT NULL CHECK (json_valid(credential))
) STRICT;
CREATE TRIGGER passkeys_are_not_deleted BEFORE DELETE ON passkeys
BEGIN SELECT RAISE(ABORT, 'a passkey is kept'); END;
CREATE TRIGGER passkeys_go_forward BEFORE UPDATE ON passkeys
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
    OR json_extract(OLD.credential, '$.removed_at') IS NOT NULL
    OR NEW.credential ->> '$.sign_count' < OLD.credential ->> '$.sign_count'
    OR NEW.credential -> '$.public_key' <> OLD.credential -> '$.public_key'
BEGIN SELECT RAISE(ABORT, 'a passkey only goes forward'); END;

-- The code that adds a passkey, without the code itself.
CREATE TABLE passkey_code (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    code TEXT NOT NULL CHECK (json_valid(code))
) STRICT;

-- The links that sign a person in on the page, without the links themselves.
CREATE TABLE page_links (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

-- The results of approved calls, sealed, for callers that ask for them within an hour.
CREATE TABLE results (
    approval TEXT PRIMARY KEY,
    time INTEGER NOT NULL,
    result BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The span that the caller traces.
ALTER TABLE calls ADD COLUMN trace TEXT;

-- What a person decided; such a row is no call.
ALTER TABLE calls ADD COLUMN decision TEXT CHECK (json_valid(decision));

-- Approvals of the next calls that are alike.
CREATE TABLE standing_approvals (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
    -- The approval that it was given with.
    approval TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    valid_until INTEGER NOT NULL CHECK (valid_until <= created_at + 604800000),
    account TEXT NOT NULL,
    api TEXT NOT NULL,
    key_digest BLOB NOT NULL CHECK (length(key_digest) = 32),
    component TEXT NOT NULL,
    agent TEXT,
    -- The ids of the blocks of the token, from the first.
    token TEXT,
    function TEXT NOT NULL,
    -- As they are shown: masked.
    arguments TEXT NOT NULL CHECK (json_valid(arguments)),
    -- Of the one call that it is for; without it, the conditions say which calls it is for.
    digest BLOB CHECK (length(digest) = 32),
    conditions TEXT NOT NULL CHECK (json_valid(conditions)),
    is_destructive INTEGER NOT NULL CHECK (is_destructive IN (0, 1)),
    -- The passkey that gave it, if one did.
    passkey TEXT,
    uses INTEGER NOT NULL CHECK (uses > 0),
    used INTEGER NOT NULL CHECK (used BETWEEN 0 AND uses),
    revoked_at INTEGER
) STRICT;
CREATE INDEX standing_approvals_by_function ON standing_approvals (account, function);
CREATE TRIGGER standing_approvals_begin_once BEFORE INSERT ON standing_approvals
WHEN EXISTS (SELECT 1 FROM standing_approvals WHERE id = NEW.id OR seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a standing approval is given once'); END;
CREATE TRIGGER standing_approvals_only_shrink BEFORE UPDATE ON standing_approvals
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.approval <> OLD.approval
    OR NEW.created_at <> OLD.created_at OR NEW.valid_until > OLD.valid_until
    OR NEW.account <> OLD.account OR NEW.api <> OLD.api OR NEW.key_digest <> OLD.key_digest
    OR NEW.component <> OLD.component OR NEW.agent IS NOT OLD.agent OR NEW.token IS NOT OLD.token
    OR NEW.function <> OLD.function OR NEW.arguments <> OLD.arguments
    OR NEW.digest IS NOT OLD.digest OR NEW.conditions <> OLD.conditions
    OR NEW.is_destructive <> OLD.is_destructive OR NEW.passkey IS NOT OLD.passkey
    -- A call that has not reached Whereby gives its use back.
    OR NEW.uses <> OLD.uses OR NEW.used < OLD.used - 1
    OR OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NOT OLD.revoked_at
BEGIN SELECT RAISE(ABORT, 'a standing approval only shrinks'); END;
";

const SIXTH: &str = "
-- The hash of the row and of all rows before it (chain.rs).
ALTER TABLE calls ADD COLUMN hash BLOB CHECK (length(hash) = 32);
ALTER TABLE outcomes ADD COLUMN hash BLOB CHECK (length(hash) = 32);
ALTER TABLE archives ADD COLUMN hash BLOB CHECK (length(hash) = 32);
-- The last row that was archived, with its hash, and the file. What is older has none.
ALTER TABLE archives ADD COLUMN through INTEGER;
ALTER TABLE archives ADD COLUMN head BLOB CHECK (length(head) = 32);
-- The digests of rows that were archived and kept, by their positions.
ALTER TABLE archives ADD COLUMN carried TEXT CHECK (json_valid(carried));
ALTER TABLE archives ADD COLUMN file TEXT;

-- Where the rows start: after the last row that was archived.
CREATE TABLE log_start (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    through INTEGER NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32),
    carried TEXT NOT NULL CHECK (json_valid(carried))
) STRICT;
INSERT INTO log_start VALUES (1, 0, zeroblob(32), '{}');
CREATE TRIGGER log_start_goes_forward BEFORE UPDATE ON log_start WHEN NEW.through <= OLD.through
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;
CREATE TRIGGER log_start_is_not_deleted BEFORE DELETE ON log_start
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;
CREATE TRIGGER log_start_is_not_replaced BEFORE INSERT ON log_start
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;

-- A program of an older version that still runs adds rows without a hash. It skips a row that violates a
-- constraint, so the error is another one (malformed JSON); its rows then wait in its spool.
CREATE TRIGGER calls_have_a_hash BEFORE INSERT ON calls WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;
CREATE TRIGGER outcomes_have_a_hash BEFORE INSERT ON outcomes WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;
CREATE TRIGGER archives_have_a_hash BEFORE INSERT ON archives WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;
-- A row of before there were hashes gets its own once.
DROP TRIGGER calls_are_not_changed;
CREATE TRIGGER calls_are_not_changed BEFORE UPDATE ON calls WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER outcomes_are_not_changed;
CREATE TRIGGER outcomes_are_not_changed BEFORE UPDATE ON outcomes WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER archives_are_not_changed;
CREATE TRIGGER archives_are_not_changed BEFORE UPDATE ON archives WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

-- Only what was archived is deleted.
DROP TRIGGER calls_are_not_deleted;
CREATE TRIGGER calls_are_not_deleted BEFORE DELETE ON calls
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER outcomes_are_not_deleted;
CREATE TRIGGER outcomes_are_not_deleted BEFORE DELETE ON outcomes
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
DROP TRIGGER archives_are_not_deleted;
CREATE TRIGGER archives_are_not_deleted BEFORE DELETE ON archives
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

-- The last row whose hash was published, when that was last tried, and whether it is not known to have worked.
CREATE TABLE anchor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    time INTEGER NOT NULL,
    is_pending INTEGER NOT NULL CHECK (is_pending IN (0, 1))
) STRICT;
INSERT INTO anchor VALUES (1, 0, 0, 0);
";

/// The tables of the current version, as all steps together make them. A new database gets them at once.
const NEWEST: &str = include_str!("newest.sql");

/// Returns whether the database has the current version. Returns an error if it cannot be upgraded.
pub(super) fn is_current(connection: &Connection) -> Result<bool, Problem> {
    // Another process may be creating it; the transaction sees all of that or nothing.
    is_current_within(&connection.unchecked_transaction()?)
}

fn is_current_within(connection: &Transaction<'_>) -> Result<bool, Problem> {
    let number = |name: &str| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, name, |row| row.get(0))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == i64::from(APPLICATION) {
        if version > VERSION {
            return Err(Problem::Newer(version));
        }
        return Ok(version == VERSION);
    }
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(false),
        _ => Err(Problem::Foreign),
    }
}

/// Creates or upgrades the tables, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Problem> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    if is_current_within(&transaction)? {
        return Ok(());
    }
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > 0 {
        upgrade(&transaction, version)?;
    } else {
        transaction.execute_batch(NEWEST)?;
        let key: [u8; 32] = random().map_err(Problem::Random)?;
        transaction.execute("INSERT INTO installation VALUES (1, ?1)", [&key[..]])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Upgrades the tables and rows of an older version.
fn upgrade(transaction: &Transaction<'_>, version: i64) -> Result<(), Problem> {
    for (step, from) in STEPS.iter().zip(0..) {
        if from >= version {
            transaction.execute_batch(step)?;
        }
    }
    if version < CHAINED {
        chain::join_old_rows(transaction)?;
    }
    Ok(())
}

/// What a database has: tables, indexes, triggers and views, by kind and name, with their definitions.
type Objects = BTreeMap<(String, String), Option<String>>;

fn objects(connection: &Connection) -> rusqlite::Result<Objects> {
    let sql = "SELECT type, name, sql FROM sqlite_schema";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    found.collect()
}

/// Returns the kinds and names of what a database has otherwise than one that this program has just made.
pub(super) fn differences(connection: &Connection) -> Result<Vec<(String, String)>, Problem> {
    let mut fresh = Connection::open_in_memory()?;
    migrate(&mut fresh)?;
    let (expected, found) = (objects(&fresh)?, objects(connection)?);
    let mut names: Vec<_> = expected.keys().chain(found.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| expected.get(name) != found.get(name));
    Ok(names)
}

/// Creates the tables as an older version of the program did.
#[cfg(test)]
pub(super) fn make_version(connection: &Connection, version: usize) -> rusqlite::Result<()> {
    STEPS[..version].iter().try_for_each(|step| connection.execute_batch(step))?;
    connection.execute("INSERT INTO installation VALUES (1, zeroblob(32))", [])?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", version as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Returns the rows of every table but that of the installation's key, as SQL that adds them.
    fn rows(connection: &Connection) -> Vec<String> {
        let tables = objects(connection).expect("a schema").into_keys();
        let tables = tables.filter(|(kind, name)| kind == "table" && name != "installation");
        let mut added = Vec::new();
        for (_, table) in tables {
            let statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("SQL");
            let columns: Vec<_> = statement.column_names().map(|c| format!("quote({c})")).collect();
            let sql = format!("SELECT concat_ws(', ', {}) FROM {table}", columns.join(", "));
            let mut statement = connection.prepare(&sql).expect("SQL");
            let values = statement.query_map([], |row| row.get(0)).expect("rows");
            let values = values.collect::<rusqlite::Result<Vec<String>>>().expect("rows");
            added.extend(values.iter().map(|row| format!("INSERT INTO {table} VALUES ({row})")));
        }
        added
    }

    /// Returns the SQL that makes a database like this one: tables, rows, and what depends on both.
    fn dump(connection: &Connection) -> String {
        let made = |kind: &str| -> Vec<String> {
            let sql =
                "SELECT sql FROM sqlite_schema WHERE type = ?1 AND sql IS NOT NULL ORDER BY name";
            let mut statement = connection.prepare(sql).expect("SQL");
            let found = statement.query_map([kind], |row| row.get(0)).expect("a schema");
            found.collect::<rusqlite::Result<_>>().expect("a schema")
        };
        let statements = [made("table"), made("index"), rows(connection), made("trigger")].concat();
        statements.iter().map(|statement| format!("\n{statement};\n")).collect()
    }

    #[test]
    fn a_new_database_is_as_all_steps_make_it() {
        let upgraded = Connection::open_in_memory().expect("a database");
        make_version(&upgraded, STEPS.len()).expect("the tables");
        let (comment, tables) = NEWEST.split_once("\n\n").expect("a comment first");
        let expected = dump(&upgraded);
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/newest.sql");
            std::fs::write(file, format!("{comment}\n{expected}")).expect("written");
        } else {
            assert_eq!(format!("\n{tables}"), expected, "newest.sql is not what the steps make");
        }
        let mut new = Connection::open_in_memory().expect("a database");
        migrate(&mut new).expect("the tables");
        assert_eq!(objects(&new).expect("a schema"), objects(&upgraded).expect("a schema"));
        assert_eq!(rows(&new), rows(&upgraded));
        assert!(is_current(&new).expect("the version"));
    }
}
