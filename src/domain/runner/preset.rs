//! What is known of an agent program beforehand.
use super::words::{PermissionKind, RunnerPreset, RunnerProtocol};
use crate::domain::provider::Provider;

/// What is known of an agent program: how it is started, resumed and pointed at the meter, and what it can't promise.
/// Texts have places: `{query}`, `{session}` (its own session), `{model}`, `{meter}` (address of the meter), `{key}` (the
/// run's key there), `{mcp}` (address of the tools that it is handed), `{output}` (longest answer in tokens), `{home}` and `{work}` (folders of the run), `{tools}` (those that
/// are allowed).
#[derive(Debug)]
pub struct Preset {
    pub name: RunnerPreset,
    /// How it says what it does, where nothing else is configured.
    pub protocol: RunnerProtocol,
    pub command: &'static [&'static str],
    /// With these it prints its version.
    pub version: &'static [&'static str],
    /// The version that all of this was tried with.
    pub seen: &'static str,
    /// Its arguments for a new session.
    pub start: &'static [&'static str],
    /// Its arguments for a session that goes on; none: it can't.
    pub resume: &'static [&'static str],
    /// Names of the session: true: this side gives it (a UUID), false: the program does and says it in its stream.
    pub names_session: bool,
    pub env: &'static [(&'static str, &'static str)],
    /// Files that it finds in its home.
    pub files: &'static [PresetFile],
    /// The forms of requests that it can be pointed at, each with what that needs.
    pub wires: &'static [PresetWire],
    /// How it is held to fewer tools.
    pub tools: PresetTools,
    /// Added to its options where each use of a tool is judged when it comes: it asks the tool [`PERMISSION`] of the server
    /// of the tools that it is handed. None: it can't be made to ask.
    pub judged: &'static [&'static str],
    /// How it is told of the tools that it is handed; `None`: it can't be.
    pub mcp: Option<PresetMcp>,
    /// Settings that a repository has for the program can't be switched off.
    pub reads_workspace: bool,
    /// Longest answer in tokens, where the model's table says nothing.
    pub output: u64,
    /// What it can't promise, in sentences for people.
    pub limits: &'static [&'static str],
}

/// The tool by which a program asks whether it may use another one of its own.
pub const PERMISSION: &str = "permission";

/// The tool by which a program hears of calls that were settled while it did not run.
pub const OUTCOMES: &str = "outcomes";

/// A file that is written into the home of an agent program before it starts.
#[derive(Debug)]
pub struct PresetFile {
    /// Its path there.
    pub path: &'static str,
    /// Its text. What fills its places is written as in a JSON string.
    pub text: &'static str,
}

/// A form of requests that an agent program can be made to use.
#[derive(Debug)]
pub struct PresetWire {
    /// For models of these providers.
    pub providers: &'static [Provider],
    /// Added to its environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Added to its files.
    pub files: &'static [PresetFile],
}

/// How an agent program is told of an MCP server over HTTP: the one with the tools that it is handed.
#[derive(Debug)]
pub struct PresetMcp {
    /// Added to its options.
    pub args: &'static [&'static str],
    /// Added to its environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Added to its files. Of a file that the preset has already, this is more: further keys of JSON, else further
    /// text.
    pub files: &'static [PresetFile],
}

/// How an agent program is held to fewer tools.
#[derive(Debug, PartialEq, Eq)]
pub enum PresetTools {
    /// Not at all: whatever its sandbox leaves, it may.
    NotHeld,
    /// By a list of the tools that it has at all.
    Listed {
        /// What precedes the list among its arguments; `{tools}` is the list, with commas.
        flags: &'static [&'static str],
        /// Names of its tools.
        by_kind: &'static [(PermissionKind, &'static [&'static str])],
    },
}

impl Preset {
    /// How it is pointed at a model of this provider; `None`: it does not speak its form.
    pub fn wire(&self, provider: Provider) -> Option<&'static PresetWire> {
        self.wires.iter().find(|wire| wire.providers.contains(&provider))
    }

    /// The providers whose form it speaks.
    pub fn providers(&self) -> impl Iterator<Item = Provider> {
        self.wires.iter().flat_map(|wire| wire.providers.iter().copied())
    }
}
