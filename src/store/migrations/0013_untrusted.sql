-- Who found it: what was there before counts as found by a check, which no report touches.
ALTER TABLE incidents ADD COLUMN opened_by TEXT NOT NULL DEFAULT 'check';
-- The run whose report opened it.
ALTER TABLE incidents ADD COLUMN opened_in BLOB;
CREATE INDEX incidents_of_run ON incidents(opened_in) WHERE opened_in IS NOT NULL;

-- Notes of runs that had read data from outside are kept apart: the same key may be there twice.
CREATE TABLE kept_notes(
  agent     TEXT NOT NULL,
  key       TEXT NOT NULL,
  untrusted INTEGER NOT NULL,
  text      TEXT NOT NULL,
  at        INTEGER NOT NULL,
  PRIMARY KEY (agent, key, untrusted)
) STRICT, WITHOUT ROWID;
INSERT INTO kept_notes(agent, key, untrusted, text, at) SELECT agent, key, untrusted, text, at FROM notes;
DROP TABLE notes;
ALTER TABLE kept_notes RENAME TO notes;
