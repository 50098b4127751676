ALTER TABLE outbox ADD COLUMN run BYTEA;
ALTER TABLE outbox ADD COLUMN key TEXT COLLATE "C";
ALTER TABLE outbox ADD COLUMN urgency TEXT COLLATE "C" NOT NULL DEFAULT 'warning';
ALTER TABLE outbox ADD COLUMN error TEXT COLLATE "C";
CREATE INDEX outbox_problems ON outbox(target, agent, key, id);
