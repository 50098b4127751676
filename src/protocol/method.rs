//! What a method is.
use serde::{Serialize, de::DeserializeOwned};

/// A method: its name on the wire, what it takes, what it gives.
pub trait Method {
    /// Name on the wire.
    const NAME: &'static str;
    /// Parameters, an object.
    type Params: Serialize + DeserializeOwned;
    /// Result.
    type Reply: Serialize + DeserializeOwned;
}
