//! Which configurations are taken up without a person: those in the configuration folder, and of others what somebody
//! has said yes to.
use crate::config::{Asked, Loaded, Paths, Rejected, TrustBook, Trusted, beyond_trust, not_trusted};
use std::path::{Path, PathBuf};

/// What stands between a file and its being in force.
#[derive(Debug, Clone)]
pub(super) struct TrustGate {
    asked: Asked,
    book: PathBuf,
}

impl TrustGate {
    pub(super) fn of(paths: &Paths, asked: Asked) -> Self {
        Self { asked, book: paths.trust_book() }
    }

    /// At the start, and when somebody says `reload`. What somebody has named on the command line they want as it is then, and
    /// it is written down as trusted.
    pub(super) fn admit_asked(&self, loaded: Loaded) -> Result<Loaded, Box<Rejected>> {
        let file = &loaded.fleet.path;
        if self.asked != Asked::Named || Paths::is_home(file) {
            return self.admit(loaded);
        }
        let trusted = Trusted::of(&loaded, crate::clock::wall());
        // without that it is wanted all the same; what it changes to later is asked for again
        if let Err(error) = TrustBook::trust(&self.book, file, trusted) {
            tracing::warn!(%error, "{} can't be written", self.book.display());
        }
        tracing::info!("{} is trusted as it is now; further rights need `bgagent trust`", file.display());
        Ok(loaded)
    }

    /// When the file has changed.
    pub(super) fn admit(&self, loaded: Loaded) -> Result<Loaded, Box<Rejected>> {
        if self.asked == Asked::Trust || Paths::is_home(&loaded.fleet.path) {
            return Ok(loaded);
        }
        let book = TrustBook::read(&self.book).unwrap_or_else(|error| {
            tracing::warn!(%error, "{} can't be read: nothing is trusted", self.book.display());
            TrustBook::default()
        });
        let beyond = beyond_trust(&loaded, book.get(&loaded.fleet.path));
        if beyond.is_empty() { Ok(loaded) } else { Err(not_trusted(loaded, &beyond)) }
    }
}

/// What is said of a file that is not taken up.
pub(super) fn refusal(path: &Path) -> String {
    format!(
        "{} is not in the configuration folder and may do more than a person has approved",
        path.display()
    )
}
