//! Thresholds, and the level of a value by them. Higher is always worse.
use crate::domain::Level;

/// The thresholds of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Thresholds {
    warn: Option<f64>,
    crit: Option<f64>,
    clear: Option<f64>,
}

impl Thresholds {
    /// Creates thresholds, with defaults for missing ones. A default that contradicts a given threshold is
    /// left out: `warn = 95` alone means that there is no `crit` at 90.
    pub(super) fn new(
        warn: Option<f64>,
        crit: Option<f64>,
        clear: Option<f64>,
        defaults: Option<(f64, f64)>,
    ) -> Result<Self, String> {
        if let (Some(warn), Some(crit)) = (warn, crit)
            && warn > crit
        {
            return Err(format!("`warn` ({warn}) must not be above `crit` ({crit})"));
        }
        let thresholds = Self {
            warn: warn.or_else(|| {
                defaults.map(|(warn, _)| warn).filter(|warn| crit.is_none_or(|crit| *warn < crit))
            }),
            crit: crit.or_else(|| {
                defaults.map(|(_, crit)| crit).filter(|crit| warn.is_none_or(|warn| warn < *crit))
            }),
            clear,
        };
        match (clear, thresholds.lowest()) {
            (Some(clear), Some((word, lowest))) if clear > lowest => {
                Err(format!("`clear` ({clear}) must not be above `{word}` ({lowest})"))
            }
            (Some(_), None) => Err("`clear` needs `warn` or `crit`".into()),
            _ => Ok(thresholds),
        }
    }

    /// Returns the level of a value.
    pub(super) fn level(&self, value: f64) -> Level {
        if self.crit.is_some_and(|crit| value >= crit) {
            Level::Crit
        } else if self.warn.is_some_and(|warn| value >= warn) {
            Level::Warn
        } else if self.clear.is_some_and(|clear| value > clear) {
            Level::Hold
        } else {
            Level::Ok
        }
    }

    /// Returns the threshold that a value of this level exceeds, and its name.
    pub(super) fn crossed(&self, level: Level) -> Option<(&'static str, f64)> {
        match level {
            Level::Ok => None,
            Level::Hold => self.clear.map(|bound| ("clear", bound)),
            Level::Warn => self.warn.map(|bound| ("warn", bound)),
            Level::Crit => self.crit.map(|bound| ("crit", bound)),
        }
    }

    fn lowest(&self) -> Option<(&'static str, f64)> {
        self.warn.map(|warn| ("warn", warn)).or(self.crit.map(|crit| ("crit", crit)))
    }
}
