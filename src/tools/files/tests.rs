//! Tests of paths that want out, and of what stays.
use super::*;
use crate::domain::{Guarded, ToolMode};
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

struct Bench {
    folder: tempfile::TempDir,
    settings: FilesSettings,
}

impl Bench {
    fn new(mode: ToolMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("a.txt"), "inside").unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        let max_bytes = FilesSettings::MAX_BYTES;
        let settings = FilesSettings {
            roots: vec![root],
            mode,
            max_bytes,
            config: "/no/agents.toml".into(),
            guarded: Arc::default(),
        };
        Self { folder, settings }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn ask(&self, args: Value) -> Result<Value, ToolError> {
        work(&FilesArgs::deserialize(args).unwrap(), &self.settings)
    }

    fn untouched(&self) {
        assert_eq!(fs::read_to_string(self.folder.path().join("secret")).unwrap(), "outside");
        let around: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(around.len(), 2, "{around:?}");
    }
}

#[test]
fn what_is_inside_is_listed_read_written_and_grows() {
    let bench = Bench::new(ToolMode::ReadWrite);
    assert_eq!(bench.ask(json!({"op": "read", "path": "a.txt"})).unwrap()["text"], "inside");
    let whole = bench.root().join("sub/b.txt");
    let path = whole.to_str().unwrap();
    bench.ask(json!({"op": "write", "path": path, "text": "one\n"})).unwrap();
    bench.ask(json!({"op": "append", "path": "./sub/b.txt", "text": "two\n"})).unwrap();
    assert_eq!(fs::read_to_string(&whole).unwrap(), "one\ntwo\n");
    bench.ask(json!({"op": "append", "path": "new/./deep/c.txt", "text": "made"})).unwrap();
    assert_eq!(fs::read_to_string(bench.root().join("new/deep/c.txt")).unwrap(), "made");
    let listed = bench.ask(json!({"op": "list", "path": "sub"})).unwrap();
    assert_eq!(
        (&listed["entries"][0]["name"], listed["entries"].as_array().unwrap().len()),
        (&json!("b.txt"), 1)
    );
    let error = bench.ask(json!({"op": "read", "path": "no.txt"})).unwrap_err().to_string();
    assert!(error.contains("there is no `"), "{error}");
    assert!(matches!(
        bench.ask(json!({"op": "write", "path": "c", "text": "x".repeat(300_000)})),
        Err(ToolError::Arguments(_))
    ));
}

#[test]
fn a_file_that_is_written_again_is_no_more_open_than_before() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let bench = Bench::new(ToolMode::ReadWrite);
    let path = bench.root().join("a.txt");
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for (old, new) in
        [(0o600, 0o600), (0o640, 0o640), (0o664, 0o664), (0o755, 0o644), (0o4755, 0o644), (0o711, 0o600)]
    {
        for op in ["write", "append"] {
            set(old);
            bench.ask(json!({"op": op, "path": "a.txt", "text": "x"})).unwrap();
            assert_eq!(mode(), new, "{old:o}");
        }
    }
    let named = rustix::fs::setxattr(&path, "user.mark", b"kept", rustix::fs::XattrFlags::empty());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&path, Some(1234), Some(4321)).unwrap();
    }
    bench.ask(json!({"op": "write", "path": "a.txt", "text": "x"})).unwrap();
    let about = fs::metadata(&path).unwrap();
    assert!(!is_root || (about.uid(), about.gid()) == (1234, 4321), "{about:?}");
    if named.is_ok() {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(&path, "user.mark", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept");
    }
    bench.ask(json!({"op": "write", "path": "fresh", "text": "x"})).unwrap();
    assert_eq!(fs::metadata(bench.root().join("fresh")).unwrap().mode() & 0o133, 0);
}

#[test]
fn a_read_only_tool_writes_nothing() {
    let bench = Bench::new(ToolMode::ReadOnly);
    assert!(bench.ask(json!({"op": "write", "path": "a.txt", "text": "x"})).is_err());
    assert_eq!(fs::read_to_string(bench.root().join("a.txt")).unwrap(), "inside");
    assert_eq!(about(Some(&bench.settings)).effect, Effect::Read);
    assert_eq!(about(Some(&Bench::new(ToolMode::ReadWrite).settings)).effect, Effect::Effect);
    assert_eq!(about(None).effect, Effect::Effect);
}

