//! The body of an attempt that is carried out by a model: drives the conversation, and records each step before the next one is
//! taken. What the next step is, is decided by `conversation`.
use super::command::Attempt;
use super::report::{Report, StopOrder};
use super::skills::Skills;
use super::talk::{Calls, Journal};
use super::template::{self, Places};
use crate::clock::to_std;
use crate::conversation::{Brief, CallRules, Conversation, Finished, Next, PlannedCall, memory};
use crate::domain::{
    AttemptEnd, AttemptOutcome, ChatMessage, ErrorKind, Memory, MemoryStore, Price, QuerySpec, RunError,
    RunMode, SessionRow, Step, Usage, addresses_in, frame_at_most,
};
use crate::runner::broken::Break;
use crate::secret;
use crate::store::StepRow;
use crate::tools::Offers;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Messages of a session that are read; how many are used is bounded by tokens.
const MAX_SESSION_MESSAGES: usize = 400;

/// What is recorded of a conversation that can't continue.
#[derive(Default)]
struct PartialConversation {
    usage: Usage,
    warnings: Vec<String>,
}

impl Attempt<'_> {
    /// Begins or continues the conversation of this run, and runs it to its end.
    pub(super) async fn query(&mut self, spec: &QuerySpec, places: &Places) -> AttemptOutcome {
        let (go, may_go) = oneshot::channel();
        let report = Report::Began { run: self.brief.run, attempt: self.brief.attempt, go };
        if self.shared.reports.send(report).await.is_err() || may_go.await.is_err() {
            return AttemptOutcome::of(AttemptEnd::Cancelled);
        }
        self.start_clock();
        let mut so_far = PartialConversation::default();
        let (end, retry_after) = match self.converse(spec, places, &mut so_far).await {
            Ok(mut outcome) => {
                outcome.warnings.extend(self.cut_by_server.take());
                return outcome;
            }
            Err(Break::Stopped) => (AttemptEnd::Cancelled, None),
            Err(Break::Failed(error, retry_after)) => {
                let error = RunError { message: secret::redact(&error.message).into_owned(), ..error };
                (AttemptEnd::Failed(error), retry_after)
            }
        };
        let PartialConversation { usage, mut warnings } = so_far;
        warnings.extend(self.cut_by_server.take());
        AttemptOutcome { usage, warnings, retry_after, ..AttemptOutcome::of(end) }
    }

    async fn converse(
        &mut self,
        spec: &QuerySpec,
        places: &Places,
        so_far: &mut PartialConversation,
    ) -> Result<AttemptOutcome, Break> {
        let rows = self.journal().await?;
        let mut journal = Journal::after(self.brief, self.shared, &rows);
        let steps: Vec<Step> = rows.into_iter().map(|row| row.step).collect();
        let skills = Skills::read(&spec.skills, self.shared).await?;
        let (mut brief, warned) = self.conversation(spec, places, &skills).await?;
        self.skills = Arc::new(skills);
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
                let gate = self.needs_gate_later().then(|| places.gate.clone());
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
                *so_far = PartialConversation { usage: talk.usage(), warnings };
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
            let first = self.first_open(models);
            match talk.next_by(&models[first]) {
                Next::Ask { request, worst } => {
                    self.ask(models, first, request, worst, journal, talk).await?;
                }
                Next::Call(planned) => {
                    let mut steps = Vec::new();
                    let made = calls.make(self, journal, planned, &mut steps).await;
                    // includes calls that were interrupted: it is known that they began
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

    /// Returns what this run has recorded so far; empty for a run without a model.
    pub(super) async fn journal(&self) -> Result<Vec<StepRow>, Break> {
        let run = self.brief.run;
        self.read(move |reader| reader.steps(run)).await
    }

    /// Makes a replay ask what the recorded run was asked, gate and event included, unless a person gives another query.
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
    async fn conversation(
        &self,
        spec: &QuerySpec,
        places: &Places,
        skills: &Skills,
    ) -> Result<(Brief, Vec<String>), Break> {
        let agent = &self.brief.agent;
        let query = self.brief.query.as_deref().unwrap_or(&spec.query);
        let names: Vec<String> = spec.tools.clone();
        let mut offers = self.offers(&names).await?;
        offers.tools.extend(skills.offer());
        let has_tools = !offers.tools.is_empty();
        let chain = self.chain(spec);
        let model = chain.first().and_then(|name| self.shared.fleet.models.get(name));
        let Some(model) = model else {
            return Err(Break::failed(ErrorKind::Config, format!("there is no model `{}`", spec.model)));
        };
        let dollars = agent.limits.max_usd_per_run.or(agent.limits.usd_per_day);
        // the configuration guarantees that for the agent's own models; a replay may name another one
        let unpriced =
            |name: &&String| self.shared.fleet.models.get(*name).is_some_and(|of| of.price.is_none());
        if let (Some(_), Some(name)) = (dollars, chain.iter().find(unpriced)) {
            let why = format!("the agent has a limit in dollars, and model `{name}` has no price");
            return Err(Break::failed(ErrorKind::Config, why));
        }
        let real = self.brief.mode.is_normal();
        let (memory, from_memory) = self.memory(spec).await?;
        let (filled, from_query) = template::fill_query(query, places);
        let brief = Brief {
            system: spec.system_instruction.clone(),
            // the gate's output may be notes or rows
            private: !memory.is_empty() || (agent.gate.is_some() && query.contains("{gate}")),
            memory,
            query: filled,
            untrusted: from_memory || from_query,
            rules: CallRules {
                agent: agent.id.to_string(),
                tools: offers.tools,
                sinks: spec.sinks.clone(),
                named: named(&spec.query, spec.system_instruction.as_deref()),
                // calls that are not made for real need no approval
                approve: if real { spec.approve.clone() } else { Vec::new() },
                approval: spec.approval,
            },
            limits: agent.limits.clone(),
            max_output_tokens: model.max_output_tokens,
            max_output_by_default: model.max_output_by_default,
            frame: self.max_overhead(&chain, has_tools),
            price: self.highest_price(&chain),
            ask_again: agent.retry.max > 0,
            output_schema: spec.output_schema.clone(),
        };
        Ok((brief, offers.warnings))
    }

    /// Returns the tools that it may call. Servers that have to be started first get their full start timeout.
    pub(super) async fn offers(&self, names: &[String]) -> Result<Offers, Break> {
        let bound = self.time_left().min(to_std(self.brief.agent.limits.tool_call_timeout));
        let mut orders = self.orders.clone();
        tokio::select! {
            offers = self.shared.tools.offers(names, bound) => {
                offers.map_err(|error| Break::failed(error.kind(), error.to_string()))
            }
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(self.deadline) => Err(self.out_of_time()),
        }
    }

    /// Returns the memory of earlier runs, and whether one of them had read data from outside.
    async fn memory(&self, spec: &QuerySpec) -> Result<(Vec<ChatMessage>, bool), Break> {
        match spec.memory {
            Memory::None => Ok((Vec::new(), false)),
            Memory::LastResult => Ok(match &self.brief.last_result {
                Some(last) => (memory::last_result(&last.text), last.untrusted),
                None => (Vec::new(), false),
            }),
            Memory::Session { max_tokens, store } => {
                let session = self.brief.agent.session();
                let rows = match store {
                    MemoryStore::Database => {
                        self.read(move |reader| reader.session(&session, MAX_SESSION_MESSAGES)).await?
                    }
                    MemoryStore::Redis => self.session_in_redis(&session).await?,
                };
                let untrusted = rows.iter().any(|row| row.untrusted);
                let stored: Vec<ChatMessage> = rows.into_iter().map(|row| row.message).collect();
                Ok((memory::messages_of_session(&stored, max_tokens).0, untrusted))
            }
        }
    }

    /// Reads the session from Redis. A run does not begin without its memory.
    async fn session_in_redis(&self, session: &str) -> Result<Vec<SessionRow>, Break> {
        let failed = |why: String| Break::failed(ErrorKind::Memory, why);
        let memory =
            self.shared.memory.as_ref().ok_or_else(|| failed("there is no [memory.redis]".into()))?;
        memory.session(session, MAX_SESSION_MESSAGES).await.map_err(|error| failed(error.to_string()))
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::store::Reader) -> Result<T, crate::store::StoreError> + Send + 'static,
    ) -> Result<T, Break> {
        let store = self.shared.store.as_ref().ok_or(Break::Stopped)?;
        // a failed read may succeed in the next attempt
        store.read(question).await.map_err(|error| Break::failed(ErrorKind::Interrupted, error.to_string()))
    }

    /// Returns the model and its fallbacks.
    fn chain(&self, spec: &QuerySpec) -> Vec<String> {
        let first = match &self.brief.mode {
            RunMode::Replay { model: Some(model), .. } => model,
            _ => &spec.model,
        };
        let fallback = self.shared.fleet.models.get(first).map(|model| model.fallback.clone());
        std::iter::once(first.clone()).chain(fallback.unwrap_or_default()).collect()
    }

    /// Returns the maximum overhead that a provider of the chain may add to a request.
    fn max_overhead(&self, chain: &[String], tools: bool) -> u64 {
        let models = chain.iter().filter_map(|name| self.shared.fleet.models.get(name));
        models.map(|model| frame_at_most(model.provider, tools)).max().unwrap_or(0)
    }

    /// Returns the highest price in the chain: an upper bound, whichever model answers.
    fn highest_price(&self, chain: &[String]) -> Option<Price> {
        let prices = chain.iter().filter_map(|name| self.shared.fleet.models.get(name)?.price);
        prices.reduce(|a, b| Price {
            input: a.input.max(b.input),
            cached_input: a.cached_input.max(b.cached_input),
            cache_write: a.cache_write.max(b.cache_write),
            output: a.output.max(b.output),
        })
    }

    pub(super) fn out_of_time(&self) -> Break {
        Break::failed(ErrorKind::Timeout, self.bound.to_string())
    }

    fn waits(&self, journal: &Journal, planned: Vec<PlannedCall>, usage: Usage) -> AttemptOutcome {
        let wanted = planned.iter().map(|call| journal.wish(call)).collect();
        AttemptOutcome { usage, ..AttemptOutcome::of(AttemptEnd::Waits(wanted)) }
    }
}

/// Returns addresses that the configured texts contain in full, regardless of what a person asks instead.
pub(super) fn named(query: &str, system_instruction: Option<&str>) -> Vec<String> {
    let texts = [Some(query), system_instruction];
    texts.into_iter().flatten().flat_map(addresses_in).collect()
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
