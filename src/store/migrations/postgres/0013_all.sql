-- All instants are microseconds since the Unix epoch, all durations microseconds; yes and no are 1 and 0, as in SQLite.
-- Texts are compared byte by byte there, and so they are here: COLLATE "C".

-- Who leads. `epoch` grows with each takeover, `turn` with each transaction that writes: a daemon that has lost the lead is
-- refused, and one that got no answer to a commit learns whether it was made. `expires` goes by the clock of this database.
CREATE TABLE fleet(
  one           boolean PRIMARY KEY DEFAULT true CHECK (one),
  version       BIGINT NOT NULL,
  epoch         BIGINT NOT NULL,
  turn          BIGINT NOT NULL,
  leader        TEXT NOT NULL,
  backend       INTEGER NOT NULL,
  backend_start timestamptz,
  expires       timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO fleet(version, epoch, turn, leader, backend, expires) VALUES (0, 0, 0, '', 0, to_timestamp(0));

CREATE TABLE meta(
  key   TEXT COLLATE "C" PRIMARY KEY,
  value TEXT COLLATE "C" NOT NULL
);
CREATE TABLE events(
  seq     BIGINT PRIMARY KEY,
  at      BIGINT NOT NULL,
  type    TEXT COLLATE "C" NOT NULL,
  agent   TEXT COLLATE "C",
  run     BYTEA,
  session TEXT COLLATE "C",
  payload TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_of_agent ON events(agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX events_of_run ON events(run, seq) WHERE run IS NOT NULL;
CREATE TABLE agents(
  id            TEXT COLLATE "C" PRIMARY KEY,
  desired       TEXT COLLATE "C" NOT NULL CHECK(desired IN ('active', 'paused', 'stopped')),
  reason        TEXT COLLATE "C",
  resume_at     BIGINT,
  held          BIGINT NOT NULL,
  anchor        BIGINT NOT NULL,
  judged_until  BIGINT,
  schedule      TEXT COLLATE "C" NOT NULL,
  next_due      BIGINT,
  skip_next     BIGINT NOT NULL,
  last_end      BIGINT,
  runs          BIGINT NOT NULL,
  successes     BIGINT NOT NULL,
  errors        BIGINT NOT NULL,
  errors_in_row BIGINT NOT NULL,
  skipped       BIGINT NOT NULL,
  last_run      BYTEA,
  last_status   TEXT COLLATE "C",
  last_started  BIGINT,
  last_finished BIGINT,
  last_duration BIGINT,
  last_kind     TEXT COLLATE "C",
  last_message  TEXT COLLATE "C",
  last_success  BIGINT,
  circuit_at    BIGINT,
  circuit_until BIGINT,
  told_at       BIGINT,
  removed       BIGINT NOT NULL,
  config_hash   BIGINT NOT NULL,
  last_kept     BIGINT NOT NULL DEFAULT 1,
  floor         BIGINT,
  origin        BIGINT,
  silent        BIGINT NOT NULL DEFAULT 0,
  resume_after  BIGINT,
  CHECK((circuit_at IS NULL) = (circuit_until IS NULL)),
  CHECK((last_run IS NULL) = (last_finished IS NULL))
) WITH (fillfactor = 80);
CREATE TABLE ledger(
  agent   TEXT COLLATE "C" NOT NULL,
  first   BIGINT NOT NULL,
  last    BIGINT NOT NULL,
  count   BIGINT NOT NULL CHECK(count > 0),
  verdict TEXT COLLATE "C" NOT NULL,
  cause   TEXT COLLATE "C" NOT NULL,
  run     BYTEA,
  PRIMARY KEY(agent, first),
  CHECK(last >= first)
) WITH (fillfactor = 80);
CREATE INDEX ledger_by_age ON ledger(last);
CREATE TABLE runs(
  id            BYTEA PRIMARY KEY CHECK(length(id) = 16),
  agent         TEXT COLLATE "C" NOT NULL,
  trigger       TEXT COLLATE "C" NOT NULL CHECK(trigger IN ('schedule', 'catch_up', 'manual', 'event')),
  slot          BIGINT,
  status        TEXT COLLATE "C" NOT NULL CHECK(status IN ('queued', 'running', 'retrying', 'waiting_approval', 'completed', 'failed', 'timed_out', 'cancelled', 'interrupted', 'unverified')),
  attempt       BIGINT NOT NULL,
  queued_at     BIGINT NOT NULL,
  started_at    BIGINT,
  not_before    BIGINT,
  finished_at   BIGINT,
  duration      BIGINT,
  chain         BIGINT NOT NULL,
  event         TEXT COLLATE "C",
  query         TEXT COLLATE "C",
  config_hash   BIGINT NOT NULL,
  result        TEXT COLLATE "C",
  error_kind    TEXT COLLATE "C",
  error         TEXT COLLATE "C",
  exit_code     BIGINT,
  model         TEXT COLLATE "C",
  requests      BIGINT NOT NULL DEFAULT 0,
  input_tokens  BIGINT NOT NULL DEFAULT 0,
  cached_tokens BIGINT NOT NULL DEFAULT 0,
  output_tokens BIGINT NOT NULL DEFAULT 0,
  usd           DOUBLE PRECISION NOT NULL DEFAULT 0,
  warnings      TEXT COLLATE "C",
  dropped_bytes BIGINT NOT NULL DEFAULT 0,
  mode          TEXT COLLATE "C",
  untrusted     BIGINT NOT NULL DEFAULT 1,
  forgotten     BIGINT NOT NULL DEFAULT 0,
  session       TEXT COLLATE "C",
  clock_moved   BIGINT NOT NULL DEFAULT 0,
  CHECK((finished_at IS NULL) = (status IN ('queued', 'running', 'retrying', 'waiting_approval')))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX run_of_slot ON runs(agent, slot) WHERE slot IS NOT NULL;
CREATE INDEX runs_of_agent ON runs(agent, id);
CREATE INDEX open_runs ON runs(id) WHERE finished_at IS NULL;
CREATE INDEX ended_runs ON runs(finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE processes(
  run     BYTEA NOT NULL,
  attempt BIGINT NOT NULL,
  role    TEXT COLLATE "C" NOT NULL,
  pid     BIGINT NOT NULL,
  start   BIGINT NOT NULL,
  boot    BIGINT NOT NULL,
  PRIMARY KEY(run, pid, start)
);
CREATE TABLE output(
  id      BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  run     BYTEA NOT NULL,
  attempt BIGINT NOT NULL,
  n       BIGINT NOT NULL,
  stream  TEXT COLLATE "C" NOT NULL,
  at      BIGINT NOT NULL,
  text    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX output_of_run ON output(run, attempt, n);
CREATE INDEX output_by_age ON output(at);
CREATE TABLE incidents(
  id          BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  agent       TEXT COLLATE "C" NOT NULL,
  key         TEXT COLLATE "C" NOT NULL,
  severity    TEXT COLLATE "C" NOT NULL,
  title       TEXT COLLATE "C" NOT NULL,
  since       BIGINT NOT NULL,
  opened_at   BIGINT,
  seen_at     BIGINT NOT NULL,
  count       BIGINT NOT NULL,
  resolved_at BIGINT,
  acked_at    BIGINT,
  told_at     BIGINT,
  finding     TEXT COLLATE "C",
  found_by    TEXT COLLATE "C",
  found_run   BYTEA,
  found_at    BIGINT,
  opened_by   TEXT COLLATE "C" NOT NULL DEFAULT 'check',
  opened_in   BYTEA
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX present_incident ON incidents(agent, key) WHERE resolved_at IS NULL;
CREATE TABLE requests(
  id     TEXT COLLATE "C" PRIMARY KEY,
  answer TEXT COLLATE "C" NOT NULL,
  at     BIGINT NOT NULL
);
CREATE TABLE steps(
  run  BYTEA NOT NULL,
  n    BIGINT NOT NULL,
  at   BIGINT NOT NULL,
  tool TEXT COLLATE "C",
  args TEXT COLLATE "C",
  took BIGINT,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY(run, n)
);
CREATE INDEX steps_by_age ON steps(at);
CREATE TABLE holds(
  run    BYTEA PRIMARY KEY,
  agent  TEXT COLLATE "C" NOT NULL,
  model  TEXT COLLATE "C" NOT NULL,
  day    TEXT COLLATE "C" NOT NULL,
  tokens BIGINT NOT NULL,
  usd    DOUBLE PRECISION NOT NULL,
  output BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE spent(
  day           TEXT COLLATE "C" NOT NULL,
  agent         TEXT COLLATE "C" NOT NULL,
  model         TEXT COLLATE "C" NOT NULL,
  requests      BIGINT NOT NULL,
  input_tokens  BIGINT NOT NULL,
  cached_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  usd           DOUBLE PRECISION NOT NULL,
  PRIMARY KEY(day, agent, model)
);
CREATE TABLE approvals(
  id           TEXT COLLATE "C" PRIMARY KEY,
  run          BYTEA NOT NULL,
  agent        TEXT COLLATE "C" NOT NULL,
  call         BIGINT NOT NULL,
  tool         TEXT COLLATE "C" NOT NULL,
  args         TEXT COLLATE "C" NOT NULL,
  requested_at BIGINT NOT NULL,
  decided_at   BIGINT,
  approved     BIGINT,
  reason       TEXT COLLATE "C"
);
CREATE INDEX open_approvals ON approvals(run) WHERE decided_at IS NULL;
CREATE TABLE sessions(
  id        BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  session   TEXT COLLATE "C" NOT NULL,
  run       BYTEA NOT NULL,
  at        BIGINT NOT NULL,
  message   TEXT COLLATE "C" NOT NULL,
  untrusted BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX messages_of_session ON sessions(session, id);
CREATE TABLE seen(
  agent TEXT COLLATE "C" NOT NULL,
  item  TEXT COLLATE "C" NOT NULL,
  at    BIGINT NOT NULL,
  PRIMARY KEY(agent, item)
);
CREATE TABLE pins(
  server  TEXT COLLATE "C" NOT NULL,
  tool    TEXT COLLATE "C" NOT NULL,
  trusted TEXT COLLATE "C" NOT NULL,
  seen    TEXT COLLATE "C",
  about   TEXT COLLATE "C",
  PRIMARY KEY(server, tool)
);
CREATE TABLE told(
  since     TEXT COLLATE "C" NOT NULL,
  agent     TEXT COLLATE "C" NOT NULL,
  what      TEXT COLLATE "C" NOT NULL,
  exhausted BIGINT NOT NULL,
  PRIMARY KEY(since, agent, what, exhausted)
);
CREATE TABLE feeds(
  source        TEXT COLLATE "C" PRIMARY KEY,
  came_from     TEXT COLLATE "C" NOT NULL,
  etag          TEXT COLLATE "C",
  last_modified TEXT COLLATE "C",
  items         TEXT COLLATE "C" NOT NULL,
  at            BIGINT NOT NULL
);
CREATE INDEX feeds_by_age ON feeds(at);
CREATE TABLE archives(
  source  TEXT COLLATE "C" NOT NULL,
  place   TEXT COLLATE "C" NOT NULL,
  pending TEXT COLLATE "C",
  rows    BIGINT NOT NULL,
  bytes   BIGINT NOT NULL,
  at      BIGINT NOT NULL,
  PRIMARY KEY(source, place)
);
CREATE TABLE outbox(
  id      BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  target  TEXT COLLATE "C" NOT NULL,
  agent   TEXT COLLATE "C" NOT NULL,
  about   TEXT COLLATE "C" NOT NULL,
  at      BIGINT NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  body    TEXT COLLATE "C" NOT NULL,
  tries   BIGINT NOT NULL,
  due     BIGINT
);
CREATE INDEX due_messages ON outbox(due) WHERE due IS NOT NULL;
CREATE TABLE pruned(
  agent TEXT COLLATE "C" PRIMARY KEY,
  until BIGINT NOT NULL
);
CREATE INDEX incidents_of_run ON incidents(opened_in) WHERE opened_in IS NOT NULL;
CREATE TABLE notes(
  agent     TEXT COLLATE "C" NOT NULL,
  key       TEXT COLLATE "C" NOT NULL,
  untrusted BIGINT NOT NULL,
  text      TEXT COLLATE "C" NOT NULL,
  at        BIGINT NOT NULL,
  PRIMARY KEY (agent, key, untrusted)
);

-- No record of the ledger begins or ends within another one, and a slot that has a verdict is not claimed again.
CREATE FUNCTION ledger_lies_apart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.last ORDER BY first DESC LIMIT 1) >= NEW.first THEN
    RAISE EXCEPTION 'ranges of the ledger never overlap' USING ERRCODE = 'BG001';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER ledger_lies_apart BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_lies_apart();
CREATE FUNCTION ledger_stays_apart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.last AND NOT (agent = OLD.agent AND first = OLD.first)
      ORDER BY first DESC LIMIT 1) >= NEW.first THEN
    RAISE EXCEPTION 'ranges of the ledger never overlap' USING ERRCODE = 'BG001';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER ledger_stays_apart BEFORE UPDATE OF agent, first, last ON ledger
  FOR EACH ROW EXECUTE FUNCTION ledger_stays_apart();
CREATE FUNCTION claim_of_judged_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.slot IS NOT NULL
    AND (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.slot ORDER BY first DESC LIMIT 1) >= NEW.slot THEN
    RAISE EXCEPTION 'the slot has a verdict' USING ERRCODE = 'BG001';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER claim_of_judged_slot BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION claim_of_judged_slot();
