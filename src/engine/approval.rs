//! Tool calls that wait for approval, and runs that continue after an interruption: after a decision, or after
//! downtime of the daemon.
use super::{Engine, Place, Refusal, Reply, Run};
use crate::domain::*;

/// Limits of a message: number of calls, and characters of each call's arguments.
const MAX_SHOWN_CALLS: usize = 8;
const MAX_SHOWN_ARGS_CHARS: usize = 300;

impl Engine {
    /// Handles an attempt that ended because calls wait for approval. The run takes no capacity meanwhile.
    pub(super) fn waits(&mut self, now: Now, id: RunId, wanted: Vec<ApprovalWanted>) {
        self.push_conversation_entry(now, id, Said::Waits { wanted: wanted.clone() });
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.record.status = RunStatus::WaitingApproval;
        let agent = run.agent;
        self.tell_approvals(now, id, &wanted);
        self.set_aside(now, id);
        for one in wanted {
            self.approvals.insert(one.id.clone(), (id, one));
        }
        self.touch(agent);
    }

    /// Queues a question for each call to the targets where it can be answered, and one message about all of them
    /// to the others. A restart does not repeat them.
    fn tell_approvals(&mut self, now: Now, id: RunId, wanted: &[ApprovalWanted]) {
        let Some(run) = self.runs.get(&id) else { return };
        let (agent, total) = (run.agent, run.spec.limits.total_timeout);
        let route = route_of(&run.spec).cloned().unwrap_or_default();
        let questions: Vec<Notice> = wanted.iter().map(|one| route.question(&run.spec.id, id, one)).collect();
        let subject = match wanted {
            [one] => format!("{}: a call of {} waits for a person", run.spec.id, one.tool),
            more => format!("{}: {} calls wait for a person", run.spec.id, more.len()),
        };
        let mut lines: Vec<String> = wanted.iter().take(MAX_SHOWN_CALLS).map(describe_call).collect();
        if wanted.len() > MAX_SHOWN_CALLS {
            lines.push(format!("and {} more: bgagent approvals", wanted.len() - MAX_SHOWN_CALLS));
        }
        lines.extend(total.map(|total| {
            format!("The run ends if nobody decides within its total_timeout of {}.", human_duration(total))
        }));
        let notice = Notice::new(&run.spec.id, TellOn::ApprovalRequested, subject, lines.join("\n"));
        for target in &route.via {
            for question in &questions {
                let (target, notice) = (target.clone(), Box::new(question.clone()));
                self.push(now, Fact::NotificationQueued { target, notice });
            }
        }
        self.notify_except(now, agent, notice.of_run(id), &route.via);
    }

    pub(super) fn decide_approval(
        &mut self,
        now: Now,
        approval: &str,
        approved: bool,
        reason: Option<String>,
        by: Option<AnsweredBy>,
    ) -> Result<Reply, Refusal> {
        let waits = |run: &RunId| matches!(self.runs.get(run), Some(Run { place: Place::Waiting(_), .. }));
        let Some((run, wanted)) = self.approvals.get(approval).filter(|(run, _)| waits(run)).cloned() else {
            return Err(Refusal::NoSuchApproval(approval.to_owned()));
        };
        // an answer applies only to the call it was asked about
        if by
            .as_ref()
            .and_then(|by| by.call.as_ref())
            .is_some_and(|call| *call != call_hash(&wanted.tool, &wanted.args))
        {
            return Err(Refusal::NoSuchApproval(approval.to_owned()));
        }
        self.approvals.remove(approval);
        let said = Said::Decided {
            id: approval.to_owned(),
            call: wanted.call,
            tool: wanted.tool.clone(),
            approved,
            reason,
            by: by.map(|by| by.who),
        };
        self.push_conversation_entry(now, run, said);
        let agent = self.runs.get(&run).map(|run| run.spec.id.clone());
        if !self.approvals.values().any(|(other, _)| *other == run) {
            self.go_on(run);
        }
        Ok(Reply::Decided { run, agent, wanted, approved })
    }

