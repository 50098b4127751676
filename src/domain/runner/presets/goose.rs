//! goose, by ACP, since it has no output stream of its own. None of this has been tested.
use crate::domain::provider::Provider;
use crate::domain::runner::preset::{Preset, PresetTools, PresetWire};
use crate::domain::runner::words::{RunnerPreset, RunnerProtocol};

pub(super) const PRESET: Preset = Preset {
    name: RunnerPreset::Goose,
    protocol: RunnerProtocol::Acp,
    command: &["goose", "acp"],
    version: &["--version"],
    seen: "none",
    start: &[],
    resume: &[],
    names_session: false,
    env: &[("GOOSE_MODEL", "{model}"), ("GOOSE_DISABLE_KEYRING", "1")],
    files: &[],
    wires: &[
        PresetWire {
            providers: &[Provider::Anthropic],
            env: &[
                ("GOOSE_PROVIDER", "anthropic"),
                ("ANTHROPIC_HOST", "{meter}"),
                ("ANTHROPIC_API_KEY", "{key}"),
            ],
            files: &[],
        },
        PresetWire {
            providers: &[Provider::OpenAiCompatible],
            env: &[("GOOSE_PROVIDER", "openai"), ("OPENAI_HOST", "{meter}"), ("OPENAI_API_KEY", "{key}")],
            files: &[],
        },
    ],
    tools: PresetTools::NotHeld,
    judged: &[],
    mcp: None,
    sessions: &[],
    context: ".config/goose/.goosehints",
    instructions: &["AGENTS.md"],
    reads_workspace: true,
    output: 8192,
    limits: &["it was not tried"],
};
