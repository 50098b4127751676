//! Tests of names and summaries.
use super::*;
use std::fs::File;

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
    let whole = format!("# v2 git bundle\n-{commit} before\n{commit} HEAD\n{commit} refs/heads/x y\n\nPACK");
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
async fn brought(theirs: &str, commit: &str, base: &str, ours: &str, folder: &Path) -> Result<(), String> {
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
    let mut hash = git(&["-C", &repo, "hash-object", "-w", &text(&file)]).await.unwrap().trim().to_owned();
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
    assert!(began.elapsed() < SUMMARY_TIMEOUT + Duration::from_secs(60), "{told}");
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
    assert!(is_cloned(&world) && world.work().join(".git").exists() && !world.work().join("made").exists());
    forget_clone(&world);
    assert!(!was_cloned(&world));
}

#[tokio::test]
async fn of_many_branches_some_are_brought_back_and_the_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (repo, head) = repository(folder.path()).await;
    let mut branches = Vec::new();
    for at in 0..MAX_OTHER_BRANCHES + 5 {
        let who = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-C", &repo];
        let (message, tree) = (format!("{at}"), format!("{head}^{{tree}}"));
        let making = ["commit-tree", "-p", &head, "-m", &message, &tree];
        let commit = git(&who.into_iter().chain(making).collect::<Vec<_>>()).await.unwrap();
        branches.push((commit.trim().to_owned(), format!("side/{at}")));
    }
    let said = bring_others(&repo, &branches, &head, "bgagent/a/r").await.unwrap().unwrap();
    assert!(said.contains("of 5 of them"), "{said}");
    let made = git(&["-C", &repo, "for-each-ref", "refs/heads/bgagent"]).await.unwrap();
    assert_eq!(made.lines().count(), MAX_OTHER_BRANCHES, "{made}");
}

#[test]
fn a_long_summary_keeps_its_last_line() {
    let long: String =
        (0..100).map(|at| format!(" f{at} | 1 +\n")).chain([" 100 files changed".into()]).collect();
    let short = shortened(&long);
    assert!(short.lines().count() == MAX_SUMMARY_LINES && short.ends_with(" 100 files changed"), "{short}");
    assert_eq!(shortened(" f | 1 +\n"), " f | 1 +");
}
