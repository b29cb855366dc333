-- Commands about mailboxes. Arguments that are arrays have one element a command, or a message, in order.

-- Nearly all messages are to somebody who knows the sender, and nothing stands in their way: those are stored by one
-- statement. The others come after them one by one, as do all that stand behind one of them in the same mailbox. Those
-- that are grouped, sent to a group, are copies of one message: no two for one mailbox.
CREATE FUNCTION accept_messages(
    ids text[], keys text[], unsigned boolean[], recipients text[], names text[], heads bytea[], tails bytea[],
    contents bytea[], expiries bigint[], marks bigint[], conversations text[], loose boolean[], nows bigint[],
    are_grouped boolean, bounds bigint[]
) RETURNS TABLE (outcome smallint, new_seq bigint, became_contacts boolean) LANGUAGE plpgsql AS $$
DECLARE
    seqs bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(ids)]);
    n bigint;
    seq_of bigint;
    sender bigint;
    mailbox bigint;
BEGIN
    FOR n, seq_of IN
        WITH given AS MATERIALIZED (
            SELECT g.n, s.account AS sender, r.account AS mailbox, g.id, g.name, g.head, g.tail, g.expires_at, g.now,
                length(g.head) + length(g.tail) + 256 AS size,
                r.standing <> 2 AND g.is_loose AS is_refused,
                row_number() OVER (PARTITION BY r.account, s.account, g.name ORDER BY g.n) AS copy,
                CASE WHEN are_grouped THEN
                    EXISTS (SELECT FROM written_in_groups AS w WHERE w.sender = s.account AND w.recipient = r.account)
                    OR EXISTS (SELECT FROM written AS w WHERE w.sender = s.account AND w.recipient = r.account)
                ELSE
                    EXISTS (SELECT FROM written AS w WHERE w.sender = s.account AND w.recipient = r.account
                        AND w.conversation = g.conversation)
                END AS is_noted,
                EXISTS (SELECT FROM written AS w WHERE w.sender = r.account AND w.recipient = s.account)
                    OR EXISTS (SELECT FROM written_in_groups AS w
                        WHERE w.sender = r.account AND w.recipient = s.account) AS is_known,
                are_grouped AND (SELECT count(*) FROM items AS i WHERE i.recipient = r.account AND i.kind = 1
                    AND i.sender = g.id AND i.grouped = 1) >= bounds[7] AS is_one_too_many
            FROM unnest(ids, keys, unsigned, recipients, names, heads, tails, expiries, conversations, loose, nows)
                WITH ORDINALITY AS g (id, key, is_unsigned, recipient, name, head, tail, expires_at, conversation,
                is_loose, now, n)
            JOIN accounts AS s ON s.user_id = g.id AND s.public_key = g.key
                AND NOT (g.is_unsigned AND s.standing <> 2)
            JOIN accounts AS r ON r.user_id = g.recipient
        ), judged AS MATERIALIZED (
            SELECT g.*, m.seq AS base, m.messages_at_most, m.bytes_at_most,
                row_number() OVER behind AS rank, sum(g.size) OVER behind AS total,
                bool_and(g.is_noted AND g.is_known AND g.copy = 1 AND NOT g.is_refused AND NOT g.is_one_too_many
                    AND NOT EXISTS (SELECT FROM items AS i WHERE i.recipient = g.mailbox AND i.kind = 1
                        AND i.sender = g.id AND i.name = g.name)
                    AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.recipient = g.mailbox AND t.sender = g.id
                        AND t.name = g.name AND t.until > g.now)) OVER behind AS is_free
            FROM given AS g JOIN mailboxes AS m ON m.account = g.mailbox
            WINDOW behind AS (PARTITION BY g.mailbox ORDER BY g.n)
        ), taken AS MATERIALIZED (
            SELECT * FROM judged AS j WHERE j.is_free AND j.messages_at_most + j.rank <= bounds[1]
                AND (bounds[6] IS NULL OR j.bytes_at_most + j.total <= bounds[6])
        ), put AS (
            INSERT INTO items (recipient, seq, kind, sender, name, stored_at, expires_at, text, grouped)
            SELECT t.mailbox, t.base + t.rank, 1, t.id, t.name, t.now, t.expires_at,
                t.head || convert_to((t.base + t.rank)::text, 'UTF8') || t.tail,
                CASE WHEN are_grouped THEN 1 END FROM taken AS t
        ), counted AS (
            UPDATE mailboxes AS m SET seq = m.seq + c.count, messages_at_most = m.messages_at_most + c.count,
                bytes_at_most = m.bytes_at_most + c.size
            FROM (SELECT t.mailbox, count(*) AS count, sum(t.size) AS size FROM taken AS t GROUP BY 1) AS c
            WHERE m.account = c.mailbox
        )
        SELECT t.n, t.base + t.rank FROM taken AS t
    LOOP
        seqs[n] := seq_of;
    END LOOP;
    IF array_position(seqs, NULL) IS NULL THEN
        RETURN QUERY SELECT 0::smallint, s, false FROM unnest(seqs) AS s;
        RETURN;
    END IF;
    -- As record_written does for each; all at once, in one order for all relays.
    IF NOT are_grouped THEN
        PERFORM pg_advisory_xact_lock(5, p.key) FROM (
            SELECT DISTINCT pair_key(s.account, r.account) AS key FROM unnest(ids, recipients, seqs)
                AS g (id, recipient, seq) JOIN accounts AS s ON s.user_id = g.id
                JOIN accounts AS r ON r.user_id = g.recipient
            WHERE g.seq IS NULL ORDER BY 1) AS p;
    END IF;
    FOR n IN 1..cardinality(ids) LOOP
        became_contacts := false;
        new_seq := seqs[n];
        outcome := 0;
        IF new_seq IS NULL THEN
            sender := current_account(ids[n], keys[n], unsigned[n]);
            IF sender IS NULL THEN
                outcome := 6;
            ELSE
                SELECT s.outcome, s.new_seq, s.mailbox INTO outcome, new_seq, mailbox FROM send_item(sender, ids[n],
                    recipients[n], 1::smallint, names[n], heads[n], tails[n], contents[n], expiries[n], marks[n],
                    loose[n], nows[n], are_grouped, bounds) AS s;
                IF outcome = 0 AND are_grouped THEN
                    PERFORM record_written_in_group(sender, ids[n], mailbox, recipients[n]);
                ELSIF outcome = 0 THEN
                    became_contacts := record_written(sender, ids[n], mailbox, recipients[n], conversations[n]);
                END IF;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Delete messages that their recipients have received, read or burned, and leave receipts for their senders.
