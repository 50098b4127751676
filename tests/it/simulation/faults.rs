//! What goes wrong, and what people do meanwhile.
use super::fleet;
use super::model::Wrong;
use super::runners::Attempt;
use super::world::{Crash, World, secs};
use bgagent::domain::*;
use bgagent::engine::{Command, Input, PauseEnd, StopMode, Target, Ticket, Wish};

impl World {
    pub(super) fn fault(&mut self) -> Result<Vec<Input>, Wrong> {
        match self.rng.between(0, 100) {
            0..40 => return Ok(self.command()),
            40..50 => {
                let span = secs(self.rng.span(2, 200_000));
                self.sleep(span);
            }
            50..60 => self.jump(),
            60..64 => {
                self.sleep(secs(3000));
                self.jump();
            }
            64..78 => {
                // in a turn that has something to lose, or out of the blue
                match self.rng.between(0, 3) {
                    0 => self.crash = Some(Crash::BeforeCommit),
                    1 => self.crash = Some(Crash::BeforeActions),
                    _ => self.die(),
                }
            }
            78..86 => self.outage = Some(secs(self.rng.span(1, 20_000))),
            86..92 if self.stopping.is_none() => {
                self.edit();
                let ticket = self.rng.chance(50).then(|| self.ticket());
                return Ok(vec![Input::FleetLoaded { fleet: self.fleet.clone(), ticket }]);
            }
            92..94 => {
                let errors = vec!["line 1: no".into()];
                return Ok(vec![Input::FleetRejected { path: "/agents.toml".into(), errors }]);
            }
            _ if self.stopping.is_none() => {
                self.stopping = Some(self.now.mono + secs(30));
                return Ok(vec![Input::ShutDown { reason: "asked".into() }]);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    /// While a run lives whose end starts another agent.
    pub(super) fn goes_down_at_a_bad_time(&mut self) -> Option<Input> {
        let is_awaited = |attempt: &Attempt| attempt.start.agent.id.as_str() == "anchor";
        if self.stopping.is_some() || !self.attempts.iter().any(is_awaited) || !self.outside.rng.chance(1) {
            return None;
        }
        self.stopping = Some(self.now.mono + secs(30));
        Some(Input::ShutDown { reason: "asked".into() })
    }

    pub(super) fn shutdown(&mut self) -> Option<Input> {
        let deadline = self.stopping?;
        if self.attempts.is_empty() {
            self.engine = None;
            return None;
        }
        (deadline <= self.now.mono).then(|| {
            self.stopping = Some(self.now.mono + secs(7));
            Input::EndRuns { kill: self.rng.chance(30) }
        })
    }

    pub(super) fn die(&mut self) {
        self.crashes += 1;
        self.engine = None;
    }

    pub(super) fn edit(&mut self) {
        let names: Vec<AgentId> = self.specs.keys().cloned().collect();
        let parallel = if self.rng.chance(20) {
            self.rng.between(1, 6) as usize
        } else {
            self.fleet.daemon.max_parallel_runs
        };
        for _ in 0..self.rng.between(0, 3) {
            let name = self.rng.pick(&names).clone();
            let Some(spec) = self.specs.get(&name).cloned() else { continue };
            if self.rng.chance(30) {
                self.specs.remove(&name);
                self.left_out.insert(name, spec);
            } else {
                self.specs.insert(name, fleet::edited(&spec, &mut self.rng, self.now.wall));
            }
        }
        let gone: Vec<AgentId> = self.left_out.keys().cloned().collect();
        for name in gone {
            if self.rng.chance(40) {
                let spec = self.left_out.remove(&name).unwrap();
                let spec = if self.rng.chance(50) {
                    fleet::edited(&spec, &mut self.rng, self.now.wall)
                } else {
                    spec
                };
                self.specs.insert(name, spec);
            }
        }
        self.fleet = fleet::fleet(self.specs.values().chain(&self.outside.specs), parallel);
    }

    pub(super) fn command(&mut self) -> Vec<Input> {
        let name = self.rng.pick(&fleet::names()).clone();
        let target = if self.rng.chance(15) { Target::All } else { Target::One(name.clone()) };
        let reason = self.rng.chance(30).then(|| "because".to_owned());
        let open = self.model.open.len() as i64;
        let command = match self.rng.between(0, 12) {
            0..3 => Command::Want { target, wish: Wish::Start, reason },
            3 => Command::Want { target, wish: Wish::Pause { until: None }, reason },
            4 => {
                let span = secs(self.rng.span(1, 100_000));
                let end = if self.rng.chance(50) {
                    PauseEnd::After(span)
                } else {
                    PauseEnd::At(self.now.wall + span)
                };
                Command::Want { target, wish: Wish::Pause { until: Some(end) }, reason }
            }
            5..7 => Command::Want { target, wish: Wish::Resume, reason },
            7 => Command::Want {
                target,
                wish: Wish::Stop {
                    mode: *self.rng.pick(&[StopMode::Terminate, StopMode::Drain, StopMode::Kill]),
                },
                reason,
            },
            8 => Command::Run { agent: name, query: None, params: ParamValues::new(), mode: RunMode::Normal },
            9 if open > 0 => {
                let at = self.rng.between(0, open) as usize;
                Command::Cancel { run: self.model.open[at].record.run, kill: self.rng.chance(50) }
            }
            10 => Command::Ack { agent: None, key: "disk".into() },
            _ => Command::Skip { agent: name },
        };
        let ticket = self.ticket();
        vec![Input::Command { ticket, command }]
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}
