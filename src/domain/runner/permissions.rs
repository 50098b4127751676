//! Permissions of an agent program for its own tools.
use super::words::{PermissionDefault, PermissionKind};
use std::fmt;

/// What an agent program is allowed within its sandbox, which applies in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Applies to everything not listed.
    pub default: PermissionDefault,
    /// Allowed although the default is `deny`.
    pub allow: Vec<PermissionRule>,
    /// Requires approval, whatever else allows it.
    pub ask: Vec<PermissionRule>,
}

impl Permissions {
    /// Returns whether each use of a tool must be judged individually. Otherwise restricting the program's list of
    /// tools suffices.
    pub fn are_judged(&self) -> bool {
        !self.ask.is_empty() || self.allow.iter().any(|rule| rule.pattern.is_some())
    }

    /// Returns a pattern that requires approval for some commands although every command is allowed, so that it can
    /// be evaded by writing the command differently; `None`: there is none.
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

    /// Returns whether it may use tools of this kind in some cases.
    pub fn leave(&self, kind: PermissionKind) -> bool {
        self.default == PermissionDefault::Allow
            || self.allow.iter().chain(&self.ask).any(|rule| rule.kind == kind)
    }
}

/// One entry of `allow` or `ask`: `read`, or `execute:cargo test*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRule {
    pub kind: PermissionKind,
    /// Restricts the rule to commands that these globs match word by word; a trailing `*` also matches all further
    /// words. `None`: all of the kind.
    pub pattern: Option<String>,
}

impl PermissionRule {
    /// Parses the displayed form. `None`: the kind is unknown, or there is nothing after the colon.
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
