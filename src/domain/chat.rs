//! Messages between an agent and a language model, in a provider-neutral form.
use super::described::{Described, Shape, described};
use super::tool::{Effect, Outward};
use crate::domain::run_error::RunError;
use crate::domain::usage::Usage;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a conversation. The system instruction is not one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum ChatMessage {
    /// Input to the model.
    User { text: String },
    /// Output of the model.
    Model(ModelTurn),
    /// Results of the tool calls in the previous turn, in the order of the calls.
    Tools {
        /// One for each call.
        replies: Vec<ToolReply>,
    },
}

described! {
    /// One turn of the model: text, calls of tools, or both.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct ModelTurn {
        /// What it said; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub text: String,
        /// What it thought, where the provider tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub thought: Option<String>,
        /// The tools that it calls.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub calls: Vec<ToolRequest>,
        /// What the provider wants back unchanged with this turn (signed thoughts). Means something to the wire format
        /// named in it only.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        pub opaque: Value,
        /// A mark of who said it: a model at an address. What is of use to that one only (names of calls,
        /// thoughts) goes back to nobody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
    }

    /// A call that a model wants.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ToolRequest {
        /// Names the call for the provider. Not necessarily unique, and possibly empty: calls are told
        /// apart by their place.
        pub id: String,
        /// The tool, as it was offered; an unknown one if the model made it up.
        pub name: String,
        /// The arguments as they were sent: JSON if the model did it right. An empty text is `{}`.
        pub arguments: String,
    }

    /// What a call gave.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ToolReply {
        /// Id of the call that it answers.
        pub id: String,
        /// Name of the tool.
        pub name: String,
        /// The result, or what is wrong, for the model to read.
        pub text: String,
        /// True if the call failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub is_error: bool,
    }
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolDef {
    /// Internal name. Providers allow fewer characters; `llm` maps it there and back.
    pub name: String,
    /// When and how to use it.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub schema: Value,
}

/// A tool that a conversation may use, with everything that decides whether a call is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOffer {
    pub def: ToolDef,
    /// The worst effect that a call may have.
    pub effect: Effect,
    /// Calls that only read although the tool can do more.
    pub reads_when: Option<ReadsWhen>,
    /// Its results come from outside: data, never instructions.
    pub untrusted: bool,
    /// Its results are private to the owner.
    pub private: bool,
    /// Which parts of a call leave this machine.
    pub outward: Outward,
    /// The MCP server that wrote its description and schema. `None`: they are built in.
    pub server: Option<String>,
}

impl ToolOffer {
    /// Returns the effect that a call with these arguments may have.
    pub fn effect_of(&self, args: &Value) -> Effect {
        match &self.reads_when {
            Some(reads) if reads.holds(args) => Effect::Read,
            _ => self.effect,
        }
    }
}

/// Arguments with which a tool only reads: `key` has one of `values`, or is missing and `by_default` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadsWhen {
    pub key: String,
    pub values: Vec<String>,
    /// A call without it only reads as well.
    pub by_default: bool,
}

impl ReadsWhen {
    /// Returns whether a call with these arguments only reads.
    pub fn holds(&self, args: &Value) -> bool {
        match args.get(&self.key).and_then(Value::as_str) {
            Some(value) => self.values.iter().any(|known| known == value),
            None => self.by_default,
        }
    }
}

/// A request to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    /// System instruction.
    pub system: Option<String>,
    /// The conversation so far; the last message is never the model's.
    pub messages: Vec<ChatMessage>,
    pub tools: Vec<ToolDef>,
    /// Maximum length of the answer, in tokens.
    pub max_output_tokens: u64,
    /// JSON Schema of the final answer.
    pub output_schema: Option<Value>,
    /// No more calls are wanted, only the answer. The tools are still declared, since earlier messages refer to
    /// them.
    pub only_answer: bool,
}

described! {
    /// What a model answered.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ModelAnswer {
        /// What it said.
        pub turn: ModelTurn,
        /// Why it stopped.
        pub finish: Finish,
        /// What the provider says it used; absent: it does not say, which is not zero.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tokens: Option<Tokens>,
        /// The provider refused the request with `output_schema` first: these are two requests, and
        /// `tokens` are those of both.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub asked_twice: bool,
    }
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It is done, or waits for its tools.
    Stop,
    /// The answer was too long and was cut off.
    Length,
    /// The model, or a filter of its provider, refuses; the text says why if known.
    Refusal(String),
    /// The model called a tool in an unreadable way: its output is not an answer. The text says why.
    Unreadable(String),
}

impl Described for Finish {
    fn shape() -> Shape {
        Shape::Plain(r#"`"stop"`, `"length"`, `{"refusal": string}` or `{"unreadable": string}`"#)
    }
}

described! {
    /// Tokens of one request. `cached` and `written` are parts of `input`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Tokens {
        /// Tokens sent.
        pub input: u64,
        /// Of them, read from the provider's cache.
        pub cached: u64,
        /// Of them, written to the provider's cache.
        #[serde(default, skip_serializing_if = "is_zero")]
        pub written: u64,
        /// Tokens received, thoughts included.
        pub output: u64,
    }
}

