//! Checks whether the server makes commits durable, and replicates them if the configuration requires that.
use super::server::StoreServer;
use crate::domain::Durability;
use crate::store::error::StoreError;
use crate::store::sql::Sql;

/// Refuses a server that guarantees less than `durability` requires.
pub(super) fn check(server: &StoreServer, db: &Sql) -> Result<(), StoreError> {
    let says = server.says("asking what the server promises");
    let refuse = |what: &str| {
        let place = server.place().display().to_string();
        Err(StoreError::NotDurable { place, what: what.to_owned() })
    };
    let setting = |name: &str| {
        db.one(&format!("SELECT current_setting('{name}')"), &[], |row| row.get::<String>(0)).map_err(&says)
    };
    if setting("fsync")? == "off" {
        return refuse(
            "`fsync` is off: what is committed is lost with the machine, and then slots run twice",
        );
    }
    let commit = setting("synchronous_commit")?;
    if !matches!(commit.as_str(), "on" | "remote_apply") {
        return refuse(&format!(
            "`synchronous_commit` is {commit}: what is committed may be lost; it has to be on, or remote_apply"
        ));
    }
    if server.durability() == Durability::Single {
        return Ok(());
    }
    let standby = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
    if !setting("synchronous_standby_names")?.is_empty() && db.exists(standby, &[]).map_err(&says)? {
        return Ok(());
    }
    if db.exists("SELECT 1 FROM pg_stat_replication WHERE sync_state IS NULL", &[]).map_err(&says)? {
        return refuse(
            "durability = \"synchronous\", and the role of `url` may not see whether a standby is synchronous: GRANT pg_monitor to it",
        );
    }
    refuse(
        "durability = \"synchronous\", and no synchronous standby is connected (pg_stat_replication): a failover would lose what was committed. Set synchronous_standby_names on the server, or durability = \"single\" if this server alone is meant",
    )
}
