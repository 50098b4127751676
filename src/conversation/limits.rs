//! What a conversation has used, and what it may still use: the worst case is checked before a request, and
//! replaced afterwards by what is charged.
use crate::domain::{
    ErrorKind, Limits, MIN_OUTPUT_TOKENS, ModelRequest, Price, RunError, Tokens, Usage, WorstCase, cost,
    json_at_most, messages_at_most, tokens_at_most,
};

/// The amounts used so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spent {
    /// Requests sent plus calls made.
    pub(super) steps: u64,
    /// Requests sent, answered or not.
    requests: u64,
    settled: Usage,
    /// Worst case of the request that has no answer yet.
    held: Option<WorstCase>,
    /// Token limit of the answer to the last request.
    output_tokens: u64,
    known: Option<ReportedTokens>,
    /// Maximum number of tokens that the provider itself adds to a request.
    frame: u64,
}

/// Token count reported by a provider, for the messages up to a point and the turn that answered them.
#[derive(Clone, Debug, PartialEq)]
struct ReportedTokens {
    /// The model that counted; another one may count differently.
    model: String,
    tokens: u64,
    messages: usize,
}

impl Spent {
    /// Returns an initial state with this `frame`.
    pub(super) fn with_frame(frame: u64) -> Self {
        Self { frame, ..Self::default() }
    }

    /// Records a request that is sent. An earlier one that never got an answer is lost: its worst case stays
    /// charged.
    pub(super) fn asked(&mut self, worst: WorstCase) {
        if self.held.is_some() {
            self.settled = self.usage();
        }
        self.held = Some(worst);
        self.output_tokens = worst.output;
        self.requests += 1;
        self.steps += 1;
    }

    /// Records what is charged for the request in flight, which is over.
    pub(super) fn settle(&mut self, used: &Usage) {
        self.held = None;
        self.known = None;
        add(&mut self.settled, used);
    }

    /// Records the token count that the provider reported for the last request, which had `messages` messages.
    pub(super) fn reported(&mut self, model: &str, tokens: Option<Tokens>, messages: usize) {
        self.known = tokens.filter(|tokens| tokens.input > 0).map(|tokens| ReportedTokens {
            model: model.to_owned(),
            tokens: tokens.input.saturating_add(tokens.output),
            messages,
        });
    }

