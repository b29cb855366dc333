-- Commands about accounts: login, departure, blocking, deletion, idle accounts.

-- Delete mail of an account, of one sender if given, about 1 MiB; whether that was all.
CREATE FUNCTION delete_mail(owner bigint, of_sender text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    left_over boolean;
BEGIN
    WITH summed AS (
        SELECT seq, sum(length(text)) OVER (ORDER BY seq) - length(text) AS before FROM items
        WHERE recipient = owner AND (of_sender IS NULL OR sender = of_sender)
    ), gone AS (
        DELETE FROM items AS i USING summed AS s WHERE i.recipient = owner AND i.seq = s.seq AND s.before < 1048576
    )
    SELECT EXISTS (SELECT FROM summed WHERE before >= 1048576) INTO left_over;
    RETURN NOT left_over;
END $$;

-- Delete an account and everything that belongs to it, a bounded part at a time: mail, then whom it has written to or
-- heard from, some hundred of them, then what left its mailbox a moment ago. Returns whether it is gone, and who were
-- contacts until this part, of those who are connected or were until a moment ago.
CREATE FUNCTION delete_account(owner bigint, OUT is_gone boolean, OUT contacts text[]) LANGUAGE plpgsql AS $$
DECLARE
    others bigint[];
    other bigint;
BEGIN
    contacts := '{}';
    is_gone := false;
    IF NOT delete_mail(owner, NULL) THEN
        RETURN;
    END IF;
    others := ARRAY((SELECT recipient FROM written WHERE sender = owner LIMIT 500)
        UNION (SELECT sender FROM written WHERE recipient = owner LIMIT 500));
    SELECT coalesce(array_agg(a.user_id ORDER BY a.account), '{}') INTO contacts
        FROM unnest(others) AS o (account) JOIN accounts AS a USING (account) JOIN sessions USING (account)
        WHERE o.account <> owner AND are_contacts(owner, o.account);
    FOREACH other IN ARRAY others LOOP
        DELETE FROM written WHERE sender = owner AND recipient = other;
        DELETE FROM written WHERE sender = other AND recipient = owner;
    END LOOP;
    DELETE FROM tombstones WHERE ctid = ANY (ARRAY(SELECT ctid FROM tombstones WHERE recipient = owner LIMIT 5000));
    DELETE FROM written_in_groups WHERE ctid = ANY (ARRAY(SELECT ctid FROM written_in_groups
        WHERE sender = owner LIMIT 5000) || ARRAY(SELECT ctid FROM written_in_groups WHERE recipient = owner LIMIT 5000));
    IF EXISTS (SELECT FROM written_in_groups WHERE sender = owner)
        OR EXISTS (SELECT FROM written_in_groups WHERE recipient = owner) THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM written WHERE sender = owner) OR EXISTS (SELECT FROM written WHERE recipient = owner)
        OR EXISTS (SELECT FROM tombstones WHERE recipient = owner) THEN
        RETURN;
    END IF;
    DELETE FROM sessions WHERE account = owner;
    DELETE FROM past_sessions WHERE account = owner;
    DELETE FROM accounts WHERE account = owner;
    is_gone := true;
END $$;

-- Open an account or make it. Conflicts; also in calls.py: 1 new, 2 taken, 3 signed, 4 older, 5 unfinished.
CREATE FUNCTION log_in(
    id text, key text, certified_id text, is_signed boolean, may_create boolean, now bigint, own_relay text,
    connected_at bigint, shown text,
    OUT conflict smallint, OUT contacts text[], OUT seen_as text, OUT others text[], OUT show text[]
) LANGUAGE plpgsql AS $$
DECLARE
    is_certified boolean := id = certified_id;
    wanted smallint := CASE WHEN NOT is_signed THEN 2 WHEN is_certified THEN 1 ELSE 0 END;
    today integer := now / 86400000;
    old accounts%ROWTYPE;
    owner bigint;
    is_older boolean;
