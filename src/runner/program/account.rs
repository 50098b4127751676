//! Pays for the requests of an agent program: from the budgets of its run, recorded like those of other runs.
use super::journal::ProgramJournal;
use crate::domain::{ErrorKind, Finish, ModelAnswer, ModelTurn, RunError, Step};
use crate::llm::Models;
use crate::llm::access::RequestPlace;
use crate::proxy::meter::{Account, AnswerEnd, Asked, Held, Settled};
use crate::runner::report::{Report, Shared};
use crate::secret;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The account of one attempt.
pub(super) struct ProgramAccount {
    journal: Arc<ProgramJournal>,
    reports: mpsc::Sender<Report>,
    models: Arc<Models>,
    /// Deadline for waiting for a slot among a model's concurrent requests.
    deadline: Instant,
    /// Cancelled when the program has ended: no request waits for a budget any more.
    over: CancellationToken,
    /// Slots of requests in flight, by hold.
    places: Mutex<HashMap<u64, RequestPlace>>,
}

impl ProgramAccount {
    pub(super) fn new(
        journal: Arc<ProgramJournal>,
        shared: &Shared,
        deadline: Instant,
        over: CancellationToken,
    ) -> Self {
        let (reports, models) = (shared.reports.clone(), shared.models.clone());
        Self { journal, reports, models, deadline, over, places: Mutex::default() }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<u64, RequestPlace>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn held(&self, asked: Asked) -> Result<Held, RunError> {
        let place = self.models.enter(&asked.table, self.deadline).await?;
        let n = self.journal.take_place();
        let (granted, answer) = oneshot::channel();
        let report = Report::Reserve {
            run: self.journal.run(),
            attempt: self.journal.attempt(),
            n,
            model: asked.table,
            worst: asked.worst,
            granted,
        };
        self.reports.send(report).await.map_err(|_| going_down())?;
        answer.await.map_err(|_| going_down())??;
        self.places().insert(n, place);
        Ok(Held(n))
    }

    async fn settled(&self, held: Held, settled: Settled) {
        let place = self.places().remove(&held.0);
        let (go, durable) = oneshot::channel();
        let report = Report::Settle {
            run: self.journal.run(),
            n: self.journal.take_place(),
            asked: held.0,
            took_ms: u64::try_from(settled.took.as_millis()).unwrap_or(u64::MAX),
            step: Box::new(step(settled)),
            go,
        };
        if self.reports.send(report).await.is_ok() {
            let _ = durable.await;
        }
        drop(place);
    }
}

impl Account for ProgramAccount {
    fn hold(&self, asked: Asked) -> BoxFuture<'_, Result<Held, RunError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.over.cancelled() => Err(RunError::new(ErrorKind::Interrupted, "the program has ended")),
                held = self.held(asked) => held,
            }
        })
    }

    fn settle(&self, held: Held, settled: Settled) -> BoxFuture<'_, ()> {
        Box::pin(self.settled(held, settled))
    }
}

fn going_down() -> RunError {
    RunError::new(ErrorKind::Interrupted, "the daemon is shutting down")
}

/// Returns the journal entry of a request. What the model said comes with the program's own events.
fn step(settled: Settled) -> Step {
    let Settled { table: model, used, tokens, end, .. } = settled;
    let finish = match end {
        AnswerEnd::Complete | AnswerEnd::Empty => Finish::Stop,
        AnswerEnd::CutOff => Finish::Length,
        AnswerEnd::Refused(why) => Finish::Refusal(secret::redact(&why).into_owned()),
        AnswerEnd::Failed(error) => {
            let message = secret::redact(&error.message).into_owned();
            return Step::Unanswered { model, error: RunError { message, ..error }, used };
        }
    };
    let answer = ModelAnswer { turn: ModelTurn::default(), finish, tokens, asked_twice: false };
    Step::Answered { model, answer, used }
}
