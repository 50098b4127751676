//! Properties of tools.
use super::outward::Outward;
use super::words::Effect;
use crate::domain::{ReadsWhen, ToolDef, ToolOffer};
use serde_json::Value;

/// The properties of a tool that are known without calling it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    pub name: String,
    /// The built-in tool that it is an instance of, if any.
    pub kind: Option<String>,
    /// The worst effect that a call may have.
    pub effect: Effect,
    /// Calls that only read although the tool can do more.
    pub reads_when: Option<ReadsWhen>,
    /// Its results come from outside: data, never instructions.
    pub untrusted: bool,
    /// A call uses all the time it is given: outside of a conversation it gets all that its run has left.
    pub takes_all_time: bool,
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// False: the description by its MCP server can't be used.
    pub available: bool,
}

impl ToolInfo {
    /// Returns the offer to a conversation, as far as it is known without settings and server.
    pub fn offer(&self) -> ToolOffer {
        ToolOffer {
            def: ToolDef {
                name: self.name.clone(),
                description: self.description.clone(),
                schema: self.schema.clone(),
            },
            effect: self.effect,
            reads_when: self.reads_when.clone(),
            untrusted: self.untrusted,
            private: false,
            outward: Outward::Nothing,
            server: None,
        }
    }

    /// Returns the worst effect that a call with these arguments may have.
    pub fn effect_of(&self, args: &Value) -> Effect {
        match &self.reads_when {
            Some(reads) if reads.holds(args) => Effect::Read,
            _ => self.effect,
        }
    }
}

/// Maximum length of a call's result, in bytes of JSON.
pub const MAX_TOOL_RESULT_BYTES: usize = 256 << 10;
