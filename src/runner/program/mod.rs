//! The body of an attempt that is carried out by an agent program.
//!
//! The program gets its own home, the address of a [`Meter`] in place of its provider's, and a key that is only valid there.
//! Budget for its requests is held and settled as for other runs (`account`); its output becomes entries of the same journal
//! (`listener`). Tools of the daemon that are handed to it are called here, under the rules of a conversation (`handed`). The
//! outcome is judged by what the meter has seen (`agent_program::judge`), and only then by the program's own report.
mod account;
mod context;
mod given;
mod handed;
mod journal;
mod listener;
mod outcome;
mod planted;
mod prompt;
mod repository;
mod sessions;
mod task;
mod version;
mod world;

pub(super) use version::version_of;
pub(super) use world::World;

use super::calling::ToolCaller;
use super::command::{Attempt, End, Ran, StartPlan, Surroundings};
use super::model::named;
use super::output::Output;
use super::template::{self, Places};
use crate::agent_program::{LaunchPlaces, judge, launch};
use crate::child::run_folders::{keep_of_run, run_folder};
use crate::clock::to_std;
use crate::conversation::{CallRules, prompt::shown_tool};
use crate::domain::{
    ApprovalWanted, AttemptEnd, AttemptOutcome, Body, CommandSpec, ErrorKind, ModelSpec, Permissions,
    ProcessRole, ProgramOwner, RepositorySpec, RunError, RunnerQuery, RunnerSpec, Said, Step, ToolOffer,
    Usage, WORK, Workspace,
};
use crate::proxy;
use crate::proxy::meter::{MCP_PATH, Meter, MeterLimits, MeterSpec, Upstream};
use crate::runner::broken::Break;
use crate::secret;
use crate::tools::Offers;
use account::ProgramAccount;
use handed::{HandedEnd, HandedLimits, HandedServer, SettledCalls};
use journal::{Past, ProgramJournal};
use listener::ProgramListener;
use outcome::{end_of, metered, taken_out, without_room};
use planted::LookedThrough;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use task::{Task, name_of, output_bound, served_here, with_workspace, work_of};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes of its output that are kept in memory.
const TAIL_BYTES: usize = 4 << 10;
/// Minimum time for bringing the work back after the program has ended; more if more of the attempt's time is left.
const MIN_BRING_BACK_TIME: Duration = Duration::from_secs(30);

/// What is recorded of a run whose program gave no answer.
#[derive(Default)]
struct ProgramSoFar {
    usage: Usage,
    warnings: Vec<String>,
    exit_code: Option<i32>,
    ended_by_others: bool,
    /// It ended before it had printed or requested anything.
    never_began: bool,
    /// The program's session, if it has one.
    session: Option<String>,
    /// It was ended since these calls wait for a person.
    waits: Vec<ApprovalWanted>,
    /// Its folder contained no repository at the start: one that is there afterwards was created during the run.
    began_in_folder: bool,
}

/// A program that is ready to start.
struct Ready {
    name: String,
    command: CommandSpec,
    meter: Arc<Meter>,
    journal: Arc<ProgramJournal>,
    handed: Option<Arc<HandedServer>>,
    surroundings: Surroundings,
    /// Tells those that wait for a budget that the program has ended.
    over: CancellationToken,
}

