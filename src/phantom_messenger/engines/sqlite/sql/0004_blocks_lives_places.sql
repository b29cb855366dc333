-- Whom people have blocked, how long what nobody fetches is kept, and whose a stranger's place is.

CREATE TABLE blocks (
    blocker INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    blocked TEXT NOT NULL,      -- user id: it need not have an account
    PRIMARY KEY (blocker, blocked)
) STRICT, WITHOUT ROWID;

-- Items are stored in the order of their entries, so the oldest is found without an index.
ALTER TABLE items ADD COLUMN stored_at INTEGER;     -- ms of steady time; none: before lives.since
-- Of a stranger's item, a keyed hash of the address that it came from: the key is in the relay's memory
-- alone. The checksum does not cover it: a wrong one harms nobody.
ALTER TABLE items ADD COLUMN mark INTEGER;
CREATE INDEX items_strangers ON items (recipient, kind, mark) WHERE mark IS NOT NULL;
ALTER TABLE set_aside ADD COLUMN stored_at;

ALTER TABLE accounts ADD COLUMN active_on INTEGER;  -- day of steady time; none: before lives.since
CREATE INDEX accounts_active ON accounts (active_on, account);

-- From when on lives are counted: nothing that is older ends before its time from there.
CREATE TABLE lives (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    since INTEGER NOT NULL      -- ms of steady time
) STRICT;
