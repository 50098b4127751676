//! The protocol between client and daemon: JSON-RPC 2.0, one message per line (section 10).
//!
//! The table of methods (`methods`) defines the protocol. Its types belong to the wire alone: they
//! change with the contract, not with internals. Transport is left to `client` and `daemon`.
//! `docs/PROTOCOL.md` is generated from this room.
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
