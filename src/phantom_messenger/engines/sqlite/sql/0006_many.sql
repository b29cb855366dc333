-- What one message to many brings: messages to groups, what groups change in order, and lists of devices.

-- 1 if the item was sent to a group. The checksum does not cover it: a wrong one costs a receipt, or sends one.
ALTER TABLE items ADD COLUMN grouped INTEGER;

-- Sender has written to recipient in a group: which makes nobody a contact.
CREATE TABLE written_in_groups (
    sender    INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    recipient INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    PRIMARY KEY (sender, recipient)
) STRICT, WITHOUT ROWID;
CREATE INDEX written_in_groups_recipient ON written_in_groups (recipient, sender);

-- The last revision of what several users change. They stand here as digests, of the name and their ids: nobody can
-- say whose they are who does not know the name.
CREATE TABLE orders (
    name       BLOB PRIMARY KEY,
    revision   INTEGER NOT NULL,
    writers    BLOB NOT NULL,       -- who may write the next one, 16 bytes each
    last       BLOB NOT NULL,       -- who has written the last ones, in which messages, 16 bytes each, newest first
    written_on INTEGER NOT NULL     -- day of steady time
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_written ON orders (written_on);

-- The devices of an account's owner, as the owner has signed them; base64.
CREATE TABLE device_lists (
    account INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    list    TEXT NOT NULL
) STRICT;
