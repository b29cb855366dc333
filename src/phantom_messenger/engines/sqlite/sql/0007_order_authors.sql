-- Digest of who has written the last revision; NULL if it was written before this was kept.
ALTER TABLE orders ADD COLUMN author BLOB;
