//! The text of `--version`. `main.rs` determines what it was built from, so that a new commit does not recompile this
//! library; the formatting is here.
use jiff::{Timestamp, tz::TimeZone};

/// What a program was built from, as far as known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The full hash of the commit.
    pub commit: Option<&'static str>,
    /// The date of the commit, or that of the build if the sources have no commit: `2026-11-30`.
    pub date: Option<String>,
    /// The sources had uncommitted changes.
    pub is_modified: bool,
}

impl Origin {
    /// Returns the date (UTC) of the build that `SOURCE_DATE_EPOCH` sets, in seconds since 1970. None if it is not such
    /// a number.
    pub fn day_of(epoch: &str) -> Option<String> {
        let at = Timestamp::from_second(epoch.trim().parse().ok()?).ok()?;
        Some(at.to_zoned(TimeZone::UTC).date().to_string())
    }

    /// Formats the version, `0.1.0 (1a2b3c4 2026-11-30)`, with less if less is known.
    pub(super) fn version(&self) -> String {
        let commit = self.commit.map(|hash| hash.get(..7).unwrap_or(hash));
        let known: Vec<&str> = commit.into_iter().chain(self.date.as_deref()).collect();
        let modified = if self.is_modified { ", modified" } else { "" };
        match known.is_empty() {
            true => env!("CARGO_PKG_VERSION").to_owned(),
            false => format!("{} ({}{modified})", env!("CARGO_PKG_VERSION"), known.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_is_known() {
        let commit = Some("1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d");
        let date = Some("2026-11-30".to_owned());
        for (origin, said) in [
            (Origin::default(), ""),
            (Origin { commit, ..Origin::default() }, " (1a2b3c4)"),
            (Origin { commit, date: date.clone(), is_modified: false }, " (1a2b3c4 2026-11-30)"),
            (Origin { commit, date: date.clone(), is_modified: true }, " (1a2b3c4 2026-11-30, modified)"),
            (Origin { commit: None, date, is_modified: false }, " (2026-11-30)"),
            (Origin { commit: Some("1a2b"), ..Origin::default() }, " (1a2b)"),
        ] {
            assert_eq!(origin.version(), format!("{}{said}", env!("CARGO_PKG_VERSION")));
        }
    }

    #[test]
    fn a_build_that_is_to_be_reproducible_has_the_day_that_it_is_told() {
        assert_eq!(Origin::day_of("0").as_deref(), Some("1970-01-01"));
        assert_eq!(Origin::day_of("1796083199\n").as_deref(), Some("2026-11-30"));
        assert_eq!(Origin::day_of(""), None);
        assert_eq!(Origin::day_of("yesterday"), None);
        assert_eq!(Origin::day_of("99999999999999"), None);
    }
}
