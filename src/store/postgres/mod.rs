//! PostgreSQL: a schema of a database on a server, for fleets that outgrow the disk of one machine.
mod durability;
mod fence;
mod mailbox;
mod migrations;
mod node;
mod node_link;
mod nodes;
mod open;
mod server;
mod session;
mod size;
mod values;
mod waiting;
mod work;
mod writer;

pub(super) use fence::leader;
pub use mailbox::{
    CallAnswer, CallAnswers, CallsOf, ForwardedCall, MAX_ANSWERS, Posted, TakenCall, Withdrawn,
};
pub use node_link::{NODE_RENEWAL_INTERVAL, NodeDescription, NodeJoined, NodeLink, UncertainError};
pub(super) use nodes::nobody_may_lead;
pub(super) use open::{Side, open, open_alone, to_read};
pub(super) use server::StoreServer;
pub use work::{TakenReport, WorkOrder, Workers};
pub(super) use writer::Leader;
