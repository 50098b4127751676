//! The command line interface. `args` defines the arguments, `commands` has one file per command, `render` formats
//! views as text, `exit` defines outcomes, failures and exit codes.
mod app;
pub mod args;
mod commands;
mod complete;
mod demo;
mod exit;
mod manual;
mod origin;
mod respondent;
mod service;
mod when;

use crate::render;
use app::App;
use args::{Cli, Command, ListArgs};
use clap::{CommandFactory, FromArgMatches};
use exit::{Failure, Outcome};
pub use origin::Origin;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Parses the command line, runs the command, and reports a failure as one sentence, a hint and an exit code. `origin`
/// is what `--version` prints.
pub fn main(args: impl Iterator<Item = OsString>, origin: &Origin) -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).bin("bgagent").complete();
    let args: Vec<OsString> = args.collect();
    if let Some(tried) = crate::doctor::run_if_requested(args.get(1).map(OsString::as_os_str)) {
        return ExitCode::from(u8::from(tried.is_err()));
    }
    // clap requires `'static`
    let command = Cli::command().version(&*origin.version().leak());
    let parsed = command.try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return report_usage_error(&error, &args),
    };
    let Cli { global, command } = cli;
    let mut app = App::new(&global.with_variables());
    let command = command.unwrap_or_else(|| Command::List(ListArgs::default()));
    let result = match command {
        Command::Daemon(args) => match app.paths() {
            Ok(paths) => {
                let paths = paths.clone();
                return commands::daemon::run(&app.global, &args, paths);
            }
            Err(failure) => Err(failure),
        },
        command => dispatch(&mut app, command),
    };
    let result = result.and_then(|outcome| app.flush().map(|()| outcome));
    match result {
        // the command succeeded, but a script must be able to tell that no daemon runs
        Ok(Outcome::Done | Outcome::Negative) if app.is_at_rest => {
            app.note("hint: `bgagent daemon` starts it, or `systemctl --user start bgagent`");
            ExitCode::from(exit::UNREACHABLE)
        }
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(failure) => {
            let _ = app.flush();
            app.complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Returns the man pages, by file name; checked in under `man/`.
pub fn man_pages() -> Vec<(String, Vec<u8>)> {
    manual::pages()
}

/// Returns the completion script of a shell (`bash`, `zsh`, `fish`, …); checked in under `completions/`.
pub fn completion_script(shell: &str) -> Option<Vec<u8>> {
    complete::script(shell)
}

/// Returns the systemd unit of packages; checked in as `packaging/systemd/bgagent.service`.
pub fn packaged_unit() -> String {
    service::packaged_unit()
}

fn dispatch(app: &mut App, command: Command) -> Result<Outcome, Failure> {
    use commands as c;
    match command {
        Command::Init(args) => c::init::run(app, &args),
        Command::Check(args) => c::check::run(app, &args),
        Command::Trust(args) => c::trust::run(app, &args),
        Command::Daemon(_) => unreachable!("main runs the daemon itself"),
        Command::Start(args) => c::start::run(app, &args),
        Command::Pause(args) => c::pause::run(app, &args),
        Command::Resume(args) => c::resume::run(app, &args),
        Command::Stop(args) => c::stop::run(app, &args),
        Command::List(args) => c::list::run(app, &args),
        Command::Top(args) => c::top::run(app, &args),
        Command::Status(args) => c::status::run(app, &args),
        Command::Tail(args) => c::tail::run(app, &args),
        Command::Run(args) => c::run::run(app, &args),
        Command::Backfill(args) => c::backfill::run(app, &args),
        Command::Mcp(command) => c::mcp::run(app, &command),
        Command::Proposals(args) => c::proposals::run(app, &args),
        Command::Accept(args) => c::accept::run(app, &args),
        Command::Reject(args) => c::reject::run(app, &args),
        Command::Replay(args) => c::replay::run(app, &args),
        Command::Cancel(args) => c::cancel::run(app, &args),
        Command::Skip(args) => c::skip::run(app, &args),
        Command::Runs(args) => c::runs::run(app, &args),
        Command::Show(args) => c::show::run(app, &args),
        Command::Logs(args) => c::logs::run(app, &args),
        Command::Next(args) => c::next::run(app, &args),
        Command::Nodes => c::nodes::run(app),
        Command::Why(args) => c::why::run(app, &args),
        Command::Ui(args) => c::ui::run(app, &args),
        Command::Usage(args) => c::usage::run(app, &args),
        Command::Forecast(args) => c::forecast::run(app, &args),
        Command::Reload => c::reload::run(app),
        Command::Apply(args) => c::apply::run(app, &args),
        Command::Shutdown(args) => c::shutdown::run(app, &args),
        Command::Notify(command) => c::notify::run(app, &command),
        Command::Tool(command) => c::tool::run(app, &command),
        Command::Archive(command) => c::archive::run(app, &command),
        Command::Approvals(args) => c::approvals::run(app, &args),
        Command::Approve(args) => c::decide::run(app, &args, true),
        Command::Deny(args) => c::decide::run(app, &args, false),
        Command::Incidents(args) => c::incidents::run(app, &args),
        Command::Memory(args) => c::memory::run(app, &args),
        Command::Service(command) => c::service::run(app, &command),
        Command::Store(command) => c::store::run(app, &command),
        Command::Health(args) => c::health::run(app, &args),
        Command::Runner(command) => c::runner::run(app, &command),
        Command::Sandbox(command) => c::sandbox::run(app, &command),
        Command::Doctor(args) => c::doctor::run(app, &args),
        Command::Completions(args) => c::completions::run(app, &args),
        Command::Man(args) => c::man::run(app, &args),
        Command::Schema => c::schema::run(app),
    }
}

/// Reports a command line that clap rejects. Help and version also arrive as clap errors, but are not failures.
fn report_usage_error(error: &clap::Error, args: &[OsString]) -> ExitCode {
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
