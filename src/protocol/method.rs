//! The trait of methods, and their descriptions for the reference.
use crate::domain::{Described, Shape, doc_text};
use serde::{Serialize, de::DeserializeOwned};
#[cfg(test)]
use serde_json::Value;

/// A method: its name on the wire, its parameters and its result.
pub trait Method {
    /// Name on the wire.
    const NAME: &'static str;
    /// Parameters; always an object.
    type Params: Serialize + DeserializeOwned + Described;
    type Reply: Serialize + DeserializeOwned + Described;
}

/// A group of related methods.
pub(super) struct MethodGroup {
    pub title: &'static str,
    pub about: &'static str,
    pub methods: Vec<MethodDescription>,
}

/// The description of a method.
pub(super) struct MethodDescription {
    pub name: &'static str,
    pub about: String,
    pub params: Shape,
    pub reply: Shape,
    /// Parses parameters and a reply with their types and serializes them again.
    #[cfg(test)]
    pub rewritten: fn(&Value, &Value) -> serde_json::Result<(Value, Value)>,
}

impl MethodDescription {
    /// Describes a method with this doc comment.
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
