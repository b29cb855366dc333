-- Two users become contacts with the first row of a pair and are none any more with its last one; another conversation
-- changes nothing. What fires when somebody deletes rows by hand finds its tables too.
CREATE OR REPLACE FUNCTION note_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pair written%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN
        pair := OLD;
    ELSE
        pair := NEW;
    END IF;
    IF EXISTS (SELECT FROM written AS w WHERE w.sender = pair.sender AND w.recipient = pair.recipient
        AND w.conversation <> pair.conversation) THEN
        RETURN NULL;
    END IF;
    INSERT INTO presence_changes (account, user_id) SELECT a.account, a.user_id
        FROM accounts AS a JOIN sessions AS s USING (account)
        WHERE a.account IN (pair.sender, pair.recipient) AND s.presence <> 'offline'
            AND EXISTS (SELECT FROM written AS w WHERE w.sender = pair.recipient AND w.recipient = pair.sender);
    RETURN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_contacts() SET search_path = %I', current_schema());
    EXECUTE format('ALTER FUNCTION note_session() SET search_path = %I', current_schema());
END $$;
