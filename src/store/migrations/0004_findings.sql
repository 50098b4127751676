-- What an agent that an incident started found out about it.
ALTER TABLE incidents ADD COLUMN finding TEXT;
ALTER TABLE incidents ADD COLUMN found_by TEXT;
ALTER TABLE incidents ADD COLUMN found_run BLOB;
ALTER TABLE incidents ADD COLUMN found_at INTEGER;
