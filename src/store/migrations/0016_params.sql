-- The parameters of a run, as JSON.
ALTER TABLE runs ADD COLUMN params TEXT;
-- Past slots that run because a person asked: each once in a backfill. The slots are JSON, in microseconds since 1970.
ALTER TABLE runs ADD COLUMN backfill TEXT;
ALTER TABLE runs ADD COLUMN past_slot INTEGER;
CREATE UNIQUE INDEX run_of_past_slot ON runs(backfill, past_slot) WHERE backfill IS NOT NULL;
CREATE INDEX past_slots ON runs(agent, past_slot) WHERE past_slot IS NOT NULL;
CREATE TABLE backfills(
  id       TEXT PRIMARY KEY,
  agent    TEXT NOT NULL,
  slots    TEXT NOT NULL,
  params   TEXT NOT NULL,
  max_usd  REAL,
  claimed  INTEGER NOT NULL,
  usd      REAL NOT NULL,
  made_at  INTEGER NOT NULL,
  ended_at INTEGER,
  cause    TEXT
) STRICT, WITHOUT ROWID;