impl Attempt<'_> {
    /// Runs the agent's program, and judges the outcome.
    pub(super) async fn program(&mut self, query: &RunnerQuery, places: &Places) -> AttemptOutcome {
        let mut so_far = ProgramSoFar::default();
        let carried_out = self.carried_out(query, places, &mut so_far).await;
        let (end, result, retry_after) = match carried_out {
            Ok(answer) => (AttemptEnd::Completed, Some(secret::redact(&answer).into_owned()), None),
            Err(Break::Stopped) if !so_far.waits.is_empty() => {
                (AttemptEnd::Waits(std::mem::take(&mut so_far.waits)), None, None)
            }
            Err(Break::Stopped) => (AttemptEnd::Cancelled, None, None),
            Err(Break::Failed(error, retry_after)) => {
                let message = secret::redact(&error.message).into_owned();
                (AttemptEnd::Failed(RunError { message, ..error }), None, retry_after)
            }
        };
        let ProgramSoFar { usage, warnings, exit_code, ended_by_others, .. } = so_far;
        AttemptOutcome {
            result,
            usage,
            warnings,
            exit_code,
            ended_by_others,
            retry_after,
            ..AttemptOutcome::of(end)
        }
    }

    async fn carried_out(
        &mut self,
        query: &RunnerQuery,
        places: &Places,
        so_far: &mut ProgramSoFar,
    ) -> Result<String, Break> {
        let world = World::open(self.brief.run).await;
        let world = world.map_err(|why| Break::failed(ErrorKind::Spawn, why))?;
        // a trial has no journal
        let rows = if self.shared.store.is_some() { self.journal().await } else { Ok(Vec::new()) };
        let journal = rows.as_ref().ok().map(|rows| ProgramJournal::after(self.brief, self.shared, rows));
        let journal = journal.map(Arc::new);
        let came = match (&rows, &journal) {
            (Ok(rows), Some(journal)) => {
                self.in_world(query, places, &world, &Past::of(rows), journal, so_far).await
            }
            _ => rows.map(|_| String::new()),
        };
        self.keep_session(query, &world, &came, so_far).await;
        let repository = match &query.workspace {
            Workspace::Repository(repository) => repository,
            Workspace::Folder(folder) if so_far.began_in_folder => {
                // regardless of how it ended
                let LookedThrough::Found(found) = planted::look(folder).await else { return came };
                let error = planted::refusal(folder, &found);
                if came.is_ok() {
                    return Err(Break::Failed(error, None));
                }
                so_far.warnings.push(error.message);
                return came;
            }
            Workspace::Folder(_) | Workspace::Empty => return came,
        };
        // regardless of how it ended: this attempt or an earlier one may have left work there
        if !repository::was_cloned(&world) {
            return came;
        }
        let brought = self.bring_back(repository, query, &world, journal.as_deref()).await;
        match (brought, &came) {
            (Ok(others), _) => so_far.warnings.extend(others),
            // its work could not be brought back: not a success
            (Err(why), Ok(_)) => return Err(Break::failed(ErrorKind::Tool, why)),
            (Err(why), Err(_)) => so_far.warnings.push(why),
        }
        came
    }

    /// Returns the owner of the programs that run here, for messages and the list of processes.
    fn owner_of(&self, query: &RunnerQuery) -> ProgramOwner {
        ProgramOwner {
            table: format!("runners.{}", query.runner),
            agent: Some(self.brief.agent.id.clone()),
            run: Some(self.brief.run),
        }
    }

    /// Does everything but the steps after the program.
    async fn in_world(
        &mut self,
        query: &RunnerQuery,
        places: &Places,
        world: &World,
        past: &Past,
        journal: &Arc<ProgramJournal>,
        so_far: &mut ProgramSoFar,
    ) -> Result<String, Break> {
        let fleet = self.shared.fleet.clone();
        let missing =
            |table: String| Break::failed(ErrorKind::Config, format!("there is no [{table}] any more"));
        let owner = self.owner_of(query);
        let spec = fleet.runners.get(&query.runner).ok_or_else(|| missing(owner.table.clone()))?;
        let model = fleet.models.get(&spec.meter).ok_or_else(|| missing(format!("models.{}", spec.meter)))?;
        so_far.usage = past.used;
        let asked = self.asked(query, places, past, journal).await?;
        if let Some(expected) = &spec.version {
            let asking = version::expected(spec, expected, world, &owner);
            so_far.warnings.extend(self.while_wanted(asking).await??);
        }
        if let Workspace::Folder(folder) = &query.workspace {
            match self.while_wanted(planted::look(folder)).await? {
                LookedThrough::Found(found) => {
                    return Err(Break::Failed(planted::refusal(folder, &found), None));
                }
                LookedThrough::Cut => so_far.warnings.push(planted::too_large(folder)),
                LookedThrough::None => {}
            }
            so_far.began_in_folder = true;
        }
        let mut task = Task {
            query,
            spec,
            model,
            past,
            world,
            rules: None,
            outcomes: &[],
            granted: &[],
            context: "",
            carried: None,
            anew: false,
        };
        if let Workspace::Repository(repository) = &query.workspace {
            // a session refers to files: it is useless without them
            task.anew = !repository::is_cloned(world);
            let cloning = repository::clone(repository, world, self.brief.agent.id.as_str());
            let cloned = self.while_wanted(cloning).await?;
            so_far.warnings.extend(cloned.map_err(|why| Break::failed(ErrorKind::Config, why))?);
        }
        let carried = self.carried(query, spec, world, so_far).await?;
        task.carried = carried.as_deref();
        let context = self.context(query, spec, world, so_far).await?;
        task.context = &context;
        // last, so that no call is made for a program that can't be started
        let rules = self.rules(query).await?;
        let (mut outcomes, mut granted) = (Vec::new(), Vec::new());
        if let Some((rules, warnings)) = &rules {
            so_far.warnings.extend(warnings.iter().cloned());
            let caller = ToolCaller::of(self.brief, self.shared);
            let settling = handed::settled(rules, &caller, journal, &past.handed, self.handed_limits());
            match self.while_wanted(settling).await?? {
                SettledCalls::All(told, allowed) => (outcomes, granted) = (told, allowed),
                SettledCalls::Waits(waits) => {
                    so_far.waits = waits;
                    return Err(Break::Stopped);
                }
            }
        }
        task.rules = rules.as_ref().map(|(rules, _)| rules);
        (task.outcomes, task.granted) = (&outcomes, &granted);
        let goes_on = task.session().is_some();
        let mut came = self.run_program(&task, &asked, journal, &owner, so_far).await;
        if goes_on && so_far.never_began && matches!(came, Err(Break::Failed(..))) {
            let warning = "the program no longer knows the session that it was to continue: it started over";
            so_far.warnings.push(warning.into());
            task.anew = true;
            came = self.run_program(&task, &asked, journal, &owner, so_far).await;
        }
        came
    }

    /// The tools that the program is handed, and what is not as they should be; `None`: it is handed none.
    async fn rules(&self, query: &RunnerQuery) -> Result<Option<(CallRules, Vec<String>)>, Break> {
        let handed = &query.handed;
        if handed.tools.is_empty() && !query.permissions.as_ref().is_some_and(Permissions::are_judged) {
            return Ok(None);
        }
        let Offers { tools, warnings } = self.offers(&handed.tools).await?;
        let rules = CallRules {
            agent: self.brief.agent.id.to_string(),
            tools: tools.iter().map(|tool| ToolOffer { def: shown_tool(tool), ..tool.clone() }).collect(),
            sinks: handed.sinks.clone(),
            named: named(&query.query, query.system_instruction.as_deref()),
            approve: handed.approve.clone(),
            approval: handed.approval,
        };
        Ok(Some((rules, warnings)))
    }

    fn handed_limits(&self) -> HandedLimits {
        let limits = &self.brief.agent.limits;
        HandedLimits { one_call: to_std(limits.tool_call_timeout), calls: limits.max_steps }
    }

    /// Starts the program with its own meter, and follows it to its end.
    async fn run_program(
        &mut self,
        task: &Task<'_>,
        asked: &str,
        journal: &Arc<ProgramJournal>,
        owner: &ProgramOwner,
        so_far: &mut ProgramSoFar,
    ) -> Result<String, Break> {
        let over = CancellationToken::new();
        let account = ProgramAccount::new(journal.clone(), self.shared, self.deadline, over.clone());
        let metering = self.meter(task.spec, task.model, task.past, account, owner);
        let mut meter = self.while_wanted(metering).await??;
        let handed = task.rules.map(|rules| {
            let (outcomes, caller) = (task.outcomes.to_vec(), ToolCaller::of(self.brief, self.shared));
            let limits = self.handed_limits();
            Arc::new(HandedServer::new(rules.clone(), task.uses(), outcomes, caller, journal.clone(), limits))
        });
        if let Some(handed) = &handed {
            meter = meter.with_tools(handed.clone());
        }
        let ready = self.ready(task, asked, Arc::new(meter), journal.clone(), handed, over).await?;
        self.watched(task.spec, ready, owner, so_far).await
    }

    /// Returns a proof about the program's work: it runs in the same place with the same write access. `None`: there is no such
    /// program.
    pub(super) fn proof_of_program(&self, spec: &CommandSpec) -> Option<(CommandSpec, Surroundings)> {
        let Body::Runner(query) = &self.brief.agent.body else { return None };
        let folder = run_folder(self.brief.run);
        let work = work_of(&query.workspace, &folder);
        let mut spec = spec.clone();
        if spec.cwd == Path::new(WORK) {
            spec.cwd.clone_from(&work);
        }
        spec.sandbox =
            spec.sandbox.map(|sandbox| Arc::new(with_workspace(&sandbox, &query.workspace, &folder)));
        Some((
            spec,
            Surroundings {
                meter: None,
                folders: world::writable(&folder),
                executes: vec![work],
                configured: None,
            },
        ))
    }

    /// Returns the task of the program: as in the first attempt of the run.
    async fn asked(
        &mut self,
        query: &RunnerQuery,
        places: &Places,
        past: &Past,
        journal: &ProgramJournal,
    ) -> Result<String, Break> {
        if let Some(asked) = &past.query {
            self.seen.clone_from(&past.seen);
            self.gate_before.clone_from(&past.gate);
            return Ok(asked.clone());
        }
        let text = self.brief.query.as_deref().unwrap_or(&query.query);
        let (text, untrusted) = template::fill_query(text, places);
        let gate = self.needs_gate_later().then(|| places.gate.clone());
        let (seen, n) = (self.seen.clone(), journal.take_place());
        journal.write(vec![Said::Query { n, text: text.clone(), untrusted, seen, gate }]).await?;
        Ok(text)
    }

    /// Creates the meter that replaces the program's provider.
    async fn meter(
        &self,
        spec: &RunnerSpec,
        model: &ModelSpec,
        past: &Past,
        account: ProgramAccount,
        owner: &ProgramOwner,
    ) -> Result<Meter, Break> {
        let failed = |error: RunError| Break::Failed(error, None);
        let access = self.shared.models.access(&spec.meter, self.time_left()).await.map_err(failed)?;
        let secrets = access.secrets.iter().map(|value| Zeroizing::new(value.expose().to_owned())).collect();
        let upstream =
            Upstream { base: access.base, client: access.client, headers: access.headers, secrets };
        let limits = MeterLimits::of(&self.shared.fleet, &self.brief.agent.limits, past.used);
        let metered = MeterSpec::of(&self.shared.fleet, &spec.meter, upstream, limits, owner.clone());
        let mut metered = metered.ok_or_else(|| {
            Break::failed(ErrorKind::Config, format!("there is no [models.{}]", spec.meter))
        })?;
        metered.max_output_tokens = output_bound(spec, model);
        Ok(Meter::new(metered, Arc::new(account)))
    }

    /// Prepares everything that a start needs: arguments, environment, files, sandbox.
    async fn ready(
        &self,
        task: &Task<'_>,
        asked: &str,
        meter: Arc<Meter>,
        journal: Arc<ProgramJournal>,
        handed: Option<Arc<HandedServer>>,
        over: CancellationToken,
    ) -> Result<Ready, Break> {
        let Task { query, spec, model, world, .. } = *task;
        let spawn = |why: String| Break::failed(ErrorKind::Spawn, why);
        let address = match spec.sandbox.unless_off() {
            Some(_) => format!("http://127.0.0.1:{}", proxy::PORT),
            None => served_here(&meter)
                .map_err(|error| spawn(format!("no listener for its requests: {error}")))?,
        };
        let session = task.session();
        let fresh = Uuid::new_v4().to_string();
        let prompt = task.prompt(asked, task.was_interrupted())?;
        let work = work_of(&query.workspace, &world.folder);
        let mcp = format!("{address}{MCP_PATH}");
        let (home, shown) = (world.home().display().to_string(), work.display().to_string());
        let places = LaunchPlaces {
            query: &prompt,
            session: session.unwrap_or(&fresh),
            model: &model.model,
            meter: &address,
            key: meter.key(),
            mcp: &mcp,
            is_handed: handed.is_some(),
            output: output_bound(spec, model),
            home: &home,
            work: &shown,
        };
        let mut launched =
            launch(spec, model.provider, query.permissions.as_ref(), session.is_some(), &places);
        if let Some(preset) = spec.preset().filter(|_| !task.context.is_empty()) {
            launched.files.push((preset.context.to_owned(), task.context.to_owned()));
        }
        world.write(std::mem::take(&mut launched.files)).await.map_err(spawn)?;
        let (command, surroundings) = task.command(launched, &places, work, &meter);
        Ok(Ready { name: name_of(spec), command, meter, journal, handed, surroundings, over })
    }

    /// Brings back what the program made in its clone as a branch, also after a stop. What can't be brought back stays in the
    /// state folder. Returns warnings about further branches.
    ///
    /// # Errors
    /// A sentence: the reason, and where the work is.
    async fn bring_back(
        &self,
        repository: &RepositorySpec,
        query: &RunnerQuery,
        world: &World,
        journal: Option<&ProgramJournal>,
    ) -> Result<Option<String>, String> {
        let owner = self.owner_of(query);
        let fleet = self.shared.fleet.clone();
        // committing may execute what the program left, and the sandbox that applied to it is no longer known
        let Some(spec) = fleet.runners.get(&query.runner) else {
            return Err(self.keep_aside(
                world,
                format!("what it made can't be brought back without its [{}]", owner.table),
            ));
        };
        let sandbox = spec.sandbox.unless_off();
        let sandbox = sandbox.map(|sandbox| with_workspace(&sandbox, &query.workspace, &world.folder));
        let agent = self.brief.agent.id.as_str();
        let bringing =
            repository::bring_back(repository, world, sandbox.as_ref(), &owner, agent, self.brief.run);
        let brought = self.before_it_is_over(MIN_BRING_BACK_TIME, bringing).await;
        let late = || Err("there was no time to bring back what it made".to_owned());
        let repository::Brought { head, others, missing } =
            brought.unwrap_or_else(late).map_err(|why| self.keep_aside(world, why))?;
        if let (Some(repository::KeptBranch { branch, summary: changes }), Some(journal)) = (head, journal) {
            let repository = repository.path.display().to_string();
            let step = Step::Kept { repository, branch, changes };
            // a failed write ends the attempt soon, for the same reason
            let _ = journal.write(vec![journal.entry(step)]).await;
        }
        missing.map_or(Ok(others), |why| Err(self.keep_aside(world, why)))
    }

    /// Moves what can't be brought back to the folder where it is kept; a further attempt starts with a new clone. Returns the
    /// message: `why`, and the path.
    fn keep_aside(&self, world: &World, why: String) -> String {
        match keep_of_run(self.brief.run, self.brief.attempt, world::WORK_FOLDER) {
            Ok(place) => {
                repository::forget_clone(world);
                // git run there would execute what the clone's settings name
                format!(
                    "{why}. Take it by `git clone --no-local`, and use no git in it: the program could have set what git runs \
                     there. Its work is kept in {}",
                    place.display()
                )
            }
            Err(error) => format!("{why}. Its work can't be kept either: {error}"),
        }
    }

    /// Follows the program from its start until its outcome is judged.
    async fn watched(
        &mut self,
        spec: &RunnerSpec,
        ready: Ready,
        owner: &ProgramOwner,
        so_far: &mut ProgramSoFar,
    ) -> Result<String, Break> {
        let Ready { name, command, meter, journal, handed, surroundings, over } = ready;
        let output = Output::kept(self.brief, self.shared.reports.clone(), TAIL_BYTES);
        let mut listener = ProgramListener::new(spec, journal, meter.clone(), output, handed.clone());
        let plan = StartPlan { spec: &command, role: ProcessRole::Body, owner: owner.clone(), surroundings };
        let end = self.started(&plan, &mut listener, &mut so_far.warnings).await;
        // everything that the program has in flight is settled before its run can end
        over.cancel();
        // a run that was stopped or timed out waits for nothing
        let cut = matches!(end, End::Stopped | End::TimedOut(_));
        let handed = match &handed {
            Some(handed) => handed.finish(cut).await,
            None => HandedEnd::default(),
        };
        let unknown = |call: &String| format!("it is unknown whether this call happened: {call}");
        so_far.warnings.extend(handed.unknown.iter().map(unknown));
        meter.close().await;
        so_far.warnings.extend(listener.finish().await);
        let report = meter.report();
        so_far.usage.add(&report.used);
        so_far.warnings.extend(taken_out(&report));
        so_far.warnings.extend(without_room(&report));
        let ProgramListener { mut heard, output, .. } = listener;
        so_far.session = heard.session.clone().or(so_far.session.take());
        // what it was denied here counts, whatever it says of it itself
        heard.denied = handed.denied.iter().chain(&heard.denied).cloned().collect();
        let (stdout, stderr) = (String::new(), output.stderr.finish());
        let ran = Ran { end, stdout, stdout_is_cut: false, stderr, warnings: Vec::new() };
        // a successful program has an answer, and its exit code is of no interest
        so_far.exit_code = if let End::Exited(code @ 1..) = ran.end { Some(code) } else { None };
        so_far.ended_by_others = ran.was_ended_by_others();
        let asked = report.used.requests + report.refused > 0 || handed.was_called;
        let is_silent = heard.session.is_none() && !asked;
        so_far.never_began = is_silent && matches!(ran.end, End::Exited(code) if code != 0);
        let metered = metered(&report);
        let judged = match &ran.end {
            End::Stopped => return Err(Break::Stopped),
            // whether it was terminated for that, or exited meanwhile
            End::Stuck(_) | End::Exited(_) | End::Signalled(_) if !handed.waits.is_empty() => {
                so_far.waits = handed.waits;
                return Err(Break::Stopped);
            }
            End::Exited(_) | End::Signalled(_) => judge(&name, &heard, &metered, &end_of(&ran)),
            _ => {
                let error = ran.error(&name).map_or_else(|| Ok(String::new()), Err);
                metered.refused.map_or(error, Err)
            }
        };
        judged.map_err(|error| Break::Failed(error, None))
    }
}
