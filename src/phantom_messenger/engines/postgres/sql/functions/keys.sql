-- Commands about prekeys and key exchanges.

CREATE TYPE prekey_counts AS (one_time integer, one_time_kem integer, signed_id bigint, last_resort_id bigint,
    highest_id bigint);

CREATE FUNCTION count_prekeys(owner bigint) RETURNS prekey_counts LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM one_time_prekeys WHERE account = owner AND kind = 1)::integer,
        (SELECT count(*) FROM one_time_prekeys WHERE account = owner AND kind = 2)::integer,
        (SELECT id FROM signed_prekeys WHERE account = owner AND kind = 1),
        (SELECT id FROM signed_prekeys WHERE account = owner AND kind = 2),
        greatest((SELECT max(highest) FROM prekey_ids WHERE account = owner),
            (SELECT max(id) FROM signed_prekeys WHERE account = owner));
$$;

-- No row if the actor has no account.
CREATE FUNCTION count_own_prekeys(id text, key text, is_unsigned boolean)
RETURNS SETOF prekey_counts LANGUAGE sql STABLE AS $$
    SELECT (count_prekeys(me)).* FROM current_account(id, key, is_unsigned) AS me WHERE me IS NOT NULL;
$$;

-- Replace the signed keys, add the one-time ones that are above all that were published before: the others may have
-- been handed out. Outcomes: -1 the actor is gone, 0 they would be too many, 1 done, 2 prekeys of a later date are stored.
CREATE FUNCTION publish_prekeys(
    user_id text, user_key text, is_unsigned boolean, kinds bigint[], ids bigint[], keys text[], signatures text[],
    signed_count integer, highest_id bigint, may_replace boolean, most integer, made_at bigint, bundle_signature text,
    device_list text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    owner bigint := current_account(user_id, user_key, is_unsigned);
    unseen bigint[];
BEGIN
    IF owner IS NULL THEN
        RETURN -1;
    END IF;
    IF NOT may_replace AND EXISTS (SELECT FROM bundle_signatures AS b
        WHERE b.account = owner AND b.made_at > publish_prekeys.made_at) THEN
        RETURN 2;
    END IF;
    unseen := ARRAY(SELECT min(k.number)
        FROM unnest(kinds, ids) WITH ORDINALITY AS k (kind, id, number)
        WHERE k.number > signed_count AND NOT EXISTS (SELECT FROM prekey_ids AS h
            WHERE h.account = owner AND h.kind = k.kind AND h.highest >= k.id)
        GROUP BY k.kind, k.id);
    IF EXISTS (SELECT FROM (VALUES (1), (2)) AS v (kind) WHERE
        (SELECT count(*) FROM unnest(unseen) AS u WHERE kinds[u] = v.kind)
        + (CASE WHEN may_replace THEN 0 ELSE
            (SELECT count(*) FROM one_time_prekeys AS o WHERE o.account = owner AND o.kind = v.kind) END) > most) THEN
        RETURN 0;
    END IF;
    IF may_replace THEN
        DELETE FROM one_time_prekeys AS o WHERE o.account = owner;
    END IF;
    INSERT INTO signed_prekeys AS s (account, kind, id, key, signature)
        SELECT owner, kinds[n], ids[n], keys[n], signatures[n] FROM generate_series(1, signed_count) AS n
        ON CONFLICT (account, kind) DO UPDATE SET id = excluded.id, key = excluded.key, signature = excluded.signature;
    -- A trigger has removed the signature over keys that were other ones.
    IF bundle_signature IS NOT NULL THEN
        INSERT INTO bundle_signatures (account, made_at, signature)
            VALUES (owner, publish_prekeys.made_at, bundle_signature)
            ON CONFLICT (account) DO UPDATE SET made_at = excluded.made_at, signature = excluded.signature;
    END IF;
    IF device_list IS NOT NULL THEN
        INSERT INTO device_lists (account, list) VALUES (owner, device_list)
            ON CONFLICT (account) DO UPDATE SET list = excluded.list;
    END IF;
    INSERT INTO one_time_prekeys (account, kind, id, key, signature)
        SELECT owner, kinds[u], ids[u], keys[u], signatures[u] FROM unnest(unseen) AS u ORDER BY u;
    INSERT INTO prekey_ids AS p (account, kind, highest)
        SELECT owner, kinds[u], max(ids[u]) FROM unnest(unseen) AS u GROUP BY kinds[u]
        UNION ALL SELECT owner, 0, greatest(highest_id, (count_prekeys(owner)).highest_id)
        ON CONFLICT (account, kind) DO UPDATE SET highest = excluded.highest;
    RETURN 1;
END $$;

-- Take the oldest one-time key of a kind: nobody else gets it.
CREATE FUNCTION take_one_time(owner bigint, of_kind smallint, OUT id bigint, OUT key text, OUT signature text)
LANGUAGE sql AS $$
    DELETE FROM one_time_prekeys AS o WHERE o.account = owner AND o.kind = of_kind AND o.entry = (
        SELECT min(e.entry) FROM one_time_prekeys AS e WHERE e.account = owner AND e.kind = of_kind)
        RETURNING o.id, o.key, o.signature;
$$;

CREATE TYPE bundle AS (identity_key text, signed_id bigint, signed_key text, signed_signature text,
    one_time_id bigint, one_time_key text, kem_id bigint, kem_key text, kem_signature text, made_at bigint, bundle_signature text,
    last_id bigint, last_key text, last_signature text, device_list text, counts prekey_counts);

-- A bundle of an account whose mailbox is locked; none if it has published nothing. Beyond the hourly limits there
-- is no one-time key in it. What is signed together is read together.
CREATE FUNCTION hand_out(target bigint, to_ bigint, now bigint, most_of_target integer, most_of_requester integer)
RETURNS bundle LANGUAGE plpgsql AS $$
DECLARE
    handed bundle;
    taken record;
BEGIN
    SELECT a.public_key, s.id, s.key, s.signature, b.made_at, b.signature, l.id, l.key, l.signature,
            d.list
        INTO handed.identity_key, handed.signed_id, handed.signed_key, handed.signed_signature,
            handed.made_at, handed.bundle_signature, handed.last_id, handed.last_key, handed.last_signature,
            handed.device_list
        FROM signed_prekeys AS s JOIN accounts AS a USING (account)
        LEFT JOIN bundle_signatures AS b USING (account)
        LEFT JOIN signed_prekeys AS l ON l.account = s.account AND l.kind = 2
        LEFT JOIN device_lists AS d ON d.account = s.account
        WHERE s.account = target AND s.kind = 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM handouts WHERE ctid = ANY (ARRAY(SELECT h.ctid FROM handouts AS h
        WHERE h.target = hand_out.target AND h.at <= now - 3600000 FOR UPDATE SKIP LOCKED));
    SELECT count(*) AS of_all, count(*) FILTER (WHERE h.requester = to_) AS of_one INTO taken
        FROM handouts AS h WHERE h.target = hand_out.target AND h.at > now - 3600000;
    IF taken.of_all < most_of_target AND taken.of_one < most_of_requester THEN
        SELECT t.id, t.key INTO handed.one_time_id, handed.one_time_key FROM take_one_time(target, 1::smallint) AS t;
        SELECT t.id, t.key, t.signature INTO handed.kem_id, handed.kem_key, handed.kem_signature
            FROM take_one_time(target, 2::smallint) AS t;
        IF handed.one_time_id IS NOT NULL OR handed.kem_id IS NOT NULL THEN
            INSERT INTO handouts (target, requester, at) VALUES (hand_out.target, to_, now);
        END IF;
    END IF;
    IF handed.kem_id IS NULL THEN
        handed.kem_id := handed.last_id;
        handed.kem_key := handed.last_key;
        handed.kem_signature := handed.last_signature;
    END IF;
    handed.counts := count_prekeys(target);
    RETURN handed;
END $$;

CREATE FUNCTION exchange_keys(
    id text, key text, is_unsigned boolean, target_id text, name text, head bytea, tail bytea, mark bigint,
    is_loose boolean, wants_bundle boolean, now bigint, bounds bigint[], most_of_target integer,
    most_of_requester integer,
    OUT outcome smallint, OUT new_seq bigint, OUT became_contacts boolean, OUT handed_out bundle
) LANGUAGE plpgsql AS $$
DECLARE
    requester bigint := current_account(id, key, is_unsigned);
    target bigint;
BEGIN
    became_contacts := false;
    IF requester IS NULL THEN
        outcome := 6;
        RETURN;
    END IF;
    SELECT s.outcome, s.new_seq, s.mailbox INTO outcome, new_seq, target FROM send_item(requester, id, target_id,
        3::smallint, name, head, tail, NULL, NULL, mark, is_loose, now, false, bounds) AS s;
    IF outcome IN (3, 4) THEN
        RETURN;
    END IF;
    IF wants_bundle THEN
        handed_out := hand_out(target, requester, now, most_of_target, most_of_requester);
    END IF;
    IF outcome <> 5 AND (outcome = 0 OR handed_out.identity_key IS NOT NULL) THEN
        became_contacts := record_written(requester, id, target, target_id, '');
    END IF;
END $$;

-- Those that somebody else is changing are left for the next time, for nobody waits in a circle then.
CREATE FUNCTION forget_handouts(now bigint) RETURNS void LANGUAGE sql AS $$
    DELETE FROM handouts WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM handouts WHERE at <= now - 3600000 FOR UPDATE SKIP LOCKED));
$$;
