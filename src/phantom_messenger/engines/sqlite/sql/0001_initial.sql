-- The relay's store. What it knows of people: ids, public keys, who has written to
-- whom, when a session last ended (to the minute), and mail that waits, encrypted.

CREATE TABLE accounts (
    account     INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     TEXT NOT NULL UNIQUE,   -- base64
    public_key  TEXT NOT NULL,          -- base64, Ed25519
    certified   INTEGER NOT NULL,       -- 1: the id is the hash of the key
    last_seen   INTEGER,                -- ms since 1970, whole minutes
    seq_limit   INTEGER NOT NULL DEFAULT 0  -- no seq above this was ever given to an item of this mailbox
) STRICT;

-- Sender has written to recipient, in a conversation ('' in a key exchange).
CREATE TABLE written (
    entry        INTEGER PRIMARY KEY,
    sender       INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    recipient    INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    conversation TEXT NOT NULL,
    UNIQUE (sender, recipient, conversation)
) STRICT;
CREATE INDEX written_recipient ON written (recipient, sender);

CREATE TABLE signed_prekeys (
    account   INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind      INTEGER NOT NULL,  -- 1 X25519, 2 ML-KEM-768 last resort
    id        INTEGER NOT NULL,
    key       TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE one_time_prekeys (
    entry     INTEGER PRIMARY KEY,  -- oldest first
    account   INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind      INTEGER NOT NULL,     -- 1 X25519, 2 ML-KEM-768
    id        INTEGER NOT NULL,
    key       TEXT NOT NULL,
    signature TEXT NOT NULL,        -- '' for X25519
    UNIQUE (account, kind, id)
) STRICT;

-- The highest id of a one-time prekey ever published, so that none is handed out twice.
CREATE TABLE prekey_ids (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind    INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

-- One-time prekeys handed out in the last hour, to limit draining.
CREATE TABLE handouts (
    entry     INTEGER PRIMARY KEY,
    target    INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    requester INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX handouts_target ON handouts (target, at);

CREATE TABLE items (
    entry      INTEGER PRIMARY KEY,
    recipient  INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    seq        INTEGER NOT NULL,   -- order of the mailbox
    kind       INTEGER NOT NULL,   -- 1 message, 2 receipt, 3 key exchange
    sender     TEXT NOT NULL,      -- user id: accepted mail outlives its sender's account
    name       TEXT NOT NULL,      -- message id, or which key exchange frame
    expires_at INTEGER,            -- ms since 1970
    text       BLOB NOT NULL,      -- the frame as it will be sent
    UNIQUE (recipient, kind, sender, name)
) STRICT;
CREATE UNIQUE INDEX items_order ON items (recipient, seq);
CREATE INDEX items_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
