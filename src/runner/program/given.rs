//! What a program finds when it begins, beside its task: instructions, skills, and the session of the run before; and what of it stays
//! for the next run.
use super::context;
use super::sessions;
use super::task::work_of;
use super::{ProgramSoFar, World};
use crate::domain::{ErrorKind, ResumePolicy, RunnerQuery, RunnerSpec, Workspace};
use crate::runner::broken::Break;
use crate::runner::command::Attempt;
use crate::runner::skills::{SkillCopies, Skills};

impl Attempt<'_> {
    /// What the program is given to read before it begins.
    pub(super) async fn context(
        &mut self,
        query: &RunnerQuery,
        spec: &RunnerSpec,
        world: &World,
        so_far: &mut ProgramSoFar,
    ) -> Result<String, Break> {
        let Some(preset) = spec.preset() else { return Ok(String::new()) };
        let SkillCopies { files, places } = Skills::read(&query.skills, self.shared).await?.copies();
        let failed = |why| Break::failed(ErrorKind::Spawn, why);
        world.copy(files).await.map_err(failed)?;
        let home = world.home();
        let paths: Vec<String> =
            places.iter().map(|(_, path)| home.join(path).display().to_string()).collect();
        let heads = places.iter().zip(&paths).map(|((head, _), path)| (head, path.as_str()));
        let skills = context::listed(heads);
        if !query.trusts_workspace {
            return Ok(skills);
        }
        let work = work_of(&query.workspace, &world.folder);
        let reading = context::of_workspace(work, preset, world);
        let read = self.while_wanted(reading).await?.map_err(|why| Break::failed(ErrorKind::Spawn, why))?;
        so_far.warnings.extend(read.warnings);
        Ok(read.text + &skills)
    }

    /// What the session that goes on from run to run is: `None` where it does not, or there is none yet.
    pub(super) async fn carried(
        &mut self,
        query: &RunnerQuery,
        spec: &RunnerSpec,
        world: &World,
        so_far: &mut ProgramSoFar,
    ) -> Result<Option<String>, Break> {
        let preset = spec.preset().filter(|_| query.resume == ResumePolicy::Always);
        let (Some(preset), Workspace::Folder(folder)) = (preset, &query.workspace) else { return Ok(None) };
        let agent = self.brief.agent.id.clone();
        let taking = sessions::take_up(world, preset, &agent, folder.clone());
        Ok(match self.while_wanted(taking).await? {
            Ok(session) => session.map(|session| session.id),
            Err(warning) => {
                so_far.warnings.push(warning);
                None
            }
        })
    }

    /// Keeps the session of the program for the next run, where it is to go on.
    pub(super) async fn keep_session(
        &self,
        query: &RunnerQuery,
        world: &World,
        came: &Result<String, Break>,
        so_far: &mut ProgramSoFar,
    ) {
        let fleet = &self.shared.fleet;
        let preset = fleet.runners.get(&query.runner).and_then(RunnerSpec::preset);
        let preset = preset.filter(|_| query.resume == ResumePolicy::Always && self.shared.store.is_some());
        let (Some(preset), Workspace::Folder(folder)) = (preset, &query.workspace) else { return };
        let agent = &self.brief.agent.id;
        match (sessions::stays(came, !so_far.waits.is_empty()), so_far.session.clone()) {
            (Some(true), Some(id)) => {
                let (program, folder) = (preset.name.to_string(), folder.clone());
                let session = sessions::KeptSession { id, program, folder };
                so_far.warnings.extend(sessions::keep(world, preset, agent, session).await.err());
            }
            (Some(false), _) => sessions::forget(agent).await,
            (Some(true), None) | (None, _) => {}
        }
    }
}
