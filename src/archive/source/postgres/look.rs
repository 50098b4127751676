//! Inspects a table of a PostgreSQL server, and checks that it can be archived.
use super::super::names::readings;
use super::super::table::{
    Cast, ForeignKey, Read, Table, TablePrivileges, TableSpec, about, check_columns, no_key, no_table,
    null_key, quote,
};
use super::Postgres;
use crate::archive::row::{Column, Kind};
use crate::archive::source::postgres::text::NUMBERS;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use std::collections::HashMap;

/// Types of dates and times.
const TIME_TYPES: &[&str] = &["date", "timestamp without time zone", "timestamp with time zone"];

impl Postgres {
    /// Returns the table's OID, and its quoted name.
    pub(super) async fn find_table(&self, spec: &TableSpec) -> Result<(u32, String), ToolError> {
        let sql = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1::text)";
        let say = |error: tokio_postgres::Error| self.say(&error, sql);
        let mut found = None;
        for parts in readings(&spec.table) {
            let name: Vec<String> = parts.iter().map(|part| quote(part)).collect();
            found = self.client().query_opt(sql, &[&name.join(".")]).await.map_err(say)?;
            if found.is_some() {
                break;
            }
        }
        let Some(found) = found else {
            let sql = "SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text \
                 ELSE n.nspname || '.' || c.relname END FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 200";
            let rows = self.client().query(sql, &[]).await.map_err(|error| self.say(&error, sql))?;
            let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            return Err(no_table(&spec.table, &self.source, &names));
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
        // Tables that inherit from this one have their own keys; a unique index of a partitioned table covers
        // all of it.
        let only = if kind == "p" { "" } else { "ONLY " };
        Ok((found.get(0), format!("{only}{}.{}", quote(&schema), quote(&table))))
    }

    /// Reads the table's columns, its unique key, and foreign keys that refer to it.
    pub(super) async fn look(&self, spec: &TableSpec, oid: u32, quoted: String) -> Result<Table, ToolError> {
        let sql = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
             a.attgenerated::text, a.attnum FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let rows = self.client().query(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))?;
        let local = self.local_types(spec, oid).await?;
        let (mut columns, mut casts, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        let (mut not_null, mut generated) = (Vec::new(), Vec::new());
        for found in &rows {
            let (name, kind, number): (String, String, i16) = (found.get(0), found.get(1), found.get(4));
            if !found.get::<_, String>(3).is_empty() {
                generated.push(name);
                continue;
            }
            numbers.insert(name.clone(), number);
            if found.get(2) {
                not_null.push(name.clone());
            }
            let (kind, cast) = cast(kind, local.get(&number));
            columns.push(Column { name, kind });
            casts.push(cast);
        }
        if let Some(name) = spec.key.iter().chain([&spec.column]).find(|name| generated.contains(name)) {
            return Err(failed(&format!(
                "column `{name}` of {} is generated: rows are known and old by columns that are stored as they were given",
                spec.table
            )));
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
        // An index may distinguish values that are equal for the column, if its collation is not
        // deterministic.
        let indexes = self.client().query(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))?;
        if !indexes.iter().any(|index| index.get::<_, Vec<i16>>(0) == wanted) {
            return Err(no_key(spec));
        }
        if let Some(name) = spec.key.iter().find(|key| !not_null.contains(key)) {
            return Err(null_key(spec, name));
        }
        let (own, referrers) = self.referrers(oid, &quoted).await?;
        Ok(Table {
            all: columns.iter().map(|column| column.name.clone()).collect(),
            casts,
            about: about(Kind::Postgres, self.source.clone(), spec, columns),
            keys: spec.key.iter().map(|key| format!("t.{}", quote(key))).collect(),
            root: String::new(),
            ability: self.ability(oid).await?,
            referrers,
            own,
            quoted,
        })
    }

