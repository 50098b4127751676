//! Runs at other nodes, as seen by the loop: orders are facts of the turn that causes them, and so
//! is the acknowledgement of reports.
use super::{EventLoop, Turn, Waiter};
use crate::daemon::clock;
use crate::daemon::placed::wire::{OrderText, ReportBody, ReportText};
use crate::domain::{Entry, Fact, Process, ProcessRole, RunId};
use crate::engine::{Action, Input};
use crate::store::TakenReport;
use std::sync::Arc;
use tokio::sync::oneshot;

impl EventLoop {
    /// Decides about reports of nodes.
    pub(super) fn take_reports(
        &mut self,
        turn: &mut Turn,
        reports: Vec<TakenReport>,
        done: oneshot::Sender<()>,
    ) {
        let ids = reports.iter().map(|report| report.id).collect();
        for TakenReport { id, session, body } in reports {
            match serde_json::from_str(&body) {
                Ok(report) => self.take_report(turn, session, report),
                Err(error) => {
                    tracing::error!(id, %error, "a node reports what this release does not understand");
                }
            }
        }
        turn.facts.push(Entry { at: clock::now().wall, fact: Fact::ReportsTaken { ids } });
        let ticket = self.wait(Waiter::Runner(done));
        turn.actions.push(Action::Go { ticket, go: true });
    }

    fn take_report(&mut self, turn: &mut Turn, session: Arc<str>, report: ReportText) {
        let ReportText { run, attempt, said } = report;
        let now = clock::now();
        let has = self.engine.session_of(run).is_some_and(|has| *has == session)
            && self.engine.run(run).is_some_and(|record| record.attempt == attempt);
        if !has {
            return self.answer_stray_report(turn, &session, run, &said);
        }
        let input = match said {
            ReportBody::Spawned { n, role, pid, start, boot } => {
                let ticket = self.wait(Waiter::Node { session, n });
                let process = Some(Process { pid, start, boot });
                Input::Began { run, attempt, role: role.into(), process, ticket }
            }
            ReportBody::Began { n } => {
                let ticket = self.wait(Waiter::Node { session, n });
                Input::Began { run, attempt, role: ProcessRole::Body, process: None, ticket }
            }
            ReportBody::Found { n, findings } => {
                let ticket = self.wait(Waiter::Node { session, n });
                Input::Found { run, findings, ticket }
            }
            ReportBody::Output(output) => {
                let fact = Fact::OutputCaptured(Box::new(output.captured(run, attempt)));
                return turn.facts.push(Entry { at: now.wall, fact });
            }
            ReportBody::Ended { outcome, told } => {
                self.placed.remove(&run);
                if let Some(cause) = told {
                    turn.add(self.engine.decide(now, Input::ToldToEnd { run, cause }));
                }
                Input::AttemptEnded { run, attempt, outcome: Box::new((*outcome).into()) }
            }
        };
        turn.add(self.engine.decide(now, input));
    }

    /// Answers a report of a run that the node should not have: it has ended here, or belongs to
    /// another node.
    fn answer_stray_report(&self, turn: &mut Turn, session: &Arc<str>, run: RunId, said: &ReportBody) {
        let order = match said {
            ReportBody::Spawned { n, .. } | ReportBody::Began { n } | ReportBody::Found { n, .. } => {
                OrderText::Go { n: *n, go: false }
            }
            ReportBody::Output(_) => OrderText::Stop { run, kill: false, cause: None },
            ReportBody::Ended { .. } => return,
        };
        tracing::warn!(%run, "a node reports of a run that it should not have any more");
        turn.facts.push(ordered(session, None, &order));
    }

    /// Translates the actions of a turn into orders for nodes. They are committed with its facts.
    pub(super) fn orders(&mut self, actions: &[Action]) -> Vec<Entry> {
        let mut orders = Vec::new();
        for action in actions {
            match action {
                Action::Start(start) => {
                    let Some(session) = &start.node else { continue };
                    self.placed.insert(start.run, session.clone());
                    let revision = self.engine.fleet().newest_revision();
                    let traceparent = self.actor.traceparent(start.run, start.attempt);
                    let order = OrderText::start(start, revision, traceparent);
                    orders.push(ordered(session, Some(start.run), &order));
                }
                Action::Cancel { run, kill } => {
                    let Some(session) = self.placed.get(run) else { continue };
                    let (run, kill, cause) = (*run, *kill, self.engine.cancel_cause(*run));
                    orders.push(ordered(session, None, &OrderText::Stop { run, kill, cause }));
                }
                Action::Go { ticket, go } => {
                    let Some(Waiter::Node { session, n }) = self.waiters.get(ticket) else { continue };
                    orders.push(ordered(session, None, &OrderText::Go { n: *n, go: *go }));
                }
                _ => {}
            }
        }
        orders
    }

    /// Forgets runs that no node has in flight any more.
    pub(super) fn forget_lost(&mut self) {
        let engine = &self.engine;
        self.placed.retain(|run, session| engine.session_of(*run) == Some(session));
    }
}

fn ordered(session: &Arc<str>, starts: Option<RunId>, order: &OrderText) -> Entry {
    let fact = Fact::Ordered { session: session.clone(), starts, order: order.text() };
    Entry { at: clock::now().wall, fact }
}
