-- What one message to many brings: messages to groups, what groups change in order, and lists of devices.

-- 1 if the item was sent to a group. A relay of an older version sends a receipt for it, as for any other message.
ALTER TABLE items ADD COLUMN grouped smallint;

-- Sender has written to recipient in a group: which makes nobody a contact.
CREATE TABLE written_in_groups (
    sender    bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    recipient bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    PRIMARY KEY (sender, recipient)
);
CREATE INDEX written_in_groups_recipient ON written_in_groups (recipient, sender);

-- Who blocks somebody no longer counts as having written to them, whichever version their relay is of.
CREATE FUNCTION forget_group_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM written_in_groups
        WHERE sender = NEW.blocker AND recipient = (SELECT account FROM accounts WHERE user_id = NEW.blocked);
    RETURN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION forget_group_pair() SET search_path = %I', current_schema());
END $$;
CREATE TRIGGER blocked AFTER INSERT ON blocks FOR EACH ROW EXECUTE FUNCTION forget_group_pair();

-- The last revision of what several users change. They stand here as digests, of the name and their ids: nobody can
-- say whose they are who does not know the name.
CREATE TABLE orders (
    name       bytea PRIMARY KEY,
    revision   bigint NOT NULL,
    writers    bytea NOT NULL,      -- who may write the next one, 16 bytes each
    last       bytea NOT NULL,      -- who has written the last ones, in which messages, 16 bytes each, newest first
    written_on integer NOT NULL     -- day of steady time
);
CREATE INDEX orders_written ON orders (written_on);

-- The devices of an account's owner, as the owner has signed them; base64.
CREATE TABLE device_lists (
    account bigint PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    list    text NOT NULL
);
