//! A small database with old and new rows, for the archive example.
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// File name of the database, beside the configuration; `agents.example.toml` refers to it.
pub(super) const NAME: &str = "demo.db";

/// Creates orders of the last 400 days, five a day.
const SETUP_SQL: &str = "BEGIN;
CREATE TABLE orders(
  id         INTEGER PRIMARY KEY,
  created_at TEXT NOT NULL,
  customer   TEXT NOT NULL,
  status     TEXT NOT NULL,
  total      TEXT NOT NULL,
  note       TEXT
) STRICT;
CREATE INDEX orders_by_age ON orders(created_at);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO orders
SELECT i, datetime('now', '-' || ((2000 - i) / 5) || ' days'),
  'customer ' || (1 + i * 7919 % 97),
  CASE WHEN i % 50 = 0 THEN 'open' ELSE 'done' END,
  printf('%d.%02d', 5 + i * 31 % 400, i * 17 % 100),
  CASE WHEN i % 9 = 0 THEN 'please ring twice' END
FROM n;
COMMIT;";

/// Creates the database. Returns false if a file of that name exists; that is left unchanged.
pub(super) fn make(path: &Path) -> Result<bool, rusqlite::Error> {
    if path.exists() {
        return Ok(false);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)?.execute_batch(SETUP_SQL)?;
    Ok(true)
}
