-- Revisions of the configuration of the fleet. `text` is NULL where it was withdrawn.
CREATE TABLE configs(
  revision   BIGINT PRIMARY KEY,
  at         BIGINT NOT NULL,
  applied_by TEXT COLLATE "C" NOT NULL,
  origin     TEXT COLLATE "C" NOT NULL,
  hash       TEXT COLLATE "C" NOT NULL,
  text       TEXT COLLATE "C"
);
-- The revision that a node has in force; 0: its own file.
ALTER TABLE nodes ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- How many runs a node takes at a time.
ALTER TABLE workers ADD COLUMN places BIGINT NOT NULL DEFAULT 0;
