ALTER TABLE outbox ADD COLUMN joined BIGINT;
ALTER TABLE outbox ADD COLUMN joined_each BIGINT;
ALTER TABLE agents ADD COLUMN awaited_since BIGINT;
CREATE TABLE questions(
  code     TEXT COLLATE "C" PRIMARY KEY,
  approval TEXT COLLATE "C" NOT NULL,
  target   TEXT COLLATE "C" NOT NULL,
  call     TEXT COLLATE "C" NOT NULL,
  asked_at BIGINT NOT NULL,
  UNIQUE(approval, target, call)
);
CREATE TABLE listeners(target TEXT COLLATE "C" PRIMARY KEY, position TEXT COLLATE "C" NOT NULL);
ALTER TABLE outbox ADD COLUMN approval TEXT COLLATE "C";
ALTER TABLE approvals ADD COLUMN decided_by TEXT COLLATE "C";
