//! `bgagent top`: the fleet on a full screen.
use super::prelude::*;
use crate::cli::app::written;
use crate::cli::args::TopArgs;
use crate::top::{self, Theme, TopFailure, TopOptions};
use std::io::{self, IsTerminal};

pub(in crate::cli) fn run(app: &mut App, args: &TopArgs) -> Result<Outcome, Failure> {
    if app.json {
        let hint =
            "`bgagent list --json`, `bgagent incidents --json` and `bgagent tail --json` are for programs";
        return Err(Failure::usage_hint("`top` is for people and has no JSON", hint));
    }
    let address = app.address()?;
    let options = TopOptions {
        theme: Theme {
            color: app.screen.color,
            ascii: args.ascii || !is_utf8(|name| std::env::var(name).ok()),
        },
        read_only: args.read_only,
        zone: app.screen.zone.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        width: app.screen.width,
    };
    if args.once {
        let text = top::once(&address, &options)?;
        app.print(&text)?;
        return Ok(Outcome::Done);
    }
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let ended = if args.plain || is_dumb || !is_terminal {
        top::follow_lines(&address, &options, &mut app.out)
    } else {
        top::full_screen(&address, &options)
    };
    match ended {
        Ok(()) => Ok(Outcome::Done),
        Err(TopFailure::Client(error)) => Err(error.into()),
        Err(TopFailure::Io(error)) => Err(written(error)),
    }
}

/// Returns whether the locale is UTF-8 (locale(7)). If no variable is set, UTF-8 is assumed.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name));
    let locale = set.find(|value| !value.is_empty());
    locale.is_none_or(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    //! Tests of locales.
    use super::is_utf8;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let check = |set: &[(&str, &str)], expected: bool| {
            let of =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(is_utf8(of), expected, "{set:?}");
        };
        check(&[], true);
        check(&[("LANG", "C")], false);
        check(&[("LANG", "POSIX"), ("LC_CTYPE", "C.utf8")], true);
        check(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")], false);
        check(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "")], true);
        check(&[("LANG", "de_DE@euro")], false);
    }
}
