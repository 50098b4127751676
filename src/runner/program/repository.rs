//! The workspace that is a clone: it shares the objects of a repository that is read-only here, and what was made in it is
//! brought back as a branch.
//!
//! Nothing that the program can write is trusted: its hooks, filters and settings only run in its sandbox. So the commit and
//! the bundle are made in the sandbox, and only the bundle is read outside: a copy of bounded size that the program can't
//! change. Its header is read here; its pack is unpacked by a git that runs no hook, is limited in memory and time, checks each
//! object (no tree with a `.git` in it), and accepts it only if everything that its commits reference is present. A worktree
//! would not do: its repository can be made to run things as its owner.
mod bundle;
mod git;

use super::world::World;
use crate::child::{self, Confinement, Inherit, Program};
use crate::domain::{KeepBranch, ProgramOwner, RepositorySpec, RunId, Sandbox, counted};
use bundle::{Heads, MOST_BUNDLE, take_bundle};
use git::{PATIENCE, SAID, done, git, git_bounded};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time limit of the diff summary, which is optional.
const SUMMARY_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of lines of the diff summary.
const MAX_SUMMARY_LINES: usize = 30;
/// File with the commit that the clone started from, in the folder of the run: outside what the program can write.
const BASE_FILE: &str = "base";
/// File with the object folders that the clone reads, one per line; also there.
const OBJECTS_FILE: &str = "objects";
/// The hash of the empty tree.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Commits what is left, and makes a bundle `$1` of what is new on all branches since `$2`. Hooks that the program has left
/// would only interfere.
const SCRIPT: &str = r#"
git() { command git -c core.hooksPath=/dev/null -c core.fsmonitor=false "$@"; }
rm -f "$1"
git add --all || exit
git diff --cached --quiet || git commit --quiet --no-verify --message 'What the agent left uncommitted' || exit
git rev-parse --verify --quiet HEAD >/dev/null || exit 0
test -z "$(git rev-list --max-count=1 HEAD --branches ${2:+"^$2"})" || git bundle create --quiet "$1" HEAD --branches ${2:+"^$2"}
"#;

/// Maximum number of branches that are brought back of a run besides its own.
const MAX_OTHER_BRANCHES: usize = 20;

/// What was brought back of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// The branch for the head of the clone, if anything in it is to be kept.
    pub(super) head: Option<KeptBranch>,
    /// The message about other branches that the program left.
    pub(super) others: Option<String>,
    /// Why some of the work is only in the clone.
    pub(super) missing: Option<String>,
}

/// A branch with the work of the run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptBranch {
    pub(super) branch: String,
    pub(super) summary: String,
}

/// Returns whether the clone was made, by this attempt or an earlier one.
pub(super) fn was_cloned(world: &World) -> bool {
    world.folder.join(BASE_FILE).exists()
}

/// Returns whether the clone was made, and its folder was not moved away or emptied since.
pub(super) fn is_cloned(world: &World) -> bool {
    let has_files = || std::fs::read_dir(world.work()).is_ok_and(|mut found| found.next().is_some());
    was_cloned(world) && has_files()
}

/// Forgets the clone after its folder was moved away: a further attempt makes a new one.
pub(super) fn forget_clone(world: &World) {
    // one that stays does no harm: nothing counts as a clone without its files
    let _ = std::fs::remove_file(world.folder.join(BASE_FILE));
}

/// Makes the clone, unless an earlier attempt has. Returns warnings about the repository.
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
    // left by an attempt that was interrupted here
    let _ = std::fs::remove_dir_all(world.work());
    git(&cloning).await.map_err(|why| format!("`{shown}` can't be cloned: {why}"))?;
    let head = git(&["-C", &work, "rev-parse", "--verify", "--quiet", "HEAD"]).await;
    let base = head.map(|head| head.trim().to_owned()).unwrap_or_default();
    let objects: Vec<String> = objects_of(&repo).await?.iter().map(|path| text(path)).collect();
    std::fs::write(world.folder.join(OBJECTS_FILE), objects.join("\n"))
        .and_then(|()| std::fs::write(world.folder.join(BASE_FILE), &base))
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

/// Returns the object folders that the clone in a run's folder reads.
pub(super) fn objects(folder: &Path) -> Vec<PathBuf> {
    let known = std::fs::read_to_string(folder.join(OBJECTS_FILE)).unwrap_or_default();
    known.lines().map(PathBuf::from).collect()
}

async fn objects_of(repo: &str) -> Result<Vec<PathBuf>, String> {
    let path = git(&["-C", repo, "rev-parse", "--path-format=absolute", "--git-path", "objects"]).await?;
    let own = PathBuf::from(path.trim_end_matches('\n'));
    // the repository may itself be a clone that shares objects
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

/// Brings back what was made: the head of the clone as the run's branch, and its other branches.
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
    let base = std::fs::read_to_string(world.folder.join(BASE_FILE)).map_err(|error| error.to_string())?;
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
        let from = if base.is_empty() { EMPTY_TREE } else { base.as_str() };
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

/// Creates branches in the repository for those that the program left besides its head. Returns the message about them.
async fn bring_others(
    repo: &str,
    branches: &[(String, String)],
    head: &str,
    branch: &str,
) -> Result<Option<String>, String> {
    let mut kept: Vec<String> = Vec::new();
    let mut left = 0;
    for (at, (commit, name)) in branches.iter().enumerate() {
        if kept.len() == MAX_OTHER_BRANCHES {
            left = branches.len() - at;
            break;
        }
        // a branch is not needed for commits that are in the head or were there before
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

/// Returns what changed between two commits, per file.
async fn changes(repo: &str, from: &str, to: &str) -> Result<String, String> {
    let diff = ["diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--stat=100", from, to, "--"];
    git_bounded(repo, &diff, None, SUMMARY_TIMEOUT).await
}

/// What a bundle has brought into a repository.
struct Unpacked {
    /// The commit that was the head of the clone; `None`: nothing is new there.
    head: Option<String>,
    /// Its branches: commit and name, as given by the program.
    branches: Vec<(String, String)>,
    is_cut: bool,
}

/// Unpacks the objects of a bundle into a repository, if each of them is valid.
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

/// Commits what is left uncommitted and makes the bundle, in the program's sandbox. Makes none if nothing is new.
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
    // dots have a special meaning in branch names
    format!("bgagent/{}/{run}", agent.replace('.', "-"))
}

fn shortened(summary: &str) -> String {
    let lines: Vec<&str> = summary.lines().collect();
    if lines.len() <= MAX_SUMMARY_LINES {
        return summary.trim_end().to_owned();
    }
    let (last, first) = lines.split_last().expect("there are more than some");
    format!("{}\n …\n{last}", first[..MAX_SUMMARY_LINES - 2].join("\n"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
