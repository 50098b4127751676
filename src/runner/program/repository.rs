//! The workspace that is a clone: it shares the objects of a repository that nothing here can write, and what was made in it
//! comes back as a branch.
//!
//! What the program can write is not trusted: its hooks, filters and settings run within its walls and never here. So the
//! commit and the bundle are made within, and only the bundle is read outside: a copy that the program can't change, of a bounded
//! size. Its head is read here, and its pack is taken by a git that runs no hook, has bounds of memory and time, checks each object
//! (no tree with a `.git` in it), and takes it only if all that its commits name is there. A worktree would not do: its repository
//! can be told to run things as its owner.
mod bundle;
mod git;

use super::world::World;
use crate::child::{self, Confinement, Inherit, Program};
use crate::domain::{KeepBranch, ProgramOwner, RepositorySpec, RunId, Sandbox, counted};
use bundle::{Heads, MOST_BUNDLE, take_bundle};
use git::{PATIENCE, SAID, done, git, git_bounded};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the summary of what was made may take: without one, a branch is as good.
const FOR_SUMMARY: Duration = Duration::from_secs(60);
/// Lines of the summary of what changed.
const SUMMARY: usize = 30;
/// Where the clone began, in the folder of the run: beside what the program can write.
const BASE: &str = "base";
/// Which folders of objects it reads, one in each line; there as well.
const OBJECTS: &str = "objects";
/// The hash of a tree with nothing in it.
const NOTHING: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Commits what is left, and makes a bundle of what is new on all branches: `$1`, from `$2` on. Hooks that the program has left would only
/// stand in its way.
const SCRIPT: &str = r#"
git() { command git -c core.hooksPath=/dev/null -c core.fsmonitor=false "$@"; }
rm -f "$1"
git add --all || exit
git diff --cached --quiet || git commit --quiet --no-verify --message 'What the agent left uncommitted' || exit
git rev-parse --verify --quiet HEAD >/dev/null || exit 0
test -z "$(git rev-list --max-count=1 HEAD --branches ${2:+"^$2"})" || git bundle create --quiet "$1" HEAD --branches ${2:+"^$2"}
"#;

/// Most branches beside its own that are brought back of a run.
const MORE_BRANCHES: usize = 20;

/// What was brought back of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Where the head of the clone is now, if anything is to be kept of it.
    pub(super) head: Option<KeptBranch>,
    /// What is to be said of other branches that the program left.
    pub(super) others: Option<String>,
    /// Why some of it is in the clone alone.
    pub(super) missing: Option<String>,
}

/// A branch with what the run has made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptBranch {
    /// The branch in the repository.
    pub(super) branch: String,
    /// What changed, file by file.
    pub(super) summary: String,
}

/// Was the clone made, by this attempt or an earlier one?
pub(super) fn was_cloned(world: &World) -> bool {
    world.folder.join(BASE).exists()
}

/// The same, and its folder was not moved away or emptied since.
pub(super) fn is_cloned(world: &World) -> bool {
    let has_files = || std::fs::read_dir(world.work()).is_ok_and(|mut found| found.next().is_some());
    was_cloned(world) && has_files()
}

/// Its folder was moved away: a further attempt makes it anew.
pub(super) fn forget_clone(world: &World) {
    // one that stays is of no harm: nothing counts as a clone without its files
    let _ = std::fs::remove_file(world.folder.join(BASE));
}

/// Makes the clone, unless an earlier attempt has. Returns what to say of the repository.
///
/// # Errors
/// A sentence: there is no such repository, or git can't clone it.
pub(super) async fn clone(spec: &RepositorySpec, world: &World, agent: &str) -> Result<Vec<String>, String> {
    if is_cloned(world) {
        return Ok(Vec::new());
    }
    let shown = spec.path.display();
    if !spec.path.is_dir() {
        return Err(format!("there is no repository `{shown}`; was it moved? Name it in `workspace`"));
    }
    let (repo, work) = (text(&spec.path), text(&world.work()));
    let name = format!("user.name=bgagent {agent}");
    let cloning = [
        "clone",
        "--quiet",
        "--shared",
        "--template=",
        "--no-recurse-submodules",
        "--config",
        &name,
        "--config",
        "user.email=bgagent@localhost",
        "--",
        &repo,
        &work,
    ];
    // what an attempt that was cut off here has left
    let _ = std::fs::remove_dir_all(world.work());
    git(&cloning).await.map_err(|why| format!("`{shown}` can't be cloned: {why}"))?;
    let head = git(&["-C", &work, "rev-parse", "--verify", "--quiet", "HEAD"]).await;
    let base = head.map(|head| head.trim().to_owned()).unwrap_or_default();
    let objects: Vec<String> = objects_of(&repo).await?.iter().map(|path| text(path)).collect();
    std::fs::write(world.folder.join(OBJECTS), objects.join("\n"))
        .and_then(|()| std::fs::write(world.folder.join(BASE), &base))
        .map_err(|error| format!("where the clone begins can't be written down: {error}"))?;
    let mut warnings = Vec::new();
    if base.is_empty() {
        warnings.push(format!("`{shown}` has no commits: the program begins with nothing"));
    }
    warnings.extend(uncommitted(&repo).await);
    if world.work().join(".gitmodules").exists() {
        warnings.push(format!("submodules of `{shown}` are not cloned: their folders are empty"));
    }
    let attributes = std::fs::read_to_string(world.work().join(".gitattributes")).unwrap_or_default();
    if attributes.contains("filter=lfs") {
        warnings.push(format!(
            "files of `{shown}` that Git LFS keeps are not fetched: the program sees their pointers, and must not change them"
        ));
    }
    Ok(warnings)
}

