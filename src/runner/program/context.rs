//! What a program is given to read before it begins: the instructions of its workspace, where that is trusted. By themselves programs
//! read none of it, as far as they can be told not to (`domain::Preset`): so it is read here, once for a run, and given to
//! the program as its user's own.
use super::world::World;
use crate::domain::{Preset, SKILL_FILE, SkillHead};
use crate::tools::read_beneath;
use std::io;
use std::path::{Path, PathBuf};

/// Most of one file that is given.
const MOST_BYTES: usize = 64 << 10;
/// Most skills of a workspace that are named.
const MOST_SKILLS: usize = 64;
/// Where workspaces have skills.
const SKILLS: [&str; 2] = [".agents/skills", ".claude/skills"];
/// What was read for a run, in its folder: beside what the program can write.
const READ: &str = "context";

/// What a workspace says to the program that works in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WorkspaceContext {
    pub(super) text: String,
    /// What of it is not given, and why.
    pub(super) warnings: Vec<String>,
}

/// What the workspace says. It is read in the first attempt: what the program changes there later does not count in this run.
///
/// # Errors
/// A sentence: what was read can't be kept.
pub(super) async fn of_workspace(
    work: PathBuf,
    preset: &'static Preset,
    world: &World,
) -> Result<WorkspaceContext, String> {
    let kept = world.folder.join(READ);
    let reading = tokio::task::spawn_blocking(move || {
        if let Ok(text) = std::fs::read_to_string(&kept) {
            return Ok(WorkspaceContext { text, warnings: Vec::new() });
        }
        let context = read(&work, preset.instructions);
        std::fs::write(&kept, &context.text).map(|()| context)
    });
    let read = reading.await.map_err(|error| error.to_string())?;
    read.map_err(|error| format!("what its workspace says can't be kept for the run: {error}"))
}

fn read(work: &Path, names: &[&str]) -> WorkspaceContext {
    let mut context = WorkspaceContext::default();
    let (mut links, mut given) = (Vec::new(), Vec::<String>::new());
    for name in names {
        match read_beneath(work, Path::new(name), MOST_BYTES) {
            // the same under two names is one
            Ok((text, _)) if given.contains(&text) => {}
            Ok((text, is_whole)) => {
                context.text += &format!("# `{name}` of the workspace\n\n{}\n\n", text.trim_end());
                given.push(text);
                if !is_whole {
                    context.warnings.push(format!(
                        "`{name}` of its workspace is longer than {} KiB: the program was given its beginning",
                        MOST_BYTES >> 10
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                links.push(format!("`{name}` of its workspace was not given to the program: {error}"))
            }
        }
    }
    // mostly a link that has another name of the same file
    if given.is_empty() {
        context.warnings.append(&mut links);
    }
    context.text += &skills(work);
    context
}

/// The skills of a workspace: names, descriptions and places. The program reads there what it needs.
fn skills(work: &Path) -> String {
    let mut found: Vec<(SkillHead, String)> = Vec::new();
    for folder in SKILLS {
        let entries = std::fs::read_dir(work.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).take(MOST_SKILLS).collect();
        names.sort();
        for name in names {
            let path = format!("{folder}/{name}/{SKILL_FILE}");
            let Ok((text, _)) = read_beneath(work, Path::new(&path), MOST_BYTES) else { continue };
            let Ok(head) = SkillHead::parse(&text) else { continue };
            if found.iter().all(|(known, _)| known.name != head.name) {
                found.push((head, path));
            }
        }
    }
    found.truncate(MOST_SKILLS);
    listed(found.iter().map(|(head, path)| (head, path.as_str())))
}

/// A list of skills as a program is told of them.
pub(super) fn listed<'s>(skills: impl Iterator<Item = (&'s SkillHead, &'s str)>) -> String {
    let lines: String = skills
        .map(|(head, path)| format!("- `{}`: {} (read `{path}`)\n", head.name, head.description))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    format!(
        "# Skills\n\nEach skill says how something is done here. If your task is one of these, read the file first, and do as it \
         says; paths in it are relative to its folder.\n\n{lines}"
    )
}

#[cfg(test)]
mod tests {
    //! Tests of what is read of a workspace.
    use super::*;
    use std::os::unix::fs::symlink;

    fn workspace(files: &[(&str, &str)]) -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = work.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        work
    }

    #[test]
    fn instructions_are_given_under_their_names_and_the_same_once() {
        let work =
            workspace(&[("AGENTS.md", "Be brief.\n"), ("CLAUDE.md", "See @AGENTS.md\n"), ("README.md", "x")]);
        let context = read(work.path(), &["CLAUDE.md", ".claude/CLAUDE.md", "AGENTS.md"]);
        assert_eq!(
            context.text,
            "# `CLAUDE.md` of the workspace\n\nSee @AGENTS.md\n\n# `AGENTS.md` of the workspace\n\nBe brief.\n\n"
        );
        assert_eq!(context.warnings, [""; 0]);
        std::fs::copy(work.path().join("AGENTS.md"), work.path().join("CLAUDE.md")).unwrap();
        assert_eq!(read(work.path(), &["CLAUDE.md", "AGENTS.md"]).text.matches("Be brief.").count(), 1);
        assert_eq!(read(work.path(), &["GEMINI.md"]), WorkspaceContext::default());
    }

    #[test]
    fn a_link_leads_nowhere_and_a_long_file_is_cut() {
        let outside = workspace(&[("secret", "TOP SECRET"), (".agents/skills/x/SKILL.md", SKILL)]);
        let work = workspace(&[("CLAUDE.md", &"ü".repeat(60_000))]);
        symlink(outside.path().join("secret"), work.path().join("AGENTS.md")).unwrap();
        symlink(outside.path().join(".agents"), work.path().join(".agents")).unwrap();
        let context = read(work.path(), &["AGENTS.md"]);
        assert_eq!(context.text, "");
        assert!(context.warnings[0].contains("`AGENTS.md` of its workspace was not given"), "{context:?}");
        let context = read(work.path(), &["AGENTS.md", "CLAUDE.md"]);
        assert!(context.text.len() < 66_000 && context.text.contains("üüü"), "{}", context.text.len());
        assert_eq!(
            context.warnings,
            ["`CLAUDE.md` of its workspace is longer than 64 KiB: the program was given its beginning"]
        );
    }

    const SKILL: &str = "---\nname: triage\ndescription: Sorts issues.\n---\nBody\n";

    #[test]
    fn skills_are_named_and_read_later() {
        let work = workspace(&[
            (".agents/skills/triage/SKILL.md", SKILL),
            (".claude/skills/triage/SKILL.md", SKILL),
            (".claude/skills/broken/SKILL.md", "no front matter"),
        ]);
        let text = read(work.path(), &[]).text;
        assert!(
            text.contains("- `triage`: Sorts issues. (read `.agents/skills/triage/SKILL.md`)\n"),
            "{text}"
        );
        assert_eq!((text.matches("triage").count(), text.contains("Body")), (2, false), "{text}");
    }
}
