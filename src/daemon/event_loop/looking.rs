//! After the clock was set back: what the ledger knows of slots ahead, for the engine.
use super::{EventLoop, Turn};
use crate::daemon::clock;
use crate::domain::{AgentId, LookAhead, counted};
use crate::engine::Input;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two tries to read the ledger.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The engine's questions that have no answer yet: one per agent, since a later one replaces an earlier one.
#[derive(Default)]
pub(super) struct Looks {
    open: BTreeMap<AgentId, LookAhead>,
    /// Not before, since the ledger could not be read.
    again: Option<Instant>,
}

impl Looks {
    pub(super) fn add(&mut self, looks: Vec<LookAhead>) {
        self.open.extend(looks.into_iter().map(|look| (look.spec.id.clone(), look)));
    }

    /// When the ledger is to be read once more, if it could not be read.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again.filter(|_| !self.open.is_empty())
    }

    fn due(&mut self) -> Vec<LookAhead> {
        if self.again.is_some_and(|again| again > Instant::now()) {
            return Vec::new();
        }
        std::mem::take(&mut self.open).into_values().collect()
    }

    /// They wait; a newer question of the same agent stays.
    fn put_back(&mut self, looks: Vec<LookAhead>) {
        self.again = Some(Instant::now() + LOOK_AGAIN);
        for look in looks {
            self.open.entry(look.spec.id.clone()).or_insert(look);
        }
    }
}

impl EventLoop {
    /// Asks the ledger, as long as the engine wants to know something. If it can't be read, the agents concerned wait
    /// and the others go on; an error that does not pass is returned.
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
