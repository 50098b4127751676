//! One file of data for each agent program. Each was tested with the version that it names.
mod claude;
mod codex;
mod gemini;
mod goose;
mod opencode;

use super::preset::Preset;
use super::words::RunnerPreset;

impl Preset {
    /// Returns the preset of this name.
    pub const fn of(name: RunnerPreset) -> &'static Self {
        match name {
            RunnerPreset::Claude => &claude::PRESET,
            RunnerPreset::Codex => &codex::PRESET,
            RunnerPreset::Opencode => &opencode::PRESET,
            RunnerPreset::Gemini => &gemini::PRESET,
            RunnerPreset::Goose => &goose::PRESET,
        }
    }
}
