-- Runs that the leader places at other nodes, which is for records on a server.
ALTER TABLE runs ADD COLUMN node TEXT;
ALTER TABLE runs ADD COLUMN node_session TEXT;
