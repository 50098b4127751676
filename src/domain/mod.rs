//! The vocabulary of `bgagent`, each word with one meaning, and the calendar arithmetic on it.
//!
//! Plain values only: no I/O, no clock, no tasks, and no dependency on the floors above. All data exchanged between
//! floors has these types.
mod active_times;
mod address;
mod agent;
mod agent_state;
mod ahead;
mod applied_config;
mod approval;
mod backfill;
mod calendar;
mod chat;
mod counted;
mod cron;
mod deliver;
mod described;
mod duration;
mod event;
mod excerpt;
pub mod expected;
mod export;
mod fact;
mod file_trigger;
mod fleet;
mod glob;
mod hex;
mod host;
mod ical;
pub mod identity;
mod ids;
mod incident;
mod json_schema;
mod loose_json;
mod lost;
mod mcp_trigger;
mod memory;
mod misleading;
mod nearest;
mod net_target;
mod node;
mod notice;
pub mod novelty;
mod object_key;
mod output;
mod panics;
mod params;
mod ping;
mod price;
mod private_host;
mod provider;
mod quiet;
mod record;
mod redis;
mod remembered;
mod rights;
mod run;
mod run_error;
mod runner;
mod sandbox;
mod secret_ref;
mod service;
mod shell_word;
mod size;
mod skill;
mod slot;
mod store_spec;
mod talk;
mod telemetry;
pub mod template;
mod time;
mod tokens;
mod tokens_said;
mod tool;
mod tool_names;
mod tool_use;
mod trace;
mod usage;
mod walled;
mod webhook;
mod words;

pub use active_times::{ActiveTimes, CalendarSpec, Hours, NamedPeriods};
pub use address::{AddressPattern, addresses_in, host_pattern, is_address, is_named};
pub use agent::{
    AgentSpec, Backoff, Body, CatchUp, CatchUpPolicy, Check, CheckBody, CircuitSpec, CommandSpec,
    EventTrigger, FirstRun, History, Join, JoinStatus, Limits, NotifySpec, Overlap, QuerySpec, RetrySpec,
    Schedule, TellOn, ToolCallSpec, WhenCutOff,
};
pub use agent_state::{Activity, Desired, Health, Held};
pub use ahead::{Ahead, AheadRow, Judged, LookAhead, Taken};
pub use applied_config::AppliedConfig;
pub use approval::{AnsweredBy, QuestionRecord, call_hash};
pub use backfill::{BackfillRecord, PastSlot};
pub use calendar::{Calendar, jitter_of};
pub use chat::{
    ChatMessage, Finish, ModelAnswer, ModelError, ModelRequest, ModelTurn, ReadsWhen, Step, Tokens, ToolDef,
    ToolOffer, ToolReply, ToolRequest, WorstCase,
};
pub use counted::counted;
pub use cron::{ClockChange, CronError, CronSchedule};

pub use deliver::{DeliverSpec, DeliveryFacts, rest_of};
pub use described::{Described, Field, Object, Shape, Tagged, Words};
pub(crate) use described::{described, snake_case, text as doc_text};
pub use duration::parse_duration;
pub use event::*;
pub use excerpt::{LengthUnit, cut_at_sentence, is_unseen, one_line, quoted, shortened};
pub use expected::{Compare, Expect};
pub use export::{ExportState, RedisSpec, StreamFormat, StreamFrom};
pub use fact::{AgentChange, CachedFeed, Entry, Fact};
pub use file_trigger::{FileTrigger, FoundFile};
pub use fleet::{
    BudgetSpec, DaemonSpec, Effort, EmailSpec, FallbackOn, Fleet, McpEffect, McpSpec, ModelSpec,
    NotifyTarget, NotifyTargetKind, Price, ReloadMode, RequestSettings, Retention, ServiceSpec, SmtpTls,
    ToolSpec, WebhookSpec,
};
pub use glob::{glob, is_glob};
pub use hex::hex;
pub use host::HostPattern;
pub use ical::{CalendarError, Events, Period};
pub use ids::{AgentId, ConfigHash, InvalidAgentId, InvalidRunId, RunId, Seq};
pub use incident::{Diagnosis, Finding, FoundBy, IncidentRecord, Level, Severity};
pub use json_schema::{check_schema, fits_part, fits_schema};
pub use loose_json::{JsonMistakes, MOST_NESTED, is_deeper, read_json, repaired_json};
pub use mcp_trigger::McpTrigger;
pub use memory::{Memory, MemoryMode, MemoryStore};
pub use misleading::{is_invisible, is_misleading};
pub use nearest::{distance, nearest};
pub use net_target::NetTarget;
pub use node::{
    InvalidNodeName, Labels, LiveNode, NodeName, NodeSpec, NodeWanted, PlacedAt, labels_in_words,
};
pub use notice::{Notice, NoticeState, Urgency};
pub use output::{CapturedOutput, OutputChunk, Stream};
pub use panics::panic_text;
pub use params::{ParamDefault, ParamSpec, ParamType, ParamValues, ParamsSpec, params_in_words};
pub use ping::{PingSignal, PingSpec};
pub use private_host::PrivateHost;
pub use provider::Provider;

