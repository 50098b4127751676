//! The body of an attempt that a model carries out: drives the conversation, and writes each step
//! down before the next one is taken. What the next step is, `conversation` decides.
use super::command::Attempt;
use super::talk::{Calls, Journal};
use super::template::{self, Places};
use super::{Report, StopOrder};
use crate::conversation::{Brief, Conversation, Finished, Next, PlannedCall, memory};
use crate::domain::{
    AttemptEnd, AttemptOutcome, ChatMessage, ErrorKind, Finish, Memory, ModelAnswer, ModelError,
    ModelRequest, Price, QuerySpec, RunError, RunMode, Step, Tokens, Usage, WorstCase, cost,
};
use crate::secret;
use crate::store::StepRow;
use crate::tools::Offers;
use jiff::SignedDuration;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Messages of a session that are looked at; how many are used is bounded by tokens.
const MESSAGES: usize = 400;

/// Most tokens that a provider is believed for one request, in each direction.
const MOST_TOKENS: u64 = 1_000_000_000;

/// Why a conversation can't go on in this attempt.
pub(super) enum Break {
    /// Somebody wants the run to end.
    Stopped,
    /// It failed; the provider may have asked to wait.
    Failed(RunError, Option<SignedDuration>),
}

/// What the record says of a conversation that can't go on.
#[derive(Default)]
struct SoFar {
    usage: Usage,
    warnings: Vec<String>,
}

impl Break {
    fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed(RunError::new(kind, message), None)
    }
}

