-- Messages that went together in a try whose end is not known go together again, as they were: the first row of them, and
-- how many characters of each are shown.
ALTER TABLE outbox ADD COLUMN joined INTEGER;
ALTER TABLE outbox ADD COLUMN joined_each INTEGER;
-- The slot since which a run that completes is awaited, for `late_after`.
ALTER TABLE agents ADD COLUMN awaited_since INTEGER;
