//! A pooler may stand between us and the server. One that lends a connection for a transaction takes the archive's lock
//! away from it, and gives it to whoever comes next.
use super::Postgres;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use crate::postgres::{Address, Link};
use std::time::Duration;
use tokio_postgres::Client;

const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
/// How long an answer is waited for that comes at once, unless the one connection is lent to somebody else.
const PATIENCE: Duration = Duration::from_secs(3);

impl Postgres {
    /// Is our connection the server's, or is it one that others use between our transactions? A second connection
    /// that holds a transaction shows it: either it has our process of the server, or we get another one.
    pub(super) async fn refuse_pooler(&self, address: Address) -> Result<(), ToolError> {
        // Where no second connection is to be had, each transaction looks whether it still has the same process.
        let Ok(Ok(mut other)) = tokio::time::timeout(PATIENCE * 3, Link::open_for(address, 1 << 20)).await
        else {
            return Ok(());
        };
        let before = pid(self.client()).await.map_err(|error| self.say(&error, PID))?;
        let is_lent = async {
            other.client.batch_execute("BEGIN").await?;
            let theirs = pid(&other.client).await?;
            if theirs == before {
                return Ok(true);
            }
            let asked = pid(self.client());
            let mut asked = std::pin::pin!(asked);
            match tokio::time::timeout(PATIENCE, &mut asked).await {
                Ok(now) => Ok(now? != before),
                Err(_) => {
                    // it comes when the other transaction ends: there is one connection for both
                    other.client.batch_execute("ROLLBACK").await?;
                    asked.await.map(|_| true)
                }
            }
        };
        let is_lent = is_lent.await.map_err(|error: tokio_postgres::Error| self.say(&error, PID))?;
        let _ = other.client.batch_execute("ROLLBACK").await;
        other.is_done();
        if is_lent { Err(self.is_lent()) } else { Ok(()) }
    }

    /// In each transaction that changes rows.
    pub(super) async fn must_be_same_session(&self) -> Result<(), ToolError> {
        let now = pid(self.client()).await.map_err(|error| self.say(&error, PID))?;
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
    // Without a statement that is prepared and named: the next one may come to another process.
    let rows = client.simple_query(PID).await?;
    let pid = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(pid.unwrap_or_default())
}
