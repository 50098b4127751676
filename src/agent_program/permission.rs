//! Whether an agent program may use a tool of its own, by the `permissions` of its agent.
use super::shell_command::simple_commands;
use crate::domain::{
    PermissionDefault, PermissionKind, PermissionRule, Permissions, Preset, PresetTools, glob,
};
use serde_json::Value;

/// What is said to a program that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Allow,
    /// A person is to say.
    Ask,
    /// It may not: why.
    Deny(String),
}

/// Judges the use of a tool. A command is read as its shell would read it, and each part of it is judged: one that a rule to ask
/// names is asked about, and all must be allowed. Of one that can't be read, only a rule for all commands says anything.
pub fn permit(permissions: &Permissions, preset: &Preset, tool: &str, input: &Value) -> Permit {
    let by_default = |what: String| match permissions.default {
        PermissionDefault::Allow => Permit::Allow,
        PermissionDefault::Deny => Permit::Deny(format!(
            "{what} is not among what this agent may do (`permissions`). Don't try it in another way; go on without it, and \
             say in your answer what you would have done."
        )),
    };
    let Some(kind) = kind_of(preset, tool) else { return by_default(format!("the tool `{tool}`")) };
    let of_kind = |rules: &[PermissionRule]| -> Vec<PermissionRule> {
        rules.iter().filter(|rule| rule.kind == kind).cloned().collect()
    };
    let (ask, allow) = (of_kind(&permissions.ask), of_kind(&permissions.allow));
    if kind != PermissionKind::Execute {
        return match (ask.is_empty(), allow.is_empty()) {
            (false, _) => Permit::Ask,
            (true, false) => Permit::Allow,
            (true, true) => by_default(format!("`{kind}`")),
        };
    }
    let line = input.get("command").and_then(Value::as_str).unwrap_or_default();
    let Some(commands) = simple_commands(line) else {
        // it may hold what is to be asked about
        if !ask.is_empty() {
            return Permit::Ask;
        }
        return match allow.iter().any(|rule| rule.pattern.is_none()) {
            true => Permit::Allow,
            false => by_default(
                "a command that can't be judged by reading it (write plain commands, without expansions, \
                                 redirections and the like)"
                    .into(),
            ),
        };
    };
    let is_named = |rules: &[PermissionRule], command: &str| {
        rules.iter().any(|rule| rule.pattern.as_ref().is_none_or(|pattern| glob(pattern, command)))
    };
    let commands: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
    if commands.iter().any(|command| is_named(&ask, command)) {
        return Permit::Ask;
    }
    match commands.iter().find(|command| !is_named(&allow, command)) {
        None => Permit::Allow,
        Some(other) => by_default(format!("the command `{other}`")),
    }
}

/// What a tool of a program is for.
fn kind_of(preset: &Preset, tool: &str) -> Option<PermissionKind> {
    let PresetTools::Listed { by_kind, .. } = &preset.tools else { return None };
    by_kind.iter().find(|(_, tools)| tools.contains(&tool)).map(|(kind, _)| *kind)
}

/// Is this the use that was allowed? What a program says about it beside that may differ.
pub fn is_same_use(allowed: &Value, asked: &Value) -> bool {
    let plain = |input: &Value| {
        let mut input = input.clone();
        if let Some(fields) = input.as_object_mut() {
            fields.remove("description");
        }
        input
    };
    plain(allowed) == plain(asked)
}

#[cfg(test)]
mod tests {
    //! Tests of what is allowed.
    use super::*;
    use crate::domain::RunnerPreset;
    use serde_json::json;

    fn rules(words: &[&str]) -> Vec<PermissionRule> {
        words.iter().map(|word| PermissionRule::parse(word).expect("a rule")).collect()
    }

    #[test]
    fn a_command_is_judged_by_each_of_its_parts() {
        let permissions = Permissions {
            default: PermissionDefault::Deny,
            allow: rules(&["read", "edit", "execute:cargo test*", "execute:git status"]),
            ask: rules(&["execute:git push*"]),
        };
        let preset = Preset::of(RunnerPreset::Claude);
        let bash = |line: &str| permit(&permissions, preset, "Bash", &json!({"command": line}));
        for allowed in ["cargo test", "cargo test -q --workspace", "git status && cargo test"] {
            assert_eq!(bash(allowed), Permit::Allow, "{allowed}");
        }
        for asked in ["git push", "git push origin main", "cargo test && git push", "cargo test $(git push)"]
        {
            assert_eq!(bash(asked), Permit::Ask, "{asked}");
        }
        for denied in ["rm -rf x", "cargo test; rm x", "git status -s", "cargo build"] {
            assert!(matches!(bash(denied), Permit::Deny(why) if why.contains("permissions")), "{denied}");
        }
        assert_eq!(permit(&permissions, preset, "Read", &json!({})), Permit::Allow);
        assert!(matches!(permit(&permissions, preset, "WebFetch", &json!({})), Permit::Deny(_)));
        assert!(matches!(permit(&permissions, preset, "Unknown", &json!({})), Permit::Deny(_)));
    }

    #[test]
    fn what_can_not_be_read_is_not_taken_for_allowed() {
        let preset = Preset::of(RunnerPreset::Claude);
        let judged = |default, allow: &[&str], line: &str| {
            let permissions = Permissions { default, allow: rules(allow), ask: Vec::new() };
            permit(&permissions, preset, "Bash", &json!({"command": line}))
        };
        assert!(matches!(judged(PermissionDefault::Deny, &["execute:*"], "echo $(x)"), Permit::Deny(_)));
        assert_eq!(judged(PermissionDefault::Deny, &["execute"], "echo $(x)"), Permit::Allow);
        assert_eq!(judged(PermissionDefault::Allow, &[], "echo $(x)"), Permit::Allow);
    }

    #[test]
    fn a_use_is_known_by_what_it_does() {
        let one = json!({"command": "git push", "description": "Push it"});
        assert!(is_same_use(&one, &json!({"command": "git push", "description": "Now push"})));
        assert!(!is_same_use(&one, &json!({"command": "git push --force"})));
        assert!(!is_same_use(&one, &json!({"command": "git push", "run_in_background": true})));
    }
}
