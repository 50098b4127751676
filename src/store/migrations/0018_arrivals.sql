-- What has arrived from outside and has its outcome, by the agent that waits for it: files by their path, deliveries to webhooks by
-- their id. `mark` tells a file apart from any other at the same path. `left_at`: since when it lies there no longer, or when it was
-- delivered; it is forgotten some days later.
CREATE TABLE arrivals(
  source  TEXT NOT NULL,
  name    TEXT NOT NULL,
  agent   TEXT NOT NULL,
  mark    TEXT NOT NULL,
  left_at INTEGER,
  PRIMARY KEY(source, name, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX arrivals_that_left ON arrivals(left_at) WHERE left_at IS NOT NULL;
