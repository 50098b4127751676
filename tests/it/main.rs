//! One test binary: it links once. Each file is a room; `support` and `checker` are shared.
mod agents;
mod calendar;
mod checker;
mod cli;
mod cli_generated;
mod crash;
mod endpoint;
mod faults;
mod layers;
mod llm;
mod mcp;
mod programs;
mod simulation;
mod sql;
mod support;
mod thinking;
mod wire;
