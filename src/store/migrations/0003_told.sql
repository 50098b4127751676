-- What was told of budgets, so that it is told once in a day or a month, whatever the daemon does
-- meanwhile. An empty agent is the fleet.
CREATE TABLE told(
  since     TEXT NOT NULL,
  agent     TEXT NOT NULL,
  what      TEXT NOT NULL,
  exhausted INTEGER NOT NULL,
  PRIMARY KEY(since, agent, what, exhausted)
) STRICT, WITHOUT ROWID;

-- What a run left behind after it had read data from outside. It may be an order in disguise: whoever
-- reads it later has read such data, too.
ALTER TABLE runs ADD COLUMN untrusted INTEGER NOT NULL DEFAULT 1;
-- A person had it forgotten: it is no longer what the agent's last run said.
ALTER TABLE runs ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN untrusted INTEGER NOT NULL DEFAULT 1;
ALTER TABLE notes ADD COLUMN untrusted INTEGER NOT NULL DEFAULT 1;