    /// Fails for an unlogged table: the server empties it after a crash, so it must not hold the only copy of
    /// a row.
    pub(in super::super) async fn must_last(&self, table: &Table) -> Result<(), ToolError> {
        let sql = "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c, (SELECT pg_catalog.to_regclass($1::text)::oid AS oid) AS t \
             WHERE c.relpersistence <> 'p' AND (c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.oid))) LIMIT 1";
        let name = table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted);
        let found = self.client().query_opt(sql, &[&name]).await.map_err(|error| self.say(&error, sql))?;
        let Some(found) = found else { return Ok(()) };
        let part: String = found.get(0);
        Err(failed(&format!(
            "table {part} is UNLOGGED: the server empties it when it falls, and archived rows would be lost: ALTER TABLE \
             {part} SET LOGGED, or archive to another one"
        )))
    }

    /// Returns the columns that the table has now, and whether it has triggers or rules.
    pub(super) async fn now(&self, table: &Table) -> Result<(Vec<String>, bool), ToolError> {
        let sql = "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid \
               AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), \
             EXISTS (SELECT FROM pg_catalog.pg_class c WHERE (c.relhastriggers OR c.relhasrules) \
               AND (c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(t.oid)))) \
             FROM (SELECT pg_catalog.to_regclass($1::text)::oid AS oid) AS t";
        let name = table.quoted.strip_prefix("ONLY ").unwrap_or(&table.quoted);
        let row = self.client().query_one(sql, &[&name]).await.map_err(|error| self.say(&error, sql))?;
        Ok((row.get(0), row.get(1)))
    }

    /// Checks that the age column is a time or a number: other types have an order of their own, in which new
    /// values may come first.
    async fn check_age(&self, spec: &TableSpec, oid: u32) -> Result<(), ToolError> {
        let sql = "WITH RECURSIVE base(oid) AS (SELECT a.atttypid FROM pg_catalog.pg_attribute a \
               WHERE a.attrelid = $1 AND a.attname = $2::text \
               UNION ALL SELECT t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd') \
             SELECT pg_catalog.format_type(t.oid, NULL), (SELECT count(*) FROM base) = 1 \
             FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype <> 'd'";
        let found = self.client().query_one(sql, &[&oid, &spec.column]).await;
        let found = found.map_err(|error| self.say(&error, sql))?;
        let (kind, is_plain): (String, bool) = (found.get(0), found.get(1));
        if TIME_TYPES.contains(&kind.as_str()) || (is_plain && NUMBERS.contains(&kind.as_str())) {
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

    /// Returns columns of `reg*` types, by the column's number: the type, and whether the column is an array
    /// of it. The names of such values depend on the search path and on the objects that exist.
    async fn local_types(
        &self,
        spec: &TableSpec,
        oid: u32,
    ) -> Result<HashMap<i16, (String, bool)>, ToolError> {
        let sql = "WITH RECURSIVE part(number, kind, way) AS ( \
               SELECT attnum, atttypid, '' FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped \
               UNION ALL SELECT part.number, inner_one.kind, part.way || inner_one.step \
               FROM part JOIN pg_catalog.pg_type t ON t.oid = part.kind, LATERAL ( \
                 SELECT t.typbasetype AS kind, '' AS step WHERE t.typtype = 'd' \
                 UNION ALL SELECT t.typelem, 'list' WHERE t.typcategory = 'A' AND t.typelem <> 0 \
                 UNION ALL SELECT r.rngsubtype, 'range' FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid \
                 UNION ALL SELECT f.atttypid, 'part' FROM pg_catalog.pg_attribute f WHERE t.typtype = 'c' \
                   AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped) AS inner_one \
               WHERE length(part.way) < 100) \
             SELECT part.number, part.way, t.typname::text, \
               (SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum = part.number) \
             FROM part JOIN pg_catalog.pg_type t ON t.oid = part.kind \
             WHERE t.typname LIKE 'reg%' AND t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace";
        let mut found = HashMap::new();
        for row in self.client().query(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))? {
            let (way, kind, name): (String, String, String) = (row.get(1), row.get(2), row.get(3));
            if !["", "list"].contains(&way.as_str()) {
                return Err(failed(&format!(
                    "column `{name}` of {} holds {kind} within another type: what such a value is called changes with the \
                     tables that there are, so that it might not come back as it was. Make it a column of type {kind} or \
                     text",
                    spec.table
                )));
            }
            found.insert(row.get(0), (kind, way == "list"));
        }
        Ok(found)
    }

    /// Returns the role's privileges, and whether a row that can't be inserted is only noticed later.
    async fn ability(&self, oid: u32) -> Result<TablePrivileges, ToolError> {
        let sql = "WITH ours AS (SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1)) \
             SELECT (SELECT coalesce(bool_and(pg_catalog.has_column_privilege($1::oid, a.attnum, 'INSERT')), true) \
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), \
               pg_catalog.has_table_privilege($1::oid, 'DELETE'), pg_catalog.has_any_column_privilege($1::oid, 'UPDATE'), \
               EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid IN (SELECT oid FROM ours) \
                 AND k.contype IN ('p', 'u', 'x') AND k.condeferrable) \
               OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = $1 AND r.ev_type IN ('2', '3') AND r.ev_enabled <> 'D')";
        let row = self.client().query_one(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))?;
        Ok(TablePrivileges { put: row.get(0), delete: row.get(1), lock: row.get(2), put_plainly: row.get(3) })
    }

    /// Returns foreign keys of the table to itself, and those of other tables that would delete or change
    /// rows there. The remaining ones make the server refuse the deletion.
    async fn referrers(
        &self,
        oid: u32,
        quoted: &str,
    ) -> Result<(Vec<ForeignKey>, Vec<ForeignKey>), ToolError> {
        // A foreign key to a partitioned table has a child constraint for each partition: when one partition
        // is archived only that child applies, and for the whole table the parent constraint is enough.
        let sql = "WITH ours AS (SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1)) \
             SELECT n.nspname::text, c.relname::text, k.confdeltype::text, \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.conkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.n), \
               (SELECT array_agg(a.attname::text ORDER BY p.at) FROM unnest(k.confkey) WITH ORDINALITY AS p(n, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.n), \
               k.conrelid = $1 OR k.conrelid IN (SELECT oid FROM ours) \
                 OR k.conrelid IN (SELECT relid FROM pg_catalog.pg_partition_ancestors($1)), k.conrelid = $1 \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM ours) \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up \
                               WHERE up.oid = k.conparentid AND up.confrelid IN (SELECT oid FROM ours))";
        let rows = self.client().query(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))?;
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for found in &rows {
            let (schema, table, action): (String, String, String) =
                (found.get(0), found.get(1), found.get(2));
            let (from, to): (Vec<String>, Vec<String>) = (found.get(3), found.get(4));
            let action = match action.as_str() {
                "c" => "CASCADE",
                "n" => "SET NULL",
                "d" => "SET DEFAULT",
                _ => "",
            };
            let referrer = ForeignKey {
                table: match found.get(6) {
                    true => quoted.to_owned(),
                    false => format!("{}.{}", quote(&schema), quote(&table)),
                },
                columns: from.iter().map(|name| quote(name)).zip(to.iter().map(|name| quote(name))).collect(),
                action: action.to_owned(),
            };
            match found.get(5) {
                true => own.push(referrer),
                false if !action.is_empty() => others.push(referrer),
                false => {}
            }
        }
        Ok((own, others))
    }
}

/// Returns a column's type as it is archived, and how its values are read and inserted.
fn cast(kind: String, local: Option<&(String, bool)>) -> (String, Cast) {
    match local {
        Some((_, true)) => {
            let put = format!("pg_catalog.oid[]::{kind}");
            ("oid[]".into(), Cast { read: Read::As("pg_catalog.oid[]"), put })
        }
        Some((base, false)) => {
            let domain = if *base == kind { String::new() } else { format!("::{kind}") };
            let put = format!("pg_catalog.oid::pg_catalog.{base}{domain}");
            ("oid".into(), Cast { read: Read::As("pg_catalog.oid"), put })
        }
        None => {
            // A cast would strip trailing blanks of a `character`, even within a domain, and a user-defined
            // type may have its own cast: names of such types include a schema.
            let is_character = kind.starts_with("character(") || kind == "bpchar" || kind == "character";
            let read = if is_character || kind.contains('.') { Read::Written } else { Read::Plain };
            (kind.clone(), Cast { read, put: kind })
        }
    }
}
