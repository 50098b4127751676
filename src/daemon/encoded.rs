//! Encoded answers.
use crate::protocol::RpcError;
use serde_json::value::RawValue;

/// An answer serialized for the wire.
pub(super) type Encoded = Result<Box<RawValue>, RpcError>;
