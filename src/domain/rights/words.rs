//! Wording of rights: each line contains everything that matters for one right, and different rights have different
//! lines.
use crate::domain::agent::{CommandSpec, ToolCallSpec};
use crate::domain::sandbox::{Sandbox, SandboxLimits};
use crate::domain::secret_ref::{EnvValue, SecretRef, TextOrSecret};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rights of one agent, tool, server, model or receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsOf {
    /// Permissions, such as `runs df -h in /home/u`.
    pub may: BTreeSet<String>,
    /// Restrictions, such as `asks a person before it calls shell`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<String>,
}

impl RightsOf {
    pub(super) fn may(&mut self, line: impl Into<String>) {
        self.may.insert(line.into());
    }

    pub(super) fn held(&mut self, line: impl Into<String>) {
        self.held.insert(line.into());
    }
}

pub(super) fn headers(all: &BTreeMap<String, TextOrSecret>, rights: &mut RightsOf) {
    for (name, sent) in all {
        rights.may(format!("is sent the header {}: {}", word(name), value(sent)));
    }
}

pub(super) fn runs(command: &CommandSpec) -> String {
    let stdin = command.stdin.as_ref().map(|text| format!(", reading {text:?}")).unwrap_or_default();
    let cwd = word_of(&command.cwd);
    format!("runs {} in {cwd}{}{stdin}", program(&command.argv), with_env(&command.env))
}

/// Adds the rights and limits of a sandbox, in which `what` runs; nothing without one.
pub(super) fn walls(what: &str, sandbox: Option<&Sandbox>, rights: &mut RightsOf) {
    let Some(Sandbox { read, write, exec, net, unix, limits }) = sandbox else { return };
    rights.held(format!("keeps {what} in a sandbox"));
    let lists = [("reads", read), ("writes", write), ("connects to the socket", unix)];
    for (does, path) in lists.into_iter().flat_map(|(does, all)| all.iter().map(move |path| (does, path))) {
        rights.may(format!("{does} {} in the sandbox of {what}", word_of(path)));
    }
    for target in net {
        rights.may(format!("connects to {target} from the sandbox of {what}"));
    }
    if let Some(exec) = exec {
        rights.held(format!("executes only what is listed in the sandbox of {what}"));
        for path in exec {
            rights.may(format!("executes {} in the sandbox of {what}", word_of(path)));
        }
    }
    if *limits != SandboxLimits::default() {
        rights.held(format!("limits {what} to {}", limits_in_words(limits)));
    }
}

fn limits_in_words(limits: &SandboxLimits) -> String {
    let cpu = limits.cpu.map(|span| span.as_secs().unsigned_abs());
    let SandboxLimits { processes, memory, open_files, file_size, cpu: _ } = *limits;
    let all = [
        ("processes", processes),
        ("bytes of memory", memory),
        ("open files", open_files),
        ("bytes of a file", file_size),
        ("seconds on a processor", cpu),
    ];
    let said = all.into_iter().filter_map(|(what, most)| Some(format!("{} {what}", most?)));
    said.collect::<Vec<_>>().join(", ")
}

pub(super) fn calls(call: &ToolCallSpec) -> String {
    match call.args.as_object().is_some_and(serde_json::Map::is_empty) {
        true => format!("calls {}", word(&call.tool)),
        false => format!("calls {} with {}", word(&call.tool), call.args),
    }
}

/// Formats a program with its arguments unambiguously.
pub(super) fn program(argv: &[String]) -> String {
    match argv {
        [shell, c, line] if shell == "/bin/sh" && c == "-c" => format!("by the shell {line:?}"),
        argv => argv.iter().map(|arg| word(arg)).collect::<Vec<_>>().join(" "),
    }
}

pub(super) fn with_env(env: &BTreeMap<String, EnvValue>) -> String {
    let all: Vec<String> = env.iter().map(|(name, set)| format!("{}={}", word(name), value(set))).collect();
    if all.is_empty() { String::new() } else { format!(" with {}", all.join(" ")) }
}

pub(super) fn value(value: &TextOrSecret) -> String {
    match value {
        TextOrSecret::Text(text) => word(text),
        TextOrSecret::Secret(found) => secret(found),
    }
}

pub(super) fn secret(found: &SecretRef) -> String {
    match found {
        SecretRef::Env(name) => format!("the secret in the variable {}", word(name)),
        SecretRef::File(path) => format!("the secret in the file {}", word_of(path)),
        SecretRef::Credential(name) => format!("the secret {} of the service", word(name)),
        SecretRef::Command(argv) => format!("the secret that comes from running {}", program(argv)),
    }
}

pub(super) fn word_of(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// Returns a text unchanged if it is a single word, otherwise quoted: so equal lines have equal meanings.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=*?~^[]{}<>#&;!|$()".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}
