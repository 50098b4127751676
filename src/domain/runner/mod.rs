//! Agent programs that people already have (Claude Code, Codex, …), as the configuration defines them, and the
//! queries of agents to them.
//!
//! Built-in knowledge about each program (its flags, environment and files) is a [`Preset`]: data, not code.
mod permissions;
mod preset;
mod presets;
mod repository;
mod words;

use super::sandbox::SandboxSetting;
use super::secret_ref::EnvValue;
use super::skill::SkillSpec;
use super::tool_use::HandedTools;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use permissions::{PermissionRule, Permissions};
pub use preset::{OUTCOMES, PERMISSION, Preset, PresetFile, PresetMcp, PresetTools, PresetWire};
pub use repository::holds_repository;
pub use words::{
    KeepBranch, PermissionDefault, PermissionKind, ResumePolicy, RunnerAuth, RunnerPreset, RunnerProtocol,
};

/// Where an agent program works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workspace {
    /// In an empty folder that is deleted with the run.
    #[default]
    Empty,
    /// In this folder, which it may change.
    Folder(PathBuf),
    /// In a clone of a repository, which it can't change.
    Repository(RepositorySpec),
}

/// A repository that is cloned for an agent program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySpec {
    pub path: PathBuf,
    /// Whether its changes come back as a branch.
    pub keep: KeepBranch,
}

/// The expected version of an agent program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerVersion {
    /// The version, or its first parts: `2.1` matches any 2.1.
    pub expected: String,
    /// True: other versions don't run. False: they cause a warning.
    pub exact: bool,
}

impl RunnerVersion {
    /// Returns whether a version matches.
    pub fn fits(&self, version: &str) -> bool {
        let rest = version.strip_prefix(&self.expected);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// An agent program in `[runners.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerSpec {
    /// A known program; `None`: `command` and `env` contain everything that it needs.
    pub preset: Option<RunnerPreset>,
    /// Format of its output.
    pub protocol: RunnerProtocol,
    /// Program and first arguments. The preset's arguments follow; without one, placeholders such as `{query}` are
    /// filled in.
    pub command: Vec<String>,
    /// Expected version; `None`: any.
    pub version: Option<RunnerVersion>,
    /// Name of the `[models.…]` table that answers its requests.
    pub meter: String,
    /// Added to its environment; overrides the preset.
    pub env: BTreeMap<String, EnvValue>,
    /// Timeout from its start to the first event, after which it counts as stuck.
    pub first_event: SignedDuration,
    /// Timeout between two events, after which it counts as stuck.
    pub idle: SignedDuration,
    /// Its sandbox; on unless it is turned off.
    pub sandbox: SandboxSetting,
}

impl RunnerSpec {
    /// Default of `first_event`.
    pub const FIRST_EVENT: SignedDuration = SignedDuration::from_secs(60);
    /// Default of `idle`.
    pub const IDLE: SignedDuration = SignedDuration::from_mins(10);
    /// Default of `request_limit` for agents with a `runner`.
    pub const REQUEST_LIMIT: u64 = 200;
    /// Default of `total_tokens_limit` for agents with a `runner`: programs send tens of thousands of tokens with
    /// each request, most of them from the provider's cache.
    pub const TOTAL_TOKENS_LIMIT: u64 = 5_000_000;

    /// Returns the built-in knowledge about the program.
    pub fn preset(&self) -> Option<&'static Preset> {
        self.preset.map(Preset::of)
    }

    /// Returns whether it can resume a session of its own.
    pub fn can_resume(&self) -> bool {
        match self.preset() {
            Some(preset) => !preset.resume.is_empty(),
            None => self.command.iter().any(|word| word.contains(SESSION)),
        }
    }
}

impl RunnerSpec {
    /// Returns whether it can be given the address of handed tools.
    pub fn can_be_handed_tools(&self) -> bool {
        let is_told = |text: &str| text.contains(MCP);
        let in_env = |value: &EnvValue| matches!(value, EnvValue::Text(text) if is_told(text));
        self.preset().is_some_and(|preset| preset.mcp.is_some())
            || self.command.iter().any(|word| is_told(word))
            || self.env.values().any(in_env)
    }
}

/// Placeholder for a session id in the arguments of a command.
pub const SESSION: &str = "{session}";
/// Placeholder for the working folder of the program, if it differs between runs.
pub const WORK: &str = "{work}";
/// Placeholder for the query.
pub const QUERY: &str = "{query}";
/// Placeholder for the address of handed tools.
pub const MCP: &str = "{mcp}";

/// A query that an agent program carries out.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerQuery {
    /// The task. May contain `{gate}` and `{event.…}`.
    pub query: String,
    /// System instruction; precedes the query.
    pub system_instruction: Option<String>,
    /// Name of a `[runners.…]` table.
    pub runner: String,
    /// Where it works.
    pub workspace: Workspace,
    /// The instructions and skills of its workspace are given to it. Its settings, hooks and servers are not.
    pub trusts_workspace: bool,
    /// What it can read of how things are done.
    pub skills: Vec<Arc<SkillSpec>>,
    /// What it is allowed; `None`: all that its sandbox leaves.
    pub permissions: Option<Permissions>,
    /// When it resumes an earlier session.
    pub resume: ResumePolicy,
    /// Tools of the daemon that it may call.
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
