//! Built-in knowledge about agent programs.
use super::words::{PermissionKind, RunnerPreset, RunnerProtocol};
use crate::domain::provider::Provider;

/// Built-in knowledge about an agent program: how it is started, resumed and pointed at the meter, and its
/// limitations. Texts have placeholders: `{query}`, `{session}` (its own session), `{model}`, `{meter}` (address of
/// the meter), `{key}` (the run's key there), `{mcp}` (address of handed tools), `{output}` (maximum length of an
/// answer in tokens), `{home}` and `{work}` (folders of the run), `{tools}` (allowed tools).
#[derive(Debug)]
pub struct Preset {
    pub name: RunnerPreset,
    /// Default format of its output.
    pub protocol: RunnerProtocol,
    pub command: &'static [&'static str],
    /// Arguments that print its version.
    pub version: &'static [&'static str],
    /// The version that this preset was tested with.
    pub seen: &'static str,
    /// Arguments for a new session.
    pub start: &'static [&'static str],
    /// Arguments for resuming a session; empty: not supported.
    pub resume: &'static [&'static str],
    /// True: the daemon chooses the session id (a UUID); false: the program chooses it and reports it in its
    /// stream.
    pub names_session: bool,
    pub env: &'static [(&'static str, &'static str)],
    /// Files to create in its home.
    pub files: &'static [PresetFile],
    /// Supported wire formats of requests, each with the required settings.
    pub wires: &'static [PresetWire],
    /// How its tools can be restricted.
    pub tools: PresetTools,
    /// Additional arguments if each use of a tool is judged individually: it then asks the tool [`PERMISSION`] of
    /// the server of handed tools. Empty: not supported.
    pub judged: &'static [&'static str],
    /// How it is given the handed tools; `None`: not supported.
    pub mcp: Option<PresetMcp>,
    /// Files and folders of its home that its sessions are in, for those that go on from run to run; none: it can't be done.
    pub sessions: &'static [&'static str],
    /// The file in its home that it reads as its user's own instructions.
    pub context: &'static str,
    /// Files of a workspace that it would read as instructions. It reads none of them by itself; where the workspace is trusted,
    /// they are put into `context`.
    pub instructions: &'static [&'static str],
    /// Settings that a repository has for the program can't be switched off.
    pub reads_workspace: bool,
    /// Default maximum length of an answer, in tokens.
    pub output: u64,
    /// Limitations, in sentences for people.
    pub limits: &'static [&'static str],
}

/// The tool by which a program requests permission to use one of its own.
pub const PERMISSION: &str = "permission";

/// The tool by which a program learns the outcomes of calls that were decided while it did not run.
pub const OUTCOMES: &str = "outcomes";

/// A file created in the home of an agent program before it starts.
#[derive(Debug)]
pub struct PresetFile {
    /// Path in the home.
    pub path: &'static str,
    /// Its text. Values of placeholders are escaped as in a JSON string.
    pub text: &'static str,
}

/// A wire format that an agent program can use.
#[derive(Debug)]
pub struct PresetWire {
    /// Providers with this format.
    pub providers: &'static [Provider],
    /// Added to its environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Added to its files.
    pub files: &'static [PresetFile],
}

/// How an agent program is given an MCP server over HTTP, with the handed tools.
#[derive(Debug)]
pub struct PresetMcp {
    /// Added to its arguments.
    pub args: &'static [&'static str],
    /// Added to its environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Added to its files. If the preset already has the file, its content is extended: JSON by further keys, other
    /// files by further text.
    pub files: &'static [PresetFile],
}

/// How the tools of an agent program can be restricted.
#[derive(Debug, PartialEq, Eq)]
pub enum PresetTools {
    /// Not at all: it may do whatever its sandbox permits.
    NotHeld,
    /// By a list of available tools.
    Listed {
        /// Arguments that pass the list; `{tools}` is the list, comma-separated.
        flags: &'static [&'static str],
        /// Names of its tools.
        by_kind: &'static [(PermissionKind, &'static [&'static str])],
    },
}

impl Preset {
    /// Returns how it is pointed at a model of this provider; `None`: it does not support the wire format.
    pub fn wire(&self, provider: Provider) -> Option<&'static PresetWire> {
        self.wires.iter().find(|wire| wire.providers.contains(&provider))
    }

    /// Returns the providers whose wire format it supports.
    pub fn providers(&self) -> impl Iterator<Item = Provider> {
        self.wires.iter().flat_map(|wire| wire.providers.iter().copied())
    }
}
