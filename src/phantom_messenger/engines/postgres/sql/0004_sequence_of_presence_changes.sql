-- A sequence of an unlogged table is unlogged too, and a standby that is promoted has nothing usable for it:
-- "bad magic number in sequence". Tables themselves are emptied then, as they should be.
ALTER SEQUENCE presence_changes_entry_seq SET LOGGED;
