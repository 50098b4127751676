//! How a program is invoked: its arguments, environment and files, with their placeholders filled.
use crate::domain::{PermissionDefault, Permissions, Preset, PresetTools, Provider, RunnerSpec};
use serde_json::{Map, Value};

/// The values of placeholders.
#[derive(Clone, Debug)]
pub struct LaunchPlaces<'a> {
    pub query: &'a str,
    /// The program's own session: a new one, or one to resume.
    pub session: &'a str,
    /// The provider's name of the model.
    pub model: &'a str,
    /// The meter's URL, without a trailing slash.
    pub meter: &'a str,
    /// The run's key for the meter.
    pub key: &'a str,
    /// The URL of the tools that are handed to it.
    pub mcp: &'a str,
    /// Whether any are.
    pub is_handed: bool,
    /// Maximum output of an answer, in tokens.
    pub output: u64,
    /// The run's home.
    pub home: &'a str,
    /// Its working directory.
    pub work: &'a str,
}

/// A program that is ready to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment variables in addition to those of all programs.
    pub env: Vec<(String, String)>,
    /// Files that are written into its home before the start: relative path, and text.
    pub files: Vec<(String, String)>,
}

/// Returns how to invoke a program. `resumes`: its session is resumed.
pub fn launch(
    spec: &RunnerSpec,
    provider: Provider,
    permissions: Option<&Permissions>,
    resumes: bool,
    places: &LaunchPlaces<'_>,
) -> Launch {
    let Some(preset) = spec.preset() else {
        let argv = spec.command.iter().map(|word| places.fill(word)).collect();
        return Launch { argv, ..Launch::default() };
    };
    let arguments = if resumes { preset.resume } else { preset.start };
    let (before, after) = arguments.split_at(options_end(arguments));
    let filled = |words: &[&str]| words.iter().map(|word| places.fill(word)).collect::<Vec<_>>();
    let mut argv = spec.command.clone();
    argv.extend(filled(before));
    argv.extend(held_tools(preset, permissions));
    let mcp = preset.mcp.as_ref().filter(|_| places.is_handed);
    argv.extend(filled(mcp.map_or(&[], |mcp| mcp.args)));
    if permissions.is_some_and(Permissions::are_judged) {
        argv.extend(filled(preset.judged));
    }
    argv.extend(filled(after));
    let wire = preset.wire(provider);
    let env = preset.env.iter().chain(wire.map_or(&[][..], |wire| wire.env));
    let env = env.chain(mcp.map_or(&[][..], |mcp| mcp.env));
    let files = preset.files.iter().chain(wire.map_or(&[][..], |wire| wire.files));
    let files = files.chain(mcp.map_or(&[][..], |mcp| mcp.files));
    Launch {
        argv,
        env: env.map(|(name, value)| ((*name).to_owned(), places.fill(value))).collect(),
        files: joined(files.map(|file| (file.path, places.fill_json(file.text)))),
    }
}

/// Merges files by path: keys of JSON objects are added, other texts are appended.
fn joined<'f>(texts: impl Iterator<Item = (&'f str, String)>) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for (path, text) in texts {
        match files.iter_mut().find(|(known, _)| known == path) {
            Some((_, before)) => {
                *before = with_keys(before, &text).unwrap_or_else(|| format!("{before}{text}"))
            }
            None => files.push((path.to_owned(), text)),
        }
    }
    files
}

/// Returns a JSON object with the keys of another one added; `None`: one of them is not an object.
fn with_keys(object: &str, more: &str) -> Option<String> {
    let mut object: Map<String, Value> = serde_json::from_str(object).ok()?;
    object.extend(serde_json::from_str::<Map<String, Value>>(more).ok()?);
    Some(Value::Object(object).to_string())
}

/// Returns the position after the options, where further ones are inserted.
fn options_end(arguments: &[&str]) -> usize {
    arguments.iter().position(|word| *word == "--").unwrap_or(0)
}

/// Returns the arguments that restrict a program to its allowed tools.
fn held_tools(preset: &Preset, permissions: Option<&Permissions>) -> Vec<String> {
    let held = permissions.filter(|permissions| permissions.default == PermissionDefault::Deny);
    let (Some(held), PresetTools::Listed { flags, by_kind }) = (held, &preset.tools) else {
        return Vec::new();
    };
    let left = by_kind.iter().filter(|(kind, _)| held.leave(*kind));
    let names: Vec<&str> = left.flat_map(|(_, names)| names.iter().copied()).collect();
    flags.iter().map(|flag| flag.replace("{tools}", &names.join(","))).collect()
}

impl LaunchPlaces<'_> {
    /// Fills the placeholders in a text. JSON remains valid.
    pub fn fill(&self, text: &str) -> String {
        if text.starts_with('{') && text.contains('"') {
            return self.fill_json(text);
        }
        self.filled(text, |value| value.to_owned())
    }

    /// Fills placeholders within quotes, as in JSON and TOML.
    fn fill_json(&self, text: &str) -> String {
        let escaped = |value: &str| {
            let quoted = serde_json::Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        self.filled(text, escaped)
    }

    /// Fills in a single pass: what was filled in is not expanded again.
    fn filled(&self, text: &str, write: impl Fn(&str) -> String) -> String {
        let output = self.output.to_string();
        let places = [
            ("{query}", self.query),
            ("{session}", self.session),
            ("{model}", self.model),
            ("{meter}", self.meter),
            ("{key}", self.key),
            ("{mcp}", self.mcp),
            ("{output}", output.as_str()),
            ("{home}", self.home),
            ("{work}", self.work),
        ];
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            filled.push_str(&rest[..open]);
            rest = &rest[open..];
            match places.iter().find(|(place, _)| rest.starts_with(place)) {
                Some((place, value)) => {
                    filled.push_str(&write(value));
                    rest = &rest[place.len()..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}
