//! Decides how a conversation with a model continues. Pure and deterministic: a brief and a journal yield the next
//! step; no I/O, no clock, no randomness, and no knowledge of providers or of what tools do.
//!
//! # Theory of operation
//!
//! [`Conversation::next`] returns what to do next; calling it has no side effects. The driver does it and records
//! what happened as [`Step`]s; each is made durable first and then passed to [`Conversation::apply`], the only way
//! to change the state. So a conversation is fully determined by its brief and its journal, and after a crash
//! [`Conversation::replay`] rebuilds the same state.
//!
//! | next | the driver |
//! |---|---|
//! | `Ask` | journals `Asked`, sends the request, journals `Answered` or `Unanswered` |
//! | `Call` | for each call in order: `Called` alone if policy has answered it, else `Calling`, the call, `Called`; the calls that are `parallel` may be in flight together |
//! | `Approve` | waits for people, journals a `Decided` for each call |
//! | `Finish` | is done |
//!
//! The driver calls `next` again when all of that is done, and never while a request or a call is in flight: a
//! `Calling` without `Called` means that a daemon ended in between. A call that only reads, or is idempotent, is
//! then planned again; for any other the model gets a reply that its outcome is unknown. An `Asked` without an
//! answer counts with its worst case, and the model is asked again.
//!
//! `calls` validates the calls of a turn, `guard` applies the rules against injection and leaks, `limits` tracks
//! what may still be used, `answer` judges the final answer; `reply` formats tool results for the model, `prompt`
//! builds the system instruction, `memory` the context from earlier runs.
mod answer;
mod brief;
mod calls;
mod guard;
mod handed;
mod limits;
pub mod memory;
pub mod prompt;
mod reply;

#[cfg(test)]
mod tests;

pub use brief::{Brief, CallRules, Finished, Next, PlannedCall};
pub use handed::{HandedCall, HandedCalls};
pub use reply::OUTCOME_UNKNOWN;

use crate::domain::{
    ChatMessage, Finish, ModelAnswer, ModelRequest, ModelTurn, RunError, Step, ToolReply, Usage,
};
use answer::Verdict;
use calls::{Repeats, Turn};
use guard::DataRead;
use limits::Spent;

/// A conversation with a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    brief: Brief,
    system: String,
    /// The messages of the next request.
    messages: Vec<ChatMessage>,
    /// The newest turn, while it has open calls.
    turn: Option<Turn>,
    /// Number of turns with calls so far.
    turns: u64,
    spent: Spent,
    /// Kinds of data read, in this run or in one that it remembers.
    read: DataRead,
    repeats: Repeats,
    /// Consecutive turns without a valid call.
    bad_turns: u32,
    /// The final answer did not match its schema, and was requested again.
    asked_to_fit: bool,
    /// The last turn was unusable, and was requested again.
    asked_again: bool,
    /// After tool calls it has answered, and only the format was wrong: no more calls are needed.
    only_answer: bool,
    /// Calls with an unknown outcome.
    unknown: Vec<String>,
    end: Option<Result<String, RunError>>,
}

impl Conversation {
    /// Returns a new conversation.
    pub fn begin(brief: Brief) -> Self {
        let mut messages = brief.memory.clone();
        messages.push(ChatMessage::User { text: brief.query.clone() });
        Self {
            system: prompt::system(&brief),
            read: DataRead { untrusted: brief.untrusted, private: brief.private },
            spent: Spent::with_frame(brief.frame),
            brief,
            messages,
            turn: None,
            turns: 0,
            repeats: Repeats::default(),
            bad_turns: 0,
            asked_to_fit: false,
            asked_again: false,
            only_answer: false,
            unknown: Vec::new(),
            end: None,
        }
    }

    /// Rebuilds the conversation that this journal records.
    pub fn replay(brief: Brief, journal: &[Step]) -> Self {
        let mut conversation = Self::begin(brief);
        for step in journal {
            conversation.apply(step);
        }
        conversation
    }

    /// Returns what to do next if the next request goes to the model that answered last. Must not be called while
    /// something is in flight.
    pub fn next(&self) -> Next {
        self.next_of(None)
    }

    /// Returns what to do next if the next request goes to this model: token counts reported by another model do
    /// not apply to it.
    pub fn next_by(&self, model: &str) -> Next {
        self.next_of(Some(model))
    }

    fn next_of(&self, model: Option<&str>) -> Next {
        if let Some(end) = &self.end {
            return self.finish(end.clone());
        }
        let next = match &self.turn {
            Some(turn) => self.go_on_with(turn),
            None => self.ask(model),
        };
        next.unwrap_or_else(|error| self.finish(Err(error)))
    }

    /// Applies a step that happened. Steps that are impossible in the current state are ignored.
    pub fn apply(&mut self, step: &Step) {
        match step {
            // steps of agent programs, which are not part of a conversation held here
            Step::Begun { .. }
            | Step::Session { .. }
            | Step::Told { .. }
            | Step::Handed { .. }
            | Step::Kept { .. } => {}
            Step::Asked { worst, .. } => self.spent.asked(*worst),
            Step::Unanswered { used, .. } => self.spent.settle(used),
            Step::Answered { model, answer, used } => {
                self.spent.settle(used);
                if self.end.is_none() && self.turn.is_none() {
                    self.answered(model, answer);
                }
            }
            Step::Calling { call, effect } => {
                if self.turn.as_mut().is_some_and(|turn| turn.calling(*call, *effect)) {
                    self.spent.steps += 1;
                }
            }
            Step::Called { call, reply, untrusted } => self.called(*call, reply, *untrusted),
            Step::Decided { call, approved, reason } => {
                if let Some(turn) = &mut self.turn {
                    turn.decided(*call, *approved, reason.as_deref());
                }
            }
        }
    }

