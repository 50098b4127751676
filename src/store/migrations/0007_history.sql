-- The last run of an agent may have found all well and left no record.
ALTER TABLE agents ADD COLUMN last_kept INTEGER NOT NULL DEFAULT 1;
