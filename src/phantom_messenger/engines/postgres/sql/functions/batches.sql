-- Called first in every transaction.

-- Raises an error if the database does not keep what is promised of a commit, and takes all locks of the
-- transaction: of ids, of orders, of mailboxes, then of sessions, each in one order for all relays, so that none waits
-- for another in a circle. Items are numbered under the lock of their mailbox, so the order of numbers is the order of commits:
-- whoever reads behind the last number that they have seen misses nothing.
-- Then it looks whether the sessions for which something is to be done are their users' still, and raises an error that
-- has the numbers of those that are not: a login elsewhere has waited for those locks, or has been waited for.
CREATE FUNCTION begin_batch(
    durability text, ids text[], claimed text[], own_relay text DEFAULT '', users text[] DEFAULT '{}',
    keys text[] DEFAULT '{}', connected bigint[] DEFAULT '{}', orders bytea[] DEFAULT '{}'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    over integer[];
BEGIN
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') OR current_setting('fsync') <> 'on' THEN
        RAISE 'commits are not synced: synchronous_commit and fsync must be on' USING ERRCODE = 'PH001';
    END IF;
    IF durability = 'quorum' AND current_setting('synchronous_standby_names') = '' THEN
        RAISE 'commits are not replicated: synchronous_standby_names is empty' USING ERRCODE = 'PH001';
    END IF;
    -- A space of its own: whoever chooses ids must not meet the locks of relays.
    PERFORM pg_advisory_xact_lock(1, hashtext(id)) FROM (SELECT unnest(claimed) AS id ORDER BY 1) AS c;
    IF cardinality(orders) > 0 THEN
        PERFORM pg_advisory_xact_lock(6, o.key)
            FROM (SELECT DISTINCT hashtext(encode(name, 'hex')) AS key FROM unnest(orders) AS name ORDER BY 1) AS o;
    END IF;
    PERFORM FROM mailboxes
        WHERE account IN (SELECT account FROM accounts WHERE user_id = ANY (ids))
        ORDER BY account FOR NO KEY UPDATE;
    -- A login notes at sessions of contacts what it has seen, unless they are locked: so those of all who log in are
    -- locked before the first of them sees the others.
    IF cardinality(claimed) > 0 THEN
        PERFORM FROM sessions
            WHERE account IN (SELECT account FROM accounts WHERE user_id = ANY (claimed))
            ORDER BY account FOR UPDATE;
    END IF;
    over := sessions_over(own_relay, users, keys, connected);
    IF over IS NOT NULL THEN
        RAISE 'sessions are over' USING ERRCODE = 'PH002', DETAIL = array_to_string(over, ' ');
    END IF;
END $$;

-- The number of an account; none if it is not, or not any more, the one that a session has logged in to.
CREATE FUNCTION current_account(id text, key text, is_unsigned boolean) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT account FROM accounts WHERE user_id = id AND public_key = key AND NOT (is_unsigned AND standing <> 2);
$$;

-- The same of many, in their order.
CREATE FUNCTION accounts_of(ids text[], keys text[], unsigned boolean[]) RETURNS bigint[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(a.account ORDER BY o.n)
        FROM unnest(ids, keys, unsigned) WITH ORDINALITY AS o (id, key, is_unsigned, n)
        LEFT JOIN accounts AS a ON a.user_id = o.id AND a.public_key = o.key
            AND NOT (o.is_unsigned AND a.standing <> 2);
$$;

CREATE FUNCTION has_written(from_ bigint, to_ bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM written WHERE sender = from_ AND recipient = to_);
$$;

-- Also if only in a group, which makes nobody a contact.
CREATE FUNCTION has_written_at_all(from_ bigint, to_ bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT has_written(from_, to_)
        OR EXISTS (SELECT FROM written_in_groups WHERE sender = from_ AND recipient = to_);
$$;

-- Of two users, in whichever order, for the advisory lock of those who write to each other for the first time.
CREATE FUNCTION pair_key(one bigint, other bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtext(least(one, other) || ' ' || greatest(one, other));
$$;

CREATE FUNCTION are_contacts(one bigint, other bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT has_written(one, other) AND has_written(other, one);
$$;
