//! One request of a conversation: to its model or the next fallback, held in the budget before and settled afterwards. What is
//! asked, and what an answer means, is decided by `conversation`.
use super::command::Attempt;
use super::report::StopOrder;
use super::talk::Journal;
use crate::conversation::{Conversation, Next};
use crate::domain::{
    ChatMessage, ErrorKind, Finish, ModelAnswer, ModelError, ModelRequest, Price, RunError, Step, Tokens,
    Usage, WorstCase, cost, text_at_least,
};
use crate::runner::broken::Break;
use crate::secret;
use jiff::SignedDuration;
use serde_json::Value;
use std::borrow::Cow;
use tokio::time::Instant;

/// Requests with fewer tokens are never truncated by a server.
const MIN_TRUNCATED_TOKENS: u64 = 1000;

impl Attempt<'_> {
    /// Returns the index of the first model in the chain that may be asked now; the last one if none may.
    pub(super) fn first_open(&self, models: &[String]) -> usize {
        let is_open = |model: &String| self.shared.models.closed_for(model).is_none();
        models.iter().position(is_open).unwrap_or(models.len() - 1)
    }

    /// Sends one request: to this model of the chain, or to the next if it is unavailable.
    pub(super) async fn ask(
        &mut self,
        models: &[String],
        first: usize,
        mut request: ModelRequest,
        mut worst: WorstCase,
        journal: &mut Journal,
        talk: &mut Conversation,
    ) -> Result<(), Break> {
        // the shortest retry delay of the models that were unavailable
        let closed = models[..first].iter().filter_map(|model| self.shared.models.closed_for(model));
        let mut soonest = closed.filter_map(|wait| wait.try_into().ok()).min();
        let mut error: Option<RunError> = None;
        for (nth, model) in models.iter().enumerate().skip(first) {
            let is_last = nth + 1 == models.len();
            // it is not asked while it is closed, so this is not a request
            if let (false, Some(wait)) = (is_last, self.shared.models.closed_for(model)) {
                soonest = sooner(soonest, wait.try_into().ok());
                continue;
            }
            if nth > first {
                // the failure counts as a request, too, and leaves less for the next
                match talk.next_by(model) {
                    Next::Ask { request: left, worst: at_most } => (request, worst) = (left, at_most),
                    _ => return Ok(()),
                }
            }
            if Instant::now() >= self.deadline {
                return Err(self.out_of_time()); // it would be charged, and nobody could wait for it
            }
            let asked = self.reserve(model, worst, journal).await?;
            talk.apply(&asked);
            let began = Instant::now();
            let answer = self.answer(model, &request, is_last).await?;
            let read =
                answer.as_ref().ok().filter(|answer| !answer.asked_twice).and_then(|answer| answer.tokens);
            let price = self.shared.fleet.models.get(model).and_then(|spec| spec.price);
            let used = used(&answer, &worst, price);
            let (step, failed) = match answer {
                Ok(answer) => (Step::Answered { model: model.clone(), answer: redacted(answer), used }, None),
                Err(error) => {
                    let message = secret::redact(&error.error.message).into_owned();
                    let told = RunError { kind: error.error.kind, message };
                    (Step::Unanswered { model: model.clone(), error: told, used }, Some(error))
                }
            };
            journal.settle(&step, began.elapsed()).await?;
            talk.apply(&step);
            let Some(failed) = failed else {
                self.warn_if_cut(model, &request, read);
                return Ok(());
            };
            soonest = sooner(soonest, failed.retry_after);
            // a fallback that rejects this conversation is skipped
            let is_passed_over = nth > 0 && rejects_conversation(&failed);
            let goes_on = (failed.try_fallback || is_passed_over) && !is_last;
            error = Some(match is_passed_over {
                true => passed_over(error.take(), &models[0], &failed.error),
                false => failed.error,
            });
            if !goes_on {
                break;
            }
        }
        error.map_or(Ok(()), |error| Err(Break::Failed(error, soonest)))
    }

    /// Records a warning if a server has read fewer tokens of a request than it has words.
    fn warn_if_cut(&mut self, model: &str, request: &ModelRequest, read: Option<Tokens>) {
        let Some(read) = read.map(|tokens| tokens.input) else { return };
        let least = min_tokens(request);
        // a template may drop a little; truncation drops much
        if read > 0 && least > MIN_TRUNCATED_TOKENS && read < least - least / 10 {
            self.cut_by_server = Some(format!(
                "the server of model `{model}` has read {read} tokens of a request that has at least {least}: it \
                 cuts what does not fit its context; raise that (`num_ctx` for ollama), or send less"
            ));
        }
    }

    /// Holds a request's worst case in the budget. May wait for other requests that are in flight.
    async fn reserve(&mut self, model: &str, worst: WorstCase, journal: &mut Journal) -> Result<Step, Break> {
        let deadline = self.deadline;
        let mut orders = self.orders.clone();
        tokio::select! {
            biased;
            asked = journal.reserve(model, worst) => asked,
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(deadline) => Err(self.out_of_time()),
        }
    }

    async fn answer(
        &mut self,
        model: &str,
        request: &ModelRequest,
        is_last: bool,
    ) -> Result<Result<ModelAnswer, ModelError>, Break> {
        let bound = self.time_left();
        let deadline = self.deadline;
        let mut orders = self.orders.clone();
        let models = &self.shared.models;
        let asking = async {
            match is_last {
                true => models.ask(model, request, bound).await,
                false => models.ask_or_pass(model, request, bound).await,
            }
        };
        tokio::select! {
            answer = asking => {
                if answer.is_err() && Instant::now() >= deadline {
                    return Err(self.out_of_time());
                }
                Ok(answer)
            }
            Ok(_) = orders.wait_for(|order| *order > StopOrder::None) => Err(Break::Stopped),
            () = tokio::time::sleep_until(deadline) => Err(self.out_of_time()),
        }
    }
}

