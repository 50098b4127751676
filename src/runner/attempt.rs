//! One attempt: gate, body, proof.
use super::command::{Attempt, Bound, End, Ran};
use super::output::{Output, Piece};
use super::report::{Brief, Report, Shared, StopOrder};
use super::template::{self, Places};
use crate::domain::expected::{first_unmet, is_empty};
use crate::domain::{
    AgentSpec, AttemptEnd, AttemptOutcome, Body, Check, CheckBody, CommandSpec, DeliverSpec, ErrorKind,
    EventType, JsonMistakes, ProcessRole, RunError, ToolCallSpec, ToolError, Trigger, human_duration,
    novelty, read_json,
};
use crate::tools::{CallContext, Progress, ToolOutput};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Bytes at the end of a command's standard output that form its result: as many as a delivery takes.
const RESULT_BYTES: usize = 64 << 10;
/// Bytes of the output of gates and proofs that are evaluated.
const MAX_CHECKED_BYTES: usize = 64 << 10;
/// The same for a gate that prints items.
const MAX_ITEMS_BYTES: usize = 1 << 20;

/// Runs an attempt and returns its outcome.
pub(super) async fn outcome(
    brief: Brief,
    shared: Shared,
    orders: watch::Receiver<StopOrder>,
) -> AttemptOutcome {
    let now = Instant::now();
    let last = brief.time_left.map(|left| now + Duration::try_from(left).unwrap_or(Duration::ZERO));
    let bound = Bound::Attempt(brief.agent.limits.timeout);
    let mut attempt = Attempt {
        brief: &brief,
        shared: &shared,
        orders,
        deadline: now,
        bound,
        last,
        findings: Vec::new(),
        seen: Vec::new(),
        skills: std::sync::Arc::default(),
        gate_before: None,
        cut_by_server: None,
    };
    // the path to each placeholder is written in the configuration
    let event =
        brief.event.as_ref().and_then(|event| serde_json::to_value(event).ok()).unwrap_or(Value::Null);
    let mut places = Places { event, params: brief.params.clone(), ..Places::default() };
    let mut warnings = Vec::new();
    // A conversation that has begun continues without the gate. Otherwise the gate runs in each attempt: an earlier one may
    // have ended in its gate, the world may have changed since, and the body needs `{gate}`. A run started by hand always
    // proceeds: its gate only runs if its output is needed.
    let by_hand = brief.trigger == Trigger::Manual;
    let gate = brief.agent.gate.clone().filter(|_| !by_hand || brief.agent.uses_gate(brief.query.as_deref()));
    if let Some(gate) = gate
        && !attempt.has_begun().await
    {
        attempt.start_gate_clock();
        match attempt.gate(&gate, &mut places, &mut warnings).await {
            Gate::Open if brief.gate_only => {
                return attempt.with(AttemptOutcome::of(AttemptEnd::GateOpen), warnings);
            }
            Gate::Open => {}
            Gate::Closed if by_hand => {}
            // the body would not have run: errors are left to the slots that run it
            Gate::Failed(error) if brief.gate_only => {
                warnings.push(error.message);
                return attempt.with(AttemptOutcome::of(AttemptEnd::GateOpen), warnings);
            }
            Gate::Failed(error) => {
                return attempt.with(AttemptOutcome::of(AttemptEnd::Failed(error.of_gate())), warnings);
            }
            Gate::Closed => return attempt.with(AttemptOutcome::of(AttemptEnd::GateClosed), warnings),
            Gate::Stopped => return attempt.with(AttemptOutcome::of(AttemptEnd::Cancelled), warnings),
        }
    }
    attempt.start_clock();
    let began = Instant::now();
    let mut outcome = attempt.body(&places).await;
    if let Some(gate) = attempt.gate_before.take() {
        places.gate = gate;
    }
    if delivers_gate(&brief) {
        outcome.gate = Some(places.gate.clone()).filter(|gate| !gate.is_empty());
    }
    outcome.duration = SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::ZERO);
    if outcome.end == AttemptEnd::Completed
        && brief.mode.is_normal()
        && let Some(end) = attempt.proofs(&places, &mut warnings).await
    {
        outcome.end = end;
    }
    attempt.with(outcome, warnings)
}

fn as_expected(gate: &Check, found: &Value) -> Gate {
    if first_unmet(&gate.expect, found).is_none() { Gate::Open } else { Gate::Closed }
}

enum Gate {
    Open,
    Closed,
    Stopped,
    /// What is new can't be determined: a run would report nothing, or everything again.
    Failed(RunError),
}

/// Returns whether the delivery has a placeholder for the gate's output.
fn delivers_gate(brief: &Brief) -> bool {
    brief.agent.deliver.as_ref().is_some_and(|deliver| deliver.uses_gate())
}

