//! Looks at a table of a PostgreSQL server: is it fit to be archived?
use super::super::{Referrer, Table, TableSpec, about, check_columns, no_key, no_table, null_key, quote};
use super::Postgres;
use crate::tools::ToolError;
use crate::tools::archive::failed;
use crate::tools::archive::row::{Column, Kind};
use crate::tools::sql::postgres::explain;
use std::collections::HashMap;

/// Types that are numbers, as the server names them.
pub(super) const NUMBERS: &[&str] = &["smallint", "integer", "bigint", "numeric", "real", "double precision"];
/// Types that are times.
const TIMES: &[&str] = &["date", "timestamp without time zone", "timestamp with time zone"];

impl Postgres {
    /// Its number, and its name as SQL takes it.
    pub(super) async fn find_table(&self, spec: &TableSpec) -> Result<(u32, String), ToolError> {
        let name: Vec<String> = spec.table.splitn(2, '.').map(quote).collect();
        let sql = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1::text)";
        let say = |error: tokio_postgres::Error| explain(&error, sql);
        let Some(found) = self.client().query_opt(sql, &[&name.join(".")]).await.map_err(say)? else {
            let sql = "SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text \
                 ELSE n.nspname || '.' || c.relname END FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 200";
            let rows = self.client().query(sql, &[]).await.map_err(|error| explain(&error, sql))?;
            let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            return Err(no_table(&spec.table, &names));
        };
        let kind: String = found.get(3);
        let what = match kind.as_str() {
            "r" | "p" => None,
            "v" => Some("view"),
            "m" => Some("materialized view"),
            "f" => Some("foreign table"),
            _ => Some("relation of another kind"),
        };
        if let Some(what) = what {
            return Err(failed(&format!(
                "`{}` is a {what}: only the rows of a table can be archived",
                spec.table
            )));
        }
        let (schema, table): (String, String) = (found.get(1), found.get(2));
        // Children by inheritance have keys of their own; a unique index of a partitioned table holds for all
        // of it.
        let only = if kind == "p" { "" } else { "ONLY " };
        Ok((found.get(0), format!("{only}{}.{}", quote(&schema), quote(&table))))
    }

    /// Its columns, what tells its rows apart, and what refers to it.
    pub(super) async fn look(&self, spec: &TableSpec, oid: u32, quoted: String) -> Result<Table, ToolError> {
        let sql = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
             a.attgenerated::text, a.attnum FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let rows = self.client().query(sql, &[&oid]).await.map_err(|error| explain(&error, sql))?;
        let (mut columns, mut numbers, mut not_null) = (Vec::new(), HashMap::new(), Vec::new());
        for found in &rows {
            let (name, generated): (String, String) = (found.get(0), found.get(3));
            if !generated.is_empty() {
                continue;
            }
            numbers.insert(name.clone(), found.get::<_, i16>(4));
            if found.get(2) {
                not_null.push(name.clone());
            }
            columns.push(Column { name, kind: found.get(1) });
        }
        check_columns(spec, &columns)?;
        self.check_age(spec, oid).await?;
        let mut wanted: Vec<i16> = spec.key.iter().map(|key| numbers[key]).collect();
        wanted.sort_unstable();
        let sql = "SELECT (SELECT array_agg(k.n ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(n, at) \
               WHERE k.at <= i.indnkeyatts) FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisunique \
             AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
             AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) WITH ORDINALITY AS k(n, compared, at) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n \
               JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
               WHERE k.at <= i.indnkeyatts AND k.compared <> a.attcollation AND NOT c.collisdeterministic)";
        // What an index tells apart may be equal to the column, by a collation that is not deterministic.
        let indexes = self.client().query(sql, &[&oid]).await.map_err(|error| explain(&error, sql))?;
        if !indexes.iter().any(|index| index.get::<_, Vec<i16>>(0) == wanted) {
            return Err(no_key(spec));
        }
        if let Some(name) = spec.key.iter().find(|key| !not_null.contains(key)) {
            return Err(null_key(spec, name));
        }
        Ok(Table {
            all: columns.iter().map(|column| column.name.clone()).collect(),
            casts: columns.iter().map(|column| column.kind.clone()).collect(),
            about: about(Kind::Postgres, self.source.clone(), spec, columns),
            quoted,
            keys: spec.key.iter().map(|key| format!("t.{}", quote(key))).collect(),
            root: String::new(),
            referrers: self.referrers(oid).await?,
        })
    }

    /// A table that the server empties when it falls is no place for the only copy of a row.
    pub(in super::super) async fn must_last(&self, table: &Table) -> Result<(), ToolError> {
        let sql = "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c, (SELECT pg_catalog.to_regclass($1::text)::oid AS oid) AS t \
             WHERE c.relpersistence <> 'p' AND (c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.oid))) LIMIT 1";
        let name = table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted);
        let found = self.client().query_opt(sql, &[&name]).await.map_err(|error| explain(&error, sql))?;
        let Some(found) = found else { return Ok(()) };
        let part: String = found.get(0);
        Err(failed(&format!(
            "table {part} is UNLOGGED: the server empties it when it falls, and archived rows would be lost: ALTER TABLE \
             {part} SET LOGGED, or archive to another one"
        )))
    }

    /// The columns that the table has now, and whether statements on it do more than they say.
    pub(super) async fn now(&self, table: &Table) -> Result<(Vec<String>, bool), ToolError> {
        let sql = "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid \
               AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), \
             EXISTS (SELECT FROM pg_catalog.pg_class c WHERE (c.relhastriggers OR c.relhasrules) \
               AND (c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.oid)))) \
             FROM (SELECT pg_catalog.to_regclass($1::text)::oid AS oid) AS t";
        let name = table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted);
        let row = self.client().query_one(sql, &[&name]).await.map_err(|error| explain(&error, sql))?;
        Ok((row.get(0), row.get(1)))
    }

    /// The age must be a time or a number: other types have an order of their own, in which what is young may
    /// come first.
    async fn check_age(&self, spec: &TableSpec, oid: u32) -> Result<(), ToolError> {
        let sql = "WITH RECURSIVE base(oid) AS (SELECT a.atttypid FROM pg_catalog.pg_attribute a \
               WHERE a.attrelid = $1 AND a.attname = $2::text \
               UNION ALL SELECT t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd') \
             SELECT pg_catalog.format_type(t.oid, NULL), (SELECT count(*) FROM base) = 1 \
             FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype <> 'd'";
        let found = self.client().query_one(sql, &[&oid, &spec.column]).await;
        let found = found.map_err(|error| explain(&error, sql))?;
        let (kind, is_plain): (String, bool) = (found.get(0), found.get(1));
        if TIMES.contains(&kind.as_str()) || (is_plain && NUMBERS.contains(&kind.as_str())) {
            return Ok(());
        }
        Err(failed(&format!(
            "column `{}` of {} is of type {kind}{}, which says no age: it must be date, timestamp, timestamptz or \
             a number",
            spec.column,
            spec.table,
            if is_plain { "" } else { " by a domain" }
        )))
    }

    async fn referrers(&self, oid: u32) -> Result<Vec<Referrer>, ToolError> {
        // A key that refers to a partitioned table has a part for each partition: a partition of its own has
        // only that part, and with the whole table, the whole key is enough.
        let sql = "WITH ours AS (SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1)) \
             SELECT n.nspname::text, c.relname::text, k.confdeltype::text, \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.conkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.n), \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.confkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.n) \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM ours) AND k.confdeltype IN ('c', 'n', 'd') \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up \
                               WHERE up.oid = k.conparentid AND up.confrelid IN (SELECT oid FROM ours))";
        let rows = self.client().query(sql, &[&oid]).await.map_err(|error| explain(&error, sql))?;
        let of = |found: &tokio_postgres::Row| {
            let (schema, table, action): (String, String, String) =
                (found.get(0), found.get(1), found.get(2));
            let (from, to): (Vec<String>, Vec<String>) = (found.get(3), found.get(4));
            let action = match action.as_str() {
                "c" => "CASCADE",
                "n" => "SET NULL",
                _ => "SET DEFAULT",
            };
            Referrer {
                table: format!("{}.{}", quote(&schema), quote(&table)),
                columns: from.iter().map(|name| quote(name)).zip(to.iter().map(|name| quote(name))).collect(),
                action: action.to_owned(),
            }
        };
        Ok(rows.iter().map(of).collect())
    }
}
