-- A sender who was not told of a commit before a crash or a failover sends again, and the message may have been
-- delivered meanwhile: what left a mailbox is remembered through both.
ALTER TABLE tombstones SET LOGGED;
