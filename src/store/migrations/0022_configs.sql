-- Revisions of the configuration of a fleet. `text` is NULL where it was withdrawn. A file has no fleet, and keeps them for a
-- move back to a server.
CREATE TABLE configs(
  revision INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  applied_by TEXT NOT NULL,
  origin   TEXT NOT NULL,
  hash     TEXT NOT NULL,
  text     TEXT
) STRICT;
