//! What a method is, and what is said of it.
use crate::domain::{Described, Shape, doc_text};
use serde::{Serialize, de::DeserializeOwned};
#[cfg(test)]
use serde_json::Value;

/// A method: its name on the wire, what it takes, what it gives.
pub trait Method {
    /// Name on the wire.
    const NAME: &'static str;
    /// Parameters, an object.
    type Params: Serialize + DeserializeOwned + Described;
    /// Result.
    type Reply: Serialize + DeserializeOwned + Described;
}

/// Methods that belong together.
pub(super) struct MethodGroup {
    pub title: &'static str,
    pub about: &'static str,
    pub methods: Vec<MethodAbout>,
}

/// What is said of a method.
pub(super) struct MethodAbout {
    pub name: &'static str,
    pub about: String,
    pub params: Shape,
    pub reply: Shape,
    /// Parameters and an answer, read by their types and written again.
    #[cfg(test)]
    pub rewritten: fn(&Value, &Value) -> serde_json::Result<(Value, Value)>,
}

impl MethodAbout {
    /// Of a method with this doc comment.
    pub(super) fn of<M: Method>(about: &[&str]) -> Self {
        Self {
            name: M::NAME,
            about: doc_text(about),
            params: M::Params::shape(),
            reply: M::Reply::shape(),
            #[cfg(test)]
            rewritten: rewritten::<M>,
        }
    }
}

#[cfg(test)]
fn rewritten<M: Method>(params: &Value, reply: &Value) -> serde_json::Result<(Value, Value)> {
    let params: M::Params = serde_json::from_value(params.clone())?;
    let reply: M::Reply = serde_json::from_value(reply.clone())?;
    Ok((serde_json::to_value(params)?, serde_json::to_value(reply)?))
}
