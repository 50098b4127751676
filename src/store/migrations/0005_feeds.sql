-- What feeds had when they were last asked: validators, and the items that they stand for. A feed that
-- is no longer asked for goes after a while.
CREATE TABLE feeds(
  source        TEXT PRIMARY KEY,
  came_from     TEXT NOT NULL,
  etag          TEXT,
  last_modified TEXT,
  items         TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX feeds_by_age ON feeds(at);
