//! PostgreSQL: a schema of a database on a server, for fleets that outgrow one machine's disk.
mod durability;
mod fence;
mod migrations;
mod node;
mod open;
mod server;
mod session;
mod size;
mod values;
mod waiting;
mod writer;

pub(super) use fence::leader;
pub(super) use open::{Side, open, open_alone, to_read};
pub(super) use server::StoreServer;
pub(super) use writer::Leader;
