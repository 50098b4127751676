//! One call of a tool for a run: its context, and what of its outcome is passed on.
use super::report::{Brief, Report, Shared};
use super::skills::Skills;
use crate::conversation::{OUTCOME_UNKNOWN, PlannedCall};
use crate::domain::{
    AddressPattern, AgentSpec, Effect, READ_SKILL, RunId, ToolError, ToolReply, glob, is_address,
};
use crate::redis_memory::RedisMemory;
use crate::secret;
use crate::store::Store;
use crate::tools::{CallContext, ToolOutput, Tools};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Calls tools for one run.
#[derive(Clone)]
pub(super) struct ToolCaller {
    tools: Arc<Tools>,
    store: Option<Store>,
    memory: Option<RedisMemory>,
    reports: mpsc::Sender<Report>,
    agent: Arc<AgentSpec>,
    run: RunId,
    traceparent: Option<Arc<str>>,
    /// What is read of them needs no tool.
    skills: Arc<Skills>,
}

impl ToolCaller {
    /// Creates the caller for the run of this brief.
    pub(super) fn of(brief: &Brief, shared: &Shared) -> Self {
        Self {
            tools: shared.tools.clone(),
            store: shared.store.clone(),
            memory: shared.memory_of(&brief.agent),
            reports: shared.reports.clone(),
            agent: brief.agent.clone(),
            run: brief.run,
            traceparent: brief.traceparent.clone(),
            skills: Arc::default(),
        }
    }

    /// The same for a model that has skills.
    pub(super) fn with_skills(self, skills: Arc<Skills>) -> Self {
        Self { skills, ..self }
    }

    /// Makes the call, in `bound` at the most. Returns the reply, and whether what it holds comes from outside. `key`: equal in
    /// each try of the same call.
    pub(super) async fn call(&self, call: &PlannedCall, key: String, bound: Duration) -> (ToolReply, bool) {
        let context = CallContext {
            progress: None,
            control: self.agent.control,
            agent: Some(self.agent.id.clone()),
            run: Some(self.run),
            timeout: Some(bound),
            idempotency_key: Some(key),
            store: self.store.clone(),
            memory: self.memory.clone(),
            untrusted: call.tainted,
            redirects: self.redirects(call),
            traceparent: self.traceparent.clone(),
            ..CallContext::default()
        };
        if call.name == READ_SKILL && self.skills.offer().is_some() {
            let (id, name) = (call.id.clone(), call.name.clone());
            let answer = self.skills.answer(&call.args);
            let (text, is_error) = answer.map_or_else(|why| (why, true), |text| (text, false));
            return (ToolReply { id, name, text, is_error }, false);
        }
        let given = self.tools.call(&call.name, &call.args, &context).await;
        let untrusted = call.untrusted || given.as_ref().is_ok_and(|given| given.untrusted);
        (self.reply(given, call).await, untrusted)
    }

    /// Returns the addresses to which a call that is only allowed by `sinks` may be redirected.
    fn redirects(&self, call: &PlannedCall) -> Option<Vec<AddressPattern>> {
        let sinks = self.agent.body.tool_use()?.sinks;
        let is_sink_by_name = sinks.iter().any(|sink| !is_address(sink) && glob(sink, &call.name));
        let asked = call.args.get("url").and_then(Value::as_str)?;
        if !call.tainted || is_sink_by_name {
            return None;
        }
        let addresses = sinks.iter().filter(|sink| is_address(sink));
        let patterns: Vec<AddressPattern> =
            addresses.filter_map(|sink| AddressPattern::parse(sink).ok()).collect();
        patterns.iter().any(|pattern| pattern.fits(asked)).then_some(patterns)
    }

    async fn reply(&self, given: Result<ToolOutput, ToolError>, call: &PlannedCall) -> ToolReply {
        let (text, is_error) = match given {
            Ok(given) => {
                if !given.findings.is_empty() {
                    let (go, durable) = oneshot::channel();
                    let report = Report::Found { run: self.run, findings: given.findings, go };
                    // durable before the call counts as made, since it is not repeated
                    if self.reports.send(report).await.is_ok() {
                        let _ = durable.await;
                    }
                }
                (super::template::as_text(&given.result), false)
            }
            Err(error) if call.effect == Effect::Effect && error.may_have_happened() => {
                (format!("{OUTCOME_UNKNOWN} {error}. Check before you repeat it."), true)
            }
            Err(error) => (error.to_string(), true),
        };
        let text = secret::redact(&text).into_owned();
        ToolReply { id: call.id.clone(), name: call.name.clone(), text, is_error }
    }
}
