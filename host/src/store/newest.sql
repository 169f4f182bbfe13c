-- The tables as all steps of schema.rs together make them. A new database gets them at once.
-- After adding a step, regenerate this file: INSTA_UPDATE=always cargo test -p whereby-agent --lib store::

CREATE TABLE anchor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    time INTEGER NOT NULL,
    is_pending INTEGER NOT NULL CHECK (is_pending IN (0, 1))
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
    used_at INTEGER, asker_group TEXT, asker TEXT, agent TEXT, token TEXT, call BLOB, run_at INTEGER, ends_by INTEGER, withdrawn_at INTEGER, collected_at INTEGER, key_digest BLOB CHECK (length(key_digest) = 32), component TEXT, has_destination INTEGER CHECK (has_destination IN (0, 1)), passkey TEXT, needs_passkey INTEGER NOT NULL DEFAULT 0 CHECK (needs_passkey IN (0, 1)),
    CHECK (state <> 'pending' OR decided_at IS NULL),
    CHECK (state NOT IN ('approved', 'used', 'denied') OR decided_at IS NOT NULL),
    CHECK (state NOT IN ('approved', 'used') OR valid_until IS NOT NULL),
    CHECK (valid_until IS NULL OR decided_at IS NOT NULL),
    CHECK ((state = 'used') = (used_at IS NOT NULL))
) STRICT;

CREATE TABLE archived_calls (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE archives (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    calls INTEGER NOT NULL
, hash BLOB CHECK (length(hash) = 32), through INTEGER, head BLOB CHECK (length(head) = 32), carried TEXT CHECK (json_valid(carried)), file TEXT) STRICT;

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
, agent TEXT, token TEXT, trace TEXT, decision TEXT CHECK (json_valid(decision)), hash BLOB CHECK (length(hash) = 32)) STRICT;

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

CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- What digests of calls are made with, so that they tell nothing to whoever has only them.
    hmac_key BLOB NOT NULL CHECK (length(hmac_key) = 32)
) STRICT;

CREATE TABLE log_start (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    through INTEGER NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32),
    carried TEXT NOT NULL CHECK (json_valid(carried))
) STRICT;

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
, room_name TEXT, room_id TEXT, hash BLOB CHECK (length(hash) = 32)) STRICT;

