-- Whom people have blocked.

CREATE TABLE blocks (
    blocker INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    blocked TEXT NOT NULL,      -- user id: it need not have an account
    PRIMARY KEY (blocker, blocked)
) STRICT, WITHOUT ROWID;
