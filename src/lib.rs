//! Schedules autonomous agents. The index of the house, roughly bottom-up. `MAY_USE` in
//! `tests/it/layers` says which modules each one may use, and the test enforces it.

// What tests need to pass on any machine.
#[cfg(test)]
mod testing;
// Words: plain values. No I/O, no clock, no task.
pub mod domain;
// What time it is, for those who may know.
pub mod clock;
// Calls that block a thread, and what a task said when it panicked.
mod blocking;
// Which file an address of SQLite means.
mod sqlite_file;
// Decisions: pure functions and machines over the words.
pub mod engine;
// The second pure machine: how a conversation with a model goes on.
pub mod conversation;
// What agents will cost: pure.
pub mod forecast;
// What a person configures.
pub mod config;
// The wire: what client and daemon say to each other.
pub mod protocol;
// Agent programs: how each is called, what it prints, what its end means.
pub mod agent_program;
// What keeps programs in.
pub mod sandbox;
// Reaching out: programs, HTTP, the way out of a sandbox, secrets.
pub mod child;
pub mod net;
pub mod proxy;
pub mod secret;
// Servers of PostgreSQL and of Redis: their address, encryption, the connection.
pub mod postgres;
pub mod redis;
// Objects in S3-compatible storage.
pub mod s3;
// Programs and addresses that offer tools of their own.
pub mod mcp;
// Durability: facts to rows and back, in SQLite or PostgreSQL.
pub mod store;
// Whether what keeps programs in holds.
pub mod doctor;
// Models: one request, one answer, in each provider's words.
pub mod llm;
// What agents remember in Redis.
pub mod redis_memory;
// Limits on calls of tools and on questions to archives: time, size, panics, secrets.
mod bounded;
// Rows that are old: to cheaper storage, and back.
pub mod archive;
// What agents use, and how people are told.
pub mod notify;
pub mod tools;
// Where else events go.
pub mod export;
// What is told of the fleet to programs that watch it.
pub mod telemetry;
// How attempts happen.
pub mod runner;
// The client's side of the wire.
pub mod client;
// What needs a person, and in which order.
pub mod overview;
// The shell: the only place where decisions, durability and effects meet.
pub mod daemon;
// What is read, as text for a screen.
mod render;
// The fleet on a full screen.
pub mod top;
// The page for the browser.
pub mod web;
// Changes that are proposed, and wait for a person.
pub mod proposal;
// The fleet for assistants: an MCP server.
pub mod assistant;
// What a person types and sees.
pub mod cli;