impl Tokens {
    /// Upper bound for a token count of one request, in each direction.
    const MAX_CREDIBLE_TOKENS: u64 = 1_000_000_000;

    /// Returns the counts capped at a bound far above all models: larger numbers would only corrupt the sums.
    pub fn believed(self) -> Self {
        Self {
            input: self.input.min(Self::MAX_CREDIBLE_TOKENS),
            cached: self.cached.min(Self::MAX_CREDIBLE_TOKENS),
            written: self.written.min(Self::MAX_CREDIBLE_TOKENS),
            output: self.output.min(Self::MAX_CREDIBLE_TOKENS),
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// Kind and message. Never contains a key or the content of the request.
    pub error: RunError,
    /// How long the provider asks to wait.
    pub retry_after: Option<SignedDuration>,
    /// A fallback may be tried: the cause was a rate limit, a server error or a network error.
    pub try_fallback: bool,
    /// The provider may have processed it, and may charge for it: it had received the whole request, and did not
    /// refuse it.
    pub may_cost: bool,
    /// The token count of the provider, if known: even an unusable answer may have one.
    pub tokens: Option<Tokens>,
    /// As in [`ModelAnswer`].
    pub asked_twice: bool,
}

described! {
    /// What a request may cost at the worst: held back before it is sent, settled afterwards.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct WorstCase {
        /// Tokens in and out.
        pub tokens: u64,
        /// Those of them that the answer may have.
        #[serde(default)]
        pub output: u64,
        /// US dollars; 0 for a model without a price.
        pub usd: f64,
    }
}

impl WorstCase {
    /// Returns the full amount as used: the charge for a request with an unknown outcome.
    pub fn usage(&self) -> Usage {
        let output_tokens = self.output.min(self.tokens);
        Usage {
            requests: 1,
            input_tokens: self.tokens - output_tokens,
            cached_tokens: 0,
            output_tokens,
            usd: self.usd,
        }
    }
}

described! {
    /// One entry of the journal of a run: durable before the next step is taken. A conversation is
    /// rebuilt from these, in order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "step", rename_all = "snake_case")]
    pub enum Step {
        /// The conversation begins. Later attempts go on with this query, whatever the gate says then.
        Begun {
            /// What the model is asked; its places are filled.
            query: String,
            /// It holds data from outside, or what it knows of earlier runs does.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            untrusted: bool,
            /// Keys of the items that its gate gave: they are seen when the run has succeeded.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            seen: Vec<String>,
            /// What its gate gave, if its proofs ask for it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            gate: Option<String>,
        },
        /// A request is about to be sent; its worst case is held.
        Asked {
            /// Name of a `[models.…]` table.
            model: String,
            /// What is held for it.
            worst: WorstCase,
        },
        /// It was answered.
        Answered {
            /// Name of a `[models.…]` table.
            model: String,
            /// What it said.
            answer: ModelAnswer,
            /// What is charged for it.
            used: Usage,
        },
        /// It was not answered.
        Unanswered {
            /// Name of a `[models.…]` table.
            model: String,
            /// Why.
            error: RunError,
            /// What is charged for it.
            used: Usage,
        },
        /// A call of a tool is about to be made.
        Calling {
            /// Place among the calls of the newest turn, from 0.
            call: usize,
            /// What it may do.
            effect: Effect,
        },
        /// It was made, or answered without being made.
        Called {
            /// Place among the calls of the newest turn, from 0.
            call: usize,
            /// What the model is told.
            reply: ToolReply,
            /// The outside world was read.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            untrusted: bool,
        },
        /// An agent program works in a session of its own, by which a further attempt goes on.
        Session {
            /// The program's name for it.
            id: String,
            /// The version of the program, where it is known.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            version: Option<String>,
        },
        /// An agent program said something.
        Told {
            /// What it said; may be empty.
            #[serde(default, skip_serializing_if = "String::is_empty")]
            text: String,
            /// What its model thought.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            thought: Option<String>,
        },
        /// An agent program called a tool that it is handed, or asked whether it may use one of its own.
        Handed {
            /// Place among the calls of the run, from 0.
            call: usize,
            /// The call.
            request: ToolRequest,
            /// A person is to decide about it.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            waits: bool,
        },
        /// What an agent program made in its clone is a branch of the repository now.
        Kept {
            /// The repository.
            repository: String,
            /// The branch there.
            branch: String,
            /// What changed, file by file.
            changes: String,
        },
        /// A person decided about a call that waited for one.
        Decided {
            /// Place among the calls of the newest turn, from 0.
            call: usize,
            /// It may be made.
            approved: bool,
            /// What the person said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<String>,
        },
    }
}
