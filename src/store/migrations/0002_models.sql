-- Runs that a model carries out: how they go about it, their journal, what is held and was charged
-- for their requests, approvals, and what agents remember.
ALTER TABLE runs ADD COLUMN mode TEXT;

CREATE TABLE steps(
  run  BLOB NOT NULL,
  n    INTEGER NOT NULL,
  at   INTEGER NOT NULL,
  tool TEXT,
  args TEXT,
  took INTEGER,
  body TEXT NOT NULL,
  PRIMARY KEY(run, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_by_age ON steps(at);

-- At most one request of a run is under way.
CREATE TABLE holds(
  run    BLOB PRIMARY KEY,
  agent  TEXT NOT NULL,
  model  TEXT NOT NULL,
  day    TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  usd    REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE spent(
  day           TEXT NOT NULL,
  agent         TEXT NOT NULL,
  model         TEXT NOT NULL,
  requests      INTEGER NOT NULL,
  input_tokens  INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  usd           REAL NOT NULL,
  PRIMARY KEY(day, agent, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals(
  id           TEXT PRIMARY KEY,
  run          BLOB NOT NULL,
  agent        TEXT NOT NULL,
  call         INTEGER NOT NULL,
  tool         TEXT NOT NULL,
  args         TEXT NOT NULL,
  requested_at INTEGER NOT NULL,
  decided_at   INTEGER,
  approved     INTEGER,
  reason       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX open_approvals ON approvals(run) WHERE decided_at IS NULL;

CREATE TABLE sessions(
  id      INTEGER PRIMARY KEY,
  session TEXT NOT NULL,
  run     BLOB NOT NULL,
  at      INTEGER NOT NULL,
  message TEXT NOT NULL
) STRICT;
CREATE INDEX messages_of_session ON sessions(session, id);

CREATE TABLE notes(
  agent TEXT NOT NULL,
  key   TEXT NOT NULL,
  text  TEXT NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY(agent, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen(
  agent TEXT NOT NULL,
  item  TEXT NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY(agent, item)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins(
  server  TEXT NOT NULL,
  tool    TEXT NOT NULL,
  trusted TEXT NOT NULL,
  seen    TEXT,
  PRIMARY KEY(server, tool)
) STRICT, WITHOUT ROWID;
