//! What an agent program is allowed of what its own tools can do.
use super::words::{PermissionDefault, PermissionKind};
use std::fmt;

/// What of an agent program is allowed within its sandbox. The sandbox stands in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// What is not named.
    pub default: PermissionDefault,
    /// What it may although the default is `deny`.
    pub allow: Vec<PermissionRule>,
    /// What a person is asked about, whatever else allows it.
    pub ask: Vec<PermissionRule>,
}

impl Permissions {
    /// Must each use of a tool be judged when it comes? Else the program is held by the list of its tools.
    pub fn are_judged(&self) -> bool {
        !self.ask.is_empty() || self.allow.iter().any(|rule| rule.pattern.is_some())
    }

    /// The pattern that asks a person about commands although every command is allowed, so that the same done by a command that
    /// is written in another way is not asked about; `None`: there is none.
    pub fn asks_in_vain(&self) -> Option<&str> {
        let is_blanket = |rule: &PermissionRule| {
            rule.kind == PermissionKind::Execute
                && rule.pattern.as_deref().is_none_or(|pattern| pattern.starts_with('*'))
        };
        if self.default == PermissionDefault::Deny && !self.allow.iter().any(is_blanket) {
            return None;
        }
        self.ask.iter().find_map(|rule| rule.pattern.as_deref())
    }

    /// May it, now and then, use tools of this kind?
    pub fn leave(&self, kind: PermissionKind) -> bool {
        self.default == PermissionDefault::Allow
            || self.allow.iter().chain(&self.ask).any(|rule| rule.kind == kind)
    }
}

/// One entry of `allow` or `ask`: `read`, or `execute:cargo test*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRule {
    /// Of which kind.
    pub kind: PermissionKind,
    /// Only commands that these globs match, word by word, the last one with all that follows if it ends with `*`; `None`: all
    /// of the kind.
    pub pattern: Option<String>,
}

impl PermissionRule {
    /// The inverse of its display. `None`: no kind is named like that, or there is nothing behind the colon.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => Some(Self { kind: PermissionKind::parse(text)?, pattern: None }),
            Some((kind, pattern)) => {
                let pattern = pattern.split_whitespace().collect::<Vec<_>>().join(" ");
                let kind = PermissionKind::parse(kind)?;
                (!pattern.is_empty()).then_some(Self { kind, pattern: Some(pattern) })
            }
        }
    }
}

impl From<PermissionKind> for PermissionRule {
    fn from(kind: PermissionKind) -> Self {
        Self { kind, pattern: None }
    }
}

impl fmt::Display for PermissionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Some(pattern) => write!(f, "{}:{pattern}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}
