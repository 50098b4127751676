//! Settings and arguments of the `shell` tool.
use super::arguments::{CallSchema, arguments};
use super::files::shown_roots;
use crate::domain::sandbox::SandboxSetting;
use crate::domain::secret_ref::TextOrSecret;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The allowed programs, and how they run.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellSettings {
    /// The programs, by the names that callers use.
    pub commands: BTreeMap<String, ShellCommand>,
    /// Working folder.
    pub cwd: PathBuf,
    /// That is the folder of the configuration, since nothing was said of it.
    pub default_cwd: bool,
    /// Added to the cleared environment.
    pub env: BTreeMap<String, TextOrSecret>,
    /// Timeout of a program.
    pub timeout: SignedDuration,
    /// Bytes kept of each output stream.
    pub max_output: u64,
    /// Sandbox of each program; on unless it is turned off.
    pub sandbox: SandboxSetting,
}

impl ShellArg {
    /// Returns the literal text; `None` for a parameter.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Parameter { .. } => None,
        }
    }
}

impl ShellSettings {
    /// Default of `timeout`.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(30);
    /// Default of `max_output`.
    pub const MAX_OUTPUT: u64 = 64 << 10;
    /// Maximum of `max_output`: larger values are reduced to this.
    pub const LARGEST_MAX_OUTPUT: u64 = 128 << 10;

    /// Returns the names of the commands that only read.
    pub fn reads(&self) -> Vec<String> {
        self.commands.iter().filter(|(_, command)| command.read).map(|(name, _)| name.clone()).collect()
    }
}

/// A program, and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellCommand {
    /// Absolute path of the program.
    pub exec: String,
    pub args: Vec<ShellArg>,
    /// Absolute paths of folders that path parameters are restricted to.
    pub under: Vec<PathBuf>,
    /// It only reads.
    pub read: bool,
    /// Description for a model.
    pub description: Option<String>,
}

/// An argument of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum ShellArg {
    /// Literal text.
    Text(String),
    /// A value from the caller. It is always exactly one argument, whatever it contains.
    Parameter {
        name: String,
        /// Allowed values.
        kind: ParameterKind,
    },
}

arguments! {
    /// One command.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ShellArgs {
        /// Its name.
        pub command: String,
        /// Values of the command's parameters, by name.
        #[serde(default)]
        pub params: BTreeMap<String, Value>,
    }
}

impl ShellArgs {
    /// Returns the arguments of a call of an instance; without settings there are no commands.
    pub fn schema(settings: Option<&ShellSettings>) -> CallSchema {
        let none = BTreeMap::new();
        let commands = settings.map_or(&none, |settings| &settings.commands);
        let usage: Vec<String> = commands.iter().map(|(name, command)| command.usage(name)).collect();
        CallSchema::of::<Self>().only("command", commands.keys()).describe("command", usage.join("; "))
    }
}

impl ShellCommand {
    /// Returns its usage under this name, for a model: `df(path: path beneath /data): free space`.
    fn usage(&self, name: &str) -> String {
        let parameter = |arg: &ShellArg| {
            let ShellArg::Parameter { name, kind } = arg else { return None };
            Some(match kind {
                ParameterKind::Text => name.to_owned(),
                ParameterKind::Whole => format!("{name}: whole number, 0 or more"),
                ParameterKind::Between { least, most } => {
                    format!("{name}: whole number from {least} to {most}")
                }
                ParameterKind::Path => format!("{name}: path beneath {}", shown_roots(&self.under, " or ")),
                ParameterKind::OneOf(words) => format!("{name}: {}", words.join(" or ")),
            })
        };
        let parameters: Vec<String> = self.args.iter().filter_map(parameter).collect();
        let what = self.description.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        format!("{name}({}){what}", parameters.join(", "))
    }
}

