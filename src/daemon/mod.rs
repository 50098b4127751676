//! The shell: turns external events into inputs, and decisions into effects. Decide, commit, act.
//!
//! The layers meet here, and nothing is decided here: what is due and allowed is left to `engine`,
//! durability to `store`, execution to `runner`, presentation to `cli`.
mod act;
mod applying;
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
mod folder_safety;
mod forward;
mod handlers;
mod hearing;
mod house;
mod hung;
mod in_force;
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
mod room;
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
