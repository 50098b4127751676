//! `skills` of an agent: folders with a `SKILL.md`, read when the configuration is.
use super::walk::Section;
use crate::domain::{READ_SKILL, SkillSpec};
use crate::skill_folder::SkillFolder;
use std::sync::Arc;

/// Most skills of an agent.
const MOST: usize = 50;

/// Those of a section, as far as they are in order. `tools`: what else its model may call.
pub(super) fn skills(section: &Section<'_>, tools: &[String]) -> Vec<Arc<SkillSpec>> {
    let Some(list) = section.get("skills") else { return Vec::new() };
    let mut skills: Vec<Arc<SkillSpec>> = Vec::new();
    for item in list.items().unwrap_or_default() {
        let Some(path) = item.text() else { continue };
        let folder = section.file.expand(path, item.span());
        let shown = folder.display();
        let read = match SkillFolder::read(&folder) {
            Ok(read) => read,
            Err(why) => {
                let hint =
                    "a skill is a folder with a SKILL.md, whose front matter has `name` and `description`"
                        .to_owned();
                item.refuse_with::<()>(format!("`{shown}` is no skill: it {why}"), hint);
                continue;
            }
        };
        let digest = read.digest();
        if let Some(other) = skills.iter().find(|other| other.head.name == read.head.name) {
            item.refuse_with::<()>(
                format!(
                    "two skills are called `{}`: `{shown}` and `{}`",
                    other.head.name,
                    other.folder.display()
                ),
                "rename one of them, by `name` in its SKILL.md".into(),
            );
            continue;
        }
        skills.push(Arc::new(SkillSpec { head: read.head, folder: folder.clone(), digest }));
    }
    if skills.len() > MOST {
        list.refuse_with::<()>(
            format!("it has {} skills, and {MOST} are the most", skills.len()),
            "a model is told of each of them in each run: leave out those that this agent has no use for"
                .into(),
        );
    }
    if !skills.is_empty() && tools.iter().any(|tool| tool == READ_SKILL) {
        list.refuse_with::<()>(
            format!("the model reads its skills by a tool `{READ_SKILL}`, and another tool of this agent has that name"),
            "rename that tool".into(),
        );
    }
    skills
}
