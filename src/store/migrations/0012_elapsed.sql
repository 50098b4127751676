-- The pause was asked for so long (in microseconds): its end moves along when the wall clock is set.
ALTER TABLE agents ADD COLUMN resume_after INTEGER;
-- By how much the wall clock was set, in all, since the run was claimed (in microseconds).
ALTER TABLE runs ADD COLUMN clock_moved INTEGER NOT NULL DEFAULT 0;
