//! The context of every command: paths, the terminal, and the two output streams.
use super::args::{ColorWhen, Global};
use super::exit::Failure;
use super::render::{self, Screen};
use super::respondent::Respondent;
use crate::client::{Address, Connection, Timeouts};
use crate::config::{Context, Paths, RejectedFor};
use crate::daemon::Records;
use crate::domain::{ErrorKind, RunError, RunStatus};
use crate::protocol::{GetDaemonStatus, NoParams, RunView};
use crate::store::Where;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The context of every command: paths, the terminal, and the two output streams.
pub(super) struct App {
    pub(super) global: Global,
    pub(super) paths: Option<Paths>,
    pub(super) json: bool,
    /// The terminal of standard output.
    pub(super) screen: Screen,
    /// Whether standard error supports colours.
    pub(super) stderr_color: bool,
    /// Width of standard error in columns, if it is a terminal.
    stderr_width: Option<usize>,
    pub(super) out: io::BufWriter<io::Stdout>,
    /// No daemon runs; the answer came from its records.
    pub(super) is_at_rest: bool,
    /// Nor does a daemon elsewhere that uses these records.
    nothing_runs: bool,
}

impl App {
    pub(super) fn new(global: &Global) -> Self {
        let color = |auto: anstream::ColorChoice| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => auto != anstream::ColorChoice::Never,
        };
        let stdout = io::stdout();
        let tty = stdout.is_terminal();
        let width = tty.then(render::terminal_width);
        let screen = Screen {
            width,
            color: color(anstream::AutoStream::choice(&stdout)),
            now: crate::clock::wall(),
            zone: jiff::tz::TimeZone::system(),
            raw: false,
        };
        Self {
            global: global.clone(),
            paths: None,
            json: global.json,
            screen,
            stderr_color: color(anstream::AutoStream::choice(&io::stderr())),
            stderr_width: io::stderr().is_terminal().then(render::terminal_width),
            out: io::BufWriter::new(stdout),
            is_at_rest: false,
            nothing_runs: false,
        }
    }

    /// Returns where records are stored, according to the configuration.
    ///
    /// # Errors
    /// The configuration can't be read; or it is missing and there is no database file, so the records may be on a server.
    pub(super) fn records(&mut self) -> Result<Where, Failure> {
        let (now, named) = (self.screen.now, self.global.config.is_some());
        let paths = self.paths()?;
        let paths = records_paths(paths, named).unwrap_or_else(|_| paths.clone());
        let context = Context::system(now).of_state(&paths.state_dir);
        let file = paths.database();
        let rejected = match crate::config::load(&paths.config, &context) {
            Ok(loaded) => return Ok(Where { file, server: loaded.fleet.store.clone() }),
            Err(rejected) => rejected,
        };
        let is_missing = rejected.why == RejectedFor::Missing;
        if is_missing && (file.exists() || !paths.daemon_json().exists()) {
            return Ok(Where { file, server: None });
        }
        let word = if is_missing { "is missing" } else { "is not valid" };
        let config = paths.config.display();
        Err(Failure::Conflict {
            what: format!("it is not known where the records are: the configuration {config} {word}"),
            hint: format!("`bgagent check --config {config}` says what is wrong with it"),
        })
    }

    pub(super) fn paths(&mut self) -> Result<&Paths, Failure> {
        if self.paths.is_none() {
            let Global { config, state_dir, socket, .. } = self.global.clone();
            self.paths = Some(Paths::resolve(config, state_dir, socket).map_err(Failure::usage)?);
        }
        Ok(self.paths.as_ref().expect("it was set just now"))
    }

    pub(super) fn address(&mut self) -> Result<Address, Failure> {
        Ok(address_of(self.paths()?))
    }

    pub(super) fn connect(&mut self) -> Result<Connection, Failure> {
        Ok(Connection::open(&self.address()?, Timeouts::default())?)
    }

    /// Returns a respondent for read-only requests. If it is not the daemon, a note on standard error says so.
    pub(super) fn reading(&mut self) -> Result<Respondent, Failure> {
        let (address, paths) = (self.address()?, self.paths()?.clone());
        let named = self.global.config.is_some();
        let found = Respondent::find(&address, || records_paths(&paths, named))?;
        if let Respondent::Records(records) = &found {
            self.note(&records_note(records, &self.screen));
            self.is_at_rest = true;
            self.nothing_runs = records.leader.is_none();
        }
        Ok(found)
    }

    /// Corrects the status of a run: after the daemon was killed, its records still say that the run is in flight.
    pub(super) fn correct_status(&self, run: &mut RunView) {
        if self.nothing_runs && run.status == RunStatus::Running {
            run.status = RunStatus::Interrupted;
            let message =
                "the daemon ended while the run was in flight; its next start decides what becomes of it";
            run.error = Some(RunError::new(ErrorKind::Interrupted, message));
        }
    }

    /// Returns the path of the configuration in use: the one named, else that of the running daemon, else the default.
    pub(super) fn config_in_use(&mut self) -> Result<PathBuf, Failure> {
        let named = self.global.config.is_some();
        Ok(config_in_use(self.paths()?, named))
    }

    /// Writes text to standard output, unchanged.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(written)
    }

    /// Flushes standard output.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(written)
    }

    /// Prints a value as one line of JSON on standard output.
    pub(super) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| written(error.into()))?;
        self.print_json_text(&text)
    }

    /// Prints one line of text that is already JSON.
    pub(super) fn print_json_text(&mut self, text: &str) -> Result<(), Failure> {
        self.print(&render::plain_json(text))?;
        self.print("\n")
    }

    /// Prints a view: as JSON, or as text by `text`.
    pub(super) fn answer<T: Serialize>(
        &mut self,
        view: &T,
        text: impl FnOnce(&T, &Screen) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.print_json(view);
        }
        // ages are relative to the time of the answer, not to the start of this program
        self.screen.now = crate::clock::wall().max(self.screen.now);
        let text = text(view, &self.screen);
        self.print(&text)?;
        // on a terminal, notes on standard error must appear after the output that they refer to
        if self.screen.width.is_some() { self.flush() } else { Ok(()) }
    }

    /// Asks a yes/no question; anything but `y` counts as no. `None`: there is no terminal to ask on.
    pub(super) fn confirm(&mut self, question: &str) -> Result<Option<bool>, Failure> {
        if self.json || !io::stdin().is_terminal() {
            return Ok(None);
        }
        self.flush()?;
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|cause| Failure::io("read from", "standard input".as_ref(), cause))?;
        Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
    }

    /// Prints a line on standard error: a note, a warning, progress. Write errors are ignored.
    pub(super) fn note(&self, text: &str) {
        let _ = match self.stderr_width {
            Some(width) if !self.json => writeln!(io::stderr(), "{}", render::fold(text, width)),
            _ => writeln!(io::stderr(), "{text}"),
        };
    }

    pub(super) fn complain(&self, failure: &Failure) {
        if matches!(failure, Failure::BrokenPipe) {
            return;
        }
        if self.json {
            self.note(&render::plain_json(&failure.to_json(self.paths.as_ref()).to_string()));
        } else {
            self.note(failure.to_text(self.paths.as_ref()).trim_end());
        }
    }
}

