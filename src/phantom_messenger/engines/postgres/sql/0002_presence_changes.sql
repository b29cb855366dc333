-- What a relay was not told of presence it finds here: every change, until all relays have seen it. A number is that
-- of a transaction, for whoever has seen all below the oldest one at work misses nothing that is committed later.
-- Triggers write it, so that relays of an older version do too.
CREATE UNLOGGED TABLE presence_changes (
    entry   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    account bigint NOT NULL,
    user_id text NOT NULL       -- of an account that may be gone by then
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX presence_changes_changed ON presence_changes (changed);

-- Up to which number a relay has seen the changes; none if it has just come, or was taken for dead.
ALTER TABLE relays ADD COLUMN looked bigint;

CREATE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO presence_changes (account, user_id) SELECT account, user_id FROM accounts
        WHERE account = CASE TG_OP WHEN 'DELETE' THEN OLD.account ELSE NEW.account END;
    RETURN NULL;
END $$;
CREATE TRIGGER session_began AFTER INSERT ON sessions
    FOR EACH ROW WHEN (NEW.presence <> 'offline') EXECUTE FUNCTION note_session();
CREATE TRIGGER session_changed AFTER UPDATE ON sessions
    FOR EACH ROW WHEN (OLD.presence <> NEW.presence OR OLD.absence_seen AND NOT NEW.absence_seen)
    EXECUTE FUNCTION note_session();
CREATE TRIGGER session_over AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.presence <> 'offline') EXECUTE FUNCTION note_session();

-- Two users have become contacts, or are none any more.
CREATE FUNCTION note_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pair written%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN
        pair := OLD;
    ELSE
        pair := NEW;
    END IF;
    INSERT INTO presence_changes (account, user_id) SELECT a.account, a.user_id
        FROM accounts AS a JOIN sessions AS s USING (account)
        WHERE a.account IN (pair.sender, pair.recipient) AND s.presence <> 'offline'
            AND EXISTS (SELECT FROM written AS w WHERE w.sender = pair.recipient AND w.recipient = pair.sender);
    RETURN NULL;
END $$;
CREATE TRIGGER contacts_changed AFTER INSERT OR DELETE ON written FOR EACH ROW EXECUTE FUNCTION note_contacts();
