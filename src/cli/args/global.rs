//! Flags that every command takes.
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print JSON: one document, or one object per line if it streams
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file [default: agents.toml in the configuration folder] [env: BGAGENT_CONFIG]
    #[arg(long, global = true, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// State folder: database, lock [env: BGAGENT_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR", value_parser = path(), value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Socket of the daemon [default: the one that the daemon of the state folder names] [env: BGAGENT_SOCKET]
    #[arg(long, global = true, value_name = "PATH", value_parser = path(), value_hint = ValueHint::AnyPath)]
    pub socket: Option<PathBuf>,
    /// Apply a configuration from anywhere, and each change of it, without `bgagent trust`
    #[arg(long, global = true)]
    pub trust: bool,
    /// Whether `--config` was given, rather than its variable.
    #[arg(skip)]
    pub config_is_named: bool,
    /// When to use colours; `auto` honours NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub color: ColorWhen,
}

/// A path that is not empty: `--state-dir ""` comes of a variable that a script forgot to set, and the default
/// in its place would be somebody else's.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.is_empty() {
        true => Err("it is empty; leave the flag out for the default, or give a path"),
        false => Ok(PathBuf::from(text)),
    })
}

impl Global {
    /// Takes from the environment what no flag gives. A variable that is empty is one that is not set.
    pub fn with_variables(self) -> Self {
        let or = |path: Option<PathBuf>, name: &str| {
            path.or_else(|| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from))
        };
        Self {
            config_is_named: self.config.is_some(),
            config: or(self.config, "BGAGENT_CONFIG"),
            state_dir: or(self.state_dir, "BGAGENT_STATE_DIR"),
            socket: or(self.socket, "BGAGENT_SOCKET"),
            ..self
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
