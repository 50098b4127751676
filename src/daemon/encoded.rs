//! An answer as it goes over the line.
use crate::protocol::RpcError;
use serde_json::value::RawValue;

/// An answer as it goes over the line.
pub(super) type Encoded = Result<Box<RawValue>, RpcError>;
