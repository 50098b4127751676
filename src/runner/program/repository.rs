//! The workspace that is a clone: it shares the objects of a repository that nothing here can write, and what was made in it
//! comes back as a branch.
//!
//! What the program can write is not trusted: its hooks, filters and settings run within its walls and never here. So the
//! commit and the bundle are made within, and only the bundle is read outside: a copy that the program can't change, of a bounded
//! size. Its head is read here, and its pack is taken by a git that runs no hook, has bounds of memory and time, checks each object
//! (no tree with a `.git` in it), and takes it only if all that its commits name is there. A worktree would not do: its repository
//! can be told to run things as its owner.
use super::world::World;
use crate::child::{self, ChildError, Confinement, Finished, Inherit, Program};
use crate::domain::{KeepBranch, ProgramOwner, RepositorySpec, RunId, Sandbox, counted};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one call of git may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the summary of what was made may take: without one, a branch is as good.
const FOR_SUMMARY: Duration = Duration::from_secs(60);
/// Largest bundle.
const MOST_BUNDLE: u64 = 1 << 30;
/// Longest head of a bundle, which names its branches.
const MOST_HEADS: u64 = 16 << 20;
/// Memory of a git that reads what a program has made, in KiB: a few objects can stand for more files than fit any memory.
const MEMORY: u32 = 2 << 20;
/// Of what it prints, so much is kept.
const SAID: usize = 64 << 10;
/// Lines of the summary of what changed.
const SUMMARY: usize = 30;
/// Where the clone began, in the folder of the run: beside what the program can write.
const BASE: &str = "base";
/// Which folders of objects it reads, one in each line; there as well.
const OBJECTS: &str = "objects";
/// The hash of a tree with nothing in it.
const NOTHING: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Nothing of whoever runs the daemon counts but the repository itself: no hooks, no helpers, no settings of theirs.
const QUIET: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "transfer.fsckObjects=true",
];

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

/// How bundles begin (gitformat-bundle(5)).
const BUNDLES: [&str; 2] = ["# v2 git bundle\n", "# v3 git bundle\n"];

/// The commits that a bundle names, as the program gave it: commit and name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heads {
    all: Vec<(String, String)>,
    /// There were more than are kept.
    is_cut: bool,
}

/// Copies the pack of the bundle to where the program can't change it. `None`: there is no bundle.
fn take_bundle(from: &Path, to: &Path, most: u64) -> std::io::Result<Option<Heads>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let refuse =
        |what: &str| Err(std::io::Error::other(format!("in the place of its bundle there is {what}")));
    let found = file.metadata()?;
    if !found.is_file() {
        return refuse("something that is not a file");
    }
    if found.len() > most {
        return refuse(&format!("one of {} MiB, and at most {} are read", found.len() >> 20, most >> 20));
    }
    let mut bundle = BufReader::new(file.take(most));
    let heads = match heads_of((&mut bundle).take(MOST_HEADS))? {
        Ok(heads) => heads,
        Err(what) => return refuse(what),
    };
    let mut copy = File::create(to)?;
    std::io::copy(&mut bundle, &mut copy)?;
    Ok(Some(heads))
}

/// Reads the head of a bundle, up to its pack. The inner error: what there is instead.
fn heads_of(mut bundle: impl BufRead) -> std::io::Result<Result<Heads, &'static str>> {
    let mut line = Vec::new();
    (&mut bundle).take(64).read_until(b'\n', &mut line)?;
    if !BUNDLES.iter().any(|known| line == known.as_bytes()) {
        return Ok(Err("something that is not a bundle"));
    }
    let (mut heads, mut kept) = (Heads::default(), 0);
    loop {
        line.clear();
        bundle.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(Err("a part of a bundle")) };
        let text = String::from_utf8_lossy(whole);
        match text.as_bytes().first() {
            None => return Ok(Ok(heads)),
            // what the repository has already: whether that is so is seen when all is there
            Some(b'-') => continue,
            Some(b'@') if text.starts_with("@object-format=") => continue,
            Some(b'@') => return Ok(Err("a bundle of a kind that is not read")),
            Some(_) => {}
        }
        let is_commit =
            |word: &str| matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some((commit, name)) = text.split_once(' ').filter(|(commit, _)| is_commit(commit)) else {
            return Ok(Err("a bundle that can't be read"));
        };
        kept += text.len();
        if kept > SAID {
            heads.is_cut = true;
        } else {
            heads.all.push((commit.to_owned(), name.to_owned()));
        }
    }
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

