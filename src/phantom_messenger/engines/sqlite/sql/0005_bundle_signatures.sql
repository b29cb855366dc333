-- When the prekeys of an account that last were made known together, and its owner's signature over them and that.
-- None if a client without it has published others since.

CREATE TABLE bundle_signatures (
    account   INTEGER PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    made_at   INTEGER NOT NULL,     -- ms since 1970, by the owner's clock
    signature TEXT NOT NULL
) STRICT;
