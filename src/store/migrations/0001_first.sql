-- All instants are microseconds since the Unix epoch, all durations microseconds.
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE events(
  seq     INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  type    TEXT NOT NULL,
  agent   TEXT,
  run     BLOB,
  session TEXT,
  payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_agent ON events(agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX events_of_run ON events(run, seq) WHERE run IS NOT NULL;

CREATE TABLE agents(
  id            TEXT PRIMARY KEY,
  desired       TEXT NOT NULL CHECK(desired IN ('active', 'paused', 'stopped')),
  reason        TEXT,
  resume_at     INTEGER,
  held          INTEGER NOT NULL,
  anchor        INTEGER NOT NULL,
  judged_until  INTEGER,
  schedule      TEXT NOT NULL,
  next_due      INTEGER,
  skip_next     INTEGER NOT NULL,
  last_end      INTEGER,
  runs          INTEGER NOT NULL,
  successes     INTEGER NOT NULL,
  errors        INTEGER NOT NULL,
  errors_in_row INTEGER NOT NULL,
  skipped       INTEGER NOT NULL,
  last_run      BLOB,
  last_status   TEXT,
  last_started  INTEGER,
  last_finished INTEGER,
  last_duration INTEGER,
  last_kind     TEXT,
  last_message  TEXT,
  last_success  INTEGER,
  circuit_at    INTEGER,
  circuit_until INTEGER,
  told_at       INTEGER,
  removed       INTEGER NOT NULL,
  config_hash   INTEGER NOT NULL,
  CHECK((circuit_at IS NULL) = (circuit_until IS NULL)),
  CHECK((last_run IS NULL) = (last_finished IS NULL))
) STRICT, WITHOUT ROWID;

-- One record for consecutive slots with one verdict. Together with the unique slot of `runs`, this
-- is why a slot can't start twice.
CREATE TABLE ledger(
  agent   TEXT NOT NULL,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  count   INTEGER NOT NULL CHECK(count > 0),
  verdict TEXT NOT NULL,
  cause   TEXT NOT NULL,
  run     BLOB,
  PRIMARY KEY(agent, first),
  CHECK(last >= first)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_by_age ON ledger(last);

CREATE TABLE runs(
  id            BLOB PRIMARY KEY CHECK(length(id) = 16),
  agent         TEXT NOT NULL,
  trigger       TEXT NOT NULL CHECK(trigger IN ('schedule', 'catch_up', 'manual', 'event')),
  slot          INTEGER,
  status        TEXT NOT NULL CHECK(status IN ('queued', 'running', 'retrying', 'waiting_approval',
                  'completed', 'failed', 'timed_out', 'cancelled', 'interrupted', 'unverified')),
  attempt       INTEGER NOT NULL,
  queued_at     INTEGER NOT NULL,
  started_at    INTEGER,
  not_before    INTEGER,
  finished_at   INTEGER,
  duration      INTEGER,
  chain         INTEGER NOT NULL,
  event         TEXT,
  query         TEXT,
  config_hash   INTEGER NOT NULL,
  result        TEXT,
  error_kind    TEXT,
  error         TEXT,
  exit_code     INTEGER,
  model         TEXT,
  requests      INTEGER NOT NULL DEFAULT 0,
  input_tokens  INTEGER NOT NULL DEFAULT 0,
  cached_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  usd           REAL NOT NULL DEFAULT 0,
  warnings      TEXT,
  dropped_bytes INTEGER NOT NULL DEFAULT 0,
  CHECK((finished_at IS NULL) = (status IN ('queued', 'running', 'retrying', 'waiting_approval')))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX run_of_slot ON runs(agent, slot) WHERE slot IS NOT NULL;
CREATE INDEX runs_of_agent ON runs(agent, id);
CREATE INDEX open_runs ON runs(id) WHERE finished_at IS NULL;
CREATE INDEX ended_runs ON runs(finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE processes(
  run     BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  role    TEXT NOT NULL,
  pid     INTEGER NOT NULL,
  start   INTEGER NOT NULL,
  boot    INTEGER NOT NULL,
  PRIMARY KEY(run, pid, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE output(
  id      INTEGER PRIMARY KEY,
  run     BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  stream  TEXT NOT NULL,
  at      INTEGER NOT NULL,
  text    TEXT NOT NULL
) STRICT;
CREATE INDEX output_of_run ON output(run, attempt, n);
CREATE INDEX output_by_age ON output(at);

CREATE TABLE incidents(
  id          INTEGER PRIMARY KEY,
  agent       TEXT NOT NULL,
  key         TEXT NOT NULL,
  severity    TEXT NOT NULL,
  title       TEXT NOT NULL,
  since       INTEGER NOT NULL,
  opened_at   INTEGER,
  seen_at     INTEGER NOT NULL,
  count       INTEGER NOT NULL,
  resolved_at INTEGER,
  acked_at    INTEGER,
  told_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX present_incident ON incidents(agent, key) WHERE resolved_at IS NULL;

CREATE TABLE outbox(
  id      INTEGER PRIMARY KEY,
  target  TEXT NOT NULL,
  agent   TEXT NOT NULL,
  about   TEXT NOT NULL,
  at      INTEGER NOT NULL,
  subject TEXT NOT NULL,
  body    TEXT NOT NULL,
  tries   INTEGER NOT NULL,
  due     INTEGER
) STRICT;
CREATE INDEX due_messages ON outbox(due) WHERE due IS NOT NULL;

CREATE TABLE requests(id TEXT PRIMARY KEY, answer TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