/// Runs git without any setting but the repository's own. Its standard output.
async fn git(args: &[&str]) -> Result<String, String> {
    let argv: Vec<String> = quiet(args).map(str::to_owned).collect();
    run(&argv, PATIENCE).await
}

/// The same in a repository, for what a program has made: with bounds of memory and time, and with this file to read.
async fn git_bounded(
    repo: &str,
    args: &[&str],
    input: Option<&str>,
    patience: Duration,
) -> Result<String, String> {
    /// Objects that are larger are not held in memory as a whole.
    const FRUGAL: [&str; 8] = [
        "-c",
        "core.bigFileThreshold=16m",
        "-c",
        "core.packedGitWindowSize=16m",
        "-c",
        "core.packedGitLimit=256m",
        "-c",
        "pack.threads=1",
    ];
    let memory = if input.is_some() { MEMORY } else { MEMORY / 2 };
    let script = format!("ulimit -v {memory} 2>/dev/null; exec \"$@\" <\"$0\"");
    let shell = ["/bin/sh", "-c", &script, input.unwrap_or("/dev/null")];
    let args: Vec<&str> = FRUGAL.into_iter().chain(["-C", repo]).chain(args.iter().copied()).collect();
    let argv: Vec<String> = shell.into_iter().chain(quiet(&args)).map(str::to_owned).collect();
    run(&argv, patience).await
}

fn quiet<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    std::iter::once("git").chain(QUIET.iter().copied()).chain(args.iter().copied())
}

