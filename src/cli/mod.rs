//! What a person types and sees. `args` is the command line, `commands` has one file per command,
//! `render` makes views readable, `exit` is how it all ends.
pub mod args;
mod commands;
mod complete;
mod demo;
mod exit;
mod glob;
mod manual;
mod render;
mod service;
mod when;

use crate::client::{Address, Connection, Timeouts};
use crate::config::Paths;
use args::{Cli, ColorWhen, Command, Global, ListArgs};
use clap::{CommandFactory, FromArgMatches};
use exit::{Failure, Outcome};
use render::Screen;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Parses, runs, and turns every failure into one sentence, a hint and an exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).bin("bgagent").complete();
    let args: Vec<OsString> = args.collect();
    let parsed =
        Cli::command().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return misused(&error, &args),
    };
    let Cli { global, command } = cli;
    let mut app = App::new(&global.with_variables());
    let command = command.unwrap_or_else(|| Command::List(ListArgs::default()));
    let result = match command {
        Command::Daemon(args) => match app.paths() {
            Ok(paths) => return commands::daemon::run(args, paths.clone()),
            Err(failure) => Err(failure),
        },
        command => dispatch(&mut app, command),
    };
    let result = result.and_then(|outcome| app.flush().map(|()| outcome));
    match result {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(failure) => {
            let _ = app.flush();
            app.complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// The man pages, by file name; checked in under `man/`.
pub fn man_pages() -> Vec<(String, Vec<u8>)> {
    manual::pages()
}

/// The completion script of a shell (`bash`, `zsh`, `fish`, …); checked in under `completions/`.
pub fn completion_script(shell: &str) -> Option<Vec<u8>> {
    complete::script(shell)
}

fn dispatch(app: &mut App, command: Command) -> Result<Outcome, Failure> {
    use commands as c;
    match command {
        Command::Init(args) => c::init::run(app, &args),
        Command::Check(args) => c::check::run(app, &args),
        Command::Daemon(_) => unreachable!("main runs the daemon itself"),
        Command::Start(args) => c::start::run(app, &args),
        Command::Pause(args) => c::pause::run(app, &args),
        Command::Resume(args) => c::resume::run(app, &args),
        Command::Stop(args) => c::stop::run(app, &args),
        Command::List(args) => c::list::run(app, &args),
        Command::Status(args) => c::status::run(app, &args),
        Command::Tail(args) => c::tail::run(app, &args),
        Command::Run(args) => c::run::run(app, &args),
        Command::Mcp(command) => c::mcp::run(app, &command),
        Command::Replay(args) => c::replay::run(app, &args),
        Command::Cancel(args) => c::cancel::run(app, &args),
        Command::Skip(args) => c::skip::run(app, &args),
        Command::Runs(args) => c::runs::run(app, &args),
        Command::Show(args) => c::show::run(app, &args),
        Command::Logs(args) => c::logs::run(app, &args),
        Command::Next(args) => c::next::run(app, &args),
        Command::Why(args) => c::why::run(app, &args),
        Command::Usage(args) => c::usage::run(app, &args),
        Command::Reload => c::reload::run(app),
        Command::Shutdown(args) => c::shutdown::run(app, &args),
        Command::Tool(command) => c::tool::run(app, &command),
        Command::Archive(command) => c::archive::run(app, &command),
        Command::Approvals => c::approvals::run(app),
        Command::Approve(args) => c::decide::run(app, &args, true),
        Command::Deny(args) => c::decide::run(app, &args, false),
        Command::Incidents(args) => c::incidents::run(app, &args),
        Command::Memory(args) => c::memory::run(app, &args),
        Command::Service(command) => c::service::run(app, &command),
        Command::Store(command) => c::store::run(app, &command),
        Command::Health(args) => c::health::run(app, &args),
        Command::Completions(args) => c::completions::run(app, &args),
        Command::Man(args) => c::man::run(app, &args),
        Command::Schema => c::schema::run(app),
    }
}

/// What clap says of a command line that it does not take; help and version are no mistakes.
fn misused(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if error.use_stderr() && args.iter().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let words = text.lines().take_while(|line| !line.is_empty()).flat_map(str::split_whitespace);
        let what = words.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let failure = Failure::usage_hint(what, "bgagent --help");
        let _ = writeln!(io::stderr(), "{}", failure.to_json(None));
        return ExitCode::from(failure.code());
    }
    match error.print() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
        _ => ExitCode::from(if error.use_stderr() { 2 } else { 0 }),
    }
}

/// What every command needs: where things lie, what the screen is like, and the two outputs.
struct App {
    global: Global,
    paths: Option<Paths>,
    /// Print JSON.
    json: bool,
    /// Of standard output.
    screen: Screen,
    /// Whether standard error takes colours.
    stderr_color: bool,
    out: io::BufWriter<io::Stdout>,
}

impl App {
    fn new(global: &Global) -> Self {
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
            out: io::BufWriter::new(stdout),
        }
    }

    fn paths(&mut self) -> Result<&Paths, Failure> {
        if self.paths.is_none() {
            let Global { config, state_dir, socket, .. } = self.global.clone();
            self.paths = Some(Paths::resolve(config, state_dir, socket).map_err(Failure::usage)?);
        }
        Ok(self.paths.as_ref().expect("it was set just now"))
    }

    fn address(&mut self) -> Result<Address, Failure> {
        Ok(address_of(self.paths()?))
    }

    fn connect(&mut self) -> Result<Connection, Failure> {
        Ok(Connection::open(&self.address()?, Timeouts::default())?)
    }

    /// Standard output, as it is.
    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(written)
    }

    /// Standard output, and out of the buffer at once.
    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(written)
    }

    /// One line of JSON on standard output.
    fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| written(error.into()))?;
        self.print_json_text(&text)
    }

    /// The same for what is JSON already.
    fn print_json_text(&mut self, text: &str) -> Result<(), Failure> {
        self.print(&render::plain_json(text))?;
        self.print("\n")
    }

    /// Prints a view: as JSON, or as `text` makes it readable.
    fn answer<T: Serialize>(
        &mut self,
        view: &T,
        text: impl FnOnce(&T, &Screen) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.print_json(view);
        }
        let text = text(view, &self.screen);
        self.print(&text)?;
        // on a terminal, notes that follow appear after what they are about
        if self.screen.width.is_some() { self.flush() } else { Ok(()) }
    }

    /// A line on standard error: a note, a warning, progress. Whether it is read is of no concern.
    fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn complain(&self, failure: &Failure) {
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

fn address_of(paths: &Paths) -> Address {
    Address { socket: paths.socket.clone(), given: paths.socket_given, listener_file: paths.daemon_json() }
}

fn written(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Io { doing: "write to", path: "standard output".into(), cause: error },
    }
}