pub use lost::LostRecords;
pub use object_key::check_object_key;
pub use price::cost;
pub use quiet::QuietHours;
pub use record::{ALL_WELL, AgentRecord, CircuitRecord, Counters, LastRun, Process, ProcessRole, RunRecord};
pub use redis::{RedisAddress, RedisMemorySpec, RedisSection, RedisServer};
pub use remembered::{
    MAX_RUNS_KEPT, MemoryPlace, MemoryPlaceChange, MemoryPlaceContent, StoredMessages, StoredNote,
};
pub use rights::{Rights, RightsOf};
pub use run::{AttemptEnd, AttemptOutcome, RunMode, RunStatus, Trigger};
pub use run_error::{ErrorKind, RunError};
pub use runner::{
    KeepBranch, MCP, OUTCOMES, PERMISSION, PermissionDefault, PermissionKind, PermissionRule, Permissions,
    Preset, PresetFile, PresetMcp, PresetTools, PresetWire, QUERY, RepositorySpec, ResumePolicy, RunnerAuth,
    RunnerPreset, RunnerProtocol, RunnerQuery, RunnerSpec, RunnerVersion, SESSION, WORK, Workspace,
    holds_repository,
};
pub use sandbox::{Control, ProgramOwner, Sandbox, SandboxLimits, SandboxSetting};
pub use secret_ref::{EnvValue, SecretRef, TextOrSecret};
pub use service::{Escaping, NotifyType, SERVICES, ServicePreset};
pub use shell_word::shell_word;
pub use size::{human_bytes, size};
pub use skill::{NoSkill, READ_SKILL, SKILL_FILE, SkillHead, SkillSpec};
pub use slot::Verdict;
pub use store_spec::{Durability, StoreSpec};
pub use talk::{
    ApprovalRecord, ApprovalWanted, ArchiveState, ArchiveStep, BudgetNotice, BudgetTold, HoldRecord,
    LastResult, MemoryChange, Note, Said, SessionRow, SpentRow, Talk,
};
pub use telemetry::TelemetrySpec;
pub use time::{Gap, Now, human_duration, micros, timestamp_of_micros, to_micros};
pub use tokens::{
    MIN_OUTPUT_TOKENS, frame_at_most, json_at_most, messages_at_most, text_at_least, text_at_most,
    tokens_at_most,
};
pub use tokens_said::tokens_said;
pub use tool::assistant;
pub use tool::{
    AnswerForm, ArchiveSettings, ArchiveSource, ArchiveTarget, CallSchema, ChosenHeaders, Database,
    DiskMetric, Effect, FeedArgs, FeedLogin, FeedSettings, FilesArgs, FilesOp, FilesSettings, Guarded,
    HttpArgs, HttpBody, HttpMethod, HttpSettings, MAX_TOOL_RESULT_BYTES, MetricsArgs, OneOrMany,
    OutgoingData, Outward, ParameterKind, Plain, ProbeCheck, ProbeSettings, ProbeTarget, ProbeType, Property,
    RecallArgs, RememberArgs, ReportArgs, ReportSeverity, S3Args, S3Op, S3Settings, ShellArg, ShellArgs,
    ShellCommand, ShellSettings, Since, SqlArgs, SqlParams, SqlSettings, TimeUnit, ToolError, ToolInfo,
    ToolKind, ToolMode, ToolSettings, WebCheck, shown_roots,
};
pub use tool_names::ToolNames;
pub use tool_use::{Approval, ApprovalRoute, HandedTools, ToolUse};
pub use trace::{SpanId, traceparent};
pub use usage::{Usage, rounded};
pub use walled::{NamedProgram, Walled};
pub use webhook::{HookScheme, HookSpec};
pub use words::Word;
pub(crate) use words::words;
