//! Agent programs that people already have (Claude Code, Codex, …), as the configuration names them, and what an agent
//! asks of one.
//!
//! What is known of each program beforehand (its flags, its environment, its files) is a [`Preset`]: data, not code.
mod permissions;
mod preset;
mod presets;
mod repository;
mod words;

use super::sandbox::SandboxSetting;
use super::secret_ref::EnvValue;
use super::tool_use::HandedTools;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use permissions::{PermissionRule, Permissions};
pub use preset::{OUTCOMES, PERMISSION, Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
pub use repository::holds_repository;
pub use words::{
    KeepBranch, PermissionDefault, PermissionKind, ResumePolicy, RunnerAuth, RunnerPreset, RunnerProtocol,
};

/// Where an agent program works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workspace {
    /// In an empty folder that goes with the run.
    #[default]
    Empty,
    /// In this folder, which it may change.
    Folder(PathBuf),
    /// In a clone of a repository, which it can't change.
    Repository(RepositorySpec),
}

/// A repository that an agent program works in a clone of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySpec {
    /// Where it is.
    pub path: PathBuf,
    /// Whether what was made comes back.
    pub keep: KeepBranch,
}

/// Which version of an agent program is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerVersion {
    /// The version, or its first parts: `2.1` is any 2.1.
    pub expected: String,
    /// True: another one does not run. False: another one is a warning.
    pub exact: bool,
}

impl RunnerVersion {
    /// Does a program of this version fit?
    pub fn fits(&self, version: &str) -> bool {
        let rest = version.strip_prefix(&self.expected);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// `[runners.…]`: an agent program.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerSpec {
    /// Which of those that are known; `None`: `command` and `env` say all that it needs.
    pub preset: Option<RunnerPreset>,
    /// How it says what it does.
    pub protocol: RunnerProtocol,
    /// Program and first arguments. Those of the preset follow; without one, places such as `{query}` are filled.
    pub command: Vec<String>,
    /// Which version is expected; `None`: any.
    pub version: Option<RunnerVersion>,
    /// Name of the `[models.…]` table that answers its requests.
    pub meter: String,
    /// Added to its environment, over that of the preset.
    pub env: BTreeMap<String, EnvValue>,
    /// It is stuck when nothing comes for so long after its start.
    pub first_event: SignedDuration,
    /// It is stuck when nothing comes for so long between two events.
    pub idle: SignedDuration,
    /// The walls around it; unless they are off, there are some.
    pub sandbox: SandboxSetting,
}

impl RunnerSpec {
    /// `first_event` where nothing is said of it.
    pub const FIRST_EVENT: SignedDuration = SignedDuration::from_secs(60);
    /// `idle` where nothing is said of it.
    pub const IDLE: SignedDuration = SignedDuration::from_mins(10);
    /// `request_limit` of an agent with a `runner`, where nothing is said of it.
    pub const REQUEST_LIMIT: u64 = 200;
    /// `total_tokens_limit` of an agent with a `runner`, where nothing is said of it: programs send tens of thousands with
    /// each request, most of them from the provider's cache.
    pub const TOTAL_TOKENS_LIMIT: u64 = 5_000_000;

    /// What is known of the program beforehand.
    pub fn preset(&self) -> Option<&'static Preset> {
        self.preset.map(Preset::of)
    }

    /// Can it be made to go on with a session of its own?
    pub fn can_resume(&self) -> bool {
        match self.preset() {
            Some(preset) => !preset.resume.is_empty(),
            None => self.command.iter().any(|word| word.contains(SESSION)),
        }
    }
}

impl RunnerSpec {
    /// Can it be told where the tools are that it is handed?
    pub fn can_be_handed_tools(&self) -> bool {
        let is_told = |text: &str| text.contains(MCP);
        let in_env = |value: &EnvValue| matches!(value, EnvValue::Text(text) if is_told(text));
        self.preset().is_some_and(|preset| preset.mcp.is_some())
            || self.command.iter().any(|word| is_told(word))
            || self.env.values().any(in_env)
    }
}

/// The place for a session's id among the words of a command.
pub const SESSION: &str = "{session}";
/// Stands for the folder that the program works in, where that is another one in each run.
pub const WORK: &str = "{work}";
/// The place for what the program is asked.
pub const QUERY: &str = "{query}";
/// The place for the address of the tools that a program is handed.
pub const MCP: &str = "{mcp}";

/// A query that an agent program carries out.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerQuery {
    /// What to do. May hold `{gate}` and `{event.…}`.
    pub query: String,
    /// Who it is to be; stands before the query.
    pub system_instruction: Option<String>,
    /// Name of a `[runners.…]` table.
    pub runner: String,
    /// Where it works.
    pub workspace: Workspace,
    /// What it is allowed; `None`: all that its sandbox leaves.
    pub permissions: Option<Permissions>,
    /// When it goes on with an earlier session.
    pub resume: ResumePolicy,
    /// What it may call of the daemon's tools.
    pub handed: HandedTools,
}

#[cfg(test)]
mod tests {
    //! Tests of versions, and of what the presets say.
    use super::*;

    #[test]
    fn a_version_fits_by_its_parts() {
        let version = |expected: &str| RunnerVersion { expected: expected.into(), exact: false };
        for (expected, found, fits) in [
            ("2.1", "2.1.197", true),
            ("2.1", "2.1", true),
            ("2.1", "2.10.0", false),
            ("2.1.19", "2.1.197", false),
            ("0.171.0", "0.171.0", true),
            ("0.171.0", "0.171.0-alpha.1", true),
            ("3", "2.1.197", false),
        ] {
            assert_eq!(version(expected).fits(found), fits, "{expected} {found}");
        }
    }

    #[test]
    fn each_preset_asks_for_what_it_needs() {
        for word in RunnerPreset::ALL {
            let preset = Preset::of(*word);
            assert_eq!(preset.name, *word);
            let asks = |words: &[&str]| words.iter().any(|word| word.contains(QUERY));
            assert!(asks(preset.start) || preset.protocol == RunnerProtocol::Acp, "{word} is asked nothing");
            if !preset.resume.is_empty() {
                assert!(
                    asks(preset.resume) && preset.resume.iter().any(|word| word.contains(SESSION)),
                    "{word}"
                );
            }
            assert!(!preset.wires.is_empty() && !preset.seen.is_empty(), "{word}");
            for wire in preset.wires {
                let named = preset.env.iter().chain(wire.env).map(|(_, value)| *value);
                let text: Vec<&str> =
                    named.chain(preset.files.iter().chain(wire.files).map(|file| file.text)).collect();
                for place in ["{meter}", "{key}"] {
                    assert!(text.iter().any(|text| text.contains(place)), "{word} is not given {place}");
                }
            }
            for kind in PermissionKind::ALL {
                let known = matches!(&preset.tools, PresetTools::Listed { by_kind, .. } if by_kind.iter().any(|(of, _)| of == kind));
                assert!(known || preset.tools == PresetTools::NotHeld, "{word} does not know {kind}");
            }
        }
    }
}