-- One element of owners, keys and unsigned a command; commands[n] says whose message n is. Returns for each message
-- that is news its number, when it was stored and was to expire (none if it did not wait), and the receipt's seq; and
-- the negative number of each command whose owner is gone. What was sent to a group is no news.
CREATE FUNCTION acknowledge(
    owners text[], keys text[], unsigned boolean[], commands bigint[], senders text[], names text[],
    are_delivered boolean[], notify boolean[], heads bytea[], tails bytea[], nows bigint[], bounds bigint[],
    remembers boolean
) RETURNS TABLE (number integer, stored_at bigint, expires_at bigint, receipt_seq bigint) LANGUAGE plpgsql AS $$
DECLARE
    accounts_of bigint[] := accounts_of(owners, keys, unsigned);
    news integer[];
    stored bigint[];
    expiry bigint[];
    are_wanted boolean[] := array_fill(false, ARRAY[greatest(cardinality(names), 1)]);
    seqs bigint[] := array_fill(NULL::bigint, ARRAY[greatest(cardinality(names), 1)]);
    n integer;
BEGIN
    RETURN QUERY SELECT -o.n::integer, NULL::bigint, NULL::bigint, NULL::bigint
        FROM unnest(accounts_of) WITH ORDINALITY AS o (account, n) WHERE o.account IS NULL;
    WITH given AS MATERIALIZED (
        -- Of the messages' kind: as a constant it would let the server look through all items of that kind first.
        SELECT g.n::integer AS n, accounts_of[g.command] AS owner, 1::smallint AS kind, g.sender, g.name,
            g.is_delivered, g.now
        FROM unnest(commands, senders, names, are_delivered, nows)
            WITH ORDINALITY AS g (command, sender, name, is_delivered, now, n)
        WHERE accounts_of[g.command] IS NOT NULL
    ), gone AS (
        DELETE FROM items AS i USING (
            SELECT DISTINCT ON (g.owner, g.sender, g.name) g.* FROM given AS g ORDER BY g.owner, g.sender, g.name, g.n
        ) AS g
        WHERE i.recipient = g.owner AND i.kind = g.kind AND i.sender = g.sender AND i.name = g.name
        RETURNING g.n, g.owner, g.sender, g.name, g.now, i.stored_at, i.expires_at, i.grouped
    ), remembered AS (
        INSERT INTO tombstones (recipient, sender, name, until)
            SELECT g.owner, g.sender, g.name, g.now + 600000 FROM gone AS g WHERE remembers
            ON CONFLICT (recipient, sender, name) DO UPDATE SET until = excluded.until
    ), new AS (
        SELECT g.n, g.stored_at, g.expires_at FROM gone AS g WHERE g.grouped IS NULL
        UNION ALL
        SELECT g.n, NULL, NULL FROM given AS g WHERE NOT g.is_delivered AND g.n NOT IN (SELECT d.n FROM gone AS d)
    )
    SELECT array_agg(n.n ORDER BY n.n), array_agg(n.stored_at ORDER BY n.n), array_agg(n.expires_at ORDER BY n.n)
        INTO news, stored, expiry FROM new AS n;
    IF news IS NULL THEN
        RETURN;
    END IF;
    FOREACH n IN ARRAY news LOOP
        are_wanted[n] := notify[n];
    END LOOP;
    FOR n, receipt_seq IN SELECT * FROM leave_receipts(are_wanted, accounts_of, owners, commands, senders, names,
        are_delivered, heads, tails, nows, bounds)
    LOOP
        seqs[n] := receipt_seq;
    END LOOP;
    RETURN QUERY SELECT u.n, u.stored_at, u.expires_at, seqs[u.n] FROM unnest(news, stored, expiry)
        AS u (n, stored_at, expires_at);