#[test]
fn no_path_leads_out() {
    let bench = Bench::new(ToolMode::ReadWrite);
    let (root, secret) = (bench.root(), bench.folder.path().join("secret"));
    symlink(&secret, root.join("link")).unwrap();
    symlink(bench.folder.path(), root.join("door")).unwrap();
    symlink("../secret", root.join("sub/up")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    fs::hard_link(&secret, root.join("hard")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    let mut tricks: Vec<String> = [
        "..",
        "../secret",
        "sub/../../secret",
        "./../secret",
        "link",
        "door/secret",
        "door/new/file",
        "a.txt/new/file",
        "new/../../file",
        "sub/up",
        "magic/etc/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        "~/.bashrc",
        "fifo",
        "sub",
        "",
        ".",
        "//etc/passwd",
        "/dev/null",
        "/proc/self/fd/0",
        "door/../door/secret",
        "sub/./../../secret",
        "..//secret",
        "link/",
        "a.txt/../../secret",
    ]
    .iter()
    .map(|path| (*path).to_owned())
    .collect();
    tricks.push(secret.display().to_string());
    tricks.push(format!("{}/../secret", root.display()));
    tricks.push(format!("{}x/secret", root.display()));
    tricks.push("a\0b".into());
    tricks.push("x".repeat(5000));
    for path in &tricks {
        for op in ["read", "write", "append"] {
            let given = bench.ask(json!({"op": op, "path": path, "text": "bad"}));
            assert!(given.is_err(), "{op} {path}: {given:?}");
        }
    }
    assert!(bench.ask(json!({"op": "write", "path": "hard", "text": "bad"})).is_err(), "a second name");
    for name in [
        ".ssh/authorized_keys",
        "sub/.git",
        ".bashrc",
        ".SSH",
        "agents.toml",
        ".config/fish/x",
        ".local/bin/ls",
    ] {
        fs::create_dir_all(root.join(".ssh")).unwrap();
        assert!(bench.ask(json!({"op": "write", "path": name, "text": "bad"})).is_err(), "{name}");
    }
    bench.untouched();
}

#[test]
fn the_configuration_is_not_written_under_another_name() {
    let mut bench = Bench::new(ToolMode::ReadWrite);
    let link = bench.folder.path().join("secret");
    fs::remove_file(&link).unwrap();
    symlink(bench.root().join("a.txt"), &link).unwrap();
    bench.settings.config = link;
    for op in ["write", "append"] {
        let error = bench.ask(json!({"op": op, "path": "a.txt", "text": "bad"})).unwrap_err();
        assert!(error.to_string().contains("never written by an agent"), "{error}");
    }
    let error = bench.ask(json!({"op": "read", "path": "a.txt"})).unwrap_err();
    assert!(error.to_string().contains("out of reach"), "{error}");
}

impl Bench {
    /// With a state folder, a script, a working folder and a program that is not there yet, all beneath the root.
    fn guarded() -> Self {
        let mut bench = Self::new(ToolMode::ReadWrite);
        let root = bench.root();
        for folder in ["state", "scripts", "work/deep", "plain"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["state/bgagent.db", "scripts/check.sh", "scripts/other", "work/deep/x", "plain/token"] {
            fs::write(root.join(file), "before").unwrap();
        }
        let at = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect::<Vec<_>>();
        bench.settings.guarded = Arc::new(Guarded {
            hidden: at(&["state", "plain/token"]),
            fixed: at(&["scripts/check.sh", "work", "later/run.sh", "soon.sh"]),
        });
        bench
    }
}

#[test]
fn what_the_daemon_is_made_of_is_out_of_reach_by_any_name() {
    let bench = Bench::guarded();
    let root = bench.root();
    // Other names of the same: a hard link, and a root that is a link.
    fs::hard_link(root.join("state/bgagent.db"), root.join("innocent")).unwrap();
    symlink(root.join("state"), bench.folder.path().join("other")).unwrap();
    let mut through = Bench::guarded();
    through.settings.roots = vec![bench.folder.path().join("other")];
    through.settings.guarded = bench.settings.guarded.clone();
    for (bench, path) in [
        (&bench, "state/bgagent.db"),
        (&bench, "innocent"),
        (&bench, "plain/token"),
        (&through, "bgagent.db"),
        (&through, "new"),
    ] {
        for op in ["read", "write", "append"] {
            let error = bench.ask(json!({"op": op, "path": path, "text": "bad"})).unwrap_err().to_string();
            let says = if op == "read" { "out of reach" } else { "never written" };
            assert!(error.contains(says), "{op} {path}: {error}");
        }
    }
    assert!(bench.ask(json!({"op": "list", "path": "state"})).is_err());
    assert_eq!(fs::read_to_string(root.join("state/bgagent.db")).unwrap(), "before");
}

#[test]
fn what_agents_run_and_where_they_work_is_read_and_never_written() {
    let bench = Bench::guarded();
    for path in [
        "scripts/check.sh",
        "work/deep/x",
        "work/new",
        "work/deep/new/y",
        "later/run.sh",
        "later/other",
        "soon.sh",
    ] {
        for op in ["write", "append"] {
            let error = bench.ask(json!({"op": op, "path": path, "text": "bad"})).unwrap_err().to_string();
            assert!(error.contains("never written"), "{op} {path}: {error}");
        }
    }
    for path in ["scripts/check.sh", "work/deep/x"] {
        assert_eq!(bench.ask(json!({"op": "read", "path": path})).unwrap()["text"], "before");
    }
    for path in ["scripts/other", "scripts/new", "plain/x", "new/work/x"] {
        bench.ask(json!({"op": "write", "path": path, "text": "good"})).unwrap();
    }
    assert!(!bench.root().join("later").exists());
}

#[test]
fn a_root_within_a_working_folder_is_its_owners_word_and_within_the_state_is_none() {
    let mut bench = Bench::guarded();
    bench.settings.roots = vec![bench.root().join("work/deep")];
    bench.ask(json!({"op": "write", "path": "new", "text": "good"})).unwrap();
    let root = bench.folder.path().join("root/state/notes");
    fs::create_dir(&root).unwrap();
    bench.settings.roots = vec![root];
    for op in ["list", "read", "write"] {
        assert!(bench.ask(json!({"op": op, "path": "new", "text": "bad"})).is_err(), "{op}");
    }
}

#[test]
fn a_link_that_comes_and_goes_opens_nothing() {
    let bench = Bench::new(ToolMode::ReadWrite);
    let root = bench.root();
    let outside = bench.folder.path().to_owned();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::remove_dir_all(root.join("race"));
                let _ = symlink(&outside, root.join("race"));
                let _ = fs::remove_file(root.join("race"));
                let _ = fs::create_dir(root.join("race"));
            }
        });
        for _ in 0..5000 {
            let given = bench.ask(json!({"op": "read", "path": "race/secret"}));
            assert!(given.is_err(), "{given:?}");
            let _ = bench.ask(json!({"op": "write", "path": "race/new", "text": "bad"}));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    bench.untouched();
}
