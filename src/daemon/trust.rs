//! Decides which configurations are applied without a person: those in the configuration folder,
//! and others that a person has trusted.
use crate::config::{
    Asked, Loaded, Paths, Rejected, TrustBook, Trusted, not_trusted, rights_beyond, untrusted_skills,
};
use std::path::{Path, PathBuf};

/// The check that a file must pass before it is applied.
#[derive(Debug, Clone)]
pub(super) struct TrustGate {
    asked: Asked,
    book: PathBuf,
}

impl TrustGate {
    pub(super) fn of(paths: &Paths, asked: Asked) -> Self {
        Self { asked, book: paths.trust_book() }
    }

    /// Checks a file at the start, and on `reload`. A file named on the command line is wanted as
    /// it is then, and is recorded as trusted.
    pub(super) fn admit_asked(&self, loaded: Loaded) -> Result<Loaded, Box<Rejected>> {
        let file = loaded.fleet.path.clone();
        if self.asked != Asked::Named || Paths::is_home(&file) {
            return self.admit(loaded);
        }
        let trusted = Trusted::of(&loaded, crate::clock::wall());
        // without that it is wanted all the same; what it changes to later is asked for again
        if let Err(error) = TrustBook::trust(&self.book, &file, trusted) {
            tracing::warn!(%error, "{} can't be written", self.book.display());
        }
        let loaded = self.marked(loaded);
        tracing::info!("{} is trusted as it is now; further rights need `bgagent trust`", file.display());
        Ok(loaded)
    }

    /// Checks a file that has changed.
    pub(super) fn admit(&self, loaded: Loaded) -> Result<Loaded, Box<Rejected>> {
        if self.asked == Asked::Trust || Paths::is_home(&loaded.fleet.path) {
            return Ok(self.marked(loaded));
        }
        let beyond = rights_beyond(&loaded, self.book().get(&loaded.fleet.path));
        if beyond.is_empty() { Ok(self.marked(loaded)) } else { Err(not_trusted(loaded, &beyond)) }
    }

    /// With the skills that nobody has trusted as they are, wherever the file lies: they are not used.
    fn marked(&self, mut loaded: Loaded) -> Loaded {
        let has_skills = loaded.fleet.agents.iter().any(|agent| !agent.body.skills().is_empty());
        if self.asked != Asked::Trust && has_skills {
            let book = self.book();
            let untrusted = untrusted_skills(&loaded.fleet, book.get(&loaded.fleet.path));
            let digests = untrusted.iter().map(|(_, skill)| skill.digest.clone()).collect();
            loaded.fleet.untrusted_skills = digests;
        }
        loaded
    }

    fn book(&self) -> TrustBook {
        TrustBook::read(&self.book).unwrap_or_else(|error| {
            tracing::warn!(%error, "{} can't be read: nothing is trusted", self.book.display());
            TrustBook::default()
        })
    }
}

/// Returns the message for a file that is not applied.
pub(super) fn refusal(path: &Path) -> String {
    format!(
        "{} is not in the configuration folder and may do more than a person has approved",
        path.display()
    )
}
