-- Several relays on one store: which of them a user is connected to, and which of them are alive.

-- Note where a user is connected now. Returns whether a newer connection is elsewhere, or was; if not, what contacts believe
-- of the user from there, and what connected contacts at other relays show.
CREATE FUNCTION begin_session(
    owner bigint, own_relay text, own_connected_at bigint, shown text,
    OUT is_older boolean, OUT seen_as text, OUT others text[], OUT show text[]
) LANGUAGE plpgsql AS $$
DECLARE
    before sessions%ROWTYPE;
BEGIN
    INSERT INTO relays (relay, seen_at) VALUES (own_relay, clock_timestamp()) ON CONFLICT DO NOTHING;
    SELECT s.* INTO before FROM sessions AS s JOIN relays USING (relay) WHERE s.account = owner AND s.relay <> own_relay;
    is_older := FOUND AND NOT before.has_ended AND before.connected_at > own_connected_at
        OR EXISTS (SELECT FROM past_sessions AS p
            WHERE p.account = owner AND p.relay <> own_relay AND p.connected_at > own_connected_at);
    IF is_older THEN
        RETURN;
    END IF;
    seen_as := CASE WHEN before.absence_seen THEN 'offline' ELSE coalesce(before.presence, 'offline') END;
    INSERT INTO sessions (account, relay, connected_at, presence) VALUES (owner, own_relay, own_connected_at, shown)
        ON CONFLICT (account) DO UPDATE SET relay = excluded.relay, connected_at = excluded.connected_at,
        presence = excluded.presence, has_ended = false, absence_seen = false;
    SELECT array_agg(e.id), array_agg(e.presence) INTO others, show FROM (
        SELECT a.user_id AS id, see_elsewhere(a.account, own_relay) AS presence
        FROM unnest(contacts_of(owner)) AS c (id) JOIN accounts AS a ON a.user_id = c.id) AS e
        WHERE e.presence IS NOT NULL;
END $$;

-- Which of the sessions of a relay are over, by their numbers; none if all are their users' still. It is over if the user
-- has logged in with a newer connection at another relay, and may have left that one too.
CREATE FUNCTION sessions_over(own_relay text, users text[], keys text[], connected bigint[]) RETURNS integer[]
LANGUAGE sql STABLE AS $$
    SELECT array_agg(o.n::integer ORDER BY o.n)
        FROM unnest(users, keys, connected) WITH ORDINALITY AS o (id, key, connected_at, n)
        JOIN accounts AS a ON a.user_id = o.id AND a.public_key = o.key
        WHERE EXISTS (SELECT FROM sessions AS s
                WHERE s.account = a.account AND s.relay <> own_relay AND s.connected_at > o.connected_at)
            OR EXISTS (SELECT FROM past_sessions AS p
                WHERE p.account = a.account AND p.relay <> own_relay AND p.connected_at > o.connected_at);
$$;

-- A session has ended; what contacts see of it stays until find_departure.
CREATE FUNCTION leave_session(id text, own_relay text) RETURNS void LANGUAGE sql AS $$
    UPDATE sessions AS s SET has_ended = true FROM accounts AS a
        WHERE a.user_id = id AND s.account = a.account AND s.relay = own_relay;
$$;

