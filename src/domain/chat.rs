//! What is said between an agent and a language model, in no provider's format.
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
    /// What the agent was asked.
    User { text: String },
    /// What the model said.
    Model(ModelTurn),
    /// What the tools gave that the turn before had called, in the order of its calls.
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
    /// Our name of it. Providers allow fewer characters; `llm` maps them and back.
    pub name: String,
    /// When and how to use it.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub schema: Value,
}

/// A tool that a conversation may use, with all that decides whether a call is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOffer {
    /// What the model sees.
    pub def: ToolDef,
    /// What a call may do, at the worst.
    pub effect: Effect,
    /// Calls that only look although the tool can do more.
    pub reads_when: Option<ReadsWhen>,
    /// What it gives comes from the outside world: data, never instructions.
    pub untrusted: bool,
    /// What it gives is nobody's business but the owner's.
    pub private: bool,
    /// What of a call leaves this machine.
    pub outward: Outward,
    /// Whose words its description and its schema are: the MCP server's. `None`: ours.
    pub server: Option<String>,
}

impl ToolOffer {
    /// What a call with these arguments may do.
    pub fn effect_of(&self, args: &Value) -> Effect {
        match &self.reads_when {
            Some(reads) if reads.holds(args) => Effect::Read,
            _ => self.effect,
        }
    }
}

/// Arguments with which a tool only looks: `key` has one of `values`, or is left out and `by_default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadsWhen {
    /// Name of an argument.
    pub key: String,
    /// Its harmless values.
    pub values: Vec<String>,
    /// A call without it is harmless as well.
    pub by_default: bool,
}

impl ReadsWhen {
    /// Does a call with these arguments only look?
    pub fn holds(&self, args: &Value) -> bool {
        match args.get(&self.key).and_then(Value::as_str) {
            Some(value) => self.values.iter().any(|known| known == value),
            None => self.by_default,
        }
    }
}

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    /// Who the model is to be.
    pub system: Option<String>,
    /// The conversation so far; the last one is never the model's.
    pub messages: Vec<ChatMessage>,
    /// What it may call.
    pub tools: Vec<ToolDef>,
    /// Longest answer, in tokens.
    pub max_output_tokens: u64,
    /// JSON Schema that the final answer must fit.
    pub output_schema: Option<Value>,
    /// No call is wanted any more, only the answer. The tools are still told of: what was said before
    /// speaks of them.
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
    /// It has said all, or waits for its tools.
    Stop,
    /// Its answer got too long and was cut off.
    Length,
    /// It, or a filter of its provider, refuses; the text says why if that is told.
    Refusal(String),
    /// It called a tool in a way that nobody can read: what it said is no answer. The text says why.
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
    /// Most tokens that a provider is believed for one request, in each direction.
    const MOST: u64 = 1_000_000_000;

    /// Nobody uses more than a bound that is far above all models in one request: numbers above it would only break the
    /// sums.
    pub fn believed(self) -> Self {
        Self {
            input: self.input.min(Self::MOST),
            cached: self.cached.min(Self::MOST),
            written: self.written.min(Self::MOST),
            output: self.output.min(Self::MOST),
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why a request gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// What kind, and a sentence. Never holds a key or what was asked.
    pub error: RunError,
    /// How long the provider asks to wait.
    pub retry_after: Option<SignedDuration>,
    /// Another model may be asked instead: a rate limit, a server error or a network error.
    pub try_fallback: bool,
    /// The provider may have worked on it, and may charge for it: it had the whole request, and did
    /// not refuse it.
    pub may_cost: bool,
    /// What the provider says it used all the same: an answer that can't be used may still tell.
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
    /// All of it used: what is charged for a request whose end nobody saw.
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
