//! Identifies databases and tables: one may have several names, and one name may mean several.
use super::super::table::Table;
use super::Postgres;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use tokio_postgres::error::SqlState;

impl Postgres {
    /// Returns the table with its names as the server has them, whatever the configuration calls it.
    pub(super) async fn named(&self, oid: u32, mut table: Table) -> Result<Table, ToolError> {
        let sql = "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
             FROM unnest(ARRAY[$1::oid, coalesce(pg_catalog.pg_partition_root($1::oid)::oid, $1::oid)]) WITH ORDINALITY AS k(oid, at) \
             JOIN pg_catalog.pg_class c ON c.oid = k.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY k.at";
        let rows = self.client().query(sql, &[&oid]).await.map_err(|error| self.say(&error, sql))?;
        let [own, root] = &rows[..] else {
            return Err(failed(&format!(
                "table {} is being removed or renamed: try again",
                table.about.table
            )));
        };
        (table.about.table, table.root) = (own.get(0), root.get(0));
        Ok(table)
    }

    /// Returns the system identifier of the server's data, which its replicas share, and the OID of the
    /// database.
    pub(in super::super) async fn identity(&self) -> Result<String, ToolError> {
        let sql = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
        let row = self.client().query_one(sql, &[]).await.map_err(|error| self.say(&error, sql))?;
        let database: u32 = row.get(0);
        let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        match self.client().query_one(sql, &[]).await {
            Ok(row) => Ok(format!("{}/{database}", row.get::<_, i64>(0))),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(failed(&format!(
                "{}: the role can't ask which server this is, and another one with the same name could use the same \
                 place: GRANT EXECUTE ON FUNCTION pg_control_system() to it",
                self.source
            ))),
            Err(error) => Err(self.say(&error, sql)),
        }
    }

    /// Returns whether both are one database, even if the addresses differ: tested by an advisory lock.
    pub(in super::super) async fn is_same_database(&self, other: &Self) -> Result<bool, ToolError> {
        let chance = uuid::Uuid::now_v7().as_u64_pair().1.cast_signed();
        let (take, release) =
            ("SELECT pg_try_advisory_lock($1::int8)", "SELECT pg_advisory_unlock($1::int8)");
        let ask = async |db: &Self, sql: &str| -> Result<bool, ToolError> {
            let row = db.client().query_one(sql, &[&chance]).await.map_err(|error| db.say(&error, sql))?;
            Ok(row.get(0))
        };
        if !ask(self, take).await? {
            return Err(failed("a lock of chance is taken in the database: try again"));
        }
        let is_free = ask(other, take).await?;
        if is_free {
            ask(other, release).await?;
        }
        ask(self, release).await?;
        Ok(!is_free)
    }
}
