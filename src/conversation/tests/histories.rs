//! Histories of chance: a model that calls whatever comes to its mind, a driver that crashes, people who
//! decide. An oracle with books of its own says what must never be; broken drivers show that it looks.
use super::*;
use crate::domain::{Approval, ErrorKind, Limits, Price, Tokens, WorstCase};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is wrong with the driver, so that the oracle has something to find.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// It does not say that data was untrusted.
    TaintLost,
    /// A crash loses replies that had been journaled.
    RepliesLost,
    /// It makes calls that it has not journaled.
    CallingLost,
    /// It makes calls that policy has answered.
    PolicyIgnored,
    /// It takes a no of a person for a yes.
    DenialLost,
    /// It does not hold the limits that were set.
    LimitsLost,
    /// It forgets what requests in flight at a crash may have cost.
    AskedLost,
}

/// Numbers of chance; zeros when they are used up, which is the most harmless choice.
struct Dice {
    script: Vec<u8>,
    at: usize,
}

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        let byte = self.script.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u64::from(byte) % sides
    }
}

/// The books of the oracle.
#[derive(Default)]
struct Books {
    turn: u64,
    /// (turn, call) that have a reply, that were made, that a person allowed.
    done: BTreeSet<(u64, usize)>,
    made: BTreeSet<(u64, usize)>,
    allowed: BTreeSet<(u64, usize)>,
    tainted: bool,
    requests: u64,
    charged: u64,
    usd: f64,
    /// Held for a request that was not answered yet.
    held: Option<WorstCase>,
}

struct World {
    dice: Dice,
    fault: Fault,
    limits: Limits,
    talk: Talk,
    books: Books,
    crashes: u64,
}

type Wrong = String;

macro_rules! ensure {
    ($holds:expr, $($says:tt)+) => {{
        let holds: bool = $holds;
        if !holds { return Err(format!($($says)+)); }
    }};
}

/// What a tool really does, and whether it reads the outside.
fn truth(name: &str, args: &Value) -> (Effect, bool) {
    match name {
        "look" => (Effect::Read, false),
        "fetch" => (Effect::Read, true),
        "note" => (Effect::Idempotent, false),
        "db" if args["mode"] == "read" => (Effect::Read, false),
        _ => (Effect::Effect, false),
    }
}

impl World {
    fn new(script: Vec<u8>, fault: Fault) -> Self {
        let mut dice = Dice { script, at: 0 };
        let mut limits = limits();
        limits.request_limit = 2 + dice.below(12);
        limits.max_steps = 3 + dice.below(30);
        limits.total_tokens_limit = 4000 + 500 * dice.below(60);
        limits.max_usd_per_run = [None, Some(0.002), Some(0.02)][dice.below(3) as usize];
        let talk = Talk::new(|brief| {
            brief.limits = Arc::new(limits.clone());
            if fault == Fault::LimitsLost {
                brief.limits = Arc::new(super::limits());
            }
            brief.price = Some(Price { input: 0.15, cached_input: 0.1, cache_write: 0.15, output: 0.6 });
            brief.rules.approve = vec!["db".into()];
            brief.rules.approval = if dice.below(2) == 0 { Approval::Wait } else { Approval::Deny };
            if dice.below(4) == 0 {
                brief.output_schema = Some(json!({"type": "object"}));
            }
        });
        Self { dice, fault, limits, talk, books: Books::default(), crashes: 0 }
    }

    /// Journals a step, which is durable then, and crashes now and then. True: it did.
    fn step(&mut self, step: Step) -> Result<bool, Wrong> {
        self.talk.journal.push(step.clone());
        self.talk.live.apply(&step);
        if self.crashes == 6 || self.dice.below(12) != 11 {
            return Ok(false);
        }
        self.crashes += 1;
        let before = self.talk.live.next();
        while self.fault == Fault::RepliesLost
            && matches!(self.talk.journal.last(), Some(Step::Called { .. }))
        {
            self.talk.journal.pop();
        }
        while self.fault == Fault::AskedLost && matches!(self.talk.journal.last(), Some(Step::Asked { .. })) {
            self.talk.journal.pop();
        }
        self.talk.live = Conversation::replay(self.talk.brief.clone(), &self.talk.journal);
        if self.fault == Fault::None {
            ensure!(self.talk.live.next() == before, "replayed, it goes on otherwise");
        }
        Ok(true)
    }

    /// Runs to the end.
    fn run(&mut self) -> Result<Finished, Wrong> {
        for _ in 0..200 {
            match self.talk.live.next() {
                Next::Ask { request, worst } => self.ask(&request, worst)?,
                Next::Call(plan) => self.call(plan)?,
                Next::Approve(calls) => self.approve(&calls)?,
                Next::Finish(finished) => return Ok(finished),
            }
        }
        Err("it has no end".into())
    }

