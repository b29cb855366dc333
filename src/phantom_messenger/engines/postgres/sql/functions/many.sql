-- Commands about one message to many, and what goes with it.

-- Whether a digest is among others, 16 bytes each.
CREATE FUNCTION is_among(digest bytea, digests bytea) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM generate_series(1, length(digests), 16) AS start
        WHERE substr(digests, start, 16) = digest);
$$;

-- Store the next revision of an order, whose lock is held, if it may be the next one, as relay.many_commands.judge
-- says, unless it was taken already. Outcomes; also in many_calls.py: 0 taken, 7 the author may not write, 8 it does not
-- follow the one that is held.
CREATE FUNCTION take_order(
    of_name bytea, new_revision bigint, author bytea, new_writers bytea, new_last bytea, most_step integer,
    most_again integer, now bigint, OUT outcome smallint, OUT held bigint, OUT held_author bytea
) LANGUAGE plpgsql AS $$
DECLARE
    stored orders%ROWTYPE;
BEGIN
    SELECT * INTO stored FROM orders WHERE name = of_name;
    outcome := 0;
    IF is_among(new_last, stored.last) THEN
        RETURN;
    ELSIF NOT is_among(author, coalesce(stored.writers, new_writers)) THEN
        outcome := 7;
        RETURN;
    ELSIF NOT new_revision - stored.revision BETWEEN 1 AND most_step THEN
        outcome := 8;
        held := stored.revision;
        held_author := stored.author;
        RETURN;
    END IF;
    INSERT INTO orders (name, revision, writers, last, author, written_on)
        VALUES (of_name, new_revision, new_writers,
            substr(new_last || coalesce(stored.last, ''), 1, 16 * most_again), take_order.author, now / 86400000)
        ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, writers = excluded.writers,
            last = excluded.last, author = excluded.author, written_on = excluded.written_on;
END $$;

-- The copies of one message, each as accept_messages does. The first row says whether the message was taken at all:
-- 6 the actor is gone, 7 or 8 as of take_order, with the stored revision in place of the seq, and its author; the others
-- are theirs.
CREATE FUNCTION accept_many(
    id text, key text, is_unsigned boolean, recipients text[], name text, heads bytea[], tails bytea[],
    contents bytea[], expires_at bigint, mark bigint, conversation text, are_grouped boolean, now bigint,
    bounds bigint[], of_order bytea, revision bigint, author bytea, writers bytea, last bytea, most_step integer,
    most_again integer
) RETURNS TABLE (outcome smallint, new_seq bigint, became_contacts boolean, held_author bytea) LANGUAGE plpgsql AS $$
DECLARE
    size integer[] := ARRAY[cardinality(recipients)];
BEGIN
    became_contacts := false;
    outcome := 0;
    IF current_account(id, key, is_unsigned) IS NULL THEN
        outcome := 6;
    ELSIF of_order IS NOT NULL THEN
        SELECT t.outcome, t.held, t.held_author INTO outcome, new_seq, held_author
            FROM take_order(of_order, revision, author, writers, last, most_step, most_again, now) AS t;
    END IF;
    RETURN NEXT;
    IF outcome = 0 AND size[1] > 0 THEN
        RETURN QUERY SELECT a.*, NULL::bytea FROM accept_messages(array_fill(id, size), array_fill(key, size),
            array_fill(is_unsigned, size), recipients, array_fill(name, size), heads, tails, contents,
            array_fill(expires_at, size), array_fill(mark, size), array_fill(conversation, size),
            array_fill(false, size), array_fill(now, size), are_grouped, bounds) AS a;
    END IF;
END $$;

-- A bundle of each target, none of one who has published nothing or has no account; no row if the actor has none.
CREATE FUNCTION fetch_prekeys(
    id text, key text, is_unsigned boolean, targets text[], now bigint, most_of_target integer,
    most_of_requester integer
) RETURNS SETOF bundle LANGUAGE plpgsql AS $$
DECLARE
    requester bigint := current_account(id, key, is_unsigned);
    target text;
BEGIN
    IF requester IS NULL THEN
        RETURN;
    END IF;
    FOREACH target IN ARRAY targets LOOP
        RETURN NEXT hand_out((SELECT account FROM accounts WHERE user_id = target), requester, now, most_of_target,
            most_of_requester);
    END LOOP;
END $$;

-- Some of those of which nothing was written for long. One that somebody is changing is left for the next time.
CREATE FUNCTION forget_orders(day integer, most integer) RETURNS void LANGUAGE sql AS $$
    DELETE FROM orders WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM orders WHERE written_on < day ORDER BY written_on LIMIT most FOR UPDATE SKIP LOCKED));
$$;
