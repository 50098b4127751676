-- What changes in Redis of the memory of agents, in order: see docs/REDIS.md. `place`: a session or the notes of an agent.
CREATE TABLE memory_changes(
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  place  TEXT NOT NULL,
  at     INTEGER NOT NULL,
  change TEXT NOT NULL
) STRICT;
CREATE INDEX memory_changes_of ON memory_changes(place, at);