    fn ask(&mut self, request: &ModelRequest, worst: WorstCase) -> Result<(), Wrong> {
        well_formed(request)?;
        let books = &mut self.books;
        // A request that a crash has cut off may have cost all that was held for it.
        if let Some(lost) = books.held.replace(worst) {
            books.charged += lost.tokens;
            books.usd += lost.usd;
        }
        books.requests += 1;
        ensure!(books.requests <= self.limits.request_limit, "request {} is too many", books.requests);
        let tokens = books.charged + worst.tokens;
        ensure!(tokens <= self.limits.total_tokens_limit, "{tokens} tokens are too many");
        let usd = books.usd + worst.usd;
        let most = self.limits.max_usd_per_run.unwrap_or(f64::MAX);
        ensure!(usd <= most * 1.000_001, "{usd} dollars are too many");
        self.count_steps()?;
        if self.step(Step::Asked { model: "main".into(), worst })? {
            return Ok(());
        }
        let output = request.max_output_tokens * self.dice.below(5) / 4;
        let input = (worst.tokens - request.max_output_tokens) * (1 + self.dice.below(4)) / 4;
        let usd = worst.usd * self.dice.below(5) as f64 / 4.0;
        let used = Usage { requests: 1, input_tokens: input, cached_tokens: 0, output_tokens: output, usd };
        self.books.held = None;
        self.books.charged += input + output;
        self.books.usd += usd;
        let model = "main".to_owned();
        if self.dice.below(10) == 9 {
            let error = RunError::new(ErrorKind::RateLimit, "slow down");
            self.step(Step::Unanswered { model, error, used })?;
            return Ok(());
        }
        let tokens = (self.dice.below(2) == 1).then_some(Tokens { input, cached: 0, written: 0, output });
        let (turn, finish) = self.think();
        self.books.turn += 1;
        self.step(Step::Answered {
            model,
            answer: ModelAnswer { turn, finish, tokens, asked_twice: false },
            used,
        })?;
        Ok(())
    }

    /// The model obeys everybody, and calls everything.
    fn think(&mut self) -> (ModelTurn, Finish) {
        let text = ["", "{\"a\": 1}", "fine"][self.dice.below(3) as usize].to_owned();
        match self.dice.below(20) {
            0 => return (ModelTurn { text, ..ModelTurn::default() }, Finish::Stop),
            1 => return (ModelTurn { text, ..ModelTurn::default() }, Finish::Length),
            2 => return (ModelTurn::default(), Finish::Refusal(text)),
            _ => {}
        }
        let names = ["look", "fetch", "note", "send", "ticket", "db", "nope"];
        let many = if self.dice.below(30) == 29 { 40 } else { 1 + self.dice.below(4) };
        let calls: Vec<(&str, String)> = (0..many)
            .map(|_| {
                let name = names[self.dice.below(7) as usize];
                let n = self.dice.below(9);
                let arguments = match self.dice.below(8) {
                    0 => "{\"n\":".to_owned(),
                    1 => format!("{{\"n\":{n},\"mode\":\"read\"}}"),
                    _ => format!("{{\"n\":{n}}}"),
                };
                (name, arguments)
            })
            .collect();
        let calls: Vec<(&str, &str)> = calls.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let finish = if self.dice.below(10) == 9 { Finish::Length } else { Finish::Stop };
        (calling(&calls), finish)
    }

