//! What client and daemon say to each other: JSON-RPC 2.0, one message per line (section 10).
//!
//! The whole protocol is the table of methods (`methods`). Its types are of the wire alone: they
//! change when the contract changes, whatever happens inside. Who carries the lines is left to
//! `client` and `daemon`. `docs/PROTOCOL.md` is written from here.
mod codec;
mod envelope;
mod method;
mod methods;
mod params;
mod reference;
pub mod rights;
mod views;

pub use codec::{LineError, LineReader, MAX_LINE};
pub use envelope::{
    Call, Code, Message, Notification, Response, RpcError, decode_call, noted_response_line,
    notification_line, response_line,
};
pub use method::Method;
pub use methods::*;
pub use params::*;
pub use reference::markdown;
pub use views::*;
