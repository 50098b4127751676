//! What is known of a tool.
use super::outward::Outward;
use super::words::Effect;
use crate::domain::{ReadsWhen, ToolDef, ToolOffer};
use serde_json::Value;

/// What is known of a tool without calling it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    pub name: String,
    /// Of which built-in tool it is an instance, if it is one.
    pub kind: Option<String>,
    /// What a call may do, at the worst.
    pub effect: Effect,
    /// Calls that only look although the tool can do more.
    pub reads_when: Option<ReadsWhen>,
    /// What it gives comes from the outside world: data, never instructions.
    pub untrusted: bool,
    /// A call does as much as its time allows: outside of a conversation it is given all that its run has left.
    pub takes_all_time: bool,
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// False: what an MCP server says of it can't be used.
    pub available: bool,
}

impl ToolInfo {
    /// The tool as it is offered to a conversation, as far as it is known without its settings and its server.
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

    /// What a call with these arguments may do, at the worst.
    pub fn effect_of(&self, args: &Value) -> Effect {
        match &self.reads_when {
            Some(reads) if reads.holds(args) => Effect::Read,
            _ => self.effect,
        }
    }
}

/// Longest result of a call, in bytes of JSON.
pub const MAX_TOOL_RESULT: usize = 256 << 10;
