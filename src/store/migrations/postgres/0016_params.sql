ALTER TABLE runs ADD COLUMN params TEXT COLLATE "C";
ALTER TABLE runs ADD COLUMN backfill TEXT COLLATE "C";
ALTER TABLE runs ADD COLUMN past_slot BIGINT;
CREATE UNIQUE INDEX run_of_past_slot ON runs(backfill, past_slot) WHERE backfill IS NOT NULL;
CREATE INDEX past_slots ON runs(agent, past_slot) WHERE past_slot IS NOT NULL;
CREATE TABLE backfills(
  id       TEXT COLLATE "C" PRIMARY KEY,
  agent    TEXT COLLATE "C" NOT NULL,
  slots    TEXT COLLATE "C" NOT NULL,
  params   TEXT COLLATE "C" NOT NULL,
  max_usd  DOUBLE PRECISION,
  claimed  BIGINT NOT NULL,
  usd      DOUBLE PRECISION NOT NULL,
  made_at  BIGINT NOT NULL,
  ended_at BIGINT,
  cause    TEXT COLLATE "C"
);
