//! Claude Code.
//!
//! Settings of a repository can redirect the program to another address, start servers and allow calls:
//! `--setting-sources user` and `--strict-mcp-config` exclude them, and `--settings` overrides them. As root it
//! refuses to skip its permission prompts unless `IS_SANDBOX` is exactly `1`. Requests for side models go to the
//! metered one.
use crate::domain::provider::Provider;
use crate::domain::runner::preset::{Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
use crate::domain::runner::words::{PermissionKind, RunnerPreset, RunnerProtocol};

pub(super) const PRESET: Preset = Preset {
    name: RunnerPreset::Claude,
    protocol: RunnerProtocol::ClaudeJson,
    command: &["claude"],
    version: &["--version"],
    seen: "2.1.197",
    start: &[
        "--print",
        "--output-format",
        "stream-json",
        "--verbose",
        "--model",
        "{model}",
        "--permission-mode",
        "bypassPermissions",
        "--setting-sources",
        "user",
        "--strict-mcp-config",
        "--settings",
        SETTINGS,
        "--session-id",
        "{session}",
        "--",
        "{query}",
    ],
    resume: &[
        "--print",
        "--output-format",
        "stream-json",
        "--verbose",
        "--model",
        "{model}",
        "--permission-mode",
        "bypassPermissions",
        "--setting-sources",
        "user",
        "--strict-mcp-config",
        "--settings",
        SETTINGS,
        "--resume",
        "{session}",
        "--",
        "{query}",
    ],
    names_session: true,
    env: &[
        ("IS_SANDBOX", "1"),
        ("ANTHROPIC_BASE_URL", "{meter}"),
        ("ANTHROPIC_API_KEY", "{key}"),
        ("ANTHROPIC_MODEL", "{model}"),
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "{model}"),
        ("ANTHROPIC_SMALL_FAST_MODEL", "{model}"),
        ("CLAUDE_CODE_SUBAGENT_MODEL", "{model}"),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "{output}"),
        ("CLAUDE_CODE_MAX_RETRIES", "2"),
        ("CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
    ],
    files: &[],
    wires: &[PresetWire { providers: &[Provider::Anthropic], env: &[], files: &[] }],
    tools: PresetTools::Listed {
        flags: &["--tools", "{tools}"],
        by_kind: &[
            (PermissionKind::Read, &["Read", "Glob", "Grep"]),
            (PermissionKind::Edit, &["Edit", "Write", "NotebookEdit"]),
            (PermissionKind::Execute, &["Bash", "TaskOutput", "TaskStop"]),
            (PermissionKind::Fetch, &["WebFetch"]),
        ],
    },
    judged: &[
        "--permission-mode",
        "default",
        "--permission-prompt-tool",
        "mcp__bgagent__permission",
        "--settings",
        JUDGED,
    ],
    mcp: Some(PresetMcp {
        args: &["--mcp-config", "{home}/.bgagent/mcp.json"],
        env: &[("MCP_TOOL_TIMEOUT", "86400000")],
        files: &[PresetFile { path: ".bgagent/mcp.json", text: MCP }],
    }),
    sessions: &[".claude/projects"],
    context: ".claude/CLAUDE.md",
    instructions: &["CLAUDE.md", ".claude/CLAUDE.md", "AGENTS.md"],
    reads_workspace: false,
    output: 32_000,
    limits: &[
        "after a crash it forgets the call that was in flight: the prompt of the next attempt names it",
        "an answer that is cut off is asked for up to three times more",
    ],
};

const SETTINGS: &str = r#"{"env":{"ANTHROPIC_BASE_URL":"{meter}"},"disableAllHooks":true}"#;
// requests permission even for what it would do without asking in this mode
const JUDGED: &str = r#"{"env":{"ANTHROPIC_BASE_URL":"{meter}"},"disableAllHooks":true,"permissions":{"ask":["Bash","Read","Glob","Grep","Edit","Write","NotebookEdit","WebFetch"]}}"#;

const MCP: &str =
    r#"{"mcpServers":{"bgagent":{"type":"http","url":"{mcp}","headers":{"Authorization":"Bearer {key}"}}}}"#;