    /// Returns what was used so far; a request without an answer counts with its worst case.
    pub fn usage(&self) -> Usage {
        self.spent.usage()
    }

    /// Returns the calls so far that may or may not have changed something, in the form of [`Finished::unknown`].
    pub fn unknown(&self) -> Option<String> {
        let open = self.turn.iter().flat_map(Turn::outcomes_unknown);
        let unknown: Vec<String> = self.unknown.iter().cloned().chain(open).collect();
        (!unknown.is_empty()).then(|| unknown.join("; "))
    }

    fn finish(&self, end: Result<String, RunError>) -> Next {
        let said = match &end {
            Ok(text) => vec![
                ChatMessage::User { text: self.brief.query.clone() },
                ChatMessage::Model(ModelTurn { text: text.clone(), ..ModelTurn::default() }),
            ],
            Err(_) => Vec::new(),
        };
        let untrusted = self.read.untrusted || self.brief.rules.is_described_by_others();
        Next::Finish(Finished { end, usage: self.usage(), unknown: self.unknown(), said, untrusted })
    }

    fn ask(&self, model: Option<&str>) -> Result<Next, RunError> {
        let mut request = self.request();
        self.spent.may_ask(&self.brief.limits)?;
        request.max_output_tokens = self.spent.output_tokens_left(&request, model, &self.brief.limits)?;
        if let (true, Some(price)) = (self.brief.max_output_by_default, &self.brief.price) {
            let affordable = self.spent.output_tokens_affordable(&request, model, price, &self.brief.limits);
            request.max_output_tokens = affordable.unwrap_or(request.max_output_tokens);
        }
        let worst = self.spent.worst_case(&request, model, self.brief.price.as_ref(), &self.brief.limits)?;
        Ok(Next::Ask { request, worst })
    }

    fn request(&self) -> ModelRequest {
        ModelRequest {
            system: Some(self.system.clone()),
            messages: self.messages.clone(),
            tools: self.brief.rules.tools.iter().map(prompt::shown_tool).collect(),
            max_output_tokens: self.brief.max_output_tokens,
            output_schema: self.brief.output_schema.clone(),
            only_answer: self.only_answer,
        }
    }

    fn go_on_with(&self, turn: &Turn) -> Result<Next, RunError> {
        let next = turn.next(&self.brief.rules, self.read);
        if let Next::Call(calls) = &next {
            self.spent.may_call(turn.new_steps(calls), &self.brief.limits)?;
        }
        Ok(next)
    }

    fn answered(&mut self, model: &str, answer: &ModelAnswer) {
        self.spent.reported(model, answer.tokens, self.messages.len());
        if let Finish::Refusal(why) = &answer.finish {
            self.end = Some(Err(answer::refused(why, &answer.turn.text)));
        } else if answer.turn.calls.is_empty() {
            self.handle_text(answer);
        } else {
            self.handle_calls(answer);
        }
    }

    /// Handles a turn without calls, which may be the final answer.
    fn handle_text(&mut self, answer: &ModelAnswer) {
        let schema = self.brief.output_schema.as_ref();
        self.end = match answer::judge(answer, schema, self.spent.asked_output_tokens()) {
            Verdict::Final(text) => Some(Ok(text)),
            Verdict::Failed(error) => Some(Err(error)),
            Verdict::Again { say: Some(say), .. } if !self.asked_again => {
                self.asked_again = true;
                self.messages.push(ChatMessage::Model(answer.turn.clone()));
                self.messages.push(ChatMessage::User { text: say });
                None
            }
            Verdict::Again { say: None, .. } if !self.asked_again && self.brief.ask_again => {
                self.asked_again = true;
                None
            }
            Verdict::Again { error, .. } => Some(Err(error)),
            Verdict::Unfit(why) if self.asked_to_fit => Some(Err(answer::unfit_again(&why))),
            Verdict::Unfit(why) => {
                self.asked_to_fit = true;
                // Some models announce first what they will do: one that has made no call yet may still want to.
                self.only_answer = self.turns > 0;
                self.messages.push(ChatMessage::Model(answer.turn.clone()));
                self.messages.push(ChatMessage::User { text: answer::ask_to_fit(&why) });
                None
            }
        };
    }

    /// Handles a turn with calls.
    fn handle_calls(&mut self, answer: &ModelAnswer) {
        let cut_off = (answer.finish == Finish::Length).then(|| self.spent.asked_output_tokens());
        let turn = Turn::open(self.turns, &answer.turn, &self.brief.rules.tools, cut_off);
        self.turns += 1;
        self.only_answer = false;
        self.bad_turns = if turn.has_valid_call() { 0 } else { self.bad_turns + 1 };
        self.asked_again &= !turn.has_valid_call();
        if self.bad_turns == calls::BAD_TURNS {
            self.end = Some(Err(turn.bad_calls_error()));
        } else if let Some(error) = turn.check_for_loop(&mut self.repeats) {
            self.end = Some(Err(error));
        } else {
            self.turn = Some(turn);
        }
    }

    fn called(&mut self, call: usize, reply: &ToolReply, untrusted: bool) {
        let Some(turn) = &mut self.turn else { return };
        let Some(unknown) = turn.called(call, reply, untrusted) else { return };
        self.unknown.extend(unknown);
        self.read.untrusted |= untrusted;
        self.read.private |= turn.gave_private(call);
        if turn.is_done()
            && let Some(turn) = self.turn.take()
        {
            self.messages.extend(turn.close());
        }
    }
}