impl Attempt<'_> {
    /// Begins the conversation of this run, or goes on with it, up to its end.
    pub(super) async fn query(&mut self, spec: &QuerySpec, places: &Places) -> AttemptOutcome {
        let (go, may_go) = oneshot::channel();
        let report = Report::Began { run: self.brief.run, attempt: self.brief.attempt, go };
        if self.shared.reports.send(report).await.is_err() || may_go.await.is_err() {
            return AttemptOutcome::of(AttemptEnd::Cancelled);
        }
        self.start_clock();
        let mut so_far = SoFar::default();
        let (end, retry_after) = match self.converse(spec, places, &mut so_far).await {
            Ok(outcome) => return outcome,
            Err(Break::Stopped) => (AttemptEnd::Cancelled, None),
            Err(Break::Failed(error, retry_after)) => {
                let error = RunError { message: secret::redact(&error.message).into_owned(), ..error };
                (AttemptEnd::Failed(error), retry_after)
            }
        };
        let SoFar { usage, warnings } = so_far;
        AttemptOutcome { usage, warnings, retry_after, ..AttemptOutcome::of(end) }
    }

    async fn converse(
        &mut self,
        spec: &QuerySpec,
        places: &Places,
        so_far: &mut SoFar,
    ) -> Result<AttemptOutcome, Break> {
        let rows = self.journal().await?;
        let mut journal = Journal::after(self.brief, self.shared, &rows);
        let steps: Vec<Step> = rows.into_iter().map(|row| row.step).collect();
        let (mut brief, warned) = self.conversation(spec, places).await?;
        match steps.first() {
            Some(Step::Begun { query, untrusted, seen, gate }) => {
                self.seen.clone_from(seen);
                self.gate_before.clone_from(gate);
                brief.query.clone_from(query);
                brief.untrusted |= untrusted;
            }
            _ => {
                self.ask_as_recorded(&mut brief).await?;
                let (query, seen) = (brief.query.clone(), self.seen.clone());
                let gate = self.proofs_use_gate().then(|| places.gate.clone());
                journal.begin(query, brief.untrusted, seen, gate).await?;
            }
        }
        let models = self.chain(spec);
        let mut calls = Calls::prepare(self).await?;
        let mut talk = Conversation::replay(brief, &steps);
        drop(steps);
        let mut end = self.go_on(&models, &mut calls, &mut journal, &mut talk).await;
        let warnings = match &mut end {
            Ok(outcome) => &mut outcome.warnings,
            Err(_) => {
                let warnings = warnings(calls.would_have(), talk.unknown());
                *so_far = SoFar { usage: talk.usage(), warnings };
                &mut so_far.warnings
            }
        };
        warnings.splice(0..0, warned);
        end
    }

    async fn go_on(
        &mut self,
        models: &[String],
        calls: &mut Calls,
        journal: &mut Journal,
        talk: &mut Conversation,
    ) -> Result<AttemptOutcome, Break> {
        loop {
            match talk.next() {
                Next::Ask { request, worst } => self.ask(models, request, worst, journal, talk).await?,
                Next::Call(planned) => {
                    let mut steps = Vec::new();
                    let made = calls.make(self, journal, planned, &mut steps).await;
                    // also of calls that were broken off it is known that they were begun
                    for step in &steps {
                        talk.apply(step);
                    }
                    made?;
                }
                Next::Approve(planned) => return Ok(self.waits(journal, planned, talk.usage())),
                Next::Finish(finished) => return Ok(outcome(finished, calls.would_have())),
            }
        }
    }

    /// What this run has written down so far; empty for one without a model.
    pub(super) async fn journal(&self) -> Result<Vec<StepRow>, Break> {
        let run = self.brief.run;
        self.read(move |reader| reader.steps(run)).await
    }

    /// A replay asks what the recorded run was asked, gate and event included, unless a person asks
    /// something else.
    async fn ask_as_recorded(&self, brief: &mut Brief) -> Result<(), Break> {
        let (RunMode::Replay { of, .. }, None) = (&self.brief.mode, &self.brief.query) else { return Ok(()) };
        let of = *of;
        let steps = self.read(move |reader| reader.steps(of)).await?;
        if let Some(Step::Begun { query, untrusted, .. }) = steps.into_iter().next().map(|row| row.step) {
            (brief.query, brief.untrusted) = (query, brief.untrusted || untrusted);
        }
        Ok(())
    }

    /// What the conversation is about, and what is not as its tools should be.
    async fn conversation(&self, spec: &QuerySpec, places: &Places) -> Result<(Brief, Vec<String>), Break> {
        let agent = &self.brief.agent;
        let query = self.brief.query.as_deref().unwrap_or(&spec.query);
        let names: Vec<String> = spec.tools.clone();
        let offers = self.offers(&names).await?;
        let chain = self.chain(spec);
        let model = chain.first().and_then(|name| self.shared.fleet.models.get(name));
        let Some(model) = model else {
            return Err(Break::failed(ErrorKind::Config, format!("there is no model `{}`", spec.model)));
        };
        let dollars = agent.limits.max_usd_per_run.or(agent.limits.usd_per_day);
        // the configuration proves that for the agent's own models; a replay may name another one
        let unpriced =
            |name: &&String| self.shared.fleet.models.get(*name).is_some_and(|of| of.price.is_none());
        if let (Some(_), Some(name)) = (dollars, chain.iter().find(unpriced)) {
            let why = format!("the agent has a limit in dollars, and model `{name}` has no price");
            return Err(Break::failed(ErrorKind::Config, why));
        }
        let real = self.brief.mode.is_normal();
        let (memory, from_memory) = self.memory(spec).await?;
        let (query, from_query) = template::fill_query(query, places);
        let brief = Brief {
            system: spec.system_instruction.clone(),
            memory,
            query,
            untrusted: from_memory || from_query,
            tools: offers.tools,
            limits: agent.limits.clone(),
            max_output_tokens: model.max_output_tokens,
            price: self.dearest(&chain),
            output_schema: spec.output_schema.clone(),
            sinks: spec.sinks.clone(),
            // what is not called for real needs nobody's word
            approve: if real { spec.approve.clone() } else { Vec::new() },
            approval: spec.approval,
        };
        Ok((brief, offers.warnings))
    }

    /// What it may call. Servers that have to be started first may take as long as they are allowed to.
    async fn offers(&self, names: &[String]) -> Result<Offers, Break> {
        let bound = self.time_left().min(to_std(self.brief.agent.limits.tool_call_timeout));
        let mut orders = self.orders.clone();
        tokio::select! {
            offers = self.shared.tools.offers(names, bound) => {
                offers.map_err(|error| Break::failed(ErrorKind::Tool, error.to_string()))
            }
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(self.deadline) => Err(self.out_of_time()),
        }
    }

    /// What it is told of earlier runs, and whether one of them had read data from outside.
    async fn memory(&self, spec: &QuerySpec) -> Result<(Vec<ChatMessage>, bool), Break> {
        match spec.memory {
            Memory::None => Ok((Vec::new(), false)),
            Memory::LastResult => Ok(match &self.brief.last_result {
                Some(last) => (memory::last_result(&last.text), last.untrusted),
                None => (Vec::new(), false),
            }),
            Memory::Session { max_tokens } => {
                let session = self.brief.agent.session();
                let rows = self.read(move |reader| reader.session(&session, MESSAGES)).await?;
                let untrusted = rows.iter().any(|row| row.untrusted);
                let stored: Vec<ChatMessage> = rows.into_iter().map(|row| row.message).collect();
                Ok((memory::messages_of_session(&stored, max_tokens).0, untrusted))
            }
        }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::store::Reader) -> Result<T, crate::store::StoreError> + Send + 'static,
    ) -> Result<T, Break> {
        let store = self.shared.store.as_ref().ok_or(Break::Stopped)?;
        // what can't be read now may be readable in the next attempt
        store.read(question).await.map_err(|error| Break::failed(ErrorKind::Interrupted, error.to_string()))
    }

    /// The model, and those that may be asked instead.
    fn chain(&self, spec: &QuerySpec) -> Vec<String> {
        let first = match &self.brief.mode {
            RunMode::Replay { model: Some(model), .. } => model,
            _ => &spec.model,
        };
        let fallback = self.shared.fleet.models.get(first).map(|model| model.fallback.clone());
        std::iter::once(first.clone()).chain(fallback.unwrap_or_default()).collect()
    }

    /// What a request may cost at the worst, whichever model answers it.
    fn dearest(&self, chain: &[String]) -> Option<Price> {
        let prices = chain.iter().filter_map(|name| self.shared.fleet.models.get(name)?.price);
        prices.reduce(|a, b| Price {
            input: a.input.max(b.input),
            cached_input: a.cached_input.max(b.cached_input),
            output: a.output.max(b.output),
        })
    }

    /// One request: to the model, or to the next of the chain if it can't answer now.
    async fn ask(
        &mut self,
        models: &[String],
        mut request: ModelRequest,
        mut worst: WorstCase,
        journal: &mut Journal,
        talk: &mut Conversation,
    ) -> Result<(), Break> {
        // how soon one of those that could not answer wants to be asked again
        let mut soonest: Option<SignedDuration> = None;
        for (nth, model) in models.iter().enumerate() {
            let is_last = nth + 1 == models.len();
            // nobody asks it now, so that is no request
            if let (false, Some(wait)) = (is_last, self.shared.models.closed_for(model)) {
                soonest = sooner(soonest, wait.try_into().ok());
                continue;
            }
            if nth > 0 {
                // the failure counts as a request, too, and leaves less for the next
                match talk.next() {
                    Next::Ask { request: left, worst: at_most } => (request, worst) = (left, at_most),
                    _ => return Ok(()),
                }
            }
            if Instant::now() >= self.deadline {
                return Err(self.out_of_time()); // it would be charged, and nobody could wait for it
            }
            let asked = self.reserve(model, worst, journal).await?;
            talk.apply(&asked);
            let began = Instant::now();
            let answer = self.answer(model, &request, is_last).await?;
            let price = self.shared.fleet.models.get(model).and_then(|spec| spec.price);
            let used = used(&answer, &worst, price);
            let (step, failed) = match answer {
                Ok(answer) => {
                    (Step::Answered { model: model.clone(), answer: without_secrets(answer), used }, None)
                }
                Err(error) => {
                    let message = secret::redact(&error.error.message).into_owned();
                    let told = RunError { kind: error.error.kind, message };
                    (Step::Unanswered { model: model.clone(), error: told, used }, Some(error))
                }
            };
            journal.settle(&step, began.elapsed()).await?;
            talk.apply(&step);
            match failed {
                None => return Ok(()),
                Some(error) if error.try_fallback && !is_last => soonest = sooner(soonest, error.retry_after),
                Some(error) => return Err(Break::Failed(error.error, error.retry_after.or(soonest))),
            }
        }
        Ok(())
    }

    /// Holds a request's worst case. Where others are under way, that can take as long as they do.
    async fn reserve(&mut self, model: &str, worst: WorstCase, journal: &mut Journal) -> Result<Step, Break> {
        let deadline = self.deadline;
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            asked = journal.reserve(model, worst) => asked,
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(deadline) => Err(self.out_of_time()),
        }
    }

    async fn answer(
        &mut self,
        model: &str,
        request: &ModelRequest,
        is_last: bool,
    ) -> Result<Result<ModelAnswer, ModelError>, Break> {
        let bound = self.time_left();
        let deadline = self.deadline;
        let mut orders = self.orders.clone();
        let models = &self.shared.models;
        let asking = async {
            match is_last {
                true => models.ask(model, request, bound).await,
                false => models.ask_or_pass(model, request, bound).await,
            }
        };
        tokio::select! {
            answer = asking => {
                if answer.is_err() && Instant::now() >= deadline {
                    return Err(self.out_of_time());
                }
                Ok(answer)
            }
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(deadline) => Err(self.out_of_time()),
        }
    }

    pub(super) fn out_of_time(&self) -> Break {
        Break::failed(ErrorKind::Timeout, self.bound.to_string())
    }

    fn waits(&self, journal: &Journal, planned: Vec<PlannedCall>, usage: Usage) -> AttemptOutcome {
        let wanted = planned.iter().map(|call| journal.wish(call)).collect();
        AttemptOutcome { usage, ..AttemptOutcome::of(AttemptEnd::Waits(wanted)) }
    }
}

