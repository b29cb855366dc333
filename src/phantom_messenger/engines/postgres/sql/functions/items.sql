-- One item into one mailbox, whatever stands in its way. Its mailbox is locked.

-- Outcomes of an item; also in calls.py.
--   0 stored   1 duplicate   2 full   3 no account   4 for signed accounts only   5 unwanted   6 actor is gone

-- bounds: messages of all, of one stranger, of all strangers; key exchanges of strangers; receipts of one contact;
-- bytes of all, or none if they are not limited; messages of one sender to groups.

-- The part of a mailbox that has no room; none if all of them have.
CREATE FUNCTION full_part(
    mailbox bigint, item_kind smallint, item_sender text, is_known boolean, is_new boolean, more bigint,
    is_grouped boolean, bounds bigint[]
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    held mailboxes%ROWTYPE;
    strangers record;
BEGIN
    SELECT * INTO held FROM mailboxes WHERE account = mailbox;
    IF is_new AND item_kind = 2 AND (SELECT count(*) FROM items
        WHERE recipient = mailbox AND kind = 2 AND sender = item_sender) >= bounds[5] THEN
        RETURN 'of one';
    END IF;
    IF is_new AND item_kind = 1 AND held.messages_at_most >= bounds[1] THEN
        SELECT count(*) INTO held.messages_at_most FROM items WHERE recipient = mailbox AND kind = 1;
        UPDATE mailboxes SET messages_at_most = held.messages_at_most WHERE account = mailbox;
        IF held.messages_at_most >= bounds[1] THEN
            RETURN 'all';
        END IF;
    END IF;
    IF is_new AND is_grouped AND (SELECT count(*) FROM items
        WHERE recipient = mailbox AND kind = item_kind AND sender = item_sender AND grouped = 1) >= bounds[7] THEN
        RETURN 'of groups';
    END IF;
    IF bounds[6] IS NOT NULL AND NOT (is_known AND item_kind = 3) AND held.bytes_at_most + more > bounds[6] THEN
        SELECT coalesce(sum(length(text) + 256), 0) INTO held.bytes_at_most FROM items WHERE recipient = mailbox;
        UPDATE mailboxes SET bytes_at_most = held.bytes_at_most WHERE account = mailbox;
        IF held.bytes_at_most + more > bounds[6] THEN
            RETURN 'bytes';
        END IF;
    END IF;
    IF is_known THEN
        RETURN NULL;
    END IF;
    IF is_new AND item_kind = 1 AND (SELECT count(*) FROM items
        WHERE recipient = mailbox AND kind = 1 AND sender = item_sender) >= bounds[2] THEN
        RETURN 'of one';
    END IF;
    SELECT count(*) FILTER (WHERE kind = item_kind) AS of_kind, coalesce(sum(length(text) + 256), 0) AS bytes
        INTO strangers FROM strange_items(mailbox);
    IF is_new AND strangers.of_kind >= (CASE item_kind WHEN 1 THEN bounds[3] ELSE bounds[4] END) THEN
        RETURN 'of strangers';
    END IF;
    IF strangers.bytes + more > bounds[6] / 4 THEN
        RETURN 'bytes of strangers';
    END IF;
    RETURN NULL;
END $$;

-- Items of senders who are still strangers: one to whom the recipient has written since then keeps everything.
CREATE FUNCTION strange_items(mailbox bigint) RETURNS SETOF items LANGUAGE sql STABLE AS $$
    SELECT * FROM items AS i WHERE i.recipient = mailbox AND i.mark IS NOT NULL AND NOT EXISTS (
        SELECT FROM written AS w JOIN accounts AS a ON a.account = w.recipient
        WHERE w.sender = mailbox AND a.user_id = i.sender)
    AND NOT EXISTS (
        SELECT FROM written_in_groups AS w JOIN accounts AS a ON a.account = w.recipient
        WHERE w.sender = mailbox AND a.user_id = i.sender);
$$;

-- Items of strangers that may give way, the oldest of the fullest address first, as long as an address holds more than
-- the sender's: by number of a kind, or by bytes if item_kind is none. An address holds, when the turn comes to an item,
-- that item and what is younger; so the order in which the oldest of the fullest goes, again and again, is that of these
-- sums.
CREATE FUNCTION oldest_of_the_fullest(
    mailbox bigint, item_kind smallint, item_mark bigint, spared bigint[]
) RETURNS TABLE (seq bigint, size bigint) LANGUAGE sql STABLE AS $$
    WITH strange AS (
        SELECT i.mark, i.seq, length(i.text) + 256 AS size,
            sum(CASE WHEN item_kind IS NULL THEN length(i.text) + 256 ELSE 1 END) OVER (PARTITION BY i.mark
                ORDER BY i.seq ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS held
        FROM strange_items(mailbox) AS i WHERE (item_kind IS NULL OR i.kind = item_kind) AND i.seq <> ALL (spared)
    )
    SELECT s.seq, s.size FROM strange AS s
    WHERE held > coalesce((SELECT max(o.held) FROM strange AS o WHERE o.mark = coalesce(item_mark, 0)), 0)
    ORDER BY held DESC, s.seq LIMIT 128 - cardinality(spared);
$$;

-- Delete items of other strangers to make room for one from elsewhere, at most 128. Returns whether that was enough; if
-- not, nothing was deleted.
CREATE FUNCTION make_room(
    mailbox bigint, item_kind smallint, item_sender text, item_mark bigint, is_new boolean, more bigint,
    is_grouped boolean, bounds bigint[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held record;
    strangers record;
    missing bigint;
    given bigint[] := '{}';
    freed bigint := 0;
    one record;
BEGIN
    SELECT count(*) FILTER (WHERE kind = 1) AS messages, coalesce(sum(length(text) + 256), 0) AS bytes,
        count(*) FILTER (WHERE kind = item_kind AND sender = item_sender) AS of_one,
        count(*) FILTER (WHERE kind = item_kind AND sender = item_sender AND grouped = 1) AS of_groups
        INTO held FROM items WHERE recipient = mailbox;
    IF is_new AND item_kind < 3 AND held.of_one >= (CASE item_kind WHEN 1 THEN bounds[2] ELSE bounds[5] END) THEN
        RETURN false;
    END IF;
    IF is_new AND is_grouped AND held.of_groups >= bounds[7] THEN
        RETURN false;
    END IF;
    SELECT count(*) FILTER (WHERE kind = item_kind) AS of_kind, coalesce(sum(length(text) + 256), 0) AS bytes
        INTO strangers FROM strange_items(mailbox);
    IF is_new THEN
        missing := 1 + greatest(strangers.of_kind - (CASE item_kind WHEN 1 THEN bounds[3] ELSE bounds[4] END),
            CASE item_kind WHEN 1 THEN held.messages - bounds[1] END);
        IF missing > 0 THEN
            FOR one IN SELECT * FROM oldest_of_the_fullest(mailbox, item_kind, item_mark, given) LIMIT missing LOOP
                given := given || one.seq;
                freed := freed + one.size;
                missing := missing - 1;
            END LOOP;
            IF missing > 0 THEN
                RETURN false;
            END IF;
        END IF;
    END IF;
    missing := more - freed + greatest(held.bytes - bounds[6], strangers.bytes - bounds[6] / 4);
    IF missing > 0 THEN
        FOR one IN SELECT * FROM oldest_of_the_fullest(mailbox, NULL, item_mark, given) LOOP
            EXIT WHEN missing <= 0;
            given := given || one.seq;
            missing := missing - one.size;
        END LOOP;
        IF missing > 0 THEN
            RETURN false;
        END IF;
    END IF;
    DELETE FROM items WHERE recipient = mailbox AND seq = ANY (given);
    -- So many that they are counted again.
    UPDATE mailboxes SET messages_at_most = 1000000000, bytes_at_most = 1000000000000000 WHERE account = mailbox;
    RETURN full_part(mailbox, item_kind, item_sender, false, is_new, more, is_grouped, bounds) IS NULL;
END $$;

-- Put an item behind all others of a mailbox. A message whose (sender, name) waits with the same content, or left
-- less than 10 minutes ago, is a duplicate; with other content it replaces the one that waits. A receipt or key
-- exchange replaces an older one of its name, or is a duplicate unless may_replace.
CREATE FUNCTION add_item(
    mailbox bigint, item_kind smallint, item_sender text, item_name text, head bytea, tail bytea, content bytea,
    item_expires_at bigint, item_mark bigint, is_known boolean, may_replace boolean, now bigint, is_grouped boolean,
    bounds bigint[],
    OUT outcome smallint, OUT new_seq bigint
) LANGUAGE plpgsql AS $$
DECLARE
    old record;
    is_new boolean;
    size bigint := length(head) + length(tail) + 256;
    more bigint := size;
BEGIN
    SELECT seq, length(text) AS size, content IS NULL OR position(content IN text) > 0 AS is_same INTO old FROM items
        WHERE recipient = mailbox AND kind = item_kind AND sender = item_sender AND name = item_name;
    is_new := NOT FOUND;
    -- Looked at after the items: a message that another transaction takes out of them meanwhile is here.
    IF is_new AND item_kind = 1 AND EXISTS (SELECT FROM tombstones
        WHERE recipient = mailbox AND sender = item_sender AND name = item_name AND until > now) THEN
        outcome := 1;
        RETURN;
    END IF;
    IF NOT is_new THEN
        IF NOT may_replace OR (item_kind = 1 AND old.is_same) THEN
            outcome := 1;
            RETURN;
        END IF;
        more := greatest(0, size - old.size - 256);
    END IF;
    IF full_part(mailbox, item_kind, item_sender, is_known, is_new, more, is_grouped, bounds) IS NOT NULL AND
        (is_known OR NOT make_room(mailbox, item_kind, item_sender, item_mark, is_new, more, is_grouped, bounds)) THEN
        outcome := 2;
        RETURN;
    END IF;
    IF NOT is_new THEN
        DELETE FROM items WHERE recipient = mailbox AND kind = item_kind AND sender = item_sender AND name = item_name;
        IF NOT FOUND AND item_kind = 1 THEN     -- it was acknowledged meanwhile
            outcome := 1;
            RETURN;
        END IF;
    END IF;
    UPDATE mailboxes SET seq = seq + 1, bytes_at_most = bytes_at_most + size,
        messages_at_most = messages_at_most + CASE WHEN item_kind = 1 AND is_new THEN 1 ELSE 0 END
        WHERE account = mailbox RETURNING seq INTO new_seq;
    INSERT INTO items (recipient, seq, kind, sender, name, stored_at, expires_at, mark, text, grouped) VALUES (
        mailbox, new_seq, item_kind, item_sender, item_name, now, item_expires_at,
        CASE WHEN is_known THEN NULL ELSE coalesce(item_mark, 0) END,
        head || convert_to(new_seq::text, 'UTF8') || tail, CASE WHEN is_grouped THEN 1 END);
    outcome := 0;
END $$;

-- A user's item into another user's mailbox, as far as its sender may. For a sender whom the recipient has blocked
-- it takes as long as for others, and keeps nothing.
CREATE FUNCTION send_item(
    sender bigint, sender_id text, recipient_id text, item_kind smallint, item_name text, head bytea, tail bytea,
    content bytea, item_expires_at bigint, item_mark bigint, is_loose boolean, now bigint, is_grouped boolean,
    bounds bigint[],
    OUT outcome smallint, OUT new_seq bigint, OUT mailbox bigint
) LANGUAGE plpgsql AS $$
DECLARE
    is_known boolean;
    recipient_standing smallint;
BEGIN
    SELECT account, standing INTO mailbox, recipient_standing FROM accounts WHERE user_id = recipient_id;
    IF mailbox IS NULL THEN
        outcome := 3;
        RETURN;
    END IF;
    IF is_loose AND recipient_standing <> 2 THEN
        outcome := 4;
        RETURN;
    END IF;
    is_known := has_written_at_all(mailbox, sender);
    IF NOT is_known AND EXISTS (SELECT FROM blocks WHERE blocker = mailbox AND blocked = sender_id) THEN
        IF item_kind <> 1 OR NOT EXISTS (SELECT FROM tombstones AS t
            WHERE t.recipient = mailbox AND t.sender = sender_id AND t.name = item_name AND t.until > now) THEN
            PERFORM discard_item(mailbox, item_kind, sender_id, item_name, head, tail, now);
        END IF;
        outcome := 5;
        RETURN;
    END IF;
    SELECT a.outcome, a.new_seq INTO outcome, new_seq FROM add_item(mailbox, item_kind, sender_id, item_name, head,
        tail, content, item_expires_at, item_mark, is_known, true, now, is_grouped, bounds) AS a;
END $$;

CREATE FUNCTION discard_item(
    mailbox bigint, item_kind smallint, item_sender text, item_name text, head bytea, tail bytea, now bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_seq bigint;
BEGIN
    UPDATE mailboxes SET seq = seq + 1 WHERE account = mailbox RETURNING seq INTO new_seq;
    INSERT INTO items (recipient, seq, kind, sender, name, stored_at, mark, text) VALUES (
        mailbox, new_seq, item_kind, item_sender, item_name, now, 0, head || convert_to(new_seq::text, 'UTF8') || tail)
        ON CONFLICT (recipient, kind, sender, name) DO NOTHING;
    DELETE FROM items WHERE recipient = mailbox AND kind = item_kind AND sender = item_sender AND name = item_name;
    IF item_kind = 1 THEN
        PERFORM add_tombstone(mailbox, item_sender, item_name, now);
    END IF;
END $$;

CREATE FUNCTION add_tombstone(mailbox bigint, item_sender text, item_name text, now bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tombstones (recipient, sender, name, until) VALUES (mailbox, item_sender, item_name, now + 600000)
        ON CONFLICT (recipient, sender, name) DO UPDATE SET until = excluded.until;
$$;

-- Remember that one has written to another; returns whether this has made the two contacts. The 16 conversations of
-- an ordered pair that began last are kept. Nothing is noted between two of whom one has blocked the other.
CREATE FUNCTION record_written(
    from_ bigint, from_id text, to_ bigint, to_id text, in_conversation text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    is_first boolean;
BEGIN
    IF EXISTS (SELECT FROM written WHERE sender = from_ AND recipient = to_ AND conversation = in_conversation)
        OR EXISTS (SELECT FROM blocks WHERE (blocker = from_ AND blocked = to_id)
            OR (blocker = to_ AND blocked = from_id)) THEN
        RETURN false;
    END IF;
    -- Two who write to each other for the first time in one moment: the second one sees the first.
    PERFORM pg_advisory_xact_lock(5, pair_key(from_, to_));
    is_first := NOT has_written(from_, to_);
    INSERT INTO written (sender, recipient, conversation) VALUES (from_, to_, in_conversation);
    DELETE FROM written WHERE sender = from_ AND recipient = to_ AND entry IN (
        SELECT entry FROM written WHERE sender = from_ AND recipient = to_ AND conversation <> ''
        ORDER BY entry DESC OFFSET 16);
    RETURN is_first AND from_ <> to_ AND has_written(to_, from_);
END $$;

-- Remember that one has written to another in a group, unless one has blocked the other; this makes nobody a contact.
CREATE FUNCTION record_written_in_group(from_ bigint, from_id text, to_ bigint, to_id text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO written_in_groups (sender, recipient) SELECT from_, to_
        WHERE NOT has_written_at_all(from_, to_) AND NOT EXISTS (SELECT FROM blocks
            WHERE (blocker = from_ AND blocked = to_id) OR (blocker = to_ AND blocked = from_id))
        ON CONFLICT DO NOTHING;
$$;
