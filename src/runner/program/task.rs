//! The task of a program, and the command that starts it.
use super::handed::{GrantedUse, HandedOutcome, Uses};
use super::journal::Past;
use super::world::{self, World};
use super::{prompt, repository};
use crate::agent_program::{Launch, LaunchPlaces};
use crate::conversation::CallRules;
use crate::domain::{
    CommandSpec, ErrorKind, ModelSpec, ResumePolicy, RunnerQuery, RunnerSpec, Sandbox, TextOrSecret,
    Workspace,
};
use crate::proxy::meter::Meter;
use crate::runner::broken::Break;
use crate::runner::command::Surroundings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Linux refuses longer single arguments (`MAX_ARG_STRLEN`).
const MAX_ARGUMENT_BYTES: usize = 120 << 10;

/// What is to be done, by which program, where.
#[derive(Clone, Copy)]
pub(super) struct Task<'t> {
    pub(super) query: &'t RunnerQuery,
    pub(super) spec: &'t RunnerSpec,
    pub(super) model: &'t ModelSpec,
    pub(super) past: &'t Past,
    pub(super) world: &'t World,
    pub(super) rules: Option<&'t CallRules>,
    /// Outcomes of earlier calls that the program is to be informed of.
    pub(super) outcomes: &'t [HandedOutcome],
    /// Uses of its own tools that were approved.
    pub(super) granted: &'t [GrantedUse],
    /// What it is given to read before it begins; may be nothing.
    pub(super) context: &'t str,
    /// The session of the run before, which goes on in this one.
    pub(super) carried: Option<&'t str>,
    /// Its session is gone, whatever the journal says.
    pub(super) anew: bool,
}

impl Task<'_> {
    /// Returns whether the program resumes its session. It can't if the session was lost with its folder.
    pub(super) fn goes_on(&self) -> bool {
        let may = self.query.resume != ResumePolicy::Never && self.spec.can_resume();
        may && !self.world.fresh && !self.anew
    }

    /// The session of an earlier attempt, with which this one goes on.
    pub(super) fn was_interrupted(&self) -> bool {
        self.goes_on() && self.past.session.is_some()
    }

    /// The session that it goes on with: of an earlier attempt, or of the run before; `None`: a new one.
    pub(super) fn session(&self) -> Option<&str> {
        let own = self.past.session.as_deref().filter(|_| self.goes_on());
        own.or(self.carried.filter(|_| !self.anew))
    }

    /// What the program asks before it uses a tool of its own; `None`: it does not ask.
    pub(super) fn uses(&self) -> Option<Uses> {
        let permissions = self.query.permissions.as_ref().filter(|permissions| permissions.are_judged())?;
        Some(Uses::new(permissions.clone(), self.spec.preset()?, self.granted.to_vec()))
    }

    pub(super) fn prompt(&self, asked: &str, goes_on: bool) -> Result<String, Break> {
        let system = self.query.system_instruction.as_deref();
        let prompt = prompt::of(system, asked, goes_on, &self.past.open_calls, self.outcomes);
        if prompt.len() <= MAX_ARGUMENT_BYTES {
            return Ok(prompt);
        }
        let why = format!(
            "the query has {} KiB, and a program can't be handed more than {}; write it into a file of the workspace",
            prompt.len() >> 10,
            MAX_ARGUMENT_BYTES >> 10
        );
        Err(Break::failed(ErrorKind::Config, why))
    }

    /// Returns the program's command, and its surroundings.
    pub(super) fn command(
        &self,
        launched: Launch,
        places: &LaunchPlaces<'_>,
        work: PathBuf,
        meter: &Arc<Meter>,
    ) -> (CommandSpec, Surroundings) {
        let text = |(name, value)| (name, TextOrSecret::Text(value));
        let mut env: BTreeMap<String, TextOrSecret> = launched.env.into_iter().map(text).collect();
        for (name, value) in &self.spec.env {
            let value = match value {
                TextOrSecret::Text(text) => TextOrSecret::Text(places.fill(text)),
                secret => secret.clone(),
            };
            env.insert(name.clone(), value);
        }
        env.extend(self.world.environment().map(text));
        let sandbox = self.spec.sandbox.unless_off();
        let surroundings = Surroundings {
            meter: sandbox.is_some().then(|| meter.clone()),
            folders: self.world.writable(),
            executes: vec![work.clone()],
            configured: Some(self.spec.command.clone()),
        };
        let walls = |sandbox: Arc<Sandbox>| {
            Arc::new(with_workspace(&sandbox, &self.query.workspace, &self.world.folder))
        };
        let command = CommandSpec {
            argv: launched.argv,
            env,
            cwd: work,
            default_cwd: false,
            stdin: None,
            sandbox: sandbox.map(walls),
        };
        (command, surroundings)
    }
}

/// Returns the maximum output of an answer, in tokens: from the model's table, or the preset's if none is set.
pub(super) fn output_bound(spec: &RunnerSpec, model: &ModelSpec) -> u64 {
    match spec.preset() {
        Some(preset) if model.max_output_by_default => preset.output,
        _ => model.max_output_tokens,
    }
}

/// Returns the program's name for messages.
pub(super) fn name_of(spec: &RunnerSpec) -> String {
    match spec.preset {
        Some(preset) => preset.to_string(),
        None => {
            let program = PathBuf::from(spec.command.first().map(String::as_str).unwrap_or_default());
            program.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
    }
}

/// Returns the program's working directory.
pub(super) fn work_of(workspace: &Workspace, folder: &Path) -> PathBuf {
    match workspace {
        Workspace::Empty | Workspace::Repository(_) => folder.join(world::WORK_FOLDER),
        Workspace::Folder(folder) => folder.clone(),
    }
}

/// Returns the sandbox with what the workspace needs. `folder`: that of the run.
pub(super) fn with_workspace(sandbox: &Sandbox, workspace: &Workspace, folder: &Path) -> Sandbox {
    let mut sandbox = sandbox.clone();
    match workspace {
        Workspace::Empty => {}
        Workspace::Folder(folder) => sandbox.write.push(folder.clone()),
        Workspace::Repository(_) => sandbox.read.extend(repository::objects(folder)),
    }
    sandbox
}

/// Makes the meter listen on localhost: without a sandbox, the program is in the daemon's own network.
pub(super) fn served_here(meter: &Meter) -> std::io::Result<String> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    meter.serve(std::future::ready(Some(listener)));
    Ok(format!("http://{address}"))
}
