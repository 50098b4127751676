//! Skills that are not used, and why.
use crate::domain::{Fleet, SkillSpec};
use crate::protocol::UnusedSkillView;
use crate::skill_folder::SkillFolder;

/// Those of a fleet. It reads their folders.
pub(in crate::daemon) fn unused_skills(fleet: &Fleet) -> Vec<UnusedSkillView> {
    let mut unused: Vec<UnusedSkillView> = Vec::new();
    for agent in &fleet.agents {
        for skill in agent.body.skills() {
            let folder = skill.folder.display().to_string();
            if let Some(known) = unused.iter_mut().find(|one| one.folder == folder) {
                known.agents.push(agent.id.clone());
            } else if let Some(problem) = problem(skill, fleet) {
                let (skill, agents) = (skill.head.name.clone(), vec![agent.id.clone()]);
                unused.push(UnusedSkillView { skill, folder, agents, problem });
            }
        }
    }
    unused
}

fn problem(skill: &SkillSpec, fleet: &Fleet) -> Option<String> {
    if fleet.untrusted_skills.contains(&skill.digest) {
        return Some("is not trusted as it is".into());
    }
    match SkillFolder::read(&skill.folder) {
        Err(why) => Some(format!("can't be used: its folder {why}")),
        Ok(read) if read.digest() != skill.digest => Some("has changed since it was trusted".into()),
        Ok(_) => None,
    }
}
