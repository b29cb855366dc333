-- Who may see whom. Nobody but contacts ever does.

-- Those of them who are connected to a relay, or were until a moment ago.
CREATE FUNCTION contacts_of(owner bigint) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(a.user_id ORDER BY a.account), '{}') FROM accounts AS a JOIN sessions USING (account)
    WHERE a.account <> owner AND a.account IN (
        SELECT recipient FROM written WHERE sender = owner INTERSECT SELECT sender FROM written WHERE recipient = owner);
$$;

-- None if the actor has no account.
CREATE FUNCTION find_watchers(id text, key text, is_unsigned boolean, own_relay text, shown text) RETURNS text[]
LANGUAGE sql AS $$
    UPDATE sessions SET presence = shown WHERE account = current_account(id, key, is_unsigned) AND relay = own_relay;
    SELECT contacts_of(account) FROM current_account(id, key, is_unsigned) AS account WHERE account IS NOT NULL;
$$;

-- Contacts who have used a conversation with the user; for an unsigned one all unsigned contacts too.
CREATE FUNCTION find_typing_watchers(id text, key text, is_unsigned boolean, in_conversation text)
RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT (SELECT coalesce(array_agg(c.user_id ORDER BY c.account), '{}') FROM accounts AS c
        WHERE c.user_id = ANY (contacts_of(me)) AND (is_unsigned AND c.standing = 2 OR (
            EXISTS (SELECT FROM written WHERE sender = me AND recipient = c.account AND conversation = in_conversation)
            AND EXISTS (SELECT FROM written
                WHERE sender = c.account AND recipient = me AND conversation = in_conversation))))
    FROM current_account(id, key, is_unsigned) AS me WHERE me IS NOT NULL;
$$;

-- Nobody is to be told if the user is at another relay meanwhile.
CREATE FUNCTION find_departure(id text, own_relay text, OUT contacts text[], OUT seen bigint) LANGUAGE sql AS $$
    DELETE FROM sessions AS s USING accounts AS a
        WHERE a.user_id = id AND s.account = a.account AND s.relay = own_relay AND s.has_ended;
    SELECT CASE WHEN EXISTS (SELECT FROM sessions AS s WHERE s.account = a.account AND s.relay <> own_relay) THEN '{}'
        ELSE contacts_of(a.account) END, a.last_seen FROM accounts AS a WHERE a.user_id = id;
$$;

-- What a user shows at another relay; none if they are not there, which somebody has then seen.
CREATE FUNCTION see_elsewhere(who bigint, own_relay text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    shown text;
    is_over boolean;
BEGIN
    SELECT presence, has_ended INTO shown, is_over FROM sessions WHERE account = who AND relay <> own_relay;
    IF is_over THEN
        UPDATE sessions SET absence_seen = true WHERE account IN (
            SELECT account FROM sessions WHERE account = who AND has_ended AND NOT absence_seen FOR UPDATE SKIP LOCKED);
        RETURN NULL;
    END IF;
    RETURN shown;
END $$;

-- No row if the actor has no account.
CREATE FUNCTION ask_presence(id text, key text, is_unsigned boolean, other_id text, own_relay text)
RETURNS TABLE (is_contact boolean, seen bigint, elsewhere text) LANGUAGE sql AS $$
    SELECT o.account IS NOT NULL, o.last_seen, see_elsewhere(o.account, own_relay)
    FROM current_account(id, key, is_unsigned) AS me
        LEFT JOIN accounts AS o ON o.user_id = other_id AND are_contacts(me, o.account) WHERE me IS NOT NULL;
$$;
