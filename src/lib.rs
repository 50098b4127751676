//! Schedules autonomous agents. The index of the modules, roughly bottom-up. `MAY_USE` in `tests/it/layers` says which modules
//! each one may use, and the test enforces it.

// What tests need to pass on any machine.
#[cfg(test)]
mod testing;
// Vocabulary: plain values. No I/O, no clock, no task.
pub mod domain;
// The current time.
pub mod clock;
// Calls that block a thread, and panic messages of tasks.
mod blocking;
// What is in the folder of a skill.
mod skill_folder;
// Which file an address of SQLite means.
mod sqlite_file;
// Decisions: pure functions and machines over the vocabulary.
pub mod engine;
// The second pure machine: the course of a conversation with a model.
pub mod conversation;
// Cost estimates for agents: pure.
pub mod forecast;
// The configuration.
pub mod config;
// The protocol between client and daemon.
pub mod protocol;
// Agent programs: how each is invoked, its output, and how its end is judged.
pub mod agent_program;
// Confinement of programs.
pub mod sandbox;
// Outbound access: programs, HTTP, the egress proxy of a sandbox, secrets.
pub mod child;
pub mod net;
pub mod proxy;
pub mod secret;
// PostgreSQL and Redis servers: addresses, encryption, connections.
pub mod postgres;
pub mod redis;
// Objects in S3-compatible storage.
pub mod s3;
// Programs and addresses that offer tools of their own.
pub mod mcp;
// Durability: facts to rows and back, in SQLite or PostgreSQL.
pub mod store;
// Whether sandboxes work on this machine.
pub mod doctor;
// Models: one request, one answer, in each provider's format.
pub mod llm;
// The memory of agents in Redis.
pub mod redis_memory;
// Limits on tool calls and archive queries: time, size, panics, secrets.
mod bounded;
// Old rows: to cheaper storage, and back.
pub mod archive;
// The tools of agents, and notifications of people.
pub mod notify;
pub mod tools;
// Copies of events for other systems.
pub mod export;
// Metrics and traces.
pub mod telemetry;
// Execution of attempts.
pub mod runner;
// The client's side of the protocol.
pub mod client;
// What needs a person, and in which order.
pub mod overview;
// The shell: the only place where decisions, durability and effects meet.
pub mod daemon;
// Text output for a terminal.
mod render;
// The full-screen view of the fleet.
pub mod top;
// The page for the browser.
pub mod web;
// Proposed changes that wait for a person.
pub mod proposal;
// The fleet for assistants: an MCP server.
pub mod assistant;
// The command line.
pub mod cli;
