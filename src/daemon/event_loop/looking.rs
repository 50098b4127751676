//! Reads the ledger ahead of the current time for the engine, after the clock was set back.
use super::{EventLoop, Turn};
use crate::daemon::clock;
use crate::domain::counted;
use crate::engine::Input;
use crate::store::StoreError;

impl EventLoop {
    /// Answers pending lookups of the engine from the ledger. If it can't be read, the agents
    /// concerned wait and the others go on; a permanent error is returned.
    pub(super) async fn look_ahead(&mut self) -> Result<(), StoreError> {
        while self.shutdown.is_none() {
            let looks = self.looks.due();
            if looks.is_empty() {
                break;
            }
            let (store, asked) = (self.store.clone(), looks.clone());
            let read = async move {
                let all = |reader: &crate::store::Reader| {
                    asked.into_iter().map(|look| reader.ledger_ahead(look)).collect::<Result<Vec<_>, _>>()
                };
                store.read(all).await
            };
            match self.while_answering(read, false).await {
                Some(Ok(answers)) => {
                    if self.looks.again.take().is_some() {
                        tracing::warn!("the ledger can be read again");
                        self.condition.lock().expect("no holder panics").unread = None;
                    }
                    let mut turn = Turn::default();
                    turn.add(self.engine.decide(clock::now(), Input::Ahead(answers)));
                    self.carry_out(turn).await?;
                }
                Some(Err(error)) if error.is_passing() => {
                    if self.looks.again.is_none() {
                        tracing::error!(%error, agents = looks.len(), "the ledger can't be read since the clock was set back; these agents wait for it");
                    }
                    let problem = format!(
                        "the ledger can't be read since the clock was set back; {} without a slot until it can: {error}",
                        counted(looks.len(), "agent")
                    );
                    self.condition.lock().expect("no holder panics").unread = Some(problem);
                    self.looks.put_back(looks);
                }
                Some(Err(error)) => return Err(error),
                None => self.looks.put_back(looks),
            }
        }
        Ok(())
    }
}