/// The allowed values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// A text that is not an option.
    Text,
    /// A non-negative integer.
    Whole,
    /// An integer in this range, both ends included.
    Between { least: i64, most: i64 },
    /// An existing or new path below the folders of [`ShellCommand::under`], without symbolic links.
    Path,
    /// One of these words.
    OneOf(Vec<String>),
}

impl ShellArg {
    /// Parses `{name:type}`, or any text. Braces without a name, such as those of find(1) and awk(1), are text.
    ///
    /// # Errors
    /// A parameter that is only a part of the argument, or has an unknown type.
    pub fn parse(arg: &str) -> Result<Self, String> {
        let is_name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let text = || Ok(Self::Text(arg.to_owned()));
        let Some((before, rest)) = arg.split_once('{') else { return text() };
        let Some((inside, after)) = rest.split_once('}') else { return text() };
        let (name, kind) = inside.split_once(':').unwrap_or((inside, "string"));
        if !is_name(name) {
            return text();
        }
        if !before.is_empty() || !after.is_empty() {
            return Err(format!("`{{{inside}}}` is only a part of this argument"));
        }
        let kind = match kind {
            "string" => ParameterKind::Text,
            "int" => ParameterKind::Whole,
            range if range.starts_with("int(") => between(range)?,
            "path" => ParameterKind::Path,
            words if words.contains('|') && words.split('|').all(|word| !word.is_empty()) => {
                ParameterKind::OneOf(words.split('|').map(str::to_owned).collect())
            }
            _ => {
                return Err(format!(
                    "`{kind}` is not a type of a parameter: use string, int, int(-5..5), path or a|b"
                ));
            }
        };
        Ok(Self::Parameter { name: name.to_owned(), kind })
    }
}

/// Parses `int(-5..5)`.
fn between(kind: &str) -> Result<ParameterKind, String> {
    let range = kind.strip_prefix("int(").and_then(|rest| rest.strip_suffix(')'));
    let ends = range.and_then(|range| range.split_once(".."));
    let number = |text: &str| text.trim().parse::<i64>().ok();
    match ends.and_then(|(least, most)| Some((number(least)?, number(most)?))) {
        Some((least, most)) if least <= most => Ok(ParameterKind::Between { least, most }),
        Some((least, most)) => Err(format!("`{kind}` holds no number: {least} is more than {most}")),
        None => {
            Err(format!("`{kind}` is not a range of whole numbers: write int(0..100), both ends included"))
        }
    }
}

#[cfg(test)]
mod tests {
    //! What is a parameter, and what is a text.
    use super::*;

    #[test]
    fn a_parameter_is_a_whole_argument_of_a_known_type() {
        let parameter = |kind| Ok(ShellArg::Parameter { name: "x".into(), kind });
        let words = ParameterKind::OneOf(vec!["low".into(), "high".into()]);
        for (arg, parsed) in [
            ("{x}", parameter(ParameterKind::Text)),
            ("{x:string}", parameter(ParameterKind::Text)),
            ("{x:int}", parameter(ParameterKind::Whole)),
            ("{x:int(-5..5)}", parameter(ParameterKind::Between { least: -5, most: 5 })),
            ("{x:int(0 .. 100)}", parameter(ParameterKind::Between { least: 0, most: 100 })),
            ("{x:path}", parameter(ParameterKind::Path)),
            ("{x:low|high}", parameter(words)),
        ] {
            assert_eq!(ShellArg::parse(arg), parsed, "{arg}");
        }
        for text in ["", "-h", "{}", "{ print $1 }", "a{1}", "{x", "x}"] {
            assert_eq!(ShellArg::parse(text), Ok(ShellArg::Text(text.into())));
        }
        for wrong in [
            "--path={x:path}",
            "{x:path}/y",
            "{x:int(5..-5)}",
            "{x:int(..5)}",
            "{x:int(1)}",
            "{x:int(a..b)}",
            "{x:int(1..2}",
            "{x:flag}",
            "{x:a||b}",
            "{x:}",
        ] {
            assert!(ShellArg::parse(wrong).is_err(), "{wrong}");
        }
    }
}
