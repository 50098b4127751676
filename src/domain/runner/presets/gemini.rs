//! Gemini CLI.
//!
//! It requires a trusted workspace, and reads its settings: `mcp` in them starts servers, within the sandbox.
use crate::domain::provider::Provider;
use crate::domain::runner::preset::{Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
use crate::domain::runner::words::{RunnerPreset, RunnerProtocol};

pub(super) const PRESET: Preset = Preset {
    name: RunnerPreset::Gemini,
    protocol: RunnerProtocol::GeminiJson,
    command: &["gemini"],
    version: &["--version"],
    seen: "0.61.0",
    start: &[
        "--model",
        "{model}",
        "--output-format",
        "stream-json",
        "--yolo",
        "--session-id",
        "{session}",
        "--prompt={query}",
    ],
    resume: &[
        "--model",
        "{model}",
        "--output-format",
        "stream-json",
        "--yolo",
        "--resume",
        "{session}",
        "--prompt={query}",
    ],
    names_session: true,
    env: &[
        ("GEMINI_API_KEY", "{key}"),
        ("GOOGLE_GEMINI_BASE_URL", "{meter}"),
        ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
    ],
    files: &[PresetFile { path: ".gemini/settings.json", text: SETTINGS }],
    wires: &[PresetWire { providers: &[Provider::Gemini], env: &[], files: &[] }],
    tools: PresetTools::NotHeld,
    judged: &[],
    mcp: Some(PresetMcp {
        args: &[],
        env: &[],
        files: &[PresetFile { path: ".gemini/settings.json", text: MCP }],
    }),
    sessions: &[".gemini/tmp"],
    context: ".gemini/GEMINI.md",
    instructions: &["GEMINI.md", "AGENTS.md"],
    reads_workspace: true,
    output: 8192,
    limits: &[
        "`permissions` can't be enforced yet: it runs with --yolo, within the sandbox",
        "it reads GEMINI.md and the settings of its workspace: servers that a repository names are started, within the sandbox",
        "it says success after an answer that was cut off or refused: the meter's word counts",
        "it checks for loops with a side model of its own, which needs a price in [models]",
    ],
};

const SETTINGS: &str = r#"{"security":{"auth":{"selectedType":"gemini-api-key"}},"general":{"enableAutoUpdate":false,"enableAutoUpdateNotification":false,"maxAttempts":1},"privacy":{"usageStatisticsEnabled":false},"telemetry":{"enabled":false},"skills":{"enabled":false}}"#;
const MCP: &str = r#"{"mcpServers":{"bgagent":{"httpUrl":"{mcp}","headers":{"Authorization":"Bearer {key}"},"timeout":86400000,"trust":true}}}"#;
