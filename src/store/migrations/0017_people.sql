-- Messages that went together in a try whose end is not known go together again, as they were: the first row of them, and
-- how many characters of each are shown.
ALTER TABLE outbox ADD COLUMN joined INTEGER;
ALTER TABLE outbox ADD COLUMN joined_each INTEGER;
-- The slot since which a run that completes is awaited, for `late_after`.
ALTER TABLE agents ADD COLUMN awaited_since INTEGER;

-- Calls that were put to people at notification targets: the code that an answer must have, and what exactly was asked.
-- A code is used up when its call is decided.
CREATE TABLE questions(
  code     TEXT PRIMARY KEY,
  approval TEXT NOT NULL,
  target   TEXT NOT NULL,
  call     TEXT NOT NULL,
  asked_at INTEGER NOT NULL,
  UNIQUE(approval, target, call)
) STRICT, WITHOUT ROWID;
-- Up to where answers of a target were heard, in the words of its service.
CREATE TABLE listeners(target TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE outbox ADD COLUMN approval TEXT;
ALTER TABLE approvals ADD COLUMN decided_by TEXT;
