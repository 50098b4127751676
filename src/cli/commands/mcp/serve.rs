//! `bgagent mcp serve`: the MCP server for assistants. It connects to the daemon anew for each call, so a session
//! outlives daemons; while none runs, its records answer.
use crate::assistant::{CallDesk, CallTrouble, FleetPaths, Reach};
use crate::cli::App;
use crate::cli::app::{address_of, config_in_use, records_note, records_paths};
use crate::cli::args::Global;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::render::Screen;
use crate::cli::respondent::Respondent;
use crate::client::{Address, ClientError, Connection, Timeouts, holder};
use crate::config::Paths;
use crate::domain::assistant::AssistantMay;
use crate::domain::shell_word;
use crate::protocol::Method;
use std::path::PathBuf;

pub(super) fn run(app: &mut App, may: &[AssistantMay]) -> Result<Outcome, Failure> {
    let paths = app.paths()?.clone();
    let fleet = FleetHere { global: app.global.clone(), paths, screen: app.screen.clone() };
    crate::assistant::serve(fleet, may, std::io::stdin().lock(), std::io::stdout())
        .map_err(|cause| Failure::io("read from", "standard input".as_ref(), cause))?;
    Ok(Outcome::Done)
}

/// The fleet that the command line selects.
struct FleetHere {
    global: Global,
    paths: Paths,
    screen: Screen,
}

impl FleetHere {
    fn call_trouble(&self, failure: &Failure) -> CallTrouble {
        CallTrouble { what: failure.what(), hint: failure.hint(Some(&self.paths)) }
    }
}

impl CallDesk for Respondent {
    fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError> {
        Self::call::<M>(self, params)
    }
}

impl Reach for FleetHere {
    type CallDesk = Respondent;

    fn desk(&self) -> Result<(Respondent, Option<String>), CallTrouble> {
        let records = || records_paths(&self.paths, self.global.config.is_some());
        let found =
            Respondent::find(&address_of(&self.paths), records).map_err(|error| self.call_trouble(&error))?;
        let note = match &found {
            Respondent::Daemon(_) => None,
            Respondent::Records(records) => {
                let screen = Screen { now: crate::clock::wall(), ..self.screen.clone() };
                Some(records_note(records, &screen))
            }
        };
        Ok((found, note))
    }

    fn daemon(&self) -> Result<Connection, CallTrouble> {
        Connection::open(&address_of(&self.paths), Timeouts::default()).map_err(|error| self.trouble(error))
    }

    fn trouble(&self, error: ClientError) -> CallTrouble {
        self.call_trouble(&Failure::from(error))
    }

    fn place(&self) -> Result<FleetPaths, CallTrouble> {
        Ok(FleetPaths {
            config: config_in_use(&self.paths, self.global.config.is_some()),
            state_dir: self.paths.state_dir.clone(),
            is_of_agent: is_of_agent(&self.paths),
        })
    }

    fn command(&self, words: &[&str]) -> String {
        let mut command = vec!["bgagent".to_owned()];
        let flag = |name: &str, path: &Option<PathBuf>| {
            path.as_deref().map(|path| format!("{name} {}", shell_word(&path.display().to_string())))
        };
        let Global { config, state_dir, socket, .. } = &self.global;
        command.extend(
            [flag("--config", config), flag("--state-dir", state_dir), flag("--socket", socket)]
                .into_iter()
                .flatten(),
        );
        command.extend(words.iter().map(|word| (*word).to_owned()));
        command.join(" ")
    }
}

/// Returns whether an agent started this process, one of this state folder's daemon or of another.
///
/// A process in a PID namespace of its own can't see its ancestors, but the daemon can. So the daemon is asked, at its
/// own socket, even if another socket was given.
pub(in crate::cli) fn is_of_agent(paths: &Paths) -> bool {
    let holder = holder(&paths.state_dir);
    let asked = || {
        let address = Address { given: false, ..address_of(paths) };
        Connection::open(&address, Timeouts::default()).is_ok_and(|daemon| daemon.hello().of_agent)
    };
    let is_running = holder.is_some();
    crate::child::is_of_agent(holder.and_then(|holder| holder.pid)) || is_running && asked()
}