    /// Returns the total use, including the worst case of a request without an answer.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = self.settled;
        if let Some(held) = self.held {
            add(&mut usage, &held.usage());
        }
        usage
    }

    /// Returns the token limit of the answer to the last request.
    pub(super) fn asked_output_tokens(&self) -> u64 {
        self.output_tokens
    }

    /// Checks the limits of steps and requests for another request.
    pub(super) fn may_ask(&self, limits: &Limits) -> Result<(), RunError> {
        self.may_step(1, "the next request", limits)?;
        let used = self.requests;
        if used < limits.request_limit {
            return Ok(());
        }
        Err(RunError::new(
            ErrorKind::RequestLimit,
            format!(
                "request_limit = {} is reached (requests sent: {used}), and the model is not done; raise \
                 `request_limit` of the agent",
                limits.request_limit
            ),
        ))
    }

    /// Checks the limit of steps for this number of new calls.
    pub(super) fn may_call(&self, calls: u64, limits: &Limits) -> Result<(), RunError> {
        self.may_step(calls, if calls == 1 { "the next tool call" } else { "the next tool calls" }, limits)
    }

    fn may_step(&self, steps: u64, what: &str, limits: &Limits) -> Result<(), RunError> {
        if steps == 0 || self.steps + steps <= limits.max_steps {
            return Ok(());
        }
        Err(RunError::new(
            ErrorKind::StepLimit,
            format!(
                "max_steps = {} does not leave room for {what} ({steps} more; steps taken: {}); a step is a \
                 request or a tool call; raise `max_steps` of the agent",
                limits.max_steps, self.steps
            ),
        ))
    }

    /// Returns the token limit for the answer to this request: its `max_output_tokens`, or what is left.
    pub(super) fn output_tokens_left(
        &self,
        request: &ModelRequest,
        model: Option<&str>,
        limits: &Limits,
    ) -> Result<u64, RunError> {
        let input = self.input_at_most(request, model);
        let used = tokens_of(&self.usage());
        let left = limits.total_tokens_limit.saturating_sub(used).saturating_sub(input);
        let wanted = request.max_output_tokens;
        if left >= wanted.min(MIN_OUTPUT_TOKENS) {
            return Ok(wanted.min(left));
        }
        Err(RunError::new(
            ErrorKind::TokenLimit,
            format!(
                "total_tokens_limit = {} does not leave room for another request: {used} tokens are used, the \
                 request may be {input}, and its answer up to {wanted}; raise `total_tokens_limit` of the agent",
                limits.total_tokens_limit
            ),
        ))
    }

    /// Returns how many tokens of answer `max_usd_per_run` can still pay for, if fewer than wanted but enough for
    /// an answer.
    pub(super) fn output_tokens_affordable(
        &self,
        request: &ModelRequest,
        model: Option<&str>,
        price: &Price,
        limits: &Limits,
    ) -> Option<u64> {
        let left = limits.max_usd_per_run? - self.usage().usd;
        let left = left - cost(price, &input_tokens_at_worst(price, self.input_at_most(request, model)));
        let tokens = left * 1e6 / price.output;
        let fits = tokens >= MIN_OUTPUT_TOKENS as f64 && tokens < request.max_output_tokens as f64;
        fits.then_some(tokens as u64)
    }

    /// Returns the worst-case cost of the request, if that may be spent.
    pub(super) fn worst_case(
        &self,
        request: &ModelRequest,
        model: Option<&str>,
        price: Option<&Price>,
        limits: &Limits,
    ) -> Result<WorstCase, RunError> {
        let input = self.input_at_most(request, model);
        let output = request.max_output_tokens;
        let usd =
            price.map_or(0.0, |price| cost(price, &Tokens { output, ..input_tokens_at_worst(price, input) }));
        let worst = WorstCase { tokens: input.saturating_add(output), output, usd };
        let Some(limit) = limits.max_usd_per_run else { return Ok(worst) };
        let used = self.usage().usd;
        let message = if price.is_none() {
            format!(
                "max_usd_per_run = {limit} can't be enforced: the model has no price; set `price` of the model, or \
                 remove `max_usd_per_run`"
            )
        } else if used + worst.usd > limit * (1.0 + 1e-9) {
            format!(
                "max_usd_per_run = {limit} does not leave room for another request: {used:.6} USD are used, and \
                 it may cost {:.6}; raise `max_usd_per_run` of the agent, or lower `max_output_tokens` of the \
                 model",
                worst.usd
            )
        } else {
            return Ok(worst);
        };
        Err(RunError::new(ErrorKind::CostLimit, message))
    }

    /// Returns an upper bound for the tokens of a request: by its text, or by the provider's count of its
    /// beginning, whichever is less. `model`: the model to ask; `None`: the one that answered last.
    fn input_at_most(&self, request: &ModelRequest, model: Option<&str>) -> u64 {
        let by_text = tokens_at_most(request).saturating_add(self.frame);
        let counts_alike = |known: &&ReportedTokens| model.is_none_or(|model| known.model == model);
        let Some(known) = self.known.as_ref().filter(counts_alike) else { return by_text };
        // The turn that answered is counted in `known`; only the messages after it are new.
        let new = request.messages.get(known.messages + 1..).unwrap_or_default();
        // The counted request may have gone without the schema, as long as there were calls to make.
        let schema = request.output_schema.as_ref().map_or(0, json_at_most);
        by_text.min(known.tokens.saturating_add(messages_at_most(new)).saturating_add(schema))
    }
}

/// Returns the input tokens in the category that costs the most.
fn input_tokens_at_worst(price: &Price, input: u64) -> Tokens {
    let written = if price.cache_write > price.input { input } else { 0 };
    Tokens { input, written, ..Tokens::default() }
}

fn tokens_of(usage: &Usage) -> u64 {
    usage.input_tokens.saturating_add(usage.output_tokens)
}

fn add(sum: &mut Usage, more: &Usage) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
    sum.cached_tokens = sum.cached_tokens.saturating_add(more.cached_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
    sum.usd += more.usd;
}