/// Returns whether a model rejects this conversation regardless of the request.
fn rejects_conversation(failed: &ModelError) -> bool {
    matches!(failed.error.kind, ErrorKind::Config | ErrorKind::Auth) && !failed.try_fallback
}

/// Returns the error of a request that no fallback could take over: the first model's error decides.
fn passed_over(first: Option<RunError>, model: &str, other: &RunError) -> RunError {
    let first = first.unwrap_or_else(|| {
        let message = format!("model `{model}` is not asked for now: its provider asked to wait");
        RunError::new(ErrorKind::RateLimit, message)
    });
    RunError { message: format!("{}; instead of it: {}", first.message, other.message), ..first }
}

/// Estimates the minimum number of tokens in a request.
fn min_tokens(request: &ModelRequest) -> u64 {
    let of_message = |message: &ChatMessage| match message {
        ChatMessage::User { text } => text_at_least(text),
        ChatMessage::Model(turn) => text_at_least(&turn.text),
        ChatMessage::Tools { replies } => replies.iter().map(|reply| text_at_least(&reply.text)).sum(),
    };
    let system = request.system.as_deref().map_or(0, text_at_least);
    system + request.messages.iter().map(of_message).sum::<u64>()
}

fn sooner(one: Option<SignedDuration>, other: Option<SignedDuration>) -> Option<SignedDuration> {
    one.into_iter().chain(other).min()
}

/// Redacts secrets from an answer, wherever the model got them: none is recorded, passed to a tool or sent back.
fn redacted(mut answer: ModelAnswer) -> ModelAnswer {
    let clean = |text: &mut String| {
        if let Cow::Owned(redacted) = secret::redact(text) {
            *text = redacted;
        }
    };
    clean(&mut answer.turn.text);
    answer.turn.thought.iter_mut().for_each(clean);
    for call in &mut answer.turn.calls {
        clean(&mut call.name);
        clean(&mut call.arguments);
        // and secrets that are escaped once more inside it
        if let Ok(before) = serde_json::from_str::<Value>(&call.arguments) {
            let mut after = before.clone();
            secret::redact_json(&mut after);
            if after != before {
                call.arguments = after.to_string();
            }
        }
    }
    secret::redact_json(&mut answer.turn.opaque);
    if let Finish::Refusal(why) | Finish::Unreadable(why) = &mut answer.finish {
        clean(why);
    }
    answer
}

/// Returns what is charged for a request. If the provider reports no usage, the worst case is assumed.
fn used(answer: &Result<ModelAnswer, ModelError>, worst: &WorstCase, price: Option<Price>) -> Usage {
    let (tokens, may_cost) = match answer {
        Ok(answer) => (answer.tokens, true),
        Err(error) => (error.tokens, error.may_cost),
    };
    let tokens = tokens.map(Tokens::believed);
    let twice = match answer {
        Ok(answer) => answer.asked_twice,
        Err(error) => error.asked_twice,
    };
    let used = match tokens {
        Some(tokens) => Usage {
            input_tokens: tokens.input,
            cached_tokens: tokens.cached,
            output_tokens: tokens.output,
            usd: price.map_or(0.0, |price| cost(&price, &tokens)),
            ..Usage::default()
        },
        None if may_cost => worst.usage(),
        None => Usage::default(),
    };
    Usage { requests: 1 + u64::from(twice), ..used }
}
