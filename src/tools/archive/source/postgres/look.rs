//! Looks at a table of a PostgreSQL server: is it fit to be archived?
use super::super::{Referrer, Table, TableSpec, about, check_columns, no_key, no_table, null_key, quote};
use super::Postgres;
use crate::tools::ToolError;
use crate::tools::archive::failed;
use crate::tools::archive::row::{Column, Kind};
use crate::tools::sql::postgres::explain;
use std::collections::HashMap;

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
        let mut wanted: Vec<i16> = spec.key.iter().map(|key| numbers[key]).collect();
        wanted.sort_unstable();
        let sql = "SELECT (SELECT array_agg(k.n ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(n, at) \
               WHERE k.at <= i.indnkeyatts) FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisunique \
             AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL";
        let indexes = self.client().query(sql, &[&oid]).await.map_err(|error| explain(&error, sql))?;
        if !indexes.iter().any(|index| index.get::<_, Vec<i16>>(0) == wanted) {
            return Err(no_key(spec));
        }
        if let Some(name) = spec.key.iter().find(|key| !not_null.contains(key)) {
            return Err(null_key(spec, name));
        }
        Ok(Table {
            casts: columns.iter().map(|column| column.kind.clone()).collect(),
            about: about(Kind::Postgres, self.source.clone(), spec, columns),
            quoted,
            keys: spec.key.iter().map(|key| format!("t.{}", quote(key))).collect(),
            root: String::new(),
            referrers: self.referrers(oid).await?,
        })
    }

    async fn referrers(&self, oid: u32) -> Result<Vec<Referrer>, ToolError> {
        let sql = "SELECT n.nspname::text, c.relname::text, k.confdeltype::text, \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.conkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.n), \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.confkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.n) \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE k.contype = 'f' AND k.confrelid = $1 AND k.confdeltype IN ('c', 'n', 'd') AND k.conparentid = 0";
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
