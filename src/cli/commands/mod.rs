//! One file per command, named after it. Each takes its arguments and the [`App`](super::App), calls the daemon, prints
//! the answer, and returns the outcome.
pub(super) mod accept;
pub(super) mod apply;
pub(super) mod approvals;
pub(super) mod archive;
pub(super) mod backfill;
pub(super) mod cancel;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod daemon;
pub(super) mod decide;
pub(super) mod doctor;
pub(super) mod forecast;
pub(super) mod health;
pub(super) mod incidents;
pub(super) mod init;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod man;
pub(super) mod mcp;
pub(super) mod memory;
pub(super) mod next;
pub(super) mod nodes;
pub(super) mod notify;
pub(super) mod pause;
pub(super) mod proposals;
pub(super) mod reject;
pub(super) mod reload;
pub(super) mod replay;
pub(super) mod resume;
pub(super) mod run;
pub(super) mod runner;
pub(super) mod runs;
pub(super) mod sandbox;
pub(super) mod schema;
pub(super) mod service;
pub(super) mod show;
pub(super) mod shutdown;
pub(super) mod skip;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod store;
pub(super) mod tail;
mod targets;
pub(super) mod tool;
pub(super) mod top;
pub(super) mod trust;
pub(super) mod ui;
pub(super) mod usage;
pub(super) mod why;

/// Imports that every command needs.
mod prelude {
    pub(super) use crate::cli::App;
    pub(super) use crate::cli::exit::{Failure, Outcome};
    pub(super) use crate::cli::render::{Cell, Screen, Table, Tone, plain};
}
