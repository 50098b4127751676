//! Health of an agent: consecutive failures, its circuit, its incident, and the notifications.
use super::Engine;
use crate::domain::*;

impl Engine {
    /// Applies the end of a run to the health of its agent.
    pub(super) fn judge_health(&mut self, now: Now, agent: u32, status: RunStatus, error: Option<&RunError>) {
        self.touch(agent);
        if status == RunStatus::Completed {
            self.agents[agent as usize].counters.errors_in_row = 0;
            self.close_circuit(now, agent, "a run completed");
            self.agent_recovered(now, agent);
        } else if status.is_failure() {
            let state = &mut self.agents[agent as usize];
            state.counters.errors_in_row += 1;
            let message = error.map_or_else(|| status.to_string(), |error| error.message.clone());
            self.agent_failing(now, agent, &message, error.is_some_and(|it| it.kind == ErrorKind::Budget));
            self.open_circuit(now, agent, &message);
        }
    }

    /// A gate found that there is nothing to do: if it was what failed before, that is over.
    pub(super) fn gate_answered(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        let last = state.last_run.as_ref().filter(|_| state.counters.errors_in_row > 0);
        if last.and_then(|last| last.error.as_ref()).is_some_and(RunError::is_of_gate) {
            state.counters.errors_in_row = 0;
            self.touch(agent);
            self.close_circuit(now, agent, "its gate answers again");
            self.agent_recovered(now, agent);
        }
    }

    fn open_circuit(&mut self, now: Now, agent: u32, message: &str) {
        let state = &mut self.agents[agent as usize];
        let rule = state.spec.circuit;
        let failures = state.counters.errors_in_row;
        if rule.open_after == 0 || failures < rule.open_after {
            return;
        }
        let first = state.circuit.is_none();
        // a failing manual run does not prolong the cooldown of the schedule
        if state.circuit.is_some_and(|circuit| now.wall < circuit.until) {
            return;
        }
        let until = now.wall.checked_add(rule.cooldown).unwrap_or(jiff::Timestamp::MAX);
        let opened_at = state.circuit.map_or(now.wall, |circuit| circuit.opened_at);
        state.circuit = Some(CircuitRecord { opened_at, until });
        let id = state.spec.id.clone();
        self.push(now, Fact::CircuitOpened { agent: id.clone(), failures, until, rule });
        if first {
            let subject = format!(
                "{id}: circuit open for {} after {failures} failures in a row",
                human_duration(rule.cooldown)
            );
            let notice = Notice::new(&id, TellOn::CircuitOpened, subject, message.to_owned());
            self.tell(now, agent, notice.keyed(circuit_key(&id)));
        }
    }

    /// Closes the circuit; returns whether it was open.
    pub(super) fn close_circuit(&mut self, now: Now, agent: u32, reason: &str) -> bool {
        let state = &mut self.agents[agent as usize];
        if state.circuit.take().is_none() {
            return false;
        }
        let id = state.spec.id.clone();
        let told = state.spec.notify.as_ref().is_some_and(|it| it.on.contains(&TellOn::CircuitOpened));
        self.push(now, Fact::CircuitClosed { agent: id.clone(), reason: reason.to_owned() });
        if told {
            let subject = format!("{id}: no longer paused after failures");
            let notice = Notice::new(&id, TellOn::Recovered, subject, reason.to_owned());
            self.tell(now, agent, notice.keyed(circuit_key(&id)));
        }
        self.touch(agent);
        true
    }
}

/// Returns the key that links the notifications about one circuit.
fn circuit_key(agent: &AgentId) -> String {
    format!("circuit:{agent}")
}
