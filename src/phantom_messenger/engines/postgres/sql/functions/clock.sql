-- Persistent time, which all relays on the database share. Each of them counts on by its own machine's time since boot;
-- the database's clock, which somebody may set, only shows the few seconds between two relays' reports.

CREATE FUNCTION wall_ms() RETURNS bigint LANGUAGE sql AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
$$;

-- How much has passed since a reading of the database's clock, by that clock; nothing if it cannot be right while
-- relays report every five seconds.
CREATE FUNCTION passed_since(reading bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT CASE WHEN passed BETWEEN 0 AND 6000 THEN passed ELSE 0 END FROM (SELECT wall_ms() - reading AS passed) AS p;
$$;

CREATE FUNCTION save_clock(own_boot text, own_since_boot bigint, own_wall bigint, own bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO relay_time (boot, since_boot, wall, persistent, read_at)
        VALUES (own_boot, own_since_boot, own_wall, own, wall_ms())
        ON CONFLICT (is_only) DO UPDATE SET boot = excluded.boot, since_boot = excluded.since_boot,
            wall = excluded.wall, read_at = excluded.read_at, persistent = excluded.persistent;
$$;

-- A relay reports its time, and is told the shared one, which is that of whichever relay is ahead.
CREATE FUNCTION share_clock(own_boot text, own_since_boot bigint, own_wall bigint, own bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    may_save boolean;
    shared bigint;
BEGIN
    -- Another relay that is just reporting is not waited for: it may hold the lock until its whole batch is committed.
    PERFORM FROM relay_time FOR UPDATE SKIP LOCKED;
    may_save := FOUND;
    SELECT greatest(own, persistent + passed_since(read_at)) INTO shared FROM relay_time;
    IF may_save OR shared IS NULL THEN
        PERFORM save_clock(own_boot, own_since_boot, own_wall, coalesce(shared, own));
    END IF;
    RETURN coalesce(shared, own);
END $$;

-- Persistent time for a relay that starts, and what the database's clock shows. On the machine of the relay that
-- reported last its time since boot tells it. While others are at work it is theirs, whatever the database's clock
-- shows; if there are none, that is all that is left to go by.
CREATE FUNCTION begin_clock(own_boot text, own_since_boot bigint, OUT wall bigint, OUT persistent bigint)
LANGUAGE plpgsql AS $$
DECLARE
    kept relay_time%ROWTYPE;
BEGIN
    SELECT * INTO kept FROM relay_time;
    wall := wall_ms();
    persistent := CASE
        WHEN kept.is_only IS NULL THEN wall
        WHEN own_boot <> '' AND own_boot = kept.boot
            THEN kept.persistent + greatest(0, own_since_boot - kept.since_boot)
        WHEN EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = current_setting('application_name') AND pid <> pg_backend_pid())
            THEN kept.persistent + passed_since(coalesce(kept.read_at, kept.wall))
        ELSE kept.persistent + greatest(0, wall - coalesce(kept.read_at, kept.wall)) END;
END $$;
