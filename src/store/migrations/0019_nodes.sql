-- Nodes, and what clients ask of the one that leads, are of records on a server alone: a file has one daemon.
SELECT 1;