impl Attempt<'_> {
    /// Adds the warnings noticed around the body to an outcome.
    fn with(self, mut outcome: AttemptOutcome, warnings: Vec<String>) -> AttemptOutcome {
        outcome.warnings.splice(0..0, warnings);
        outcome.findings.extend(self.findings);
        outcome.seen = self.seen;
        outcome
    }

    /// Returns whether the gate's output is used after the conversation: in a proof or the delivery.
    pub(super) fn needs_gate_later(&self) -> bool {
        self.proofs_use_gate() || delivers_gate(self.brief)
    }

    fn proofs_use_gate(&self) -> bool {
        let uses = |check: &Check| matches!(&check.body, CheckBody::Tool(call) if call.args.to_string().contains(AgentSpec::GATE));
        self.brief.agent.success_when.iter().any(uses)
    }

    async fn has_begun(&self) -> bool {
        let talks = self.brief.agent.body.asks_models();
        talks && self.journal().await.is_ok_and(|steps| !steps.is_empty())
    }

    /// Evaluates the gate. A command: exit 0 = run, 1 = nothing to do, anything else = the gate is broken and the run goes
    /// ahead. A tool: by its key `wake`, else runs if its result is not empty. If the gate has an `expect`, that alone decides.
    /// If only new items count, a run without a gate has no input: it fails.
    async fn gate(&mut self, gate: &Check, places: &mut Places, warnings: &mut Vec<String>) -> Gate {
        match &gate.body {
            CheckBody::Command(command) => {
                let kept = if gate.novel_by.is_empty() { MAX_CHECKED_BYTES } else { MAX_ITEMS_BYTES };
                let ran = self.run(command, ProcessRole::Gate, Output::in_memory(kept)).await;
                let verdict = match &ran.end {
                    End::Exited(code) if !gate.expect.is_empty() && ran.is_executed() => {
                        as_expected(gate, &ran.as_found(*code))
                    }
                    End::Exited(0) => Gate::Open,
                    End::Exited(1) => Gate::Closed,
                    End::Stopped => Gate::Stopped,
                    _ if !gate.novel_by.is_empty() => {
                        let error = ran.error("the gate");
                        Gate::Failed(
                            error.unwrap_or_else(|| RunError::new(ErrorKind::ExitStatus, "it failed")),
                        )
                    }
                    _ => {
                        let why = ran.error("the gate").map_or_else(String::new, |error| error.message);
                        warnings.push(format!("the gate is broken, so the run went ahead: {why}"));
                        Gate::Open
                    }
                };
                warnings.extend(ran.warnings);
                places.gate = ran.stdout.trim_end().to_owned();
                places.untrusted_gate = true;
                if !matches!(verdict, Gate::Open) || gate.novel_by.is_empty() {
                    return verdict;
                }
                match read_json(places.gate.as_bytes(), JsonMistakes::Encoding) {
                    Ok(result) => self.novel(gate, result, &HashMap::new(), places).await,
                    Err(error) => Gate::Failed(RunError::new(
                        ErrorKind::BadResponse,
                        format!(
                            "its output is not valid JSON ({error}): with `novel_by` it prints a list of items, at most \
                             {} KiB",
                            MAX_ITEMS_BYTES >> 10
                        ),
                    )),
                }
            }
            CheckBody::Tool(call) => match self.call(call, places, &gate.novel_by).await {
                Called::Stopped => Gate::Stopped,
                Called::Failed(error) if !gate.novel_by.is_empty() => Gate::Failed(error),
                Called::Failed(error) => {
                    warnings.push(format!("the gate is broken, so the run went ahead: {}", error.message));
                    Gate::Open
                }
                Called::Gave(given) => {
                    places.gate = template::as_text(&given.result);
                    places.untrusted_gate = given.untrusted || self.shared.tools.is_untrusted(&call.tool);
                    warnings.extend(given.warnings);
                    self.findings.extend(given.findings);
                    if !gate.expect.is_empty() {
                        return as_expected(gate, &given.result);
                    }
                    if !gate.novel_by.is_empty() {
                        return self.novel(gate, given.result, &given.doubles, places).await;
                    }
                    let wakes = match given.result.get("wake") {
                        Some(wake) => *wake == Value::Bool(true),
                        None => !is_empty(&given.result),
                    };
                    if wakes { Gate::Open } else { Gate::Closed }
                }
            },
        }
    }

    /// Opens the gate if there are unseen items; only those are passed on, and they are marked as seen when the run has
    /// succeeded.
    async fn novel(
        &mut self,
        gate: &Check,
        mut result: Value,
        doubles: &HashMap<String, Vec<Value>>,
        places: &mut Places,
    ) -> Gate {
        let (agent, by) = (self.brief.agent.id.clone(), gate.novel_by.clone());
        let Some(items) = novelty::items(&mut result) else {
            let why = "`novel_by` finds no list in its result";
            return Gate::Failed(RunError::new(ErrorKind::BadResponse, why));
        };
        let keys = novelty::keys(items, &by);
        let asked = keys.clone();
        match self.read(move |reader| reader.seen(&agent, &asked)).await {
            Ok(seen) => {
                self.seen = novelty::keep_new(items, keys, &seen);
                let others = items.iter().filter_map(|item| doubles.get(item["id"].as_str()?));
                self.seen.extend(others.flat_map(|others| novelty::keys(others, &by)));
            }
            Err(_) => {
                let why = "what it has seen can't be read now";
                return Gate::Failed(RunError::new(ErrorKind::Interrupted, why));
            }
        }
        let open = !items.is_empty();
        places.gate = template::as_text(&result);
        if open { Gate::Open } else { Gate::Closed }
    }

    async fn body(&mut self, places: &Places) -> AttemptOutcome {
        let agent = self.brief.agent.clone();
        match &agent.body {
            Body::Command(command) => self.command(command).await,
            Body::Tool(call) => self.tool(call, places).await,
            Body::Query(spec) => self.query(spec, places).await,
            Body::Runner(spec) => self.program(spec, places).await,
        }
    }

    /// Returns the webhook delivery or MCP event that started the run, as the program's stdin, unless the configuration sets
    /// it.
    fn delivered(&self) -> Option<String> {
        let event = self.brief.event.as_ref()?;
        let said = match event.known()? {
            EventType::WebhookReceived => &event.payload["body"],
            EventType::McpEventReceived => &event.payload["data"],
            _ => return None,
        };
        Some(template::as_text(said))
    }

    async fn command(&mut self, command: &CommandSpec) -> AttemptOutcome {
        let delivered = self.delivered().filter(|_| command.stdin.is_none());
        let reading = delivered.map(|body| CommandSpec { stdin: Some(body), ..command.clone() });
        let command = reading.as_ref().unwrap_or(command);
        let output = Output::kept(self.brief, self.shared.reports.clone(), RESULT_BYTES);
        let ran = self.run(command, ProcessRole::Body, output).await;
        let name = format!("`{}`", command.argv.first().map(String::as_str).unwrap_or_default());
        let end = match (&ran.end, ran.error(&name)) {
            (End::Stopped, _) => AttemptEnd::Cancelled,
            (_, Some(error)) => AttemptEnd::Failed(error),
            (_, None) => AttemptEnd::Completed,
        };
        let exit_code = if let End::Exited(code) = ran.end { Some(code) } else { None };
        let ended_by_others = ran.was_ended_by_others();
        let mut warnings = ran.warnings;
        let result = ran.stdout.trim_end().to_owned();
        let reads_fields = |deliver: &DeliverSpec| deliver.reads_fields();
        if ran.stdout_is_cut && self.brief.agent.deliver.as_deref().is_some_and(reads_fields) {
            warnings.push(format!(
                "it printed more than {} KiB, so its result is only the end of that and has no fields for `deliver`; all of it: \
                 bgagent logs {}",
                RESULT_BYTES >> 10,
                self.brief.run.short()
            ));
        }
        AttemptOutcome {
            exit_code,
            ended_by_others,
            result: Some(result).filter(|text| !text.is_empty()),
            result_is_cut: ran.stdout_is_cut,
            warnings,
            ..AttemptOutcome::of(end)
        }
    }

    async fn tool(&mut self, call: &ToolCallSpec, places: &Places) -> AttemptOutcome {
        if !self.brief.looks_first && !self.may_begin().await {
            return AttemptOutcome::of(AttemptEnd::Cancelled);
        }
        self.start_clock();
        match self.followed(call, places).await {
            Called::Stopped => AttemptOutcome::of(AttemptEnd::Cancelled),
            Called::Failed(error) => AttemptOutcome::of(AttemptEnd::Failed(error)),
            Called::Gave(given) => AttemptOutcome {
                result: Some(given.result.to_string()),
                findings: given.findings,
                warnings: given.warnings,
                ..AttemptOutcome::of(AttemptEnd::Completed)
            },
        }
    }

    /// Reports that the body begins, and waits until that is durable.
    async fn may_begin(&self) -> bool {
        let (go, may_go) = oneshot::channel();
        let report = Report::Began { run: self.brief.run, attempt: self.brief.attempt, go };
        self.shared.reports.send(report).await.is_ok() && may_go.await.is_ok()
    }

    /// Makes a call whose progress lines become output of the run.
    async fn followed(&mut self, call: &ToolCallSpec, places: &Places) -> Called {
        let mut output = Output::kept(self.brief, self.shared.reports.clone(), RESULT_BYTES);
        let (progress, mut lines) = Progress::new();
        let called = {
            let mut calling = std::pin::pin!(self.call_with(call, places, &[], Some(progress)));
            loop {
                tokio::select! {
                    biased;
                    called = &mut calling => break called,
                    Some(line) = lines.recv() => {
                        output.add(Piece::of_line(line));
                        output.flush().await;
                    }
                }
            }
        };
        while let Ok(line) = lines.try_recv() {
            output.add(Piece::of_line(line));
        }
        output.finish().await;
        called
    }

    async fn call(&mut self, call: &ToolCallSpec, places: &Places, novel_by: &[String]) -> Called {
        self.call_with(call, places, novel_by, None).await
    }

    async fn call_with(
        &mut self,
        call: &ToolCallSpec,
        places: &Places,
        novel_by: &[String],
        progress: Option<Progress>,
    ) -> Called {
        let args = template::fill(&call.args, places);
        let one_call = self.brief.agent.limits.tool_call_timeout;
        let left = self.time_left();
        let bound = match self.shared.tools.info(&call.tool) {
            Some(info) if info.takes_all_time => left,
            _ => Duration::try_from(one_call).unwrap_or(Duration::ZERO),
        };
        let context = CallContext {
            agent: Some(self.brief.agent.id.clone()),
            run: Some(self.brief.run),
            timeout: Some(bound.min(left)),
            idempotency_key: Some(super::env::idempotency_key(self.brief)),
            store: self.shared.store.clone(),
            memory: self.shared.memory_of(&self.brief.agent),
            written: Some(call.args.clone()),
            novel_by: novel_by.to_vec(),
            progress,
            control: self.brief.agent.control,
            // the values of placeholders may come from outside
            untrusted: args != template::fill_params(&call.args, places),
            // the destination is written in the configuration
            redirects: None,
            traceparent: self.brief.traceparent.clone(),
        };
        let orders = &mut self.orders;
        tokio::select! {
            given = self.shared.tools.call(&call.tool, &args, &context) => match given {
                Ok(given) => Called::Gave(given),
                Err(ToolError::Timeout { tool, .. }) => {
                    let why = if left <= bound {
                        format!("tool `{tool}`: {}", self.bound)
                    } else {
                        let one_call = human_duration(one_call);
                        format!("tool `{tool}` did not answer within its `tool_call_timeout` of {one_call}")
                    };
                    Called::Failed(RunError::new(ErrorKind::Timeout, why))
                }
                Err(error) => Called::Failed(RunError::new(error.kind(), error.to_string())),
            },
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Called::Stopped,
        }
    }

    /// Runs all proofs; returns the end of the attempt if one fails, else `None`.
    async fn proofs(&mut self, places: &Places, warnings: &mut Vec<String>) -> Option<AttemptEnd> {
        let checks = self.brief.agent.success_when.clone();
        for (number, check) in (1..).zip(checks.iter()) {
            let (what, unmet) = match &check.body {
                CheckBody::Command(command) => {
                    let ran =
                        self.run(command, ProcessRole::Check, Output::in_memory(MAX_CHECKED_BYTES)).await;
                    if matches!(ran.end, End::Stopped) {
                        return Some(AttemptEnd::Cancelled);
                    }
                    let unmet = self.unmet(check, &ran);
                    warnings.extend(ran.warnings);
                    (command.argv.join(" "), unmet)
                }
                CheckBody::Tool(call) => match self.call(call, places, &[]).await {
                    Called::Stopped => return Some(AttemptEnd::Cancelled),
                    Called::Failed(error) => (call.tool.clone(), Some(error.message)),
                    Called::Gave(given) => {
                        warnings.extend(given.warnings);
                        self.findings.extend(given.findings);
                        (call.tool.clone(), first_unmet(&check.expect, &given.result))
                    }
                },
            };
            if let Some(unmet) = unmet {
                let message = format!(
                    "check {number} of `success_when` does not hold ({}): {unmet}",
                    super::output::shorten(&what, 120)
                );
                return Some(AttemptEnd::Failed(RunError::new(ErrorKind::Unverified, message)));
            }
        }
        None
    }

    fn unmet(&self, check: &Check, ran: &Ran) -> Option<String> {
        match (&ran.end, ran.error("the check")) {
            (End::Exited(code), _) if !check.expect.is_empty() && ran.is_executed() => {
                first_unmet(&check.expect, &ran.as_found(*code))
            }
            (End::Exited(code), Some(error)) => Some(match last_line(&ran.stdout) {
                // many programs report errors on standard output
                Some(line) if last_line(&ran.stderr).is_none() => format!("exit status {code}: {line}"),
                _ => error.message,
            }),
            (_, error) => error.map(|error| error.message),
        }
    }
}

/// Returns the last line that is not blank.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(super::output::shorten(line.trim(), 300))
}

/// The outcome of a tool call.
enum Called {
    Gave(ToolOutput),
    Failed(RunError),
    Stopped,
}