    /// Lets the run wait for a person until its `total_timeout` or the `wait` of its `approval` expires.
    fn set_aside(&mut self, now: Now, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let began = *run.started_mono.get_or_insert(now.mono);
        let asked = *self.asked_at.entry(id).or_insert(now.mono);
        let total = run.spec.limits.total_timeout.map(|total| began + total);
        let wait = route_of(&run.spec).and_then(|route| route.wait).map(|wait| asked + wait);
        let until = total.into_iter().chain(wait).min();
        run.place = Place::Waiting(until);
        // time spent waiting for a person does not count as slow
        if let (Some(after), None) = (run.spec.slow_after, run.slow_at) {
            run.slow_at = Some(now.mono + after);
            self.slow.insert((now.mono + after, id));
        }
        self.timers.extend(until.map(|until| (until, id)));
    }

    /// Handles an expired deadline, of the run or of its approvals, without a decision.
    pub(super) fn approval_expired(&mut self, now: Now, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        self.chain = run.record.chain;
        let began = run.started_mono.unwrap_or(now.mono);
        let is_over = |total: jiff::SignedDuration| now.mono >= began + total;
        let total = run.spec.limits.total_timeout;
        let wait = route_of(&run.spec).and_then(|route| route.wait);
        if let Some(wait) = wait.filter(|_| !total.is_some_and(is_over)) {
            return self.deny_undecided(now, id, wait);
        }
        let total = total.unwrap_or_default();
        let wanted = self.approvals.values().find(|(waiting, _)| *waiting == id);
        let tool = wanted.map_or("a tool", |(_, wanted)| &wanted.tool);
        let message = format!(
            "nobody decided about a call of `{tool}` within the `total_timeout` of {}; `bgagent approvals` lists what waits",
            human_duration(total)
        );
        let error = RunError::new(ErrorKind::Timeout, message);
        self.finish(now, id, RunStatus::TimedOut, Some(error), AttemptOutcome::of(AttemptEnd::Cancelled));
    }

    /// Denies the undecided calls after the `wait` expired; the run goes on without them.
    fn deny_undecided(&mut self, now: Now, id: RunId, wait: jiff::SignedDuration) {
        let open = self.approvals.iter().filter(|(_, (run, _))| *run == id);
        let open: Vec<ApprovalWanted> = open.map(|(_, (_, wanted))| wanted.clone()).collect();
        let reason = format!("nobody decided within {}", human_duration(wait));
        for ApprovalWanted { id: approval, call, tool, .. } in open {
            self.approvals.remove(&approval);
            let reason = Some(reason.clone());
            self.push_conversation_entry(
                now,
                id,
                Said::Decided { id: approval, call, tool, approved: false, reason, by: None },
            );
        }
        self.go_on(id);
    }

    /// Continues the attempt of a run.
    pub(super) fn go_on(&mut self, id: RunId) {
        self.asked_at.remove(&id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Place::Waiting(Some(until)) = run.place {
            self.timers.remove(&(until, id));
        }
        run.record.attempt = run.record.attempt.saturating_sub(1); // `start` increments it again
        run.record.status = RunStatus::Running;
        self.enqueue(id, None);
    }

    /// Discards the pending approvals of a run that ended, or that starts over.
    pub(super) fn forget_approvals(&mut self, id: RunId) {
        self.asked_at.remove(&id);
        if self.approvals.values().any(|(run, _)| *run == id) {
            self.approvals.retain(|_, (run, _)| *run != id);
        }
    }

    /// Resumes a model's run that was in flight when the daemon last ended from its journal. Returns false if it
    /// can't, because its agent's configuration has changed.
    pub(super) fn resume_conversation(&mut self, now: Now, id: RunId) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let same = run.spec.is_identified_by(run.record.config_hash);
        if !same || !run.spec.body.goes_on() {
            return false;
        }
        run.record.attempt = run.record.attempt.max(1);
        if run.record.status == RunStatus::WaitingApproval
            && self.approvals.values().any(|(waiting, _)| *waiting == id)
        {
            self.set_aside(now, id);
            return true;
        }
        self.push_conversation_entry(now, id, Said::Resumed);
        self.go_on(id);
        true
    }
}

/// Returns who is asked about the calls of an agent.
fn route_of(spec: &AgentSpec) -> Option<&ApprovalRoute> {
    spec.body.tool_use()?.route
}

/// Describes a pending call, and how to decide about it.
fn describe_call(wanted: &ApprovalWanted) -> String {
    let mut args: String = wanted.args.chars().take(MAX_SHOWN_ARGS_CHARS).collect();
    if args.len() < wanted.args.len() {
        args.push('…');
    }
    format!("{} {args}\n  bgagent approve {id}, or bgagent deny {id}", wanted.tool, id = wanted.id)
}
