//! `bgagent service`: the daemon as a service of the user, by systemd (launchd on macOS).
use super::prelude::*;
use crate::cli::args::ServiceCommand;
use crate::cli::service::{self, Installation, LABEL, UNIT};
use crate::config::{Loaded, Paths, TrustBook, Trusted, rights_beyond, shell_word};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const MACOS: bool = cfg!(target_os = "macos");

pub(in crate::cli) fn run(app: &mut App, command: &ServiceCommand) -> Result<Outcome, Failure> {
    let file = service::unit_path().ok_or_else(|| Failure::Negative {
        what: "this user has no home folder".into(),
        hint: "set HOME".into(),
    })?;
    match command {
        ServiceCommand::Install { no_start } => install(app, &file, !no_start),
        ServiceCommand::Uninstall => uninstall(app, &file),
        ServiceCommand::Status => status(app, &file),
    }
}

/// `ExitTimeOut` of the launchd agent, plus a margin.
const UNLOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(47);

/// Note for people who have tried an agent by hand before.
const HARDENING_NOTE: &str = "the service has a /tmp of its own (PrivateTmp) and can write only below your home (ProtectSystem);\n\
    to open a path: systemctl --user edit bgagent, and there:\n  [Service]\n  ReadWritePaths=/srv/data\n  PrivateTmp=no";

fn install(app: &mut App, file: &Path, start: bool) -> Result<Outcome, Failure> {
    super::proposals::refuse_agents(app, "install the service")?;
    // a service that can't start would only be noticed in the journal
    let (config, state) = (app.paths()?.config.clone(), app.paths()?.state_dir.clone());
    let loaded =
        crate::config::load(&config, &crate::config::Context::system(app.screen.now).of_state(&state))
            .map_err(|rejected| Failure::rejected(&rejected, app.stderr_color))?;
    trust(app, &loaded)?;
    let program =
        std::env::current_exe().map_err(|cause| Failure::io("find", Path::new("this program"), cause))?;
    let installation = Installation {
        program,
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into()),
        config: app.global.config.as_deref().map(service::absolute),
        state_dir: app.state_dir_of_service()?,
        trust: app.global.trust,
    };
    if app.global.socket.is_some() {
        app.note("--socket is not written into the service: clients find it by the state folder");
    }
    let text =
        if MACOS { service::launchd_plist(&installation) } else { service::systemd_unit(&installation) };
    write(file, &text)?;
    app.note(&format!("wrote {}", file.display()));
    if !MACOS {
        app.note(HARDENING_NOTE);
    }
    let mut steps = Vec::new();
    if start {
        steps = if MACOS { start_launchd(file) } else { start_systemd() };
    } else if !MACOS {
        app.note("to start it: systemctl --user daemon-reload && systemctl --user enable --now bgagent");
    }
    finish(app, file, steps)
}

/// Trusts a configuration outside the default folder, which the service requires. Naming it here counts as approval.
fn trust(app: &mut App, loaded: &Loaded) -> Result<(), Failure> {
    let (path, now) = (&loaded.fleet.path, app.screen.now);
    let is_named = app.global.config_is_named;
    let book = app.paths()?.trust_book();
    if app.global.trust || Paths::is_home(path) {
        return Ok(());
    }
    if is_named {
        let trusted = Trusted::of(loaded, now);
        return TrustBook::trust(&book, path, trusted).map_err(|cause| Failure::io("write", &book, cause));
    }
    let trusted = TrustBook::read(&book).unwrap_or_default();
    if rights_beyond(loaded, trusted.get(path)).is_empty() {
        return Ok(());
    }
    Err(Failure::NotOurs {
        what: format!(
            "{} is not in the configuration folder, and the service would not apply it",
            path.display()
        ),
        hint: format!("to look at it, and trust it: bgagent trust {}", shell_word(path)),
    })
}

impl App {
    /// Returns a state folder that the service would not find by itself, since it has none of this shell's variables.
    fn state_dir_of_service(&mut self) -> Result<Option<PathBuf>, Failure> {
        let is_moved = std::env::var_os("XDG_STATE_HOME").is_some_and(|home| Path::new(&home).is_absolute());
        if self.global.state_dir.is_none() && !is_moved {
            return Ok(None);
        }
        Ok(Some(self.paths()?.state_dir.clone()))
    }
}

fn uninstall(app: &mut App, file: &Path) -> Result<Outcome, Failure> {
    if !file.exists() {
        if let Some(packaged) = service::packaged() {
            return Err(Failure::Negative {
                what: format!("{} belongs to a package", packaged.display()),
                hint: "to stop it: systemctl --user disable --now bgagent; the package's removal removes it"
                    .into(),
            });
        }
        app.answer(&json!({"path": file, "installed": false}), |_, _| "not installed\n".into())?;
        return Ok(Outcome::Done);
    }
    let mut steps = Vec::new();
    if MACOS {
        steps.push(step(
            "launchctl",
            &["bootout", &domain(), &file.display().to_string()],
            "stop it by hand",
        ));
    } else {
        steps.push(step(
            "systemctl",
            &["--user", "disable", "--now", UNIT],
            "if it runs, `bgagent shutdown` ends it",
        ));
    }
    std::fs::remove_file(file).map_err(|cause| Failure::io("remove", file, cause))?;
    if !MACOS {
        steps.push(step("systemctl", &["--user", "daemon-reload"], "it happens by itself at the next login"));
    }
    app.note(&format!("removed {}; configuration and state stay", file.display()));
    finish(app, file, steps)
}

