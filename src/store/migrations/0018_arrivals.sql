-- What has arrived from outside and has its outcome: files, by the agent that waits for them and by their path. `mark` tells a
-- file apart from any other at the same path. `left_at`: since when it lies there no longer; it is forgotten some days later.
CREATE TABLE arrivals(
  source  TEXT NOT NULL,
  name    TEXT NOT NULL,
  agent   TEXT NOT NULL,
  mark    TEXT NOT NULL,
  left_at INTEGER,
  PRIMARY KEY(source, name, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX arrivals_that_left ON arrivals(left_at) WHERE left_at IS NOT NULL;
