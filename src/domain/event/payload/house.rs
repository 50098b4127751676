//! Payloads about problems, budgets, the configuration, messages, and the daemon itself.
use crate::domain::described::described;
use crate::domain::ids::AgentId;
use crate::domain::incident::Severity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

described! {
    /// The event is emitted once for each limit and its day or month.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct BudgetUse {
        /// The limit, by its key: `usd_per_day`. The event's agent is whose it is; without one it is the fleet's.
        pub limit: String,
        /// How much it allows: dollars, tokens or requests.
        pub allowed: f64,
        /// How much is used, or held for requests under way.
        pub used: f64,
        /// The day that it is about, in the daemon's time zone: `2026-11-24`.
        pub day: String,
        /// The same for people.
        pub text: String,
    }

    /// An agent failed too often in a row; its slots are refused for a while.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct CircuitOpened {
        /// Failed runs in a row.
        pub failures: u32,
        /// One run tries again at the first slot after this.
        pub until: Timestamp,
    }

    /// An agent whose circuit was open works again, or a person closed its circuit.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct CircuitClosed {
        /// Why.
        pub reason: String,
    }

    /// A problem opened.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct IncidentOpened {
        /// Stable name of the problem, unique within the agent: `disk:/`.
        pub key: String,
        /// How bad it is.
        pub severity: Severity,
        /// What is wrong, in one line.
        pub title: String,
        /// When it was first seen.
        pub since: Timestamp,
        /// True: it was reported by a run that had read data from outside. Left out else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub untrusted: bool,
    }

    /// A problem ended.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct IncidentResolved {
        /// Stable name of the problem, unique within the agent: `disk:/`.
        pub key: String,
        /// How bad it was.
        pub severity: Severity,
        /// What was wrong, in one line.
        pub title: String,
        /// When it was first seen: tells it apart from others of the same key.
        pub since: Timestamp,
        /// How often it was seen.
        pub count: u64,
        /// True: it was reported by a run that had read data from outside. Left out else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub untrusted: bool,
    }

    /// The event's agent is that of the incident, its run is the one that found it out.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct IncidentDiagnosed {
        /// As in `incident_opened`.
        pub key: String,
        /// As in `incident_opened`.
        pub since: Timestamp,
        /// The agent that found it out.
        pub by: AgentId,
        /// The beginning of what it found, at most 4 KiB.
        pub finding: Option<String>,
    }

    /// An MCP server describes a tool differently from when it was trusted.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct McpPinChanged {
        /// Name of an `[mcp.…]` table.
        pub server: String,
        /// The tool, without the server.
        pub tool: String,
        /// Hash of the description that is trusted.
        pub trusted: String,
        /// Hash of the one that the server has now.
        pub seen: String,
    }

    /// The sandbox of a program did not connect it to a place. Emitted at most once a day for each table and place. The
    /// event's agent and run are those that the program runs for, if there is one.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct SandboxDenied {
        /// Host and port, as the program named them.
        pub host: String,
        /// The program's name.
        pub program: String,
        /// The table of the configuration that it stands in: `mcp.github`.
        pub table: String,
        /// Why.
        pub reason: String,
    }

    /// Work of a run that could not be brought back is removed, since the folders of runs take more than `retention.workspaces`.
    /// The event's run is the one that made it.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct WorkspaceRemoved {
        /// The attempt of the run that made it.
        pub attempt: u32,
        /// Where it was.
        pub folder: String,
        /// What it took on disk, in bytes.
        pub bytes: u64,
        /// What all folders of runs may take, in bytes.
        pub bound: u64,
    }

    /// A configuration was applied.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ConfigApplied {
        /// The file that was loaded; of a revision, the file that was applied, on the machine where that was done.
        pub path: String,
        /// The revision of the fleet's configuration; absent: it is the leader's own file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revision: Option<u64>,
        /// Who applied that revision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Of the whole file, 16 hexadecimal digits.
        pub hash: String,
        /// Agents that were not there before.
        pub added: Vec<AgentId>,
        /// Agents that are different now.
        pub changed: Vec<AgentId>,
        /// Agents that are gone.
        pub removed: Vec<AgentId>,
    }

    /// A configuration was refused; the old one stays in force.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ConfigRejected {
        /// This file.
        pub path: String,
        /// One text per error, with line and column.
        pub errors: Vec<String>,
    }

    /// The event's agent is the one that the message was about.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct NotificationSent {
        /// Name of a `[notify.…]` table.
        pub target: String,
        /// How many tries it took.
        pub tries: u32,
    }

    /// The event's agent is the one that the message is about.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct NotificationFailed {
        /// Name of a `[notify.…]` table.
        pub target: String,
        /// How many tries so far.
        pub tries: u32,
        /// Why.
        pub error: String,
        /// When it is tried again; null: it is given up.
        pub retry_at: Option<Timestamp>,
    }

    /// The daemon has started.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct DaemonStarted {
        /// Its release.
        pub version: String,
        /// Its process.
        pub pid: u32,
        /// The newest event of the daemon before it: since then, or later, none was running. Null: there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub down_since: Option<Timestamp>,
        /// False: the daemon before it was killed, or the machine crashed or lost power. True if it ended cleanly, or there
        /// was none.
        #[serde(default = "was_clean")]
        pub clean: bool,
    }

    /// The daemon is shutting down.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct DaemonStopping {
        /// Why.
        pub reason: String,
    }
}

/// Default for events of earlier releases, which lack the field.
fn was_clean() -> bool {
    true
}