/// The folders of objects that the clone in the folder of a run reads.
pub(super) fn objects(folder: &Path) -> Vec<PathBuf> {
    let known = std::fs::read_to_string(folder.join(OBJECTS)).unwrap_or_default();
    known.lines().map(PathBuf::from).collect()
}

async fn objects_of(repo: &str) -> Result<Vec<PathBuf>, String> {
    let path = git(&["-C", repo, "rev-parse", "--path-format=absolute", "--git-path", "objects"]).await?;
    let own = PathBuf::from(path.trim_end_matches('\n'));
    // one that is a clone of this kind itself
    let others = std::fs::read_to_string(own.join("info/alternates")).unwrap_or_default();
    let others = others.lines().filter(|line| line.starts_with('/')).map(PathBuf::from);
    Ok(std::iter::once(own.clone()).chain(others.filter(|path| path.is_dir())).collect())
}

async fn uncommitted(repo: &str) -> Option<String> {
    let changed = git(&["-C", repo, "status", "--porcelain", "--untracked-files=no"]).await.ok()?;
    let count = changed.lines().count();
    (count > 0).then(|| {
        format!(
            "`{repo}` has {} with changes that are not committed: the program does not see them",
            counted(count, "file")
        )
    })
}

/// Brings back what was made: the head of the clone as the run's branch, others beside it.
///
/// # Errors
/// A sentence: what could not be brought back, and where it is.
pub(super) async fn bring_back(
    spec: &RepositorySpec,
    world: &World,
    sandbox: Option<&Sandbox>,
    owner: &ProgramOwner,
    agent: &str,
    run: RunId,
) -> Result<Brought, String> {
    if spec.keep == KeepBranch::Never {
        return Ok(Brought::default());
    }
    let base = std::fs::read_to_string(world.folder.join(BASE)).map_err(|error| error.to_string())?;
    let made = world.temporary().join("result.bundle");
    bundled(world, sandbox, owner, &base, &made).await?;
    let bundle = world.folder.join("result.pack");
    let (from, to) = (made, bundle.clone());
    let taking = tokio::task::spawn_blocking(move || take_bundle(&from, &to, MOST_BUNDLE)).await;
    let taken = taking.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let taken = taken.map_err(|why| format!("what it made can't be brought back: {why}"))?;
    let (repo, branch) = (text(&spec.path), branch(agent, run));
    let (mut head, mut unpacked) = (base.clone(), None);
    if let Some(heads) = taken {
        let told = unpack(&repo, &text(&bundle), &heads).await;
        let _ = std::fs::remove_file(&bundle);
        let told = told.map_err(|why| format!("what it made can't be brought back: {why}"))?;
        head = told.head.clone().unwrap_or(head);
        unpacked = Some(told);
    }
    // the run's own branch comes first: there may be no time for others
    let is_kept = !head.is_empty() && (head != base || spec.keep != KeepBranch::Changed);
    let mut brought = Brought::default();
    if is_kept {
        let place = format!("refs/heads/{branch}");
        git(&["-C", &repo, "update-ref", &place, &head]).await?;
        let from = if base.is_empty() { NOTHING } else { base.as_str() };
        let summary = match changes(&repo, from, &place).await {
            Ok(changes) => shortened(&changes),
            Err(why) => format!("what changed can't be summed up: {why}"),
        };
        brought.head = Some(KeptBranch { branch: branch.clone(), summary });
    }
    let Some(unpacked) = unpacked else { return Ok(brought) };
    match bring_others(&repo, &unpacked.branches, &head, &branch).await {
        Ok(others) => brought.others = others,
        Err(why) => brought.missing = Some(format!("other branches of it can't be brought back: {why}")),
    }
    if unpacked.is_cut {
        let why = "it left more branches than can be read; some of them are not brought back";
        brought.missing.get_or_insert_with(|| why.into());
    }
    Ok(brought)
}

