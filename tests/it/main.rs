//! One test binary: it links once. Each file is a room; `support` and `checker` are shared.
mod agents;
mod calendar;
mod checker;
mod cli;
mod cli_generated;
mod crash;
mod faults;
mod layers;
mod simulation;
mod sql;
mod support;
mod wire;
