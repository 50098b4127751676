-- The session of a run that a model carries out; unknown for runs of before.
ALTER TABLE runs ADD COLUMN session TEXT;

-- Receivers tell messages apart by their id: the number of one that was delivered is never given again.
CREATE TABLE messages(
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  target  TEXT NOT NULL,
  agent   TEXT NOT NULL,
  about   TEXT NOT NULL,
  at      INTEGER NOT NULL,
  subject TEXT NOT NULL,
  body    TEXT NOT NULL,
  tries   INTEGER NOT NULL,
  due     INTEGER
) STRICT;
INSERT INTO messages SELECT id, target, agent, about, at, subject, body, tries, due FROM outbox;
DROP TABLE outbox;
ALTER TABLE messages RENAME TO outbox;
CREATE INDEX due_messages ON outbox(due) WHERE due IS NOT NULL;
