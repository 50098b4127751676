//! Detects a pooler between us and the server. With transaction pooling, the archive's advisory lock would be
//! lost to whichever client uses the server connection next.
use super::Postgres;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use crate::postgres::{Address, Link};
use std::time::Duration;
use tokio_postgres::Client;

const PID_QUERY: &str = "SELECT pg_catalog.pg_backend_pid()";
/// Timeout for an answer that comes immediately, unless the only server connection is lent to another client.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

impl Postgres {
    /// Tests whether our connection is the server's own, or is shared with others between our transactions. A
    /// second connection that holds a transaction shows it: either it has our backend process, or we get a
    /// different one.
    pub(super) async fn refuse_pooler(&self, address: Address) -> Result<(), ToolError> {
        // If no second connection is available, each transaction checks that it still has the same backend
        // process.
        let Ok(Ok(mut other)) =
            tokio::time::timeout(PROBE_TIMEOUT * 3, Link::open_for(address, 1 << 20)).await
        else {
            return Ok(());
        };
        let before = pid(self.client()).await.map_err(|error| self.say(&error, PID_QUERY))?;
        let is_lent = async {
            other.client.batch_execute("BEGIN").await?;
            let theirs = pid(&other.client).await?;
            if theirs == before {
                return Ok(true);
            }
            let asked = pid(self.client());
            let mut asked = std::pin::pin!(asked);
            match tokio::time::timeout(PROBE_TIMEOUT, &mut asked).await {
                Ok(now) => Ok(now? != before),
                Err(_) => {
                    // The answer comes when the other transaction ends: both share one connection.
                    other.client.batch_execute("ROLLBACK").await?;
                    asked.await.map(|_| true)
                }
            }
        };
        let is_lent = is_lent.await.map_err(|error: tokio_postgres::Error| self.say(&error, PID_QUERY))?;
        let _ = other.client.batch_execute("ROLLBACK").await;
        other.is_done();
        if is_lent { Err(self.is_lent()) } else { Ok(()) }
    }

    /// Called in each transaction that changes rows.
    pub(super) async fn must_be_same_session(&self) -> Result<(), ToolError> {
        let now = pid(self.client()).await.map_err(|error| self.say(&error, PID_QUERY))?;
        if now == self.pid { Ok(()) } else { Err(self.is_lent()) }
    }

    fn is_lent(&self) -> ToolError {
        failed(&format!(
            "{}: a pooler stands between, and lends its connections for one transaction at a time: the archive's lock \
             would be lost with each of them. Nothing was deleted. Connect to the server itself, or to a pool of mode \
             session (PgBouncer: pool_mode = session)",
            self.source
        ))
    }
}

async fn pid(client: &Client) -> Result<i32, tokio_postgres::Error> {
    // Not a named prepared statement: the next one might reach a different backend process.
    let rows = client.simple_query(PID_QUERY).await?;
    let pid = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(pid.unwrap_or_default())
}
