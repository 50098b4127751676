-- Tokens of the answer within `tokens`: what is charged for a request whose end nobody saw is told by kind.
ALTER TABLE holds ADD COLUMN output INTEGER NOT NULL DEFAULT 0;