fn status(app: &mut App, file: &Path) -> Result<Outcome, Failure> {
    let packaged = service::packaged().filter(|_| !file.exists());
    let installed = file.exists() || packaged.is_some();
    let file = packaged.as_deref().unwrap_or(file);
    let ask = |what: &str| {
        if MACOS {
            let found = output("launchctl", &["list", LABEL]).is_ok();
            return Ok(if found { "loaded".to_owned() } else { "not loaded".to_owned() });
        }
        output("systemctl", &["--user", what, UNIT])
    };
    let (enabled, active) = (ask("is-enabled"), ask("is-active"));
    let word = |answer: &Result<String, String>| match answer {
        Ok(word) if !word.is_empty() => word.clone(),
        _ => "unknown".to_owned(),
    };
    let view =
        json!({"path": file, "installed": installed, "enabled": word(&enabled), "active": word(&active)});
    app.answer(&view, |view, _| {
        format!(
            "{}  {}\nenabled  {}\nactive   {}\n",
            if installed { "installed" } else { "not installed:" },
            file.display(),
            view["enabled"].as_str().unwrap_or_default(),
            view["active"].as_str().unwrap_or_default()
        )
    })?;
    if let Err(error) = &active {
        app.flush()?;
        app.note(&unreachable_manager(error));
    }
    let runs = matches!(active.as_deref(), Ok("active" | "loaded"));
    Ok(if installed && runs { Outcome::Done } else { Outcome::Negative })
}

/// A command that was run, and its result.
struct ServiceStep {
    command: String,
    /// The error, and what to do now.
    failed: Option<(String, String)>,
}

fn start_systemd() -> Vec<ServiceStep> {
    let by_hand = "start it by hand: bgagent daemon";
    let mut steps = vec![step("systemctl", &["--user", "daemon-reload"], by_hand)];
    if steps[0].failed.is_none() {
        steps.push(step(
            "systemctl",
            &["--user", "enable", "--now", UNIT],
            "journalctl --user -u bgagent -n 50 says why",
        ));
    }
    // without lingering, the service ends with the last session of its user
    let linger = "agents stop when you log out; as root: loginctl enable-linger YOUR_NAME";
    steps.push(step("loginctl", &["enable-linger"], linger));
    steps
}

fn start_launchd(file: &Path) -> Vec<ServiceStep> {
    let file = file.display().to_string();
    // An older one may be loaded; if there is none, that is not a failure. It is unloaded only once its daemon has
    // ended, and until then the new one is refused.
    if output("launchctl", &["bootout", &domain(), &file]).is_ok() {
        let until = std::time::Instant::now() + UNLOAD_TIMEOUT;
        while output("launchctl", &["list", LABEL]).is_ok() && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    vec![step("launchctl", &["bootstrap", &domain(), &file], "start it by hand: bgagent daemon")]
}

fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn step(program: &str, arguments: &[&str], remedy: &str) -> ServiceStep {
    let command = format!("{program} {}", arguments.join(" "));
    let failed = output(program, arguments).err().map(|said| {
        let remedy = if is_no_bus(&said) { unreachable_manager("") } else { remedy.to_owned() };
        (said, remedy)
    });
    ServiceStep { command, failed }
}

/// Returns what a program printed; an error if it failed and printed no answer.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let complained = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // `is-active` prints `inactive` and fails: that is an answer
    if output.status.success() || (!said.is_empty() && complained.is_empty()) {
        Ok(said)
    } else if complained.is_empty() {
        Err(format!("{program}: {}", output.status))
    } else {
        Err(complained)
    }
}

fn is_no_bus(said: &str) -> bool {
    said.contains("connect to bus")
        || said.contains("XDG_RUNTIME_DIR")
        || said.contains("not been booted with systemd")
}

fn unreachable_manager(said: &str) -> String {
    let said = if said.is_empty() { String::new() } else { format!("{}: ", plain(said)) };
    format!(
        "{said}the service manager of this user can't be reached; log in as this user (not by su or sudo), or set XDG_RUNTIME_DIR=/run/user/$(id -u); `bgagent daemon` needs neither"
    )
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let folder: PathBuf = file.parent().map(Path::to_owned).unwrap_or_default();
    std::fs::create_dir_all(&folder).map_err(|cause| Failure::io("make the folder", &folder, cause))?;
    std::fs::write(file, text).map_err(|cause| Failure::io("write", file, cause))
}

fn finish(app: &mut App, file: &Path, steps: Vec<ServiceStep>) -> Result<Outcome, Failure> {
    let done: Vec<_> = steps
        .iter()
        .map(|step| json!({"command": step.command, "ok": step.failed.is_none(), "said": step.failed.as_ref().map(|failed| &failed.0)}))
        .collect();
    app.answer(&json!({"path": file, "steps": done}), |_, screen| {
        steps
            .iter()
            .map(|step| match &step.failed {
                None => format!("{}  {}\n", screen.paint(Tone::Good, "ok"), step.command),
                Some((said, remedy)) => {
                    format!(
                        "{}  {}\n    {}\n    {remedy}\n",
                        screen.paint(Tone::Bad, "failed"),
                        step.command,
                        plain(said)
                    )
                }
            })
            .collect()
    })?;
    Ok(if steps.iter().all(|step| step.failed.is_none()) { Outcome::Done } else { Outcome::Negative })
}
