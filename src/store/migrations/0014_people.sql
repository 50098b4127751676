-- A message says which run it tells of, which problem, and how urgent it is. Of those about one problem that were not
-- sent yet, the newest alone is sent. What came of the last try is kept beside it.
ALTER TABLE outbox ADD COLUMN run BLOB;
ALTER TABLE outbox ADD COLUMN key TEXT;
ALTER TABLE outbox ADD COLUMN urgency TEXT NOT NULL DEFAULT 'warning';
ALTER TABLE outbox ADD COLUMN error TEXT;
CREATE INDEX outbox_problems ON outbox(target, agent, key, id);
