//! The size of the tables.
use crate::store::sql::{Sql, SqlResult};

/// Overhead of a row beside its columns: its header, its line pointer, and its index entries.
const ROW_OVERHEAD_BYTES: i64 = 100;

/// Returns the bytes that the tables and their indexes take on disk.
pub(super) fn on_disk(db: &Sql) -> SqlResult<u64> {
    let sql = "SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS BIGINT) FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'";
    db.one(sql, &[], |row| row.get::<i64>(0)).map(i64::unsigned_abs)
}

/// Estimates the bytes in use, as of the last measurement. Space of deleted rows is reused but not
/// returned, so the size on disk does not reflect deletions.
pub(super) fn used(db: &Sql) -> SqlResult<u64> {
    let sql = format!(
        "SELECT CAST(coalesce(sum(greatest(c.reltuples, 0) * (w.width + {ROW_OVERHEAD_BYTES})), 0) AS BIGINT)
         FROM pg_class c JOIN (SELECT tablename, sum(avg_width) AS width FROM pg_stats
           WHERE schemaname = current_schema() GROUP BY tablename) w ON w.tablename = c.relname
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
    );
    let used = db.one(&sql, &[], |row| row.get::<i64>(0))?.unsigned_abs();
    Ok(used.min(on_disk(db)?))
}

/// Has the server update its statistics of row counts and widths. Calls `renew` after each table.
pub(super) fn measure(db: &Sql, renew: impl Fn() -> SqlResult<()>) -> SqlResult<()> {
    let tables = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()";
    for table in db.rows(tables, &[], |row| row.get::<String>(0))? {
        db.run(&format!("ANALYZE {table}"), &[])?;
        renew()?;
    }
    Ok(())
}
