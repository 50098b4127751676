//! The result of a check, and the formatting of its number.
use super::level::Thresholds;
use crate::domain::Level;
use crate::tools::system_metrics::tenth;

/// The result of one check.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) level: Level,
    pub(super) value: Option<f64>,
    pub(super) unit: Option<&'static str>,
    pub(super) title: String,
}

impl Measured {
    /// A failed measurement, which is a critical finding.
    pub(super) fn failed(title: impl Into<String>) -> Self {
        Self { level: Level::Crit, value: None, unit: None, title: title.into() }
    }

    /// A value judged by its thresholds. The title includes the threshold that applies.
    pub(super) fn judged(thresholds: &Thresholds, value: f64, unit: &'static str, title: String) -> Self {
        let level = thresholds.level(value);
        let title = match thresholds.crossed(level) {
            Some((word, bound)) => format!("{title} ({word} at {} {unit})", plain(bound)),
            None => title,
        };
        Self { level, value: Some(value), unit: Some(unit), title }
    }
}

/// Formats a number for a title: at most one decimal, or two below 10.
pub(super) fn plain(value: f64) -> String {
    if value.abs() < 10.0 && value.fract() != 0.0 {
        // Loads differ in their second decimal.
        return format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    tenth(value).to_string()
}
