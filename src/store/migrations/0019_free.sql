-- Nothing changes here in this version.
SELECT 1;
