-- What still counted of the limits when the relay was stopped. It is removed when it is read.

CREATE TABLE relay_limits (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    hash_key BLOB NOT NULL,     -- random
    times    BLOB NOT NULL,     -- MessagePack: BLAKE2b of class and party -> ms of steady time
    checksum INTEGER NOT NULL   -- CRC-32 over both
) STRICT;