-- A session has ended of which nobody knew.
CREATE FUNCTION end_session(id text, own_relay text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM sessions AS s USING accounts AS a
        WHERE a.user_id = id AND s.account = a.account AND s.relay = own_relay;
$$;

-- Compare what a relay knows of its sessions with what is written down, which may have been lost. Returns who is at
-- another relay with a newer connection, or was, and for whom there is mail that was not sent.
CREATE FUNCTION check_sessions(
    own_relay text, ids text[], connected bigint[], shown text[], pushed bigint[], now bigint,
    OUT replaced text[], OUT behind text[]
) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO relays (relay, seen_at) VALUES (own_relay, clock_timestamp()) ON CONFLICT DO NOTHING;
    INSERT INTO sessions AS s (account, relay, connected_at, presence)
        SELECT a.account, own_relay, o.connected_at, o.presence
        FROM unnest(ids, connected, shown) AS o (id, connected_at, presence) JOIN accounts AS a ON a.user_id = o.id
        WHERE NOT EXISTS (SELECT FROM sessions AS e WHERE e.account = a.account
                AND (e.relay = own_relay OR e.connected_at >= o.connected_at))
            AND NOT EXISTS (SELECT FROM past_sessions AS p
                WHERE p.account = a.account AND p.relay <> own_relay AND p.connected_at > o.connected_at)
        ORDER BY a.account
        ON CONFLICT (account) DO UPDATE SET relay = excluded.relay, connected_at = excluded.connected_at,
            presence = excluded.presence, has_ended = false, absence_seen = false
            WHERE s.connected_at < excluded.connected_at;
    -- What somebody else is changing is looked at the next time: nobody is waited for, least of all in a circle.
    UPDATE sessions AS s SET presence = o.presence, has_ended = false
        FROM (SELECT e.account, n.presence FROM unnest(ids, shown) AS n (id, presence)
            JOIN accounts AS a ON a.user_id = n.id JOIN sessions AS e USING (account)
            WHERE e.relay = own_relay AND (e.presence <> n.presence OR e.has_ended)
            FOR UPDATE OF e SKIP LOCKED) AS o
        WHERE s.account = o.account;
    UPDATE accounts SET active_on = now / 86400000 WHERE account IN (SELECT account FROM accounts
        WHERE user_id = ANY (ids) AND active_on <> now / 86400000 FOR NO KEY UPDATE SKIP LOCKED);
    SELECT coalesce(array_agg(o.id) FILTER (WHERE s.relay <> own_relay OR p.relay IS NOT NULL), '{}'),
        coalesce(array_agg(o.id) FILTER (WHERE o.pushed < m.seq AND EXISTS (SELECT FROM items AS i
            WHERE i.recipient = a.account AND i.seq > o.pushed AND (i.expires_at IS NULL OR i.expires_at > now))), '{}')
        INTO replaced, behind
        FROM unnest(ids, connected, pushed) AS o (id, connected_at, pushed) JOIN accounts AS a ON a.user_id = o.id
        JOIN mailboxes AS m USING (account) LEFT JOIN sessions AS s USING (account)
        LEFT JOIN past_sessions AS p ON p.account = a.account AND p.relay <> own_relay
            AND p.connected_at > o.connected_at;
END $$;

-- Relays that sessions are noted for and that are not there any more. The index is read name by name: it has as many
-- entries as there are sessions.
CREATE FUNCTION lost_relays() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE named (relay) AS (
        SELECT min(s.relay) FROM sessions AS s
        UNION ALL SELECT (SELECT min(s.relay) FROM sessions AS s WHERE s.relay > n.relay) FROM named AS n
            WHERE n.relay IS NOT NULL
    )
    SELECT n.relay FROM named AS n
        WHERE n.relay IS NOT NULL AND NOT EXISTS (SELECT FROM relays AS r WHERE r.relay = n.relay);
$$;

-- This relay is alive. Those that have not said so for 15 seconds are not: returns whom they had, once, some hundred at a
-- time.
CREATE FUNCTION keep_relay(own_relay text, seen bigint)
RETURNS TABLE (id text, contacts text[], last_seen_at bigint) LANGUAGE plpgsql AS $$
DECLARE
    was_away boolean := EXISTS (SELECT FROM relays AS r
        WHERE r.relay = own_relay AND r.seen_at < clock_timestamp() - interval '10 seconds');
BEGIN
    INSERT INTO relays (relay, seen_at) VALUES (own_relay, clock_timestamp())
        ON CONFLICT (relay) DO UPDATE SET seen_at = excluded.seen_at;
    IF was_away THEN    -- as the others may have been, for the same reason: they come back in a moment
        RETURN;
    END IF;
    DELETE FROM relays WHERE relay IN (SELECT relay FROM relays WHERE relay <> own_relay
        AND seen_at < clock_timestamp() - interval '15 seconds' FOR UPDATE SKIP LOCKED);
    RETURN QUERY
        WITH lost AS (
            DELETE FROM sessions AS s WHERE s.account IN (SELECT l.account FROM lost_relays() AS d (relay)
                JOIN sessions AS l USING (relay) LIMIT 500 FOR UPDATE OF l SKIP LOCKED)
            RETURNING s.account, s.presence, s.has_ended
        ), held AS MATERIALIZED (
            SELECT a.account FROM accounts AS a
                WHERE a.account IN (SELECT l.account FROM lost AS l WHERE l.presence <> 'offline')
                ORDER BY a.account FOR NO KEY UPDATE
        ), seen_last AS (
            UPDATE accounts AS a SET last_seen = CASE WHEN l.has_ended THEN a.last_seen ELSE seen END
            FROM lost AS l JOIN held USING (account)
            WHERE a.account = l.account RETURNING a.account, a.user_id, a.last_seen
        )
        SELECT u.user_id, contacts_of(u.account), coalesce(u.last_seen, seen) FROM seen_last AS u;
    -- Last, so that nobody is waited for with these. Whoever is connected again has a session that is newer.
    DELETE FROM past_sessions WHERE account IN (SELECT account FROM past_sessions
        WHERE ended_at < clock_timestamp() - interval '1 hour' LIMIT 5000 FOR UPDATE SKIP LOCKED);
END $$;

-- All transactions with lower numbers have ended, of those that can change something here: not the ones that are known to
-- be at work in another database of the server, which may never end.
CREATE FUNCTION oldest_at_work() RETURNS bigint LANGUAGE sql AS $$
    SELECT least(pg_snapshot_xmax(s.snapshot)::text::bigint, pg_current_xact_id_if_assigned()::text::bigint,
        (SELECT min(id::text::bigint) FROM pg_snapshot_xip(s.snapshot) AS x (id) WHERE id::xid NOT IN (
            SELECT transactionid FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND pid IN (
                SELECT pid FROM pg_stat_activity WHERE datname <> current_database()))))
    FROM (SELECT pg_current_snapshot() AS snapshot OFFSET 0) AS s;
$$;

-- Begin a look at what has changed. `since`: this relay has seen all changes below that number. Returns the number for
-- its next look, and whether changes may have been forgotten that it has not seen.
CREATE FUNCTION begin_look(own_relay text, since bigint, OUT upto bigint, OUT is_new boolean) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO relays (relay, seen_at) VALUES (own_relay, clock_timestamp()) ON CONFLICT DO NOTHING;
    SELECT looked IS NULL INTO is_new FROM relays WHERE relay = own_relay;
    UPDATE relays SET looked = since WHERE relay = own_relay AND looked IS DISTINCT FROM since;
    DELETE FROM presence_changes WHERE entry IN (SELECT entry FROM presence_changes
        WHERE changed < (SELECT min(looked) FROM relays) LIMIT 50000 FOR UPDATE SKIP LOCKED);
    upto := oldest_at_work();
END $$;

-- Contacts of a user for whom a session is noted, and at which relay. Each OFFSET 0 keeps the server from looking through
-- all sessions for each of many users, which it would take for cheap before it has counted them.
CREATE FUNCTION contacts_with_sessions(owner bigint) RETURNS TABLE (account bigint, user_id text, relay text)
LANGUAGE sql STABLE AS $$
    SELECT a.account, a.user_id, s.relay
        FROM (SELECT DISTINCT w.recipient AS other FROM written AS w WHERE w.sender = owner AND w.recipient <> owner) AS w
        CROSS JOIN LATERAL (SELECT FROM written AS b WHERE b.sender = w.other AND b.recipient = owner LIMIT 1 OFFSET 0) AS b
        CROSS JOIN LATERAL (SELECT e.relay FROM sessions AS e WHERE e.account = w.other OFFSET 0) AS s
        JOIN accounts AS a ON a.account = w.other;
$$;

-- Who has changed since; what each shows, none if there is nothing to say (they are here, or have just left); and which
-- users of this relay may see it.
CREATE FUNCTION see_presence(own_relay text, since bigint)
RETURNS TABLE (id text, shown text, seen bigint, watchers text[]) LANGUAGE sql STABLE AS $$
    WITH found AS MATERIALIZED (
        SELECT DISTINCT p.account, p.user_id FROM presence_changes AS p WHERE p.changed >= since
    )
    SELECT f.user_id,
        CASE WHEN s.has_ended OR s.relay = own_relay THEN NULL ELSE coalesce(s.presence, 'offline') END,
        a.last_seen,
        ARRAY(SELECT x.user_id FROM contacts_with_sessions(f.account) AS x WHERE x.relay = own_relay)
        FROM found AS f LEFT JOIN sessions AS s USING (account) LEFT JOIN accounts AS a USING (account);
$$;

-- The same of contacts of some users of this relay, changed or not; watchers are those of them who may see it.
CREATE FUNCTION see_contacts(own_relay text, ids text[])
RETURNS TABLE (id text, shown text, seen bigint, watchers text[]) LANGUAGE sql STABLE AS $$
    WITH found AS MATERIALIZED (
        SELECT x.account, x.user_id, array_agg(o.id) AS watchers
            FROM unnest(ids) AS o (id) JOIN accounts AS w ON w.user_id = o.id
            CROSS JOIN LATERAL contacts_with_sessions(w.account) AS x GROUP BY x.account, x.user_id
    )
    SELECT f.user_id,
        CASE WHEN s.has_ended OR s.relay = own_relay THEN NULL ELSE coalesce(s.presence, 'offline') END,
        a.last_seen, f.watchers
        FROM found AS f LEFT JOIN sessions AS s USING (account) LEFT JOIN accounts AS a USING (account);
$$;