/// Returns the paths with the configuration that the records belong to: one that is named, else that of the daemon that
/// wrote them. Another configuration would describe agents that are unrelated to the records.
///
/// # Errors
/// That configuration no longer exists.
pub(super) fn records_paths(paths: &Paths, is_named: bool) -> Result<Paths, Failure> {
    let known = paths.last_config().filter(|known| !is_named && *known != paths.config);
    let Some(known) = known else { return Ok(paths.clone()) };
    if known.exists() {
        return Ok(Paths { config: known, ..paths.clone() });
    }
    Err(Failure::Conflict {
        what: format!(
            "no daemon runs, and the records in {} are of a configuration that is gone: {}",
            paths.state_dir.display(),
            known.display()
        ),
        hint: "put it back, or name another one: --config FILE".into(),
    })
}

/// Returns the path of the configuration in use; see [`App::config_in_use`].
pub(super) fn config_in_use(paths: &Paths, is_named: bool) -> PathBuf {
    /// Timeout for asking a daemon which configuration it runs.
    const DAEMON_TIMEOUT: Duration = Duration::from_secs(2);
    let of_daemon = || {
        let mut connection = Connection::open(&address_of(paths), Timeouts::all(DAEMON_TIMEOUT)).ok()?;
        Some(PathBuf::from(connection.call::<GetDaemonStatus>(&NoParams {}).ok()?.config_path))
    };
    let of_daemon = if is_named { None } else { of_daemon() };
    of_daemon.unwrap_or_else(|| paths.config.clone())
}

/// Returns the note that the answer comes from the records instead of the daemon.
pub(super) fn records_note(records: &Records, screen: &Screen) -> String {
    if let Some(leader) = &records.leader {
        return format!("no daemon runs here, {leader} leads; what follows is from its records");
    }
    let away = records.down_since.map_or_else(
        || "the daemon is not running".to_owned(),
        |at| {
            let (at, ago) = (screen.short_local(at), screen.relative(at));
            format!("the daemon has not been running since about {at} ({ago})")
        },
    );
    let end = if records.clean { "" } else { "; it did not shut down cleanly" };
    format!("{away}{end}; what follows is from its records")
}

pub(super) fn address_of(paths: &Paths) -> Address {
    Address { socket: paths.socket.clone(), given: paths.socket_given, listener_file: paths.daemon_json() }
}

pub(super) fn written(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Io { doing: "write to", path: "standard output".into(), cause: error },
    }
}
