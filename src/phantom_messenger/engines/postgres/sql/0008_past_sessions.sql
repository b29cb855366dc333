-- Sessions that are not noted any more, for an hour. A relay that was paused may still hold an older one of the same user,
-- and must not store what was sent on it before this one began. A trigger writes it, so that relays of an older version
-- do too.
CREATE UNLOGGED TABLE past_sessions (
    account      bigint PRIMARY KEY,
    relay        text NOT NULL,
    connected_at bigint NOT NULL,
    ended_at     timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX past_sessions_ended ON past_sessions (ended_at);

CREATE FUNCTION keep_past_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO past_sessions AS p (account, relay, connected_at) VALUES (OLD.account, OLD.relay, OLD.connected_at)
        ON CONFLICT (account) DO UPDATE SET relay = excluded.relay, connected_at = excluded.connected_at,
            ended_at = excluded.ended_at
            WHERE p.connected_at < excluded.connected_at;
    RETURN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_past_session() SET search_path = %I', current_schema());
END $$;
CREATE TRIGGER session_past AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep_past_session();