BEGIN
    IF NOT is_signed AND EXISTS (SELECT FROM accounts WHERE user_id = certified_id AND standing <> 2) THEN
        conflict := 3;
        RETURN;
    END IF;
    SELECT * INTO old FROM accounts WHERE user_id = id;
    owner := old.account;
    IF old.public_key IS DISTINCT FROM key AND NOT may_create AND (owner IS NULL OR is_certified) THEN
        conflict := 1;
        RETURN;
    END IF;
    IF owner IS NOT NULL AND NOT (old.public_key = key AND is_signed = (old.standing <> 2)) THEN
        IF NOT (old.public_key = key AND is_signed) AND (wanted <> 1 OR old.standing = 1) THEN
            conflict := CASE WHEN old.public_key = key THEN 3 ELSE 2 END;
            RETURN;
        END IF;
        IF NOT (SELECT is_gone FROM delete_account(owner)) THEN
            conflict := 5;
            RETURN;
        END IF;
        owner := NULL;
    END IF;
    IF owner IS NULL THEN
        INSERT INTO accounts (user_id, public_key, standing, active_on) VALUES (id, key, wanted, today)
            RETURNING account INTO owner;
        INSERT INTO mailboxes (account) VALUES (owner);
    ELSIF old.active_on <> today THEN
        UPDATE accounts SET active_on = today WHERE account = owner;
    END IF;
    SELECT s.is_older, s.seen_as, s.others, s.show INTO is_older, seen_as, others, show
        FROM begin_session(owner, own_relay, connected_at, shown) AS s;
    IF is_older THEN
        conflict := 4;
        RETURN;
    END IF;
    contacts := contacts_of(owner);
END $$;

CREATE FUNCTION record_departure(id text, seen bigint, now bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE accounts SET last_seen = seen, active_on = now / 86400000 WHERE user_id = id;
$$;

CREATE FUNCTION record_activity(id text, now bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE accounts SET active_on = now / 86400000 WHERE user_id = id AND active_on <> now / 86400000;
$$;

-- Keep somebody away, an account or not. Outcomes: -1 the actor is gone, 0 too many blocks, 1 more is to be done,
-- 2 all is done.
CREATE FUNCTION block(
    id text, key text, is_unsigned boolean, other_id text, most integer, OUT outcome smallint, OUT was_contact boolean
) LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := current_account(id, key, is_unsigned);
    other bigint;
BEGIN
    IF owner IS NULL THEN
        outcome := -1;
        RETURN;
    END IF;
    SELECT account INTO other FROM accounts WHERE user_id = other_id;
    was_contact := coalesce(are_contacts(owner, other), false);
    IF NOT EXISTS (SELECT FROM blocks WHERE blocker = owner AND blocked = other_id) THEN
        IF (SELECT count(*) FROM blocks WHERE blocker = owner) >= most THEN
            outcome := 0;
            RETURN;
        END IF;
        -- A trigger forgets that it was in groups.
        INSERT INTO blocks (blocker, blocked) VALUES (owner, other_id);
        DELETE FROM written WHERE sender = owner AND recipient = other;
    END IF;
    outcome := CASE WHEN delete_mail(owner, other_id) THEN 2 ELSE 1 END;
END $$;

-- Returns whether the actor has an account.
CREATE FUNCTION unblock(id text, key text, is_unsigned boolean, other_id text) RETURNS boolean LANGUAGE sql AS $$
    DELETE FROM blocks WHERE blocker = current_account(id, key, is_unsigned) AND blocked = other_id;
    SELECT current_account(id, key, is_unsigned) IS NOT NULL;
$$;

-- Outcomes as of block, without 0.
CREATE FUNCTION delete_own_account(
    id text, key text, is_unsigned boolean, OUT outcome smallint, OUT contacts text[]
) LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := current_account(id, key, is_unsigned);
BEGIN
    IF owner IS NULL THEN
        outcome := -1;
        RETURN;
    END IF;
    SELECT CASE WHEN d.is_gone THEN 2 ELSE 1 END, d.contacts INTO outcome, contacts FROM delete_account(owner) AS d;
END $$;

-- Accounts that were last active before a day, behind the one that was looked at last.
CREATE FUNCTION find_idle_accounts(day integer, looked_on integer, looked_at bigint, most integer)
RETURNS TABLE (id text, on_ integer, at bigint, has_mail boolean) LANGUAGE sql STABLE AS $$
    SELECT user_id, active_on, account, EXISTS (SELECT FROM items WHERE recipient = account) FROM accounts
        WHERE (active_on, account) > (looked_on, looked_at) AND active_on < day ORDER BY active_on, account LIMIT most;
$$;

-- Delete an account if it is still idle; false if there is more to delete.
CREATE FUNCTION delete_idle_account(id text, day integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    idle bigint;
BEGIN
    SELECT account INTO idle FROM accounts WHERE user_id = id AND active_on < day
        AND NOT EXISTS (SELECT FROM items WHERE recipient = account);
    RETURN idle IS NULL OR (SELECT is_gone FROM delete_account(idle));
END $$;
