-- What a trusted tool said of itself, as JSON, so that a person can compare. Unknown for pins of before.
ALTER TABLE pins ADD COLUMN about TEXT;
