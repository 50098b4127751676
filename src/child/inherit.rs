//! Which part of the daemon's environment programs inherit: a single list, since it is security-relevant.
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What every program needs. Contains nothing that leads to a socket of the user's session.
const BASICS: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];
/// Prefix of all locale variables (locale(7)).
const LOCALE_PREFIX: &str = "LC_";
/// Variables that lead to the desktop and the service manager of the user's session.
const SESSION: [&str; 5] =
    ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"];
/// The search path if the daemon itself has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables by name.
pub type Environment = BTreeMap<OsString, OsString>;

/// Which part of the daemon's environment a program inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// All of it: for a program that provides a secret, such as a password store with its own agent.
    Everything,
    /// `PATH`, `HOME`, `USER`, `LANG`, `LC_*`, `TZ` and `TMPDIR`: for whatever an agent runs.
    Basics,
    /// Those, and variables of the user's session: for `notify-send` and `systemctl --user`.
    Session,
}

impl Inherit {
    /// Returns the variables, from this process's environment.
    pub fn environment(self) -> Environment {
        self.of(std::env::vars_os())
    }

    fn of(self, all: impl Iterator<Item = (OsString, OsString)>) -> Environment {
        let mut kept: Environment = all.filter(|(name, _)| self.has(name)).collect();
        kept.entry("PATH".into()).or_insert_with(|| PATH.into());
        kept
    }

    fn has(self, name: &OsStr) -> bool {
        let is_among = |names: &[&str]| names.iter().any(|wanted| name == *wanted);
        let is_basic =
            || is_among(&BASICS) || name.to_str().is_some_and(|name| name.starts_with(LOCALE_PREFIX));
        match self {
            Self::Everything => true,
            Self::Basics => is_basic(),
            Self::Session => is_basic() || is_among(&SESSION),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is inherited.
    use super::*;

    fn names(inherit: Inherit, given: &[&str]) -> Vec<String> {
        let all = given.iter().map(|name| (OsString::from(name), OsString::from("1")));
        inherit.of(all).into_keys().map(|name| name.into_string().expect("it was given as text")).collect()
    }

    #[test]
    fn secrets_and_sockets_stay_with_the_daemon() {
        let given = [
            "API_KEY",
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            "HOME",
            "HOMER",
            "LANG",
            "LC_ALL",
            "LD_PRELOAD",
            "PATH",
            "SSH_AUTH_SOCK",
            "TMPDIR",
            "TZ",
            "USER",
            "XDG_RUNTIME_DIR",
        ];
        let basics = ["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER"];
        assert_eq!(names(Inherit::Basics, &given), basics);
        let session = names(Inherit::Session, &given);
        for name in given {
            let is_of_session = matches!(name, "DBUS_SESSION_BUS_ADDRESS" | "DISPLAY" | "XDG_RUNTIME_DIR");
            assert_eq!(
                session.iter().any(|kept| kept == name),
                basics.contains(&name) || is_of_session,
                "{name}"
            );
        }
        assert_eq!(names(Inherit::Everything, &given), given);
    }

    #[test]
    fn programs_are_found_without_a_path() {
        let kept = Inherit::Basics.of(std::iter::empty());
        assert_eq!(kept, Environment::from([("PATH".into(), PATH.into())]));
    }
}
