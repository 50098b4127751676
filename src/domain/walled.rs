//! The programs in a configuration, and which of them are sandboxed.
use super::agent::{AgentSpec, Body, CheckBody, ToolCallSpec};
use super::described::described;
use super::fleet::{Fleet, NotifyTargetKind};
use super::sandbox::Sandbox;
use super::tool::{ProbeTarget, ToolSettings};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A program in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedProgram<'a> {
    /// The kind of its table: `agents`, `runners`, `mcp`, `tools`, `notify`.
    pub kind: &'static str,
    /// The name of its table.
    pub name: &'a str,
    /// Its key in the table, if it is not the main program: `gate`, `success_when`, `args`.
    pub key: Option<&'static str>,
    /// Its sandbox; `None`: it is not confined.
    pub sandbox: Option<Arc<Sandbox>>,
}

impl NamedProgram<'_> {
    /// Returns its location: `agents.NAME`, `agents.NAME.gate`.
    pub fn place(&self) -> String {
        let key = self.key.map(|key| format!(".{key}")).unwrap_or_default();
        format!("{}.{}{key}", self.kind, self.name)
    }
}

described! {
    /// Which programs run in a sandbox, and which do not, by the tables that name them: `agents.NAME`, `agents.NAME.gate`,
    /// `agents.NAME.success_when`, `runners.NAME`, `mcp.NAME`, `tools.NAME`, `notify.NAME`; sorted.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Walled {
        /// With a sandbox.
        pub within: Vec<String>,
        /// Without.
        pub without: Vec<String>,
    }
}

impl Walled {
    /// Returns the programs of a fleet.
    pub fn of(fleet: &Fleet) -> Self {
        Self::among(fleet.programs())
    }

    /// Returns the programs that runs of an agent can start: its own, and those of the tools and servers that it
    /// names.
    pub fn of_agent(fleet: &Fleet, agent: &AgentSpec) -> Self {
        let mut programs = agent.programs();
        if let Body::Runner(query) = &agent.body {
            of_runner(fleet, &query.runner, &mut programs);
        }
        for name in agent.tool_names() {
            match (fleet.tools.get(name), name.split_once('/')) {
                (Some(tool), _) => of_tool(name, &tool.settings, &mut programs),
                (None, Some((server, _))) => of_server(fleet, server, &mut programs),
                (None, None) => {}
            }
        }
        Self::among(programs)
    }

    /// Returns whether there are no programs.
    pub fn is_empty(&self) -> bool {
        self.within.is_empty() && self.without.is_empty()
    }

    fn among(programs: Vec<NamedProgram<'_>>) -> Self {
        let mut walled = Self::default();
        for program in programs {
            let names = if program.sandbox.is_some() { &mut walled.within } else { &mut walled.without };
            names.push(program.place());
        }
        for names in [&mut walled.within, &mut walled.without] {
            names.sort();
            names.dedup();
        }
        walled
    }
}

impl Fleet {
    /// Returns all programs of the configuration.
    pub fn programs(&self) -> Vec<NamedProgram<'_>> {
        let mut programs: Vec<NamedProgram<'_>> =
            self.agents.iter().flat_map(|agent| agent.programs()).collect();
        for (name, tool) in &self.tools {
            of_tool(name, &tool.settings, &mut programs);
        }
        for name in self.runners.keys() {
            of_runner(self, name, &mut programs);
        }
        for name in self.mcp.keys() {
            of_server(self, name, &mut programs);
        }
        for (name, target) in &self.notify {
            if let NotifyTargetKind::Command(spec) = &target.kind {
                programs.push(NamedProgram {
                    kind: "notify",
                    name,
                    key: None,
                    sandbox: spec.sandbox.clone(),
                });
            }
        }
        programs
    }
}

impl AgentSpec {
    /// Returns the programs in the agent's own table: its command, those of its gate and its proofs, and checks of
    /// a probe.
    pub fn programs(&self) -> Vec<NamedProgram<'_>> {
        let of = |key, sandbox| NamedProgram { kind: "agents", name: self.id.as_str(), key, sandbox };
        let mut programs = Vec::new();
        match &self.body {
            Body::Command(spec) => programs.push(of(None, spec.sandbox.clone())),
            Body::Tool(call) => programs.extend(of_call(call).map(|walls| of(Some("args"), walls))),
            // its program belongs to its runner
            Body::Query(_) | Body::Runner(_) => {}
        }
        let gate = self.gate.iter().map(|gate| ("gate", &**gate));
        for (key, check) in gate.chain(self.success_when.iter().map(|check| ("success_when", check))) {
            match &check.body {
                CheckBody::Command(spec) => programs.push(of(Some(key), spec.sandbox.clone())),
                CheckBody::Tool(call) => programs.extend(of_call(call).map(|walls| of(Some(key), walls))),
            }
        }
        programs
    }
}

fn of_tool<'a>(name: &'a str, settings: &ToolSettings, programs: &mut Vec<NamedProgram<'a>>) {
    let of = |sandbox| NamedProgram { kind: "tools", name, key: None, sandbox };
    match settings {
        ToolSettings::Shell(Some(shell)) => programs.push(of(shell.sandbox.unless_off())),
        ToolSettings::Probe(Some(probe)) => programs.extend(probe.checks.iter().filter_map(|check| {
            let ProbeTarget::Command { sandbox, .. } = &check.target else { return None };
            Some(of(sandbox.clone()))
        })),
        _ => {}
    }
}

fn of_runner<'a>(fleet: &'a Fleet, name: &'a str, programs: &mut Vec<NamedProgram<'a>>) {
    if let Some(runner) = fleet.runners.get(name) {
        let sandbox = runner.sandbox.unless_off();
        programs.push(NamedProgram { kind: "runners", name, key: None, sandbox });
    }
}

fn of_server<'a>(fleet: &'a Fleet, name: &'a str, programs: &mut Vec<NamedProgram<'a>>) {
    if let Some(server) = fleet.mcp.get(name).filter(|server| server.command.is_some()) {
        programs.push(NamedProgram { kind: "mcp", name, key: None, sandbox: server.sandbox.unless_off() });
    }
}

/// Returns the sandboxes of commands among the checks of a call of `probe`.
fn of_call(call: &ToolCallSpec) -> impl Iterator<Item = Option<Arc<Sandbox>>> {
    let checks = call.args["checks"].as_array().into_iter().flatten();
    let commands = checks.filter(|check| check["command"].is_array());
    commands
        .map(|check| check.get("sandbox").and_then(|walls| Sandbox::deserialize(walls).ok()).map(Arc::new))
}
