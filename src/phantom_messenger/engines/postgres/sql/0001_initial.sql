-- The relay's store. What it knows of people: ids, public keys, who has written to whom, when a session
-- last ended (to the minute), and mail that waits, encrypted. All times are milliseconds of persistent time.

CREATE TABLE accounts (
    account    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    text NOT NULL UNIQUE,    -- base64
    public_key text NOT NULL,           -- base64, Ed25519
    standing   smallint NOT NULL,       -- 0 claimed, 1 certified: the id is the hash of the key, 2 unproved
    last_seen  bigint,                  -- ms since 1970, whole minutes
    active_on  integer NOT NULL         -- day
);
CREATE INDEX accounts_active ON accounts (active_on, account);

-- One row an account, which every change of its mailbox locks and most of them write: narrow, and apart from
-- the account, so that the new version of the row stays on its page.
CREATE TABLE mailboxes (
    account          bigint PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    seq              bigint NOT NULL DEFAULT 0,   -- no item was ever given a higher number
    messages_at_most integer NOT NULL DEFAULT 0,  -- counted once, and then only raised, until it matters
    bytes_at_most    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- In partitions, so that those from which something was removed can be rewritten one at a time: a row that is
-- deleted, and whose space is free, is still in the file.
CREATE TABLE items (
    recipient  bigint NOT NULL,
    seq        bigint NOT NULL,
    kind       smallint NOT NULL,   -- 1 message, 2 receipt, 3 key exchange
    sender     text NOT NULL,       -- user id: accepted mail outlives its sender's account
    name       text NOT NULL,       -- message id, or which key exchange frame
    stored_at  bigint NOT NULL,
    expires_at bigint,
    mark       bigint,              -- of a stranger's item, a keyed hash of the address that it came from
    text       bytea NOT NULL       -- the frame as it will be sent
) PARTITION BY HASH (recipient);

DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE items_%s PARTITION OF items FOR VALUES WITH (MODULUS 16, REMAINDER %s)'
            ' WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)', part, part);
        -- Compressed pages would hide a text from whoever looks for it, and encrypted ones do not compress.
        EXECUTE format('ALTER TABLE items_%s ALTER COLUMN text SET STORAGE EXTERNAL', part);
    END LOOP;
END $$;

-- Statistics hold samples of a column, which outlive the rows that they are of.
ALTER TABLE items ALTER COLUMN text SET STATISTICS 0;

ALTER TABLE items ADD PRIMARY KEY (recipient, seq);
CREATE UNIQUE INDEX items_name ON items (recipient, kind, sender, name);
CREATE INDEX items_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX items_age ON items (stored_at);

-- Messages that left a mailbox a moment ago, so that a late re-send is not delivered twice. A crash empties it.
CREATE UNLOGGED TABLE tombstones (
    recipient bigint NOT NULL,
    sender    text NOT NULL,
    name      text NOT NULL,
    until     bigint NOT NULL,
    PRIMARY KEY (recipient, sender, name)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX tombstones_until ON tombstones (until);

-- Sender has written to recipient, in a conversation ('' in a key exchange).
CREATE TABLE written (
    entry        bigint GENERATED ALWAYS AS IDENTITY,
    sender       bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    recipient    bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    conversation text NOT NULL,
    PRIMARY KEY (sender, recipient, conversation)
);
CREATE INDEX written_recipient ON written (recipient, sender);

CREATE TABLE blocks (
    blocker bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    blocked text NOT NULL,      -- user id: it need not have an account
    PRIMARY KEY (blocker, blocked)
);

-- Relays that are at work, and which of them each user is connected to. Not replicated, and empty after a crash:
-- relays write down again what they know.
CREATE UNLOGGED TABLE relays (
    relay   text PRIMARY KEY,       -- random, new at each start
    seen_at timestamptz NOT NULL
);
CREATE UNLOGGED TABLE sessions (
    account      bigint PRIMARY KEY,
    relay        text NOT NULL,
    connected_at bigint NOT NULL,   -- the newest connection counts
    presence     text NOT NULL,     -- what contacts see, or are to see still for a moment after it has ended
    has_ended    boolean NOT NULL DEFAULT false,
    absence_seen boolean NOT NULL DEFAULT false     -- by a contact, after it has ended
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX sessions_relay ON sessions (relay);

CREATE TABLE signed_prekeys (
    account   bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind      smallint NOT NULL,  -- 1 X25519, 2 ML-KEM-768 last resort
    id        bigint NOT NULL,
    key       text NOT NULL,
    signature text NOT NULL,
    PRIMARY KEY (account, kind)
);

CREATE TABLE one_time_prekeys (
    entry     bigint GENERATED ALWAYS AS IDENTITY,  -- oldest first
    account   bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind      smallint NOT NULL,     -- 1 X25519, 2 ML-KEM-768
    id        bigint NOT NULL,
    key       text NOT NULL,
    signature text NOT NULL,         -- '' for X25519
    PRIMARY KEY (account, kind, entry),
    UNIQUE (account, kind, id)
);

-- The highest id of a prekey ever published, so that none is handed out twice; kind 0: of all kinds.
CREATE TABLE prekey_ids (
    account bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind    smallint NOT NULL,
    highest bigint NOT NULL,
    PRIMARY KEY (account, kind)
);

-- One-time prekeys handed out in the last hour, to limit draining.
CREATE TABLE handouts (
    target    bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    requester bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    at        bigint NOT NULL
);
CREATE INDEX handouts_target ON handouts (target, at);
CREATE INDEX handouts_requester ON handouts (requester);
CREATE INDEX handouts_at ON handouts (at);

-- One moment on all clocks, and what still counted of the limits when a relay was stopped.
CREATE TABLE relay_time (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    boot       text NOT NULL,
    since_boot bigint NOT NULL,
    wall       bigint NOT NULL,
    persistent bigint NOT NULL
);
CREATE TABLE relay_limits (
    is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    hash_key bytea NOT NULL,
    times    bytea NOT NULL     -- MessagePack
);
