//! Whether an agent program may use one of its own tools, by the `permissions` of its agent.
use super::shell_command::simple_commands;
use crate::domain::{
    PermissionDefault, PermissionKind, PermissionRule, Permissions, Preset, PresetTools, glob,
};
use serde_json::Value;

/// The decision about a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    Allow,
    /// It needs approval.
    Ask,
    /// It is denied, for this reason.
    Deny(String),
}

/// Decides about the use of a tool. A command line is parsed like in its shell, and each simple command is judged: if an `ask`
/// rule matches any, approval is needed, and all must be allowed. If it can't be parsed, only a rule for all commands applies.
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
        // it may contain a command that needs approval
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
    let is_asked = |words: &Vec<String>| {
        ask.iter().any(|rule| rule.pattern.as_deref().is_none_or(|pattern| could_match(pattern, words)))
    };
    let is_allowed = |words: &Vec<String>| {
        allow.iter().any(|rule| rule.pattern.as_deref().is_none_or(|pattern| matches_command(pattern, words)))
    };
    if commands.iter().any(is_asked) {
        return Permit::Ask;
    }
    match commands.iter().find(|words| !is_allowed(words)) {
        None => Permit::Allow,
        Some(other) => by_default(format!("the command `{}`", other.join(" "))),
    }
}

/// Returns whether an allowing pattern matches this command. It is compared word by word, so that one word is never taken for
/// several: a `*` at the end matches any further words, one elsewhere matches text within a word.
fn matches_command(pattern: &str, words: &[String]) -> bool {
    let pattern: Vec<&str> = pattern.split(' ').collect();
    let (Some(name), Some(meant)) = (words.first(), pattern.first()) else { return false };
    matches_name(meant, name) && matches_words(&pattern, words)
}

/// Returns whether a pattern matches a command name. A name is looked up in the daemon's `PATH`, a path is not: so a path is
/// only matched if the pattern contains it.
fn matches_name(meant: &str, name: &str) -> bool {
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return false;
    }
    // any command at all
    if meant == "*" {
        return true;
    }
    let (meant, name): (Vec<&str>, Vec<&str>) = (meant.split('/').collect(), name.split('/').collect());
    let is_part = |(meant, name): (&&str, &&str)| match *name {
        "." | ".." | "" => meant == name,
        name => glob(meant, name),
    };
    meant.len() == name.len() && meant.iter().zip(&name).all(is_part)
}

fn matches_words(pattern: &[&str], words: &[String]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        ([last], [word, ..]) if last.ends_with('*') => glob(last, word),
        ([one, pattern @ ..], [word, words @ ..]) => glob(one, word) && matches_words(pattern, words),
        _ => false,
    }
}

/// Returns whether an `ask` pattern could match this command, however it is written. Asking too often is harmless.
fn could_match(pattern: &str, words: &[String]) -> bool {
    let Some((name, others)) = words.split_first() else { return false };
    let plain = name.rsplit('/').next().unwrap_or_default();
    let in_one = |name: &str| {
        std::iter::once(name).chain(others.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    };
    [name.as_str(), plain].iter().any(|name| glob(pattern, &in_one(name))) || matches_command(pattern, words)
}

/// Returns the kind of a program's tool.
fn kind_of(preset: &Preset, tool: &str) -> Option<PermissionKind> {
    let PresetTools::Listed { by_kind, .. } = &preset.tools else { return None };
    by_kind.iter().find(|(_, tools)| tools.contains(&tool)).map(|(kind, _)| *kind)
}

/// Returns whether this is the use that was approved. The program's description of it may differ.
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
    fn a_pattern_is_read_word_by_word() {
        let preset = Preset::of(RunnerPreset::Claude);
        let judged = |allow: &[&str], line: &str| {
            let permissions =
                Permissions { default: PermissionDefault::Deny, allow: rules(allow), ask: Vec::new() };
            permit(&permissions, preset, "Bash", &json!({"command": line}))
        };
        let ls = &["execute:ls *"][..];
        let scripts = &["execute:./scripts/* --dry"][..];
        for (allow, line) in [
            (ls, "ls -l src"),
            (ls, "ls 'a b'"),
            (&["execute:grep * src"], "grep 'two words' src"),
            (&["execute:*"], "/bin/ls"),
            (&["execute:./deploy.sh*"], "./deploy.sh --now"),
            (scripts, "./scripts/lint --dry"),
        ] {
            assert_eq!(judged(allow, line), Permit::Allow, "{allow:?} {line}");
        }
        for (allow, line) in [
            (ls, "'ls /../../../../bin/sh' -c 'touch /tmp/pwned'"),
            (ls, "'ls /x'"),
            (ls, "'ls\n/bin/sh' x"),
            (ls, "ls"),
            (ls, "/tmp/ls x"),
            (ls, "./ls x"),
            (&["execute:l*"], "lib/evil"),
            (&["execute:*s"], "./evil/ls"),
            (&["execute:*"], "'ls /bin/sh' -c x"),
            (&["execute:git * status"], "git -c core.fsmonitor=./evil status"),
            (&["execute:grep * src"], "grep a /etc src"),
            (scripts, "./scripts/../evil --dry"),
            (scripts, "./scripts/a/b --dry"),
            (scripts, "/scripts/lint --dry"),
            (scripts, "./scripts/lint --dry --not"),
        ] {
            assert!(matches!(judged(allow, line), Permit::Deny(_)), "{allow:?} {line}");
        }
    }

    #[test]
    fn what_could_be_what_a_person_is_asked_about_is_asked_about() {
        let permissions = Permissions {
            default: PermissionDefault::Allow,
            allow: rules(&["execute"]),
            ask: rules(&["execute:git push*"]),
        };
        let preset = Preset::of(RunnerPreset::Claude);
        for line in [
            "git push",
            "/usr/bin/git push",
            "./git push -f",
            "'git' 'push'",
            "'git push'",
            "ls && git  push",
        ] {
            let judged = permit(&permissions, preset, "Bash", &json!({"command": line}));
            assert_eq!(judged, Permit::Ask, "{line}");
        }
    }

    #[test]
    fn a_use_is_known_by_what_it_does() {
        let one = json!({"command": "git push", "description": "Push it"});
        assert!(is_same_use(&one, &json!({"command": "git push", "description": "Now push"})));
        assert!(!is_same_use(&one, &json!({"command": "git push --force"})));
        assert!(!is_same_use(&one, &json!({"command": "git push", "run_in_background": true})));
    }
}
