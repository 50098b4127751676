//! Worker nodes: placing runs on them, and handling the runs of a lost node.
//!
//! The leader's own node is not among them: runs here start as if there were no others. Lost nodes are detected
//! elsewhere, and reported here once all reports of the node are decided: from then on no more can come.
use super::exchange::CancelCause;
use super::places::{KnownNode, Placement, node_lost_error};
use super::{Engine, Place};
use crate::domain::*;
use std::sync::Arc;

impl Engine {
    /// Returns the number of runs in flight on the leader's node.
    pub fn active_here(&self) -> usize {
        self.active_runs() - self.nodes.active()
    }

    /// Returns the session of the node that is running an attempt of this run.
    pub fn session_of(&self, run: RunId) -> Option<&Arc<str>> {
        self.runs.get(&run).filter(|run| run.place == Place::Active)?.record.node.as_ref()?.session.as_ref()
    }

    /// Returns why the cancellation of a run was requested.
    pub fn cancel_cause(&self, run: RunId) -> Option<CancelCause> {
        self.runs.get(&run)?.cancelled
    }

    /// Sets a run aside until a node matches the labels that its agent requires.
    pub(super) fn wait_for_node(&mut self, id: RunId) {
        self.runs.get_mut(&id).expect("queued runs are known").place = Place::NoNode;
        self.nodes.waiting.push(id);
    }

    /// Retries the runs that wait for a node, after a change of configuration or nodes.
    pub(super) fn look_for_nodes(&mut self) {
        let waiting = std::mem::take(&mut self.nodes.waiting);
        self.put_back(waiting);
    }

    /// Returns why an agent's run waits for a node, if one does.
    pub(super) fn no_node(&self, live: &[RunId]) -> Option<String> {
        let waiting =
            live.iter().filter_map(|id| self.runs.get(id)).find(|run| run.place == Place::NoNode)?;
        self.nodes.why_none(&waiting.spec)
    }

    /// Records where an attempt is about to be started.
    pub(super) fn placed(&mut self, now: Now, id: RunId, spot: Placement) {
        let before = self.runs.get(&id).and_then(|run| run.record.node.clone());
        let at = match spot {
            Placement::Here => None,
            Placement::At(session) => {
                self.nodes.moved(&session, 1);
                let node = self.nodes.known.get(&session).map(|known| known.node.name.clone());
                Some(PlacedAt { node: node.unwrap_or_default(), session: Some(session) })
            }
        };
        if at != before {
            self.record_placement(now, id, at);
        }
    }

    fn record_placement(&mut self, now: Now, id: RunId, at: Option<PlacedAt>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.record.node.clone_from(&at);
        let attempt = run.record.attempt;
        self.push(now, Fact::RunPlaced { run: id, attempt, at });
    }

    /// Records that the node no longer runs the attempt: it ended, or the node is lost.
    pub(super) fn left_node(&mut self, now: Now, id: RunId) {
        let Some(PlacedAt { node, session: Some(session) }) =
            self.runs.get(&id).and_then(|run| run.record.node.clone())
        else {
            return;
        };
        self.nodes.moved(&session, -1);
        let runs = &self.runs;
        let next = self.nodes.waiting_for(&session, |id| runs.get(&id).map(|run| run.spec.clone()));
        self.put_back(next);
        self.record_placement(now, id, Some(PlacedAt { node, session: None }));
    }

    /// Updates the live nodes, and handles the sessions that are over.
    pub(super) fn update_nodes(&mut self, now: Now, live: Vec<LiveNode>, over: Vec<Arc<str>>) {
        let mut gone: Vec<Arc<str>> = self
            .nodes
            .known
            .keys()
            .filter(|session| !live.iter().any(|node| node.session == **session))
            .cloned()
            .collect();
        gone.extend(over.into_iter().filter(|session| !self.nodes.known.contains_key(session)));
        for node in live {
            let runs = self.nodes.known.get(&node.session).map_or(0, |known| known.runs);
            self.nodes.known.insert(node.session.clone(), KnownNode { node, runs });
        }
        for session in gone {
            self.node_lost(now, &session);
            self.nodes.known.remove(&session);
            self.push(now, Fact::NodeOver { session });
        }
        self.look_for_nodes();
    }

    /// Handles the runs of a lost node: an attempt of which nothing was started is requeued without being counted;
    /// the outcome of any other is unknown.
    fn node_lost(&mut self, now: Now, session: &Arc<str>) {
        let had = |run: &super::Run| {
            run.place == Place::Active
                && run.record.node.as_ref().is_some_and(|at| at.session.as_ref() == Some(session))
        };
        let mut lost: Vec<RunId> = self.runs.iter().filter(|(_, run)| had(run)).map(|(id, _)| *id).collect();
        lost.sort_unstable();
        for id in lost {
            let run = &self.runs[&id];
            self.chain = run.record.chain;
            let attempt = run.record.attempt;
            let name = run.record.node.as_ref().map(|at| at.node.clone()).unwrap_or_default();
            if run.cancelled.is_none() && !run.begun {
                self.release_capacity(now, id);
                self.requeue_uncounted(now, id);
            } else if run.cancelled.is_none() && run.spec.body.goes_on() {
                self.release_capacity(now, id);
                self.close_account(now, id);
                if !self.resume_conversation(now, id) {
                    self.failed(
                        now,
                        id,
                        node_lost_error(&name),
                        AttemptOutcome::of(AttemptEnd::Cancelled),
                        false,
                    );
                }
            } else {
                let outcome = AttemptOutcome::of(AttemptEnd::Failed(node_lost_error(&name)));
                self.attempt_ended(now, id, attempt, outcome);
            }
        }
        self.chain = 0;
    }

    /// Returns a run to its queue position, without counting an attempt of which nothing was started.
    fn requeue_uncounted(&mut self, now: Now, id: RunId) {
        let run = self.runs.get_mut(&id).expect("the caller looked it up");
        run.record.attempt = run.record.attempt.saturating_sub(1);
        run.record.status = if run.has_begun() { RunStatus::Retrying } else { RunStatus::Queued };
        if run.record.started_at.is_none() {
            run.started_mono = None;
        }
        (run.held_back, run.looks_since) = (None, None);
        let at = run.record.node.clone();
        self.record_placement(now, id, at);
        self.put_back(vec![id]);
    }

    /// Takes over a run that a node was running when the last leader ended. Returns false if that session of the
    /// node is over, and all its reports are decided.
    pub(super) fn restore_at_node(&mut self, now: Now, id: RunId) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let Some(session) = run.record.node.as_ref().and_then(|at| at.session.clone()) else { return false };
        run.begun = run.record.status == RunStatus::Running || !run.record.processes.is_empty();
        if !self.nodes.known.contains_key(&session) {
            if !run.begun {
                run.record.attempt = run.record.attempt.saturating_sub(1);
            }
            self.left_node(now, id);
            return false;
        }
        run.record.status = RunStatus::Running;
        run.record.not_before = None;
        run.place = Place::Active;
        run.started_mono.get_or_insert(now.mono);
        self.nodes.moved(&session, 1);
        self.occupy(id);
        self.watch_run(now, id);
        true
    }

    /// Records that an earlier leader had ordered the cancellation.
    pub(super) fn cancellation_reported(&mut self, id: RunId, cause: CancelCause) {
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.place == Place::Active) {
            run.cancelled.get_or_insert(cause);
        }
    }
}
