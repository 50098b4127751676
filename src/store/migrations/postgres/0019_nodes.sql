ALTER TABLE fleet ADD COLUMN led_since timestamptz;
CREATE TABLE nodes(
  name            TEXT COLLATE "C" PRIMARY KEY,
  identity        TEXT COLLATE "C" NOT NULL,
  session         TEXT COLLATE "C" NOT NULL,
  version         TEXT COLLATE "C" NOT NULL,
  protocol        BIGINT NOT NULL,
  labels          TEXT COLLATE "C" NOT NULL,
  leads           BIGINT NOT NULL,
  config          TEXT COLLATE "C" NOT NULL,
  started_at      BIGINT NOT NULL,
  seen            timestamptz NOT NULL,
  clock_offset_ms BIGINT NOT NULL,
  lag_ms          BIGINT NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE forwarded(
  id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key         TEXT COLLATE "C" NOT NULL UNIQUE,
  node        TEXT COLLATE "C" NOT NULL,
  session     TEXT COLLATE "C" NOT NULL,
  asker       TEXT COLLATE "C" NOT NULL,
  method      TEXT COLLATE "C" NOT NULL,
  params      TEXT COLLATE "C" NOT NULL,
  request_id  TEXT COLLATE "C",
  expires     timestamptz NOT NULL,
  taken       BIGINT,
  answer      TEXT COLLATE "C",
  answered_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX forwarded_waiting ON forwarded(id) WHERE answer IS NULL;
CREATE INDEX forwarded_of ON forwarded(session) WHERE answer IS NOT NULL;
