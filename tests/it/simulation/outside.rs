//! What comes from outside of the fleet: files in a folder, deliveries to a webhook, events of an MCP server. Each is offered
//! until it is taken, as the daemon does it, and must start or pass exactly once. Chance of its own: the rest of a history does
//! not depend on what arrives.
use super::chains::JOIN;
use super::fleet::{self, Temper};
use super::model::{Model, Wrong, ensure};
use super::world::{Crash, World, secs};
use crate::rng::Rng;
use bgagent::domain::*;
use bgagent::engine::{
    Action, BackfillRequest, Command, EventsPolled, Input, StopMode, Target, Ticket, Wish,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const HOOK: &str = "deploy";

/// Who waits for files, for deliveries, for events, and for the runs of others.
pub(super) fn names() -> [AgentId; 4] {
    ["jar", "kite", "lure", "mate"].map(|name| name.parse().unwrap())
}

/// What was offered, and who wants to know what became of it.
enum Offer {
    Delivery(String),
    Other,
}

pub(super) struct Outside {
    pub(super) rng: Rng,
    pub(super) specs: Vec<AgentSpec>,
    /// When something comes next, by the clock that never jumps.
    pub(super) next: SignedDuration,
    files: BTreeMap<String, FoundFile>,
    /// Deliveries of which the sender has not heard that they were taken.
    unanswered: Vec<WebhookReceived>,
    delivered: Vec<String>,
    /// All events that the server ever had. A cursor is a position in it.
    events: Vec<McpEventReceived>,
    offered: HashMap<Ticket, Offer>,
    by_file: Arc<FileTrigger>,
    by_mcp: Arc<McpTrigger>,
}

impl Outside {
    pub(super) fn new(seed: u64, now: Now) -> Self {
        let mut rng = Rng::new(seed ^ 0x0007_51DE);
        let by_file = Arc::new(FileTrigger {
            pattern: "inbox/*".into(),
            folder: "/inbox".into(),
            name: "*".into(),
            settle: FileTrigger::SETTLE,
        });
        let by_mcp = Arc::new(McpTrigger {
            server: "github".into(),
            event: "issue.opened".into(),
            args: serde_json::Map::new(),
            every: McpTrigger::EVERY,
        });
        let schedules = [
            Schedule::File(by_file.clone()),
            Schedule::Webhook(HOOK.into()),
            Schedule::Mcp(by_mcp.clone()),
            Schedule::Join(JOIN.clone()),
        ];
        let specs = names().into_iter().zip(schedules).map(|(name, schedule)| {
            let overlap = *rng.pick(&[Overlap::Queue, Overlap::Queue, Overlap::Parallel]);
            AgentSpec {
                schedule,
                overlap,
                jitter: SignedDuration::ZERO,
                ..fleet::agent(&name, &mut rng, now.wall)
            }
        });
        let specs = specs.collect();
        Self {
            specs,
            next: now.boot + secs(300),
            files: BTreeMap::new(),
            unanswered: Vec::new(),
            delivered: Vec::new(),
            events: Vec::new(),
            offered: HashMap::new(),
            by_file,
            by_mcp,
            rng,
        }
    }

    pub(super) fn tempers(&mut self) -> HashMap<AgentId, Temper> {
        fleet::tempers(&names(), &mut self.rng)
    }

    /// A file, written for the first time or anew; a delivery; some events.
    fn comes(&mut self, now: Timestamp) {
        match self.rng.between(0, 3) {
            0 => {
                let name = format!("{}.csv", self.rng.between(0, 12));
                let file = FoundFile {
                    path: format!("/inbox/{name}"),
                    name: name.clone(),
                    size: self.rng.next() % 1000,
                    modified: now,
                    inode: self.rng.next(),
                };
                self.files.insert(name, file);
            }
            1 => {
                let delivery = format!("d{}", self.delivered.len());
                self.delivered.push(delivery.clone());
                let body = serde_json::Value::Null;
                self.unanswered.push(WebhookReceived { webhook: HOOK.into(), delivery, event: None, body });
            }
            _ => {
                for _ in 0..self.rng.between(1, 4) {
                    let id = format!("e{}", self.events.len());
                    self.events.push(McpEventReceived {
                        server: "github".into(),
                        event: "issue.opened".into(),
                        id,
                        happened_at: None,
                        data: serde_json::Value::Null,
                        left_out: self.rng.chance(5).then_some(1 << 20),
                    });
                }
            }
        }
    }

    /// What is there, and was not taken.
    fn offers(&mut self, model: &Model, tickets: &mut u64) -> Vec<Input> {
        let mut ticket = |offered: &mut HashMap<Ticket, Offer>, offer| {
            *tickets += 1;
            offered.insert(Ticket(*tickets), offer);
            Ticket(*tickets)
        };
        let [jar, _, lure, _] = names();
        let mut inputs = Vec::new();
        let is_new = |file: &&FoundFile| model.marks.get(&file.path) != Some(&file.mark());
        let files: Vec<FoundFile> = self.files.values().filter(is_new).cloned().collect();
        if !files.is_empty() {
            let ticket = ticket(&mut self.offered, Offer::Other);
            inputs.push(Input::FilesArrived { agent: jar, by: self.by_file.clone(), files, ticket });
        }
        // what is remembered is acknowledged, and not taken again
        self.unanswered.retain(|one| !model.marks.contains_key(&one.delivery));
        for delivery in &self.unanswered {
            let ticket = ticket(&mut self.offered, Offer::Delivery(delivery.delivery.clone()));
            inputs.push(Input::Delivered { delivery: Box::new(delivery.clone()), ticket });
        }
        let events = self.events[model.cursor..].to_vec();
        if !events.is_empty() {
            let cursor = Some(Some(self.events.len().to_string()));
            let ticket = ticket(&mut self.offered, Offer::Other);
            let polled = EventsPolled { events, cursor, skipped: None };
            inputs.push(Input::EventsPolled { agent: lure, by: self.by_mcp.clone(), polled, ticket });
        }
        inputs
    }

    /// Somebody hears how much of an offer was taken.
    pub(super) fn answered(&mut self, action: &Action) -> Result<(), Wrong> {
        let Action::Taken { ticket, count } = action else { return Ok(()) };
        match self.offered.remove(ticket) {
            None => return Err(format!("{ticket:?} hears twice what was taken, or never offered anything")),
            Some(Offer::Delivery(id)) if *count > 0 => self.unanswered.retain(|one| one.delivery != id),
            Some(_) => {}
        }
        Ok(())
    }

    /// Nobody waits for an answer any more.
    pub(super) fn forget_offers(&mut self) {
        self.offered.clear();
    }
}

impl World {
    /// What arrives by now, or was left before.
    pub(super) fn arrivals(&mut self) -> Vec<Input> {
        if self.now.boot < self.outside.next {
            return Vec::new();
        }
        self.outside.next = self.now.boot + secs(self.outside.rng.span(60, 20_000));
        self.outside.comes(self.now.wall);
        let mut inputs = Vec::new();
        if self.outside.rng.chance(2) {
            self.crash = Some(*self.outside.rng.pick(&[Crash::BeforeCommit, Crash::BeforeActions]));
        }
        if self.outside.rng.chance(10) {
            inputs.push(self.command_outside());
        }
        if self.outside.rng.chance(5) {
            inputs.extend(self.backfill());
        }
        inputs.extend(self.outside.offers(&self.model, &mut self.tickets));
        inputs
    }

    /// Somebody asks for past slots.
    fn backfill(&mut self) -> Option<Input> {
        let engine = self.engine.as_ref()?;
        let agent = self.outside.rng.pick(&fleet::names()).clone();
        let from = self.now.wall - secs(self.outside.rng.span(600, 100_000));
        let mut slots = engine.past_slots(&agent, (from, self.now.wall), self.now).ok()?;
        slots.truncate(6);
        let wish = BackfillRequest { agent, id: None, slots, params: ParamValues::new(), max_usd: None };
        Some(Input::Command { ticket: self.ticket(), command: Command::Backfill(wish) })
    }

    fn command_outside(&mut self) -> Input {
        let target = Target::One(self.outside.rng.pick(&names()).clone());
        let wish = match self.outside.rng.between(0, 5) {
            0 => Wish::Pause { until: None },
            1 => Wish::Stop { mode: StopMode::Drain },
            _ => Wish::Start,
        };
        let ticket = self.ticket();
        Input::Command { ticket, command: Command::Want { target, wish, reason: None } }
    }

    /// All that ever came has had its outcome once everybody takes what is there.
    pub(super) fn finish_outside(&mut self) -> Result<(), Wrong> {
        if self.down {
            self.engine = None;
        }
        for name in names() {
            while self.engine.is_none() {
                self.boot()?;
            }
            (self.crash, self.outage) = (None, None);
            let ticket = self.ticket();
            let command = Command::Want { target: Target::One(name), wish: Wish::Start, reason: None };
            self.turn(vec![Input::Command { ticket, command }])?;
        }
        let inputs = self.outside.offers(&self.model, &mut self.tickets);
        self.turn(inputs)?;
        let Outside { files, delivered, events, .. } = &self.outside;
        for file in files.values() {
            ensure!(self.model.marks.get(&file.path) == Some(&file.mark()), "{} started nothing", file.path);
        }
        for id in delivered.iter().chain(events.iter().map(|event| &event.id)) {
            ensure!(self.model.arrived.contains(id), "{id} never arrived");
        }
        Ok(())
    }
}
