//! One test binary: it links once. Each file is a room; `support`, `checker` and `rng` are shared.
mod agents;
mod archive;
mod calendar;
mod checker;
mod cli;
mod cli_generated;
mod crash;
mod endpoint;
mod faults;
mod fuzz;
mod health;
mod layers;
mod llm;
mod mcp;
mod moto;
mod news;
mod postgres;
mod programs;
mod rng;
mod s3;
#[cfg(target_os = "linux")]
mod service;
mod simulation;
mod sql;
mod support;
mod thinking;
mod wire;
