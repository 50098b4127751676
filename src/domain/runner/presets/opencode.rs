//! opencode.
//!
//! The project's own configuration is excluded: a plugin of a repository can hang the program before its first
//! event.
use crate::domain::provider::Provider;
use crate::domain::runner::preset::{Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
use crate::domain::runner::words::{RunnerPreset, RunnerProtocol};

pub(super) const PRESET: Preset = Preset {
    name: RunnerPreset::Opencode,
    protocol: RunnerProtocol::OpencodeJson,
    command: &["opencode"],
    version: &["--version"],
    seen: "1.18.33",
    start: &["run", "--format", "json", "--title", "bgagent", "--", "{query}"],
    resume: &["run", "--format", "json", "--title", "bgagent", "--session", "{session}", "--", "{query}"],
    names_session: false,
    env: &[
        ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
        ("OPENCODE_DISABLE_EXTERNAL_SKILLS", "1"),
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
        ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
    ],
    files: &[],
    wires: &[
        PresetWire {
            providers: &[Provider::OpenAiCompatible, Provider::Ollama],
            env: &[("OPENCODE_CONFIG_CONTENT", CHAT)],
            files: &[],
        },
        PresetWire {
            providers: &[Provider::Anthropic],
            env: &[("OPENCODE_CONFIG_CONTENT", MESSAGES)],
            files: &[],
        },
        PresetWire {
            providers: &[Provider::OpenAi],
            env: &[("OPENCODE_CONFIG_CONTENT", RESPONSES)],
            files: &[],
        },
    ],
    tools: PresetTools::NotHeld,
    judged: &[],
    mcp: Some(PresetMcp {
        args: &[],
        env: &[],
        files: &[PresetFile { path: ".config/opencode/opencode.json", text: MCP }],
    }),
    sessions: &[
        ".local/share/opencode/opencode.db",
        ".local/share/opencode/opencode.db-wal",
        ".local/share/opencode/opencode.db-shm",
        ".local/share/opencode/storage",
    ],
    context: ".config/opencode/AGENTS.md",
    instructions: &["AGENTS.md", "CLAUDE.md"],
    reads_workspace: false,
    output: 8192,
    limits: &[
        "`permissions` can't be enforced: what it would ask for it denies, and ends without an answer",
        "it says nothing before the first answer: `first_event` must allow for that",
        "no setting bounds its retries: `request_limit` does",
    ],
};

const CHAT: &str = r#"{"$schema":"https://opencode.ai/config.json","autoupdate":false,"share":"disabled","model":"bgagent/{model}","small_model":"bgagent/{model}","agent":{"title":{"disable":true}},"permission":{"*":"allow"},"provider":{"bgagent":{"npm":"@ai-sdk/openai-compatible","options":{"baseURL":"{meter}/v1","apiKey":"{key}"},"models":{"{model}":{"name":"{model}","limit":{"context":200000,"output":{output}}}}}}}"#;
const MESSAGES: &str = r#"{"$schema":"https://opencode.ai/config.json","autoupdate":false,"share":"disabled","model":"bgagent/{model}","small_model":"bgagent/{model}","agent":{"title":{"disable":true}},"permission":{"*":"allow"},"provider":{"bgagent":{"npm":"@ai-sdk/anthropic","options":{"baseURL":"{meter}/v1","apiKey":"{key}"},"models":{"{model}":{"name":"{model}","limit":{"context":200000,"output":{output}}}}}}}"#;
const RESPONSES: &str = r#"{"$schema":"https://opencode.ai/config.json","autoupdate":false,"share":"disabled","model":"bgagent/{model}","small_model":"bgagent/{model}","agent":{"title":{"disable":true}},"permission":{"*":"allow"},"provider":{"bgagent":{"npm":"@ai-sdk/openai","options":{"baseURL":"{meter}/v1","apiKey":"{key}"},"models":{"{model}":{"name":"{model}","limit":{"context":200000,"output":{output}}}}}}}"#;
const MCP: &str = r#"{"$schema":"https://opencode.ai/config.json","mcp":{"bgagent":{"type":"remote","url":"{mcp}","enabled":true,"oauth":false,"timeout":86400000,"headers":{"Authorization":"Bearer {key}"}}}}"#;
