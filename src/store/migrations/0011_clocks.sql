-- The clock was set back: no slot up to `floor` is judged (again). Of those ahead, up to `judged_until`, the ones that
-- have a record stay as they are; the others are to come.
ALTER TABLE agents ADD COLUMN floor INTEGER;
-- Where the anchor was when the clock was set to before it.
ALTER TABLE agents ADD COLUMN origin INTEGER;
-- The next slot is not the next one by the schedule: those before it ran already, while the clock was ahead.
ALTER TABLE agents ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;

-- Up to where the ledger of an agent is no longer kept: a slot up to there may have run.
CREATE TABLE pruned(agent TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Ranges of the ledger never overlap. In a database of an earlier release they do where a clock was ahead and set back:
-- such a record is cut to what is before the next one, and what it has after all that begin within it becomes a record
-- of its own. How many slots are left of it is estimated, as if they were evenly apart.
CREATE TEMP TABLE overlaps AS
  SELECT o.*, (SELECT max(l.last) FROM ledger l WHERE l.agent = o.agent AND l.first > o.first AND l.first <= o.last) AS reached
  FROM (SELECT *, lead(first) OVER (PARTITION BY agent ORDER BY first) AS next FROM ledger) o WHERE o.last >= o.next;
CREATE TEMP TABLE counted AS
  SELECT agent, sum(count) AS slots FROM ledger
  WHERE verdict <> 'ran' AND agent IN (SELECT agent FROM overlaps) GROUP BY agent;
UPDATE ledger SET last = o.next - 1,
    count = max(1, CAST(ledger.count * (CAST(o.next - o.first AS REAL) / (o.last - o.first)) AS INTEGER))
  FROM overlaps o WHERE ledger.agent = o.agent AND ledger.first = o.first;
INSERT INTO ledger(agent, first, last, count, verdict, cause, run)
  SELECT agent, reached + 1, last, max(1, CAST(count * (CAST(last - reached AS REAL) / (last - first)) AS INTEGER)), verdict, cause, run
  FROM overlaps WHERE last > reached;
UPDATE agents SET skipped = max(0, skipped - c.slots
    + (SELECT coalesce(sum(count), 0) FROM ledger l WHERE l.agent = agents.id AND l.verdict <> 'ran'))
  FROM counted c WHERE c.agent = agents.id;
DROP TABLE overlaps;
DROP TABLE counted;

-- No record begins or ends within another one. They lie apart, so the nearest one tells.
CREATE TRIGGER ledger_lies_apart BEFORE INSERT ON ledger
WHEN (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.last ORDER BY first DESC LIMIT 1) >= NEW.first
BEGIN SELECT RAISE(ABORT, 'ranges of the ledger never overlap'); END;
CREATE TRIGGER ledger_stays_apart BEFORE UPDATE OF agent, first, last ON ledger
WHEN (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.last AND NOT (agent = OLD.agent AND first = OLD.first)
      ORDER BY first DESC LIMIT 1) >= NEW.first
BEGIN SELECT RAISE(ABORT, 'ranges of the ledger never overlap'); END;
-- A slot that has a verdict is not claimed again, whatever became of the run that had claimed it.
CREATE TRIGGER claim_of_judged_slot BEFORE INSERT ON runs
WHEN NEW.slot IS NOT NULL
  AND (SELECT last FROM ledger WHERE agent = NEW.agent AND first <= NEW.slot ORDER BY first DESC LIMIT 1) >= NEW.slot
BEGIN SELECT RAISE(ABORT, 'the slot has a verdict'); END;
