CREATE TABLE arrivals(
  source  TEXT COLLATE "C" NOT NULL,
  name    TEXT COLLATE "C" NOT NULL,
  agent   TEXT COLLATE "C" NOT NULL,
  mark    TEXT COLLATE "C" NOT NULL,
  left_at BIGINT,
  PRIMARY KEY(source, name, agent)
);
CREATE INDEX arrivals_that_left ON arrivals(left_at) WHERE left_at IS NOT NULL;
