//! `bgagent daemon`: runs the daemon in this process.
use crate::cli::args::{DaemonArgs, Global};
use crate::cli::service::LABEL;
use crate::config::{Asked, Paths};
use crate::daemon::DaemonOptions;
use std::io::IsTerminal;
use std::process::ExitCode;

pub(in crate::cli) fn run(global: &Global, args: &DaemonArgs, paths: Paths) -> ExitCode {
    let asked = asked(global, &Started::now());
    crate::daemon::run(DaemonOptions { paths, log_json: args.log_json, asked })
}

/// How this process was started.
#[derive(Debug, Default)]
struct Started {
    on_terminal: bool,
    /// `SYSTEMD_EXEC_PID` (since systemd 248): the process that the service manager started.
    by_systemd: Option<u32>,
    /// The pids of this process and of its parent.
    ours: Vec<u32>,
    /// `NOTIFY_SOCKET` and `INVOCATION_ID` are both set, for releases before 248. A single one may be inherited from a
    /// service, for example by the shells of a terminal program.
    has_unit: bool,
    /// `XPC_SERVICE_NAME` is the label of our launchd agent.
    by_launchd: bool,
}

impl Started {
    fn now() -> Self {
        let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let me = std::process::id();
        let parent =
            rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        Self {
            on_terminal: std::io::stdin().is_terminal(),
            by_systemd: std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|pid| pid.parse().ok()),
            ours: std::iter::once(me).chain(parent).collect(),
            has_unit: has("NOTIFY_SOCKET") && has("INVOCATION_ID"),
            by_launchd: std::env::var("XPC_SERVICE_NAME").is_ok_and(|name| name == LABEL),
        }
    }

    fn as_service(&self) -> bool {
        let by_systemd = self.by_systemd.map_or(self.has_unit, |pid| self.ours.contains(&pid));
        !self.on_terminal && (by_systemd || self.by_launchd)
    }
}

/// Determines whether a person asked for this configuration.
fn asked(global: &Global, started: &Started) -> Asked {
    match (global.trust, global.config_is_named && !started.as_service()) {
        (true, _) => Asked::Trust,
        (false, true) => Asked::Named,
        (false, false) => Asked::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_the_file_wants_it_and_a_service_does_not() {
        let named = Global { config_is_named: true, ..Global::default() };
        let of = |started: Started| asked(&named, &started);
        let ours = || vec![7, 6];
        assert_eq!(of(Started::default()), Asked::Named, "a script");
        assert_eq!(
            asked(&Global::default(), &Started::default()),
            Asked::No,
            "a variable, or the usual place"
        );
        assert_eq!(of(Started { by_systemd: Some(7), ours: ours(), ..Started::default() }), Asked::No);
        assert_eq!(
            of(Started { by_systemd: Some(6), ours: ours(), ..Started::default() }),
            Asked::No,
            "by a shell"
        );
        // a shell of a terminal program that is itself a service
        let inherits = Started { by_systemd: Some(3), ours: ours(), has_unit: true, ..Started::default() };
        assert_eq!(of(inherits), Asked::Named);
        assert_eq!(of(Started { has_unit: true, ..Started::default() }), Asked::No);
        assert_eq!(of(Started { has_unit: true, on_terminal: true, ..Started::default() }), Asked::Named);
        assert_eq!(of(Started { by_launchd: true, ..Started::default() }), Asked::No);
        let trusting = Global { trust: true, ..Global::default() };
        assert_eq!(asked(&trusting, &Started { has_unit: true, ..Started::default() }), Asked::Trust);
    }
}
