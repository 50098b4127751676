-- An agent program sends requests side by side: what is held is known by its run and its place in the journal.
CREATE TABLE holds_by_place(
  run    BLOB NOT NULL,
  n      INTEGER NOT NULL,
  agent  TEXT NOT NULL,
  model  TEXT NOT NULL,
  day    TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  output INTEGER NOT NULL,
  usd    REAL NOT NULL,
  PRIMARY KEY(run, n)
) STRICT, WITHOUT ROWID;
INSERT INTO holds_by_place(run, n, agent, model, day, tokens, output, usd)
  SELECT run, 0, agent, model, day, tokens, output, usd FROM holds;
DROP TABLE holds;
ALTER TABLE holds_by_place RENAME TO holds;