fn sooner(one: Option<SignedDuration>, other: Option<SignedDuration>) -> Option<SignedDuration> {
    one.into_iter().chain(other).min()
}

/// Whatever a model says, and however it came to know it: no secret is written down, handed to a tool or
/// sent back.
fn without_secrets(mut answer: ModelAnswer) -> ModelAnswer {
    let clean = |text: &mut String| {
        if let Cow::Owned(redacted) = secret::redact(text) {
            *text = redacted;
        }
    };
    clean(&mut answer.turn.text);
    answer.turn.thought.iter_mut().for_each(clean);
    for call in &mut answer.turn.calls {
        clean(&mut call.name);
        clean(&mut call.arguments);
        // and what is escaped once more in there
        if let Ok(before) = serde_json::from_str::<Value>(&call.arguments) {
            let mut after = before.clone();
            secret::redact_json(&mut after);
            if after != before {
                call.arguments = after.to_string();
            }
        }
    }
    secret::redact_json(&mut answer.turn.opaque);
    if let Finish::Refusal(why) = &mut answer.finish {
        clean(why);
    }
    answer
}

/// What is charged for a request. A provider that says nothing is believed the worst of.
fn used(answer: &Result<ModelAnswer, ModelError>, worst: &WorstCase, price: Option<Price>) -> Usage {
    let (tokens, may_cost) = match answer {
        Ok(answer) => (answer.tokens, true),
        Err(error) => (error.tokens, error.may_cost),
    };
    // nobody uses more than that in one request: whoever says so would only break the sums
    let tokens = tokens.map(|said| Tokens {
        input: said.input.min(MOST_TOKENS),
        cached: said.cached.min(MOST_TOKENS),
        output: said.output.min(MOST_TOKENS),
    });
    let twice = match answer {
        Ok(answer) => answer.asked_twice,
        Err(error) => error.asked_twice,
    };
    let used = match tokens {
        Some(tokens) => Usage {
            input_tokens: tokens.input,
            cached_tokens: tokens.cached,
            output_tokens: tokens.output,
            usd: price.map_or(0.0, |price| cost(&price, &tokens)),
            ..Usage::default()
        },
        None if may_cost => worst.usage(),
        None => Usage::default(),
    };
    Usage { requests: 1 + u64::from(twice), ..used }
}

fn warnings(would_have: Vec<String>, unknown: Option<String>) -> Vec<String> {
    let unknown = unknown.map(|call| {
        secret::redact(&format!("it is unknown whether this call happened: {call}")).into_owned()
    });
    would_have.into_iter().chain(unknown).collect()
}

fn outcome(finished: Finished, would_have: Vec<String>) -> AttemptOutcome {
    let warnings = warnings(would_have, finished.unknown);
    let (end, result) = match finished.end {
        Ok(text) => (AttemptEnd::Completed, Some(secret::redact(&text).into_owned())),
        Err(error) => (AttemptEnd::Failed(error), None),
    };
    // its journal would lead a further attempt to the same end
    let conclusive = result.is_none();
    AttemptOutcome {
        result,
        conclusive,
        untrusted: finished.untrusted,
        usage: finished.usage,
        warnings,
        said: finished.said,
        ..AttemptOutcome::of(end)
    }
}

pub(super) fn to_std(span: SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}
