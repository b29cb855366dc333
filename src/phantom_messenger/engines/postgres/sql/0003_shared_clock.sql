-- What the database's own clock showed when the moment was written down; none in a copy of another store.
ALTER TABLE relay_time ADD COLUMN read_at bigint;