CREATE TABLE page_links (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE passkey_code (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    code TEXT NOT NULL CHECK (json_valid(code))
) STRICT;

CREATE TABLE passkeys (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    credential TEXT NOT NULL CHECK (json_valid(credential))
) STRICT;

CREATE TABLE results (
    approval TEXT PRIMARY KEY,
    time INTEGER NOT NULL,
    result BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revoked_tokens (
    id TEXT PRIMARY KEY CHECK (length(id) = 32),
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

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

CREATE TABLE token_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    secret_key BLOB NOT NULL CHECK (length(secret_key) = 32)
) STRICT;

CREATE TABLE token_uses (
    id TEXT PRIMARY KEY CHECK (length(id) = 32),
    used INTEGER NOT NULL CHECK (used > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
    created_at INTEGER NOT NULL,
    limits TEXT NOT NULL CHECK (json_valid(limits)),
    -- The latest time at which it was seen, so that setting the clock back does not renew it.
    latest INTEGER NOT NULL
) STRICT;

CREATE TABLE writes (
    call_id TEXT PRIMARY KEY,
    time INTEGER NOT NULL,
    account TEXT NOT NULL,
    agent TEXT,
    function TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX approvals_by_creation ON approvals (created_at);

CREATE INDEX approvals_by_digest ON approvals (digest);

CREATE UNIQUE INDEX approvals_open_once ON approvals (digest) WHERE state IN ('pending', 'approved');

CREATE INDEX calls_by_time ON calls (time);

CREATE INDEX created_rooms_by_name ON created_rooms (name COLLATE NOCASE);

CREATE INDEX standing_approvals_by_function ON standing_approvals (account, function);

CREATE INDEX writes_by_time ON writes (account, function, time);

INSERT INTO anchor VALUES (1, 0, 0, 0);

INSERT INTO log_start VALUES (1, 0, X'0000000000000000000000000000000000000000000000000000000000000000', '{}');

CREATE TRIGGER approvals_begin_pending BEFORE INSERT ON approvals
WHEN NEW.state <> 'pending'
    OR EXISTS (SELECT 1 FROM approvals WHERE id = NEW.id OR seq = NEW.seq)
    OR EXISTS (
        SELECT 1 FROM approvals WHERE digest = NEW.digest AND state IN ('pending', 'approved'))
BEGIN SELECT RAISE(ABORT, 'an approval begins as pending, once'); END;

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

CREATE TRIGGER approvals_keep_their_agent BEFORE UPDATE OF agent ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_keep_their_asker BEFORE UPDATE OF asker_group, asker ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_keep_their_call BEFORE UPDATE OF call ON approvals
WHEN OLD.call IS NOT NULL AND NEW.call IS NOT NULL AND NEW.call <> OLD.call
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_keep_their_need BEFORE UPDATE ON approvals
WHEN NEW.needs_passkey < OLD.needs_passkey
    OR NEW.needs_passkey AND NEW.passkey IS NULL
        AND NEW.state <> OLD.state AND NEW.state IN ('approved', 'used')
BEGIN SELECT RAISE(ABORT, 'nothing but a passkey approves it'); END;

CREATE TRIGGER approvals_keep_their_token BEFORE UPDATE OF token ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_keep_what_they_are_for BEFORE UPDATE OF key_digest, component, has_destination
ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval only goes forward'); END;

CREATE TRIGGER approvals_stay_while_open BEFORE DELETE ON approvals
WHEN OLD.state IN ('pending', 'approved')
BEGIN SELECT RAISE(ABORT, 'an open approval is kept'); END;

CREATE TRIGGER archives_are_not_changed BEFORE UPDATE ON archives WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER archives_are_not_deleted BEFORE DELETE ON archives
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER archives_have_a_hash BEFORE INSERT ON archives WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;

CREATE TRIGGER archives_in_order BEFORE INSERT ON archives
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER calls_are_not_changed BEFORE UPDATE ON calls WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER calls_are_not_deleted BEFORE DELETE ON calls
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER calls_have_a_hash BEFORE INSERT ON calls WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;

CREATE TRIGGER calls_in_order BEFORE INSERT ON calls
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER calls_once BEFORE INSERT ON calls
WHEN EXISTS (SELECT 1 FROM calls WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM archived_calls WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END;

CREATE TRIGGER created_rooms_are_not_changed BEFORE UPDATE ON created_rooms
BEGIN SELECT RAISE(ABORT, 'who created a room does not change'); END;

CREATE TRIGGER created_rooms_are_not_deleted BEFORE DELETE ON created_rooms
BEGIN SELECT RAISE(ABORT, 'who created a room does not change'); END;

CREATE TRIGGER installation_is_not_changed BEFORE UPDATE ON installation
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER installation_is_not_deleted BEFORE DELETE ON installation
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER installation_is_not_replaced BEFORE INSERT ON installation
WHEN EXISTS (SELECT 1 FROM installation)
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER log_start_goes_forward BEFORE UPDATE ON log_start WHEN NEW.through <= OLD.through
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;

CREATE TRIGGER log_start_is_not_deleted BEFORE DELETE ON log_start
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;

CREATE TRIGGER log_start_is_not_replaced BEFORE INSERT ON log_start
BEGIN SELECT RAISE(ABORT, 'the log starts later from archive to archive'); END;

CREATE TRIGGER outcomes_are_not_changed BEFORE UPDATE ON outcomes WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER outcomes_are_not_deleted BEFORE DELETE ON outcomes
WHEN OLD.seq > (SELECT through FROM log_start)
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER outcomes_have_a_hash BEFORE INSERT ON outcomes WHEN NEW.hash IS NULL
BEGIN SELECT json('a row of the log has a hash'); END;

CREATE TRIGGER outcomes_in_order BEFORE INSERT ON outcomes
WHEN NEW.seq <= max((SELECT ifnull(max(seq), 0) FROM calls), (SELECT ifnull(max(seq), 0) FROM outcomes),
    (SELECT ifnull(max(seq), 0) FROM archives))
BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;

CREATE TRIGGER outcomes_once BEFORE INSERT ON outcomes
WHEN EXISTS (SELECT 1 FROM outcomes WHERE call_id = NEW.call_id)
    OR EXISTS (SELECT 1 FROM archived_calls WHERE id = NEW.call_id)
BEGIN SELECT RAISE(IGNORE); END;

CREATE TRIGGER passkeys_are_not_deleted BEFORE DELETE ON passkeys
BEGIN SELECT RAISE(ABORT, 'a passkey is kept'); END;

CREATE TRIGGER passkeys_go_forward BEFORE UPDATE ON passkeys
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id
    OR json_extract(OLD.credential, '$.removed_at') IS NOT NULL
    OR NEW.credential ->> '$.sign_count' < OLD.credential ->> '$.sign_count'
    OR NEW.credential -> '$.public_key' <> OLD.credential -> '$.public_key'
BEGIN SELECT RAISE(ABORT, 'a passkey only goes forward'); END;

CREATE TRIGGER revoked_tokens_are_not_changed BEFORE UPDATE ON revoked_tokens
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;

CREATE TRIGGER revoked_tokens_are_not_deleted BEFORE DELETE ON revoked_tokens
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;

CREATE TRIGGER revoked_tokens_are_not_replaced BEFORE INSERT ON revoked_tokens
WHEN EXISTS (SELECT 1 FROM revoked_tokens WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;

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

CREATE TRIGGER token_key_is_not_changed BEFORE UPDATE ON token_key
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER token_key_is_not_deleted BEFORE DELETE ON token_key
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER token_key_is_not_replaced BEFORE INSERT ON token_key
WHEN EXISTS (SELECT 1 FROM token_key)
BEGIN SELECT RAISE(ABORT, 'the key of an installation is made once'); END;

CREATE TRIGGER token_uses_are_not_deleted BEFORE DELETE ON token_uses
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;

CREATE TRIGGER token_uses_are_not_replaced BEFORE INSERT ON token_uses
WHEN NEW.used <= (SELECT used FROM token_uses WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;

CREATE TRIGGER token_uses_go_forward BEFORE UPDATE ON token_uses
WHEN NEW.id <> OLD.id OR NEW.used <= OLD.used
BEGIN SELECT RAISE(ABORT, 'a use of a token stays one'); END;

CREATE TRIGGER tokens_are_not_deleted BEFORE DELETE ON tokens
BEGIN SELECT RAISE(ABORT, 'tokens are kept'); END;

CREATE TRIGGER tokens_begin_once BEFORE INSERT ON tokens
WHEN EXISTS (SELECT 1 FROM tokens WHERE id = NEW.id OR seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a token is created once'); END;

CREATE TRIGGER tokens_go_forward BEFORE UPDATE ON tokens
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.created_at <> OLD.created_at
    OR NEW.limits <> OLD.limits OR NEW.latest < OLD.latest
BEGIN SELECT RAISE(ABORT, 'a token only gets older'); END;

CREATE TRIGGER writes_are_not_changed BEFORE UPDATE ON writes
BEGIN SELECT RAISE(ABORT, 'a write that went ahead stays one'); END;
