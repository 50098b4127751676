//! How large the tables are.
use crate::store::sql::{Sql, SqlResult};

/// What an entry of a table takes beside its columns: its header, its line pointer, and its places in the indexes.
const BESIDE_COLUMNS: i64 = 100;

/// Bytes that the tables and their indexes take on the disk.
pub(super) fn on_disk(db: &Sql) -> SqlResult<u64> {
    let sql = "SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS BIGINT) FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'";
    db.one(sql, &[], |row| row.get::<i64>(0)).map(i64::unsigned_abs)
}

/// About how many bytes hold something, as of the last measurement. Room of rows that are gone is used again and not given
/// back, so the size on the disk says nothing of them.
pub(super) fn used(db: &Sql) -> SqlResult<u64> {
    let sql = format!(
        "SELECT CAST(coalesce(sum(greatest(c.reltuples, 0) * (w.width + {BESIDE_COLUMNS})), 0) AS BIGINT)
         FROM pg_class c JOIN (SELECT tablename, sum(avg_width) AS width FROM pg_stats
           WHERE schemaname = current_schema() GROUP BY tablename) w ON w.tablename = c.relname
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
    );
    let used = db.one(&sql, &[], |row| row.get::<i64>(0))?.unsigned_abs();
    Ok(used.min(on_disk(db)?))
}

/// Has the server measure how many rows there are, and how wide. After each table, `renew` is called.
pub(super) fn measure(db: &Sql, renew: impl Fn() -> SqlResult<()>) -> SqlResult<()> {
    let tables = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()";
    for table in db.rows(tables, &[], |row| row.get::<String>(0))? {
        db.run(&format!("ANALYZE {table}"), &[])?;
        renew()?;
    }
    Ok(())
}