/// Makes branches of the repository of those that the program left beside the head of its clone. Returns what to say of them.
async fn bring_others(
    repo: &str,
    branches: &[(String, String)],
    head: &str,
    branch: &str,
) -> Result<Option<String>, String> {
    let mut kept: Vec<String> = Vec::new();
    let mut left = 0;
    for (at, (commit, name)) in branches.iter().enumerate() {
        if kept.len() == MORE_BRANCHES {
            left = branches.len() - at;
            break;
        }
        // what the head has, and what was there before, is lost with no branch
        let new = ["-C", repo, "rev-list", "--max-count=1", commit, "--not", "--all", head];
        if git(&new[..if head.is_empty() { 7 } else { 8 }]).await?.trim().is_empty() {
            continue;
        }
        let plain: String =
            name.chars().take(60).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let mut place = format!("{branch}-{plain}");
        if kept.contains(&place) {
            place = format!("{place}-{}", kept.len());
        }
        git(&["-C", repo, "update-ref", &format!("refs/heads/{place}"), commit]).await?;
        kept.push(place);
    }
    let shown = kept.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
    Ok(match (kept.is_empty(), left) {
        (true, _) => None,
        (false, 0) => Some(format!("the program left other branches; they are brought back as {shown}")),
        (false, _) => Some(format!(
            "the program left more branches than are brought back: of {left} of them only what the others have is not \
             lost; kept are {shown}"
        )),
    })
}

/// What changed between two commits, file by file.
async fn changes(repo: &str, from: &str, to: &str) -> Result<String, String> {
    let diff = ["diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--stat=100", from, to, "--"];
    git_bounded(repo, &diff, None, FOR_SUMMARY).await
}

/// What a bundle has brought into a repository.
struct Unpacked {
    /// The commit that was the head of the clone; `None`: nothing is new there.
    head: Option<String>,
    /// Its branches: commit and name, as the program gave it.
    branches: Vec<(String, String)>,
    /// There were more than are kept.
    is_cut: bool,
}

/// Takes the objects of a bundle into a repository, if each of them is sound.
async fn unpack(repo: &str, pack: &str, heads: &Heads) -> Result<Unpacked, String> {
    if heads.all.is_empty() {
        return Err("the bundle names no commit".into());
    }
    let most = format!("--max-input-size={MOST_BUNDLE}");
    let taking = ["index-pack", "--stdin", "--fix-thin", "--strict", &most];
    git_bounded(repo, &taking, Some(pack), PATIENCE).await?;
    let head = heads.all.iter().find(|(_, name)| *name == "HEAD").map(|(commit, _)| commit.clone());
    let branches = heads
        .all
        .iter()
        .filter_map(|(commit, name)| Some((commit.clone(), name.strip_prefix("refs/heads/")?.to_owned())));
    let whole = ["rev-list", "--objects", "--quiet"];
    let all = heads.all.iter().map(|(commit, _)| commit.as_str()).chain(["--not", "--all"]);
    let whole: Vec<&str> = whole.into_iter().chain(all).collect();
    git_bounded(repo, &whole, None, PATIENCE)
        .await
        .map_err(|why| format!("something of it is missing: {why}"))?;
    Ok(Unpacked { head, branches: branches.collect(), is_cut: heads.is_cut })
}

/// Commits what is left uncommitted and makes the bundle, within the walls of the program. There is none where there is
/// nothing new.
async fn bundled(
    world: &World,
    sandbox: Option<&Sandbox>,
    owner: &ProgramOwner,
    base: &str,
    bundle: &Path,
) -> Result<(), String> {
    let argv = ["/bin/sh", "-c", SCRIPT, "sh", &text(bundle), base].map(str::to_owned);
    let env = world.environment();
    let folders = world.writable();
    let variables = env.iter().map(|(name, _)| name.as_str());
    let confinement =
        sandbox.map(|sandbox| Confinement::new(sandbox, owner, &[], variables).with_folders(&folders, &[]));
    let committing = Program {
        argv: &argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: Some(&world.work()),
        stdin: None,
        confinement,
        control: None,
        max_output: SAID,
    };
    let failed = |why: String| format!("what it made can't be committed: {why}");
    done(child::run(committing, PATIENCE).await).map(drop).map_err(failed)
}

fn branch(agent: &str, run: RunId) -> String {
    // dots have meanings of their own in names of branches
    format!("bgagent/{}/{run}", agent.replace('.', "-"))
}

fn shortened(summary: &str) -> String {
    let lines: Vec<&str> = summary.lines().collect();
    if lines.len() <= SUMMARY {
        return summary.trim_end().to_owned();
    }
    let (last, first) = lines.split_last().expect("there are more than some");
    format!("{}\n …\n{last}", first[..SUMMARY - 2].join("\n"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
