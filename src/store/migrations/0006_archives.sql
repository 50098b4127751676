-- Archives of rows: what each of them has begun and not finished, and what it has moved in all.
CREATE TABLE archives(
  source  TEXT NOT NULL,
  place   TEXT NOT NULL,
  pending TEXT,
  rows    INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY(source, place)
) STRICT, WITHOUT ROWID;
