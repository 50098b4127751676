//! Agents that combine untrusted input, private data, and a way to send data out: an attacker who controls
//! the input could have the data sent to them ("Agents Rule of Two", Meta, 2025). At run time, what a run has
//! read closes the way out; that an agent is built like that is reported before it runs.
use super::place::{Place, SCHEDULE};
use crate::domain::*;

/// Which of the three an agent has, by the names in its table.
#[derive(Default)]
struct RiskFactors {
    untrusted: Vec<String>,
    private: Vec<String>,
    outward: Vec<String>,
}

/// Reports an agent that has all three, unless it says why that is acceptable.
pub(super) fn of_agent(at: &Place<'_>, fleet: &Fleet) {
    let Some(uses) = at.agent.body.tool_use() else { return };
    if !at.knows(SCHEDULE)
        || !at.knows(&["tools", "memory", "gate", "query", "sinks", "approve", "accept_risk"])
    {
        return;
    }
    let accepted = at.agent.accept_risk.is_some();
    if uses.sinks.iter().any(|sink| sink == "*") && !accepted {
        at.file.warn(
            at.of("sinks"),
            "`sinks = [\"*\"]` allows every tool after data from outside was read".into(),
            Some("name the tools and addresses that it needs, or say why not in `accept_risk`".into()),
        );
    }
    let factors = factors(at.agent, uses, fleet);
    let has_all =
        ![&factors.untrusted, &factors.private, &factors.outward].iter().any(|some| some.is_empty());
    if has_all && !accepted {
        let message = format!(
            "agent `{}` reads what strangers write ({}) and what is private ({}), and can send out what it likes ({}): \
             who writes to it could have the private part sent to them",
            at.agent.id,
            factors.untrusted.join(", "),
            factors.private.join(", "),
            factors.outward.join(", ")
        );
        let guarded: Vec<String> = factors.outward.iter().map(|name| format!("\"{name}\"")).collect();
        let hint = format!(
            "take one of the three away (two agents can share the work), let a person decide: approve = [{}], or say why it \
             is all right: accept_risk = \"…\"",
            guarded.join(", ")
        );
        at.file.error(Some(at.of("tools")), message, Some(hint));
    } else if accepted && !has_all && at.has("accept_risk") && !uses.sinks.iter().any(|sink| sink == "*") {
        at.file.warn(
            at.of("accept_risk"),
            "`accept_risk` has no effect here: this agent does not join untrusted input, private data and a way out".into(),
            Some("leave it out, so that it accepts nothing that comes later".into()),
        );
    }
}

fn factors(agent: &AgentSpec, uses: ToolUse<'_>, fleet: &Fleet) -> RiskFactors {
    let mut factors = RiskFactors::default();
    for tool in uses.tools {
        let guarded = uses.approve.iter().any(|pattern| glob(pattern, tool));
        factors.add(tool, guarded, fleet);
    }
    let asked = match &agent.body {
        Body::Query(query) => {
            if shares_session_with_private(agent, query, fleet) {
                factors.private.push("session_id".into());
            }
            &query.query
        }
        Body::Runner(query) => {
            if !uses.tools.is_empty() {
                factors.add_program(query, fleet);
            }
            &query.query
        }
        Body::Tool(_) | Body::Command(_) => return factors,
    };
    if let (Some(gate), true) = (agent.gate.as_deref(), asked.contains("{gate}")) {
        factors.untrusted.push("gate".into());
        let settings = match &gate.body {
            CheckBody::Tool(call) => settings_of(&call.tool, fleet),
            CheckBody::Command(_) => None,
        };
        if settings.is_some_and(|settings| settings.is_private()) {
            factors.private.push("gate".into());
        }
    }
    if let (Schedule::Join(_), true) =
        (&agent.schedule, ["{event", "{after"].iter().any(|place| asked.contains(place)))
    {
        factors.untrusted.push("event".into());
        factors.private.push("event".into());
    }
    if agent.schedule.is_from_outside() && asked.contains("{event") {
        factors.untrusted.push("event".into());
    }
    if let (Schedule::On(on), true) = (&agent.schedule, asked.contains("{event")) {
        factors.untrusted.push("event".into());
        if on.event == EventType::TaskCompleted {
            factors.private.push("event".into());
        }
    }
    factors
}

/// Returns whether the agent shares its session with an agent that reads private data. What it remembers of
/// its own runs it has read itself, which adds nothing.
fn shares_session_with_private(agent: &AgentSpec, query: &QuerySpec, fleet: &Fleet) -> bool {
    let others = fleet.agents.iter().filter(|other| other.id != agent.id);
    let sees_private = |other: &AgentSpec| {
        let Body::Query(query) = &other.body else { return false };
        let of_tool = |tool: &String| {
            settings_of(tool, fleet)
                .is_some_and(|settings| settings.is_private() && settings != ToolSettings::Recall)
        };
        query.memory.mode() == MemoryMode::Session && query.tools.iter().any(of_tool)
    };
    query.memory.mode() == MemoryMode::Session
        && others.into_iter().any(|other| other.session() == agent.session() && sees_private(other))
}

impl RiskFactors {
    /// Adds what an agent program does by itself: its input is not observed, and whatever its sandbox permits
    /// is a way out for data that the tools return.
    fn add_program(&mut self, query: &RunnerQuery, fleet: &Fleet) {
        let table = format!("runners.{}", query.runner);
        self.untrusted.push(format!("what {} reads", query.runner));
        let is_given_private = !self.private.is_empty();
        if query.workspace != Workspace::Empty {
            self.private.push("workspace".into());
        }
        let Some(runner) = fleet.runners.get(&query.runner) else { return };
        match runner.sandbox.unless_off() {
            None => {
                self.private.push(format!("sandbox = false of {table}"));
                self.outward.push(format!("sandbox = false of {table}"));
            }
            // Hosts that a person has named are not a way out that the model chose, but they are one for data
            // from a tool.
            Some(sandbox) if !sandbox.net.is_empty() && is_given_private => {
                self.outward.push(format!("net in the sandbox of {table}"));
            }
            Some(_) => {}
        }
    }

    fn add(&mut self, tool: &str, guarded: bool, fleet: &Fleet) {
        let mut put = |to: fn(&mut Self) -> &mut Vec<String>| to(self).push(tool.to_owned());
        let Some(settings) = settings_of(tool, fleet) else {
            put(|factors| &mut factors.untrusted);
            let server = tool.split_once('/').and_then(|(server, _)| fleet.mcp.get(server));
            if server.is_some_and(McpSpec::is_over_network) && !guarded {
                put(|factors| &mut factors.outward);
            }
            return;
        };
        if !matches!(settings, ToolSettings::Remember | ToolSettings::Recall | ToolSettings::Report) {
            put(|factors| &mut factors.untrusted);
        }
        if settings.is_private() && settings != ToolSettings::Recall {
            put(|factors| &mut factors.private);
        }
        // Objects go to the configured bucket, which is the user's own.
        let is_elsewhere = !settings.outward().is_nothing() && !matches!(settings, ToolSettings::S3(_));
        if is_elsewhere && !guarded {
            put(|factors| &mut factors.outward);
        }
    }
}

/// Returns the settings of a tool by its name; `None` for a tool of an MCP server.
fn settings_of(tool: &str, fleet: &Fleet) -> Option<ToolSettings> {
    let known = fleet.tools.get(tool).map(|spec| spec.settings.clone());
    known.or_else(|| ToolKind::parse(tool).map(ToolSettings::none))
}
