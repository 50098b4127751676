//! Codex, by `codex exec`: its adapter for ACP starts servers that a repository configures, and reports errors as
//! if they were answers.
//!
//! Its own sandbox can't be nested within another one, and fails silently: it is off.
use crate::domain::provider::Provider;
use crate::domain::runner::preset::{Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
use crate::domain::runner::words::{RunnerPreset, RunnerProtocol};

pub(super) const PRESET: Preset = Preset {
    name: RunnerPreset::Codex,
    protocol: RunnerProtocol::CodexJson,
    command: &["codex"],
    version: &["--version"],
    seen: "0.171.0",
    start: &[
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "--",
        "{query}",
    ],
    resume: &[
        "exec",
        "resume",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "--",
        "{session}",
        "{query}",
    ],
    names_session: false,
    env: &[("CODEX_HOME", "{home}/.codex"), ("BGAGENT_METER_KEY", "{key}")],
    files: &[PresetFile { path: ".codex/config.toml", text: CONFIG }],
    wires: &[PresetWire { providers: &[Provider::OpenAi], env: &[], files: &[] }],
    tools: PresetTools::NotHeld,
    judged: &[],
    mcp: Some(PresetMcp {
        args: &[],
        env: &[],
        files: &[PresetFile { path: ".codex/config.toml", text: MCP }],
    }),
    sessions: &[".codex/sessions"],
    context: ".codex/AGENTS.md",
    instructions: &["AGENTS.md"],
    reads_workspace: false,
    output: 32_000,
    limits: &[
        "`permissions` can't be enforced: with its own sandbox off it asks nobody",
        "it sends no bound for its answers: the meter adds one",
        "its stream says nothing of commands that its own sandbox would refuse, so that is off",
    ],
};

const CONFIG: &str = r#"model = "{model}"
model_provider = "bgagent"
web_search = "disabled"
check_for_update_on_startup = false
project_doc_max_bytes = 0

[analytics]
enabled = false

[feedback]
enabled = false

[features]
plugins = false
apps = false
goals = false
image_generation = false
unbounded_connection_retries = false

[skills]
include_instructions = false

[agents]
enabled = false

[model_providers.bgagent]
name = "bgagent"
base_url = "{meter}/v1"
env_key = "BGAGENT_METER_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"#;

// there is nobody whom it could ask about a call: approvals are requested on this side
const MCP: &str = r#"
[mcp_servers.bgagent]
url = "{mcp}"
bearer_token_env_var = "BGAGENT_METER_KEY"
default_tools_approval_mode = "approve"
tool_timeout_sec = 86400
"#;