END $$;

-- Receipts for those of the senders who may learn the status of their messages: the number and the seq of each. As
-- in accept_messages, those in whose way nothing stands are stored by one statement.
CREATE FUNCTION leave_receipts(
    are_wanted boolean[], accounts_of bigint[], owners text[], commands bigint[], senders text[], names text[],
    are_delivered boolean[], heads bytea[], tails bytea[], nows bigint[], bounds bigint[]
) RETURNS TABLE (n integer, seq bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR n, seq IN
        WITH given AS MATERIALIZED (
            SELECT g.n::integer AS n, owners[g.command] AS owner, s.account AS mailbox, m.seq AS base,
                m.bytes_at_most, g.name, g.head, g.tail, g.now, length(g.head) + length(g.tail) + 256 AS size,
                row_number() OVER (PARTITION BY s.account, owners[g.command], g.name ORDER BY g.n) AS copy,
                row_number() OVER (PARTITION BY s.account, owners[g.command] ORDER BY g.n) AS rank_of_pair
            FROM unnest(commands, senders, names, heads, tails, nows, are_wanted)
                WITH ORDINALITY AS g (command, sender, name, head, tail, now, is_wanted, n)
            JOIN accounts AS s ON s.user_id = g.sender
            JOIN mailboxes AS m ON m.account = s.account
            WHERE g.is_wanted
                AND EXISTS (SELECT FROM written AS w WHERE w.sender = accounts_of[g.command] AND w.recipient = s.account)
                AND EXISTS (SELECT FROM written AS w WHERE w.sender = s.account AND w.recipient = accounts_of[g.command])
        ), counted_once AS (
            SELECT g.*, max(CASE WHEN g.rank_of_pair = 1 THEN (SELECT count(*) FROM items AS i
                WHERE i.recipient = g.mailbox AND i.kind = 2 AND i.sender = g.owner) END)
                OVER (PARTITION BY g.mailbox, g.owner) AS held
            FROM given AS g
        ), judged AS (
            SELECT g.*, row_number() OVER behind AS rank, sum(g.size) OVER behind AS total,
                bool_and(g.copy = 1 AND g.held + g.rank_of_pair <= bounds[5] AND NOT EXISTS (SELECT FROM items AS i
                    WHERE i.recipient = g.mailbox AND i.kind = 2 AND i.sender = g.owner AND i.name = g.name))
                    OVER behind AS is_free
            FROM counted_once AS g WINDOW behind AS (PARTITION BY g.mailbox ORDER BY g.n)
        ), decided AS MATERIALIZED (
            SELECT j.*, j.is_free AND (bounds[6] IS NULL OR j.bytes_at_most + j.total <= bounds[6]) AS is_taken
            FROM judged AS j
        ), put AS (
            INSERT INTO items (recipient, seq, kind, sender, name, stored_at, text)
            SELECT d.mailbox, d.base + d.rank, 2, d.owner, d.name, d.now,
                d.head || convert_to((d.base + d.rank)::text, 'UTF8') || d.tail FROM decided AS d WHERE d.is_taken
        ), counted AS (
            UPDATE mailboxes AS m SET seq = m.seq + c.count, bytes_at_most = m.bytes_at_most + c.size
            FROM (SELECT d.mailbox, count(*) AS count, sum(d.size) AS size FROM decided AS d WHERE d.is_taken
                GROUP BY 1) AS c
            WHERE m.account = c.mailbox
        )
        SELECT d.n, CASE WHEN d.is_taken THEN d.base + d.rank END FROM decided AS d ORDER BY d.n
    LOOP
        IF seq IS NULL THEN
            seq := leave_receipt(accounts_of[commands[n]], owners[commands[n]], senders[n], names[n],
                are_delivered[n], heads[n], tails[n], nows[n], bounds);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- A receipt for the sender of a message, if they may learn its status; its seq, or none. What waits already says as
-- much as "delivered", or more.
CREATE FUNCTION leave_receipt(
    owner bigint, owner_id text, sender_id text, message text, is_delivered boolean, head bytea, tail bytea,
    now bigint, bounds bigint[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    mailbox bigint;
BEGIN
    SELECT account INTO mailbox FROM accounts WHERE user_id = sender_id;
    IF mailbox IS NULL OR NOT are_contacts(owner, mailbox) THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT new_seq FROM add_item(mailbox, 2::smallint, owner_id, message, head, tail, NULL, NULL, NULL, true,
        NOT is_delivered, now, false, bounds));
END $$;

-- Who may learn what has become of their messages.
CREATE FUNCTION may_see_delivery(owner_id text, sender_ids text[]) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT s.user_id FROM accounts AS s, accounts AS o
        WHERE s.user_id = ANY (sender_ids) AND o.user_id = owner_id AND are_contacts(o.account, s.account);
$$;

CREATE FUNCTION store_receipts(
    owner_id text, senders text[], names text[], are_delivered boolean[], heads bytea[], tails bytea[], now bigint,
    bounds bigint[]
) RETURNS SETOF bigint LANGUAGE sql AS $$
    SELECT leave_receipt((SELECT account FROM accounts WHERE user_id = owner_id), owner_id, m.sender, m.name,
        m.is_delivered, m.head, m.tail, now, bounds)
    FROM unnest(senders, names, are_delivered, heads, tails) WITH ORDINALITY
        AS m (sender, name, is_delivered, head, tail, number) ORDER BY m.number;
$$;

-- Delete receipts and key exchanges by their numbers; a message is left alone. Returns which owners are gone.
CREATE FUNCTION confirm(
    owners text[], keys text[], unsigned boolean[], commands bigint[], seqs bigint[]
) RETURNS SETOF integer LANGUAGE plpgsql AS $$
DECLARE
    accounts_of bigint[] := accounts_of(owners, keys, unsigned);
BEGIN
    DELETE FROM items AS i USING unnest(commands, seqs) AS s (command, seq)
        WHERE i.recipient = accounts_of[s.command] AND i.seq = s.seq AND i.kind <> 1;
    RETURN QUERY SELECT o.n::integer FROM unnest(accounts_of) WITH ORDINALITY AS o (account, n)
        WHERE o.account IS NULL;
END $$;

-- Unexpired items behind a seq, at least one if there is any, about so many bytes. The last row has no seq: its kind
-- is 1 if there is nothing behind them, and -1 if the account is gone.
CREATE FUNCTION read_mailbox(
    owner_id text, key text, is_unsigned boolean, behind bigint, max_bytes bigint, now bigint
) RETURNS TABLE (seq bigint, kind smallint, sender text, name text, text bytea, expires_at bigint)
LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := current_account(owner_id, key, is_unsigned);
    room bigint := max_bytes;
    is_complete boolean := true;
BEGIN
    IF owner IS NOT NULL THEN
        FOR seq, kind, sender, name, text, expires_at IN
            SELECT i.seq, i.kind, i.sender, i.name, i.text, i.expires_at FROM items AS i
            WHERE i.recipient = owner AND i.seq > behind AND (i.expires_at IS NULL OR i.expires_at > now)
            ORDER BY i.seq
        LOOP
            IF room <= 0 THEN
                is_complete := false;
                EXIT;
            END IF;
            room := room - length(text);
            RETURN NEXT;
        END LOOP;
    END IF;
    seq := NULL;
    kind := CASE WHEN owner IS NULL THEN -1 WHEN is_complete THEN 1 ELSE 0 END;
    RETURN NEXT;
END $$;

-- Which items have expired: at most most of them, about 1 MiB. Their mailboxes and their senders' are to be locked.
CREATE FUNCTION find_expired(stored_before bigint, most integer, now bigint)
RETURNS TABLE (recipient bigint, seq bigint, recipient_id text, sender text) LANGUAGE sql STABLE AS $$
    WITH expired AS (
        (SELECT i.recipient, i.seq, i.sender, length(i.text) AS size, i.expires_at AS at FROM items AS i
            WHERE i.expires_at <= now ORDER BY i.expires_at LIMIT most)
        UNION ALL
        (SELECT i.recipient, i.seq, i.sender, length(i.text), i.stored_at FROM items AS i
            WHERE i.stored_at <= stored_before AND NOT EXISTS (SELECT FROM items AS e WHERE e.expires_at <= now)
            ORDER BY i.stored_at LIMIT most)
    ), summed AS (
        SELECT e.*, sum(e.size) OVER (ORDER BY e.at, e.recipient, e.seq) - e.size AS before FROM expired AS e
    )
    SELECT s.recipient, s.seq, a.user_id, s.sender FROM summed AS s JOIN accounts AS a ON a.account = s.recipient
        WHERE s.before < 1048576 ORDER BY s.at, s.recipient, s.seq;
$$;

-- Delete what find_expired has found, as far as it is still there.
CREATE FUNCTION delete_expired(recipients bigint[], seqs bigint[], now bigint)
RETURNS TABLE (kind smallint, sender text, name text, recipient_id text, grouped smallint) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..cardinality(seqs) LOOP
        DELETE FROM items AS i WHERE i.recipient = recipients[n] AND i.seq = seqs[n]
            RETURNING i.kind, i.sender, i.name, i.grouped INTO kind, sender, name, grouped;
        CONTINUE WHEN NOT FOUND;
        IF kind = 1 THEN
            PERFORM add_tombstone(recipients[n], sender, name, now);
        END IF;
        SELECT user_id INTO recipient_id FROM accounts WHERE account = recipients[n];
        RETURN NEXT;
    END LOOP;
END $$;

-- Those that somebody else is changing are left for the next time, for nobody waits in a circle then.
CREATE FUNCTION forget_tombstones(now bigint) RETURNS void LANGUAGE sql AS $$
    DELETE FROM tombstones WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM tombstones WHERE until <= now FOR UPDATE SKIP LOCKED));
$$;
