//! Tools for assistants (`bgagent mcp serve`): the arguments of each, and the permission that it needs.
use super::arguments::{CallSchema, arguments};
use super::json;
use crate::domain::words::words;
use crate::domain::{ParamValues, RunStatus};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

words! {
    /// What an assistant may do besides looking (`--may`).
    AssistantMay {
        /// Start runs, pause and resume agents.
        Run = "run",
        /// Propose agents; a person decides.
        Propose = "propose",
    }
}

arguments! {
    /// Which agents.
    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct ListAgentsCall {
        /// Names of agents, or patterns with * and ?. None: all.
        #[serde(default)]
        pub agents: Vec<String>,
        /// At most so many; those that need a person come first.
        #[serde(deserialize_with = "json::whole")]
        #[schema(at_least(1).at_most(Self::MOST).default_is(Self::LIMIT))]
        pub limit: Option<u64>,
    }

    /// The daemon, or an agent.
    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct StatusCall {
        /// Name of an agent. Left out: how the daemon itself stands.
        pub agent: Option<String>,
        /// Go on from this character of a text that was cut.
        #[serde(deserialize_with = "json::whole")]
        pub from: Option<u64>,
    }

    /// A slot of an agent.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct WhyCall {
        /// Name of the agent.
        pub agent: String,
        /// The slot at or before this instant, as RFC 3339 (2030-12-24T18:00:00Z). Left out: the last one.
        pub at: Option<Timestamp>,
    }

    /// Which runs.
    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RunsCall {
        /// Only runs of this agent.
        pub agent: Option<String>,
        /// Only runs with this status.
        pub status: Option<RunStatus>,
        /// At most so many, newest first.
        #[serde(deserialize_with = "json::whole")]
        #[schema(at_least(1).at_most(Self::MOST).default_is(Self::LIMIT))]
        pub limit: Option<u64>,
        /// Only runs before this one: the id of the last run of the answer before.
        pub before: Option<String>,
    }

    /// One run.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ShowCall {
        /// Id of the run, or the end of it (4 digits or more); or the name of an agent, for its newest run.
        pub run: String,
        /// Go on from this character of a text that was cut.
        #[serde(default, deserialize_with = "json::whole")]
        pub from: Option<u64>,
    }

    /// What comes.
    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct NextCall {
        /// Names of agents, or patterns with * and ?. None: all.
        #[serde(default)]
        pub agents: Vec<String>,
        /// How far to look: seconds, or a text such as 90m, 24h, 7d. A day unless it is given.
        #[serde(rename = "for", deserialize_with = "span")]
        pub look: Option<SignedDuration>,
        /// At most so many, in order.
        #[serde(deserialize_with = "json::whole")]
        #[schema(at_least(1).at_most(Self::MOST).default_is(Self::LIMIT))]
        pub limit: Option<u64>,
    }

    /// A run by hand.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RunAgentCall {
        /// Name of the agent.
        pub agent: String,
        /// Its parameters by name.
        #[serde(default)]
        pub params: ParamValues,
        /// Nothing is changed: calls with an effect are recorded and not made.
        pub rehearse: Option<bool>,
    }

    /// A pause.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct PauseCall {
        /// Name of the agent.
        pub agent: String,
        /// How long: seconds, or a text such as 30m, 2h, 7d. Left out: until somebody resumes it.
        #[serde(default, rename = "for", deserialize_with = "span")]
        pub length: Option<SignedDuration>,
        /// Why, for the record.
        pub reason: Option<String>,
    }

    /// The end of a pause.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ResumeCall {
        /// Name of the agent.
        pub agent: String,
        /// Why, for the record.
        pub reason: Option<String>,
    }

    /// An agent's table.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ReadAgentCall {
        /// Name of the agent.
        pub agent: String,
    }

    /// An agent, new or changed.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ProposeAgentCall {
        /// The whole table as TOML: a line [agents.NAME], its keys, and the tables below it. It takes the place of the agent's
        /// table, if there is one.
        pub toml: String,
        /// Why, for the person who decides: a sentence or two.
        pub why: Option<String>,
    }
}

impl ListAgentsCall {
    /// Default of `limit`.
    pub const LIMIT: u64 = 50;
    /// Maximum of `limit`.
    pub const MOST: u64 = 200;
}

impl RunsCall {
    /// Default of `limit`.
    pub const LIMIT: u64 = 20;
    /// Maximum of `limit`.
    pub const MOST: u64 = 100;
}

impl NextCall {
    /// Default of `limit`.
    pub const LIMIT: u64 = 20;
    /// Maximum of `limit`.
    pub const MOST: u64 = 200;
}

impl ProposeAgentCall {
    /// Maximum length of `why`, in characters; a longer one is cut.
    pub const MAX_WHY_CHARS: usize = 500;
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SignedDuration>, D::Error> {
    let value = Value::deserialize(from)?;
    if value.is_null() {
        return Ok(None);
    }
    json::duration(&value).map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`for` must be a number of seconds or a text such as \"90s\", \"5m\", \"24h\", \"7d\", not {value}"
        ))
    })
}

/// A type with a schema for the arguments of an assistant's tool.
pub trait AssistantCall: for<'de> Deserialize<'de> {
    /// Returns the schema of a call.
    fn schema() -> CallSchema;
}

macro_rules! schemas {
    ($($args:ty),*) => {
        $(impl AssistantCall for $args {
            fn schema() -> CallSchema {
                CallSchema::of::<Self>()
            }
        })*
    };
}

schemas!(
    ListAgentsCall,
    StatusCall,
    WhyCall,
    RunsCall,
    ShowCall,
    NextCall,
    RunAgentCall,
    PauseCall,
    ResumeCall,
    ReadAgentCall,
    ProposeAgentCall
);
