-- A checksum per item, a place for items that fail it, and the relay's own time.

ALTER TABLE items ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;  -- CRC-32 over all other columns
UPDATE items SET checksum = item_checksum(
    recipient, seq, kind, CAST(sender AS BLOB), CAST(name AS BLOB), expires_at, text
);

-- Items that were not as they had been written. No types: anything may stand in them.
CREATE TABLE set_aside (
    entry      INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,   -- ms of steady time
    recipient,
    seq,
    kind,
    sender,
    name,
    expires_at,
    text,
    checksum
);

-- One moment on all clocks, in ms. From here on items.expires_at is in steady time, which
-- begins as the wall clock's.
CREATE TABLE relay_time (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    boot       TEXT NOT NULL,      -- '' if unknown
    since_boot INTEGER NOT NULL,
    wall       INTEGER NOT NULL,
    steady     INTEGER NOT NULL,
    checksum   INTEGER NOT NULL    -- CRC-32 over the others
) STRICT;