    fn call(&mut self, plan: Vec<PlannedCall>) -> Result<(), Wrong> {
        ensure!(!plan.is_empty(), "nothing is planned");
        let (together, single): (Vec<_>, Vec<_>) = plan.into_iter().partition(|call| call.parallel);
        ensure!(together.iter().all(|call| call.effect == Effect::Read), "not all of them only look");
        for call in single {
            let make =
                call.answered.is_none() || (self.fault == Fault::PolicyIgnored && !call.args.is_null());
            if (make && self.begin(&call)?) || self.end(&call, make)? {
                return Ok(());
            }
        }
        for call in &together {
            if self.begin(call)? {
                return Ok(());
            }
        }
        for call in together.iter().rev() {
            if self.end(call, true)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn begin(&mut self, call: &PlannedCall) -> Result<bool, Wrong> {
        let key = (self.books.turn, call.call);
        let (effect, untrusted) = truth(&call.name, &call.args);
        let name = &call.name;
        ensure!(!self.books.done.contains(&key), "{key:?} `{name}` is done and planned again");
        ensure!((effect, untrusted) == (call.effect, call.untrusted), "{name} {} is misjudged", call.args);
        let free = name == "ticket" || effect != Effect::Effect;
        ensure!(free || !self.books.tainted, "{key:?} `{name}` is made after untrusted data was read");
        ensure!(
            name != "db" || self.books.allowed.contains(&key),
            "{key:?} `db` is made and nobody allowed it"
        );
        if self.fault != Fault::CallingLost && self.step(Step::Calling { call: call.call, effect })? {
            // It never reached the tool: which nobody can know.
            return Ok(true);
        }
        let first = self.books.made.insert(key);
        ensure!(first || effect != Effect::Effect, "{key:?} `{name}` happens a second time");
        self.count_steps()?;
        // A crash while the call is in flight.
        if self.crashes < 6 && self.dice.below(12) == 11 {
            self.crashes += 1;
            self.talk.live = Conversation::replay(self.talk.brief.clone(), &self.talk.journal);
            return Ok(true);
        }
        Ok(false)
    }

    fn end(&mut self, call: &PlannedCall, made: bool) -> Result<bool, Wrong> {
        let untrusted = made && truth(&call.name, &call.args).1;
        let answered = call.answered.clone().filter(|_| !made);
        let reply = answered.unwrap_or_else(|| ToolReply {
            id: call.id.clone(),
            name: call.name.clone(),
            text: "x".repeat(self.dice.below(200) as usize),
            is_error: self.dice.below(2) == 1,
        });
        self.books.tainted |= untrusted;
        self.books.done.insert((self.books.turn, call.call));
        let untrusted = untrusted && self.fault != Fault::TaintLost;
        self.step(Step::Called { call: call.call, reply, untrusted })
    }

    fn approve(&mut self, calls: &[PlannedCall]) -> Result<(), Wrong> {
        ensure!(!calls.is_empty(), "nobody knows what is to be approved");
        for call in calls {
            ensure!(call.name == "db", "`{}` needs no person", call.name);
            let yes = self.dice.below(2) == 1;
            if yes {
                self.books.allowed.insert((self.books.turn, call.call));
            }
            let approved = yes || self.fault == Fault::DenialLost;
            if self.step(Step::Decided { call: call.call, approved, reason: None })? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn count_steps(&self) -> Result<(), Wrong> {
        let steps = self.books.requests + self.books.made.len() as u64;
        ensure!(steps <= self.limits.max_steps, "step {steps} is too many");
        Ok(())
    }
}

/// Each turn with calls is followed by as many replies, and the last word is not the model's.
fn well_formed(request: &ModelRequest) -> Result<(), Wrong> {
    let mut open = 0;
    for message in &request.messages {
        match message {
            ChatMessage::Tools { replies } => {
                ensure!(replies.len() == open, "{} replies to {open} calls", replies.len());
                open = 0;
            }
            ChatMessage::Model(turn) => {
                ensure!(open == 0, "calls without replies");
                open = turn.calls.len();
            }
            ChatMessage::User { .. } => ensure!(open == 0, "calls without replies"),
        }
    }
    ensure!(!matches!(request.messages.last(), None | Some(ChatMessage::Model(_))), "nothing is asked");
    Ok(())
}

/// One history; then it is replayed from each of its beginnings.
fn history(script: Vec<u8>, fault: Fault) -> Result<Talk, Wrong> {
    let mut world = World::new(script, fault);
    let finished = world.run()?;
    let usage = finished.usage;
    let charged = world.books.charged + world.books.held.map_or(0, |held| held.tokens);
    ensure!(
        usage.input_tokens + usage.output_tokens == charged,
        "{usage:?} is not the {charged} that was used"
    );
    ensure!(usage.requests == world.books.requests, "{usage:?}: {} requests were sent", world.books.requests);
    ensure!(finished.end.is_err() || !finished.said.is_empty(), "nothing is to be remembered");
    Ok(world.talk)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_must_not_be(script in prop::collection::vec(any::<u8>(), 0..400)) {
        let talk = history(script, Fault::None).map_err(TestCaseError::fail)?;
        let mut live = Conversation::begin(talk.brief.clone());
        for (at, step) in talk.journal.iter().enumerate() {
            live.apply(step);
            if at % 7 == 0 {
                let replayed = Conversation::replay(talk.brief.clone(), &talk.journal[..=at]);
                prop_assert_eq!(replayed.next(), live.next());
            }
        }
        prop_assert_eq!(live, talk.live);
    }
}

/// A property that never failed proves nothing.
#[test]
fn broken_drivers_are_found() {
    // A plain generator, so that the same histories are tried each time.
    let script = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..400).map(|_| byte()).collect::<Vec<u8>>()
    };
    for (fault, says) in [
        (Fault::TaintLost, "is made after untrusted data was read"),
        (Fault::RepliesLost, "is done and planned again"),
        (Fault::CallingLost, "happens a second time"),
        (Fault::PolicyIgnored, "is made after untrusted data was read"),
        (Fault::DenialLost, "is made and nobody allowed it"),
        (Fault::LimitsLost, "is too many"),
        (Fault::AskedLost, "too many"),
    ] {
        let found =
            (0..500).find(|seed| history(script(*seed), fault).is_err_and(|wrong| wrong.contains(says)));
        assert!(found.is_some(), "{fault:?} is not found");
    }
    for seed in 0..100 {
        assert_eq!(history(script(seed), Fault::None).err(), None, "{seed}");
    }
}
