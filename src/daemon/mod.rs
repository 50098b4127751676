//! The shell: turns the world into inputs, decisions into effects. Decide, commit, act.
//!
//! Here the floors meet and nothing is decided: what is due and allowed is left to `engine`, how to
//! keep it to `store`, how to run it to `runner`, how to show it to `cli`.
mod act;
mod clock;
mod counting;
mod desk;
mod encoded;
mod event_loop;
mod explain;
mod exports;
mod failure;
mod files;
mod flow;
mod forward;
mod ground;
mod handlers;
mod hearing;
mod house;
mod inbox;
mod listen;
mod lock;
mod log;
mod mailbox;
mod nodes;
mod offline;
mod open_files;
mod outbox;
mod own_id;
mod pings;
mod placed;
mod polling;
mod reading;
mod remembering;
mod retention;
mod services;
mod session;
mod signals;
mod snapshot;
mod sources;
mod standby;
mod start;
mod systemd;
mod telemetry;
mod traces;
mod trust;
mod views;
mod watch;
mod webhooks;

pub use lock::DaemonFile;
pub use offline::{Refusal, move_records, reset, restore};
pub use reading::Records;
pub use start::{DaemonOptions, run};