async fn run(argv: &[String], patience: Duration) -> Result<String, String> {
    let env = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("LC_ALL", "C"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let asking = Program {
        argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: SAID,
    };
    done(child::run(asking, patience).await)
}

fn done(ran: Result<Finished, ChildError>) -> Result<String, String> {
    let ran = ran.map_err(|error| error.to_string())?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = child::first_line(if ran.stderr.is_empty() { &ran.stdout } else { &ran.stderr });
    Err(format!("git ended with {}: {said}", child::how_it_ended(ran.status)))
}

#[cfg(test)]
mod tests {
    //! Tests of names and summaries.
    use super::*;

    #[test]
    fn a_branch_has_a_name_that_git_takes() {
        let run = RunId::from_bytes([1; 16]);
        assert_eq!(branch("a..b.lock", run), format!("bgagent/a--b-lock/{run}"));
    }

    #[test]
    fn only_a_bundle_is_taken_and_not_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let take = |from: &Path| take_bundle(from, &to, 1 << 20);
        assert_eq!(take(&from).unwrap(), None);
        let commit = "a".repeat(40);
        for (planted, says) in [
            ("gitdir: /home/somebody/private/.git\n".to_owned(), "not a bundle"),
            (String::new(), "not a bundle"),
            ("# v2 git bundl".into(), "not a bundle"),
            ("# v2 git bundle\n".into(), "a part"),
            (format!("# v2 git bundle\n{commit} HEAD\n"), "a part"),
            (format!("# v2 git bundle\n{commit}\n\nPACK"), "can't be read"),
            ("# v2 git bundle\n--upload-pack=x HEAD\n--exec HEAD".into(), "a part"),
            (format!("# v3 git bundle\n@filter=blob:none\n{commit} HEAD\n\nPACK"), "of a kind"),
        ] {
            std::fs::write(&from, &planted).unwrap();
            let told = take(&from).unwrap_err().to_string();
            assert!(told.contains(says), "{planted}: {told}");
        }
        let whole =
            format!("# v2 git bundle\n-{commit} before\n{commit} HEAD\n{commit} refs/heads/x y\n\nPACK");
        std::fs::write(&from, whole).unwrap();
        let heads = take(&from).unwrap().unwrap();
        assert_eq!(heads.all, [(commit.clone(), "HEAD".into()), (commit.clone(), "refs/heads/x y".into())]);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "PACK", "what git reads is the pack alone");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&from, &link).unwrap();
        assert!(take(&link).is_err());
        assert!(take(folder.path()).is_err());
        // what takes no room where it is planted would take it where it is copied to
        let sparse = File::create(&from).unwrap();
        sparse.set_len((1 << 20) + 1).unwrap();
        assert!(take(&from).unwrap_err().to_string().contains("at most 1 are read"));
        // so many branches that not all are kept
        let many: String = (0..2000).map(|at| format!("{commit} refs/heads/{at}\n")).collect();
        std::fs::write(&from, format!("# v2 git bundle\n{many}\nPACK")).unwrap();
        let heads = take(&from).unwrap().unwrap();
        assert!(heads.is_cut && heads.all.len() > 100, "{}", heads.all.len());
    }

    /// A tree in git's own words, as programs can make it that are not git.
    async fn tree(repo: &str, entries: &[(&str, &str, &str)]) -> String {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|(mode, name, hash)| {
                let hash = (0..20).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap());
                format!("{mode} {name}\0").into_bytes().into_iter().chain(hash).collect::<Vec<u8>>()
            })
            .collect();
        let file = Path::new(repo).join(".git/tree");
        std::fs::write(&file, bytes).unwrap();
        let writing = ["-C", repo, "hash-object", "-t", "tree", "--literally", "-w", &text(&file)];
        git(&writing).await.unwrap().trim().to_owned()
    }

    async fn commit_of(repo: &str, parent: &str, tree: &str) -> String {
        let who = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-C", repo];
        let making = ["commit-tree", "-p", parent, "-m", "made", tree];
        git(&who.into_iter().chain(making).collect::<Vec<_>>()).await.unwrap().trim().to_owned()
    }

    /// What the program left in a repository of its own, taken into another one.
    async fn brought(
        theirs: &str,
        commit: &str,
        base: &str,
        ours: &str,
        folder: &Path,
    ) -> Result<(), String> {
        git(&["-C", theirs, "update-ref", "refs/heads/made", commit]).await?;
        let bundle = folder.join("made.bundle");
        let not = format!("^{base}");
        git(&["-C", theirs, "bundle", "create", "--quiet", &text(&bundle), "refs/heads/made", &not]).await?;
        let pack = folder.join("made.pack");
        let heads = take_bundle(&bundle, &pack, MOST_BUNDLE).unwrap().unwrap();
        unpack(ours, &text(&pack), &heads).await.map(drop)
    }

    #[tokio::test]
    async fn no_tree_that_git_itself_would_not_make_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, base) = repository(folder.path()).await;
        let theirs = text(&folder.path().join("theirs"));
        git(&["clone", "--quiet", &ours, &theirs]).await.unwrap();
        let file = folder.path().join("evil");
        std::fs::write(&file, "[core]\nfsmonitor = evil\n").unwrap();
        let blob = git(&["-C", &theirs, "hash-object", "-w", &text(&file)]).await.unwrap().trim().to_owned();
        let good = commit_of(&theirs, &base, &tree(&theirs, &[("100644", "notes", &blob)]).await).await;
        brought(&theirs, &good, &base, &ours, folder.path()).await.unwrap();
        assert_eq!(git(&["-C", &ours, "cat-file", "-t", &good]).await.unwrap().trim(), "commit");
        let within = tree(&theirs, &[("100644", "config", &blob)]).await;
        for name in [".git", ".GIT", "git~1", ".."] {
            let planted = tree(&theirs, &[("40000", name, &within)]).await;
            let commit = commit_of(&theirs, &base, &planted).await;
            let told = brought(&theirs, &commit, &base, &ours, folder.path()).await.unwrap_err();
            assert!(git(&["-C", &ours, "cat-file", "-t", &commit]).await.is_err(), "{name}: {told}");
        }
    }

    /// Few objects that stand for more files than there is memory for.
    #[tokio::test]
    async fn a_tree_of_trees_does_not_take_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (repo, base) = repository(folder.path()).await;
        let file = folder.path().join("x");
        std::fs::write(&file, "x").unwrap();
        let mut hash =
            git(&["-C", &repo, "hash-object", "-w", &text(&file)]).await.unwrap().trim().to_owned();
        let mut mode = "100644";
        let names: Vec<String> = ('a'..='p').map(String::from).collect();
        for _ in 0..10 {
            let entries: Vec<(&str, &str, &str)> =
                names.iter().map(|name| (mode, name.as_str(), hash.as_str())).collect();
            (hash, mode) = (tree(&repo, &entries).await, "40000");
        }
        let commit = commit_of(&repo, &base, &hash).await;
        let began = std::time::Instant::now();
        let told = changes(&repo, &base, &commit).await.unwrap_err();
        assert!(began.elapsed() < FOR_SUMMARY + Duration::from_secs(60), "{told}");
    }

    async fn repository(folder: &Path) -> (String, String) {
        let repo = text(&folder.join("app"));
        git(&["init", "--quiet", "--initial-branch=main", &repo]).await.unwrap();
        let who = ["-c", "user.name=a", "-c", "user.email=a@localhost"];
        let committing = ["-C", &repo, "commit", "--quiet", "--allow-empty", "--message", "first"];
        git(&who.into_iter().chain(committing).collect::<Vec<_>>()).await.unwrap();
        let head = git(&["-C", &repo, "rev-parse", "HEAD"]).await.unwrap();
        (repo, head.trim().to_owned())
    }

    #[tokio::test]
    async fn a_clone_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (repo, _) = repository(folder.path()).await;
        let world = World { folder: folder.path().join("run"), fresh: true };
        std::fs::create_dir_all(world.work()).unwrap();
        let spec = RepositorySpec { path: repo.into(), keep: KeepBranch::Changed };
        clone(&spec, &world, "a").await.unwrap();
        std::fs::write(world.work().join("made"), "x").unwrap();
        assert!(is_cloned(&world) && clone(&spec, &world, "a").await.unwrap().is_empty());
        assert!(world.work().join("made").exists(), "a further attempt finds what the one before made");
        // as after a crash between both: the base is still there
        std::fs::rename(world.work(), folder.path().join("kept")).unwrap();
        std::fs::create_dir_all(world.work()).unwrap();
        assert!(was_cloned(&world) && !is_cloned(&world));
        clone(&spec, &world, "a").await.unwrap();
        assert!(
            is_cloned(&world) && world.work().join(".git").exists() && !world.work().join("made").exists()
        );
        forget_clone(&world);
        assert!(!was_cloned(&world));
    }

    #[tokio::test]
    async fn of_many_branches_some_are_brought_back_and_the_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (repo, head) = repository(folder.path()).await;
        let mut branches = Vec::new();
        for at in 0..MORE_BRANCHES + 5 {
            let who = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-C", &repo];
            let (message, tree) = (format!("{at}"), format!("{head}^{{tree}}"));
            let making = ["commit-tree", "-p", &head, "-m", &message, &tree];
            let commit = git(&who.into_iter().chain(making).collect::<Vec<_>>()).await.unwrap();
            branches.push((commit.trim().to_owned(), format!("side/{at}")));
        }
        let said = bring_others(&repo, &branches, &head, "bgagent/a/r").await.unwrap().unwrap();
        assert!(said.contains("of 5 of them"), "{said}");
        let made = git(&["-C", &repo, "for-each-ref", "refs/heads/bgagent"]).await.unwrap();
        assert_eq!(made.lines().count(), MORE_BRANCHES, "{made}");
    }

    #[test]
    fn a_long_summary_keeps_its_last_line() {
        let long: String =
            (0..100).map(|at| format!(" f{at} | 1 +\n")).chain([" 100 files changed".into()]).collect();
        let short = shortened(&long);
        assert!(short.lines().count() == SUMMARY && short.ends_with(" 100 files changed"), "{short}");
        assert_eq!(shortened(" f | 1 +\n"), " f | 1 +");
    }
}
