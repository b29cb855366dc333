-- When the prekeys of an account that last were made known together, and its owner's signature over them and that.
-- None if a client without it has published others since, through a relay of an older version too.
CREATE TABLE bundle_signatures (
    account   bigint PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    made_at   bigint NOT NULL,      -- ms since 1970, by the owner's clock
    signature text NOT NULL
);

CREATE FUNCTION drop_bundle_signature() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM bundle_signatures WHERE account = NEW.account;
    RETURN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION drop_bundle_signature() SET search_path = %I', current_schema());
END $$;
CREATE TRIGGER prekey_renewed AFTER UPDATE ON signed_prekeys
    FOR EACH ROW WHEN (OLD.id <> NEW.id OR OLD.key <> NEW.key) EXECUTE FUNCTION drop_bundle_signature();
