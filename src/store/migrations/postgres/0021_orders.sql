-- Runs that the leader places at other nodes, which is for records on a server.
ALTER TABLE runs ADD COLUMN node TEXT COLLATE "C";
ALTER TABLE runs ADD COLUMN node_session TEXT COLLATE "C";
-- Lives of nodes that run what is placed there. Whoever is `over` can report nothing more.
CREATE TABLE workers(
  session  TEXT COLLATE "C" PRIMARY KEY,
  node     TEXT COLLATE "C" NOT NULL,
  identity TEXT COLLATE "C" NOT NULL,
  labels   TEXT COLLATE "C" NOT NULL,
  bell     TEXT COLLATE "C" NOT NULL,
  seen     timestamptz NOT NULL,
  reported BIGINT NOT NULL,
  drains   BIGINT NOT NULL,
  over     BIGINT NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE orders(
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  session TEXT COLLATE "C" NOT NULL,
  fence   BIGINT NOT NULL,
  body    TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX orders_of ON orders(session, id);
CREATE TABLE reports(
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  session TEXT COLLATE "C" NOT NULL,
  body    TEXT COLLATE "C" NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
