//! The tools offered to assistants: their names, descriptions, required permissions and implementations.
use super::reach::{CallTrouble, Reach};
use super::said::ToolAnswer;
use super::{change, look, propose};
use crate::domain::CallSchema;
use crate::domain::assistant::*;
use crate::proposal::Proposer;
use serde_json::{Value, json};

/// A tool.
pub(super) struct OfferedTool {
    pub(super) name: &'static str,
    title: &'static str,
    about: &'static str,
    /// The required permission (`--may`); `None`: read-only.
    pub(super) needs: Option<AssistantMay>,
    schema: fn() -> CallSchema,
    effect: ToolEffect,
}

/// The effect of a call, as annotations for clients that ask a person first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ToolEffect {
    Looks,
    /// Changes something reversibly; idempotent.
    Sets,
    /// Runs an agent, which may do anything.
    Runs,
}

/// All tools, in the order in which they are listed.
pub(super) const TOOLS: &[OfferedTool] = &[
    OfferedTool {
        name: "list_agents",
        title: "Agents and how they stand",
        about: "One line per agent: its state, since when, when it is due next, and why it needs a person. Those that need a person \
                come first.",
        needs: None,
        schema: ListAgentsCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "status",
        title: "The daemon, or one agent",
        about: "Everything of one agent: schedule, counters, last runs, limits, incidents, settings. Without an agent: the daemon, \
                its budget and what is in its way.",
        needs: None,
        schema: StatusCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "why",
        title: "Why an agent ran, or did not",
        about: "What became of a slot (a moment at which an agent was due), in one sentence: it ran, or was skipped, refused or \
                missed, and why.",
        needs: None,
        schema: WhyCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "runs",
        title: "History of runs",
        about: "Runs, newest first: how each ended, how long it took, what started it, and the beginning of its result or error.",
        needs: None,
        schema: RunsCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "show",
        title: "One run, whole",
        about: "One run: its course, what it used, its conversation with the model, its output and its result or error.",
        needs: None,
        schema: ShowCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "next",
        title: "What comes",
        about: "Coming slots of all agents, or of some, in order.",
        needs: None,
        schema: NextCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "run_agent",
        title: "Start a run now",
        about: "Starts a run of an agent by hand, and answers with its id at once: `show` tells later how it ended. The run does what \
                the agent does, and costs what it costs.",
        needs: Some(AssistantMay::Run),
        schema: RunAgentCall::schema,
        effect: ToolEffect::Runs,
    },
    OfferedTool {
        name: "pause",
        title: "Pause an agent",
        about: "Pauses an agent: its slots start nothing; a run in flight goes on.",
        needs: Some(AssistantMay::Run),
        schema: PauseCall::schema,
        effect: ToolEffect::Sets,
    },
    OfferedTool {
        name: "resume",
        title: "Resume an agent",
        about: "Ends the pause of an agent. Slots that have passed are not caught up.",
        needs: Some(AssistantMay::Run),
        schema: ResumeCall::schema,
        effect: ToolEffect::Sets,
    },
    OfferedTool {
        name: "read_agent",
        title: "The table of an agent",
        about: "The table of an agent as it stands in the configuration, as TOML, without what looks like a secret. Read it before \
                you propose a change of it.",
        needs: Some(AssistantMay::Propose),
        schema: ReadAgentCall::schema,
        effect: ToolEffect::Looks,
    },
    OfferedTool {
        name: "propose_agent",
        title: "Propose an agent",
        about: "Proposes an agent, new or changed, as one TOML table. It is checked against the configuration, and kept for a person: \
                nothing changes until they accept it. The answer has the id, the difference, the rights that it would add, and what \
                `check` says. Never write a secret into it: write where one is found.",
        needs: Some(AssistantMay::Propose),
        schema: ProposeAgentCall::schema,
        effect: ToolEffect::Sets,
    },
];

impl OfferedTool {
    /// Returns the entry for `tools/list`.
    pub(super) fn listed(&self) -> Value {
        let looks = self.effect == ToolEffect::Looks;
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.about,
            "inputSchema": (self.schema)().json(),
            "annotations": {
                "title": self.title,
                "readOnlyHint": looks,
                "destructiveHint": self.effect == ToolEffect::Runs,
                "idempotentHint": self.effect != ToolEffect::Runs,
                "openWorldHint": self.effect == ToolEffect::Runs,
            },
        })
    }
}

/// Carries out a call. Returns the answer, and a note if it did not come from the daemon.
pub(super) fn call<R: Reach>(
    reach: &R,
    proposer: Proposer,
    name: &str,
    arguments: Value,
) -> Result<(ToolAnswer, Option<String>), CallTrouble> {
    let ours = |said: ToolAnswer| (said, None);
    match name {
        "list_agents" => look::list_agents(reach, read(name, arguments)?),
        "status" => look::status(reach, read(name, arguments)?),
        "why" => look::why(reach, read(name, arguments)?),
        "runs" => look::runs(reach, read(name, arguments)?),
        "show" => look::show(reach, read(name, arguments)?),
        "next" => look::next(reach, read(name, arguments)?),
        "run_agent" => change::run_agent(reach, read(name, arguments)?).map(ours),
        "pause" => change::pause(reach, read(name, arguments)?).map(ours),
        "resume" => change::resume(reach, read(name, arguments)?).map(ours),
        "read_agent" => propose::read_agent(reach, read(name, arguments)?).map(ours),
        "propose_agent" => propose::propose_agent(reach, proposer, read(name, arguments)?).map(ours),
        _ => Err(CallTrouble { what: format!("there is no tool `{name}`"), hint: None }),
    }
}

/// Parses the arguments into the type of the tool.
fn read<A: AssistantCall>(name: &str, arguments: Value) -> Result<A, CallTrouble> {
    let arguments = if arguments.is_null() { json!({}) } else { arguments };
    serde_json::from_value(arguments).map_err(|error| {
        let schema = A::schema();
        let known: Vec<String> = schema
            .properties()
            .iter()
            .map(|one| format!("{}{}", one.name(), if one.is_required() { " (required)" } else { "" }))
            .collect();
        CallTrouble::new(
            format!("wrong arguments of `{name}`: {error}"),
            format!("it takes: {}", known.join(", ")),
        )
    })
}
