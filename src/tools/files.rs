//! `files`: lists, reads, writes and appends under allowed folders. The system itself resolves each path
//! beneath its root and follows no link (openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`; where there
//! is none, folder by folder), so that nothing that happens between a look and a use can lead out.
mod beneath;

use super::contract::{About, Call, ToolError, ToolOutput};
use super::{blocking, settings};
use crate::domain::{Effect, FilesSettings, ReadsWhen, ToolKind, ToolSettings};
use beneath::open_beneath;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Entries of a list.
const MAX_ENTRIES: usize = 1000;
/// Names that are never written: they would run, or open doors, whatever the roots say.
const NEVER: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".git",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".pam_environment",
    "authorized_keys",
    "autostart",
    "systemd",
    "agents.toml",
    "bgagent.db",
    "bgagent.db-wal",
];

/// What an instance is; without settings: what it might be at the worst.
pub(super) fn about(settings: Option<&FilesSettings>) -> About {
    let writes = settings.is_none_or(|settings| settings.mode.writes());
    let ops: &[&str] = if writes { &["list", "read", "write", "append"] } else { &["list", "read"] };
    let roots = shown(settings.map_or(&[][..], |settings| &settings.roots), ", ");
    let mut properties = json!({
        "op": {"type": "string", "enum": ops},
        "path": {"type": "string", "description": format!("A path under one of: {roots}; or relative to the first.")},
    });
    if writes {
        properties["text"] = json!({"type": "string", "description": "For write and append: the content. Missing folders are made."});
    }
    About {
        effect: if writes { Effect::Effect } else { Effect::Read },
        reads_when: writes.then(|| ReadsWhen {
            key: "op".into(),
            values: vec!["list".into(), "read".into()],
            by_default: false,
        }),
        untrusted: true,
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": ["op", "path"],
            "additionalProperties": false,
        }),
    }
}

fn shown(roots: &[PathBuf], between: &str) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(between)
}

pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let ToolSettings::Files(Some(settings)) = &*call.settings else {
        return Err(settings::missing(ToolKind::Files.as_str()));
    };
    // one after the other, so that nothing that is appended gets lost
    let place = format!("files:{}", shown(&settings.roots, ":"));
    let looks = matches!(call.args["op"].as_str(), Some("list" | "read"));
    let (args, settings) = (call.args.clone(), settings.clone());
    let given = blocking::one_at_a_time(&place, move || work(&args, &settings)).await;
    let panicked = |why| match looks {
        true => ToolError::Failed(why),
        false => ToolError::Unsure(format!("{why}; nobody knows whether the file was written")),
    };
    given.map_err(panicked)?.map(ToolOutput::of)
}

fn work(args: &Value, settings: &FilesSettings) -> Result<Value, ToolError> {
    let text = |key: &str| args[key].as_str().unwrap_or_default();
    let place = Place::find(text("path"), &settings.roots)?;
    let most = settings::size(settings.max_bytes);
    match text("op") {
        "list" => list(&place),
        "read" => read(&place, most),
        op @ ("write" | "append") if settings.mode.writes() => {
            write(&place, text("text"), op == "append", most, &settings.config)
        }
        op => Err(ToolError::Arguments(format!("`{op}` is not allowed: the tool is read-only"))),
    }
}

/// A path beneath a root that is open.
struct Place {
    root: OwnedFd,
    folder: PathBuf,
    inside: PathBuf,
}

impl Place {
    fn find(path: &str, roots: &[PathBuf]) -> Result<Self, ToolError> {
        if path.contains('\0') || path.len() > 4000 {
            return Err(ToolError::Arguments("`path` has a NUL character, or is too long".into()));
        }
        let asked = Path::new(path);
        let outside =
            || ToolError::Failed(format!("`{path}` is outside of what is allowed: {}", shown(roots, ", ")));
        let (folder, inside) = match asked.is_absolute() {
            true => roots
                .iter()
                .find_map(|root| Some((root.clone(), asked.strip_prefix(root).ok()?.to_owned())))
                .ok_or_else(outside)?,
            false => (roots.first().ok_or_else(outside)?.clone(), asked.to_owned()),
        };
        if inside.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside());
        }
        let inside = if inside.as_os_str().is_empty() { PathBuf::from(".") } else { inside };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&folder, flags, Mode::empty()).map_err(|error| {
            ToolError::Failed(format!("the folder {} can't be used: {error}", folder.display()))
        })?;
        Ok(Self { root, folder, inside })
    }

    fn shown(&self) -> String {
        self.folder.join(&self.inside).display().to_string()
    }

    /// Opens what is there, beneath the root and through no link.
    fn open(&self, path: &Path, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        open_beneath(&self.root, path, flags, Mode::empty()).map(File::from)
    }

    /// The folder that the file is in; what is missing of it is made, each part in the one before it.
    fn parent(&self) -> Result<File, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let mut path = PathBuf::from(".");
        let mut folder = self.open(&path, flags)?;
        for name in self.inside.parent().into_iter().flat_map(Path::components) {
            path.push(name);
            folder = match self.open(&path, flags) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&folder, name.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {
                            let _ = folder.sync_all();
                        }
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    self.open(&path, flags)?
                }
                other => other?,
            };
        }
        Ok(folder)
    }

    fn refused(&self, error: Errno) -> ToolError {
        let shown = self.shown();
        ToolError::Failed(match error {
            Errno::LOOP | Errno::XDEV => format!("`{shown}` leads through a link or out of its folder"),
            Errno::NOENT => format!("there is no `{shown}`"),
            other => format!("`{shown}`: {other}"),
        })
    }
}

fn io(place: &Place) -> impl Fn(std::io::Error) -> ToolError + '_ {
    |error| ToolError::Failed(format!("`{}`: {error}", place.shown()))
}

fn list(place: &Place) -> Result<Value, ToolError> {
    let folder = place.open(&place.inside, OFlags::DIRECTORY | OFlags::RDONLY);
    let folder = folder.map_err(|error| place.refused(error))?;
    let entries = rustix::fs::Dir::read_from(&folder).map_err(|error| place.refused(error))?;
    let mut found = Vec::new();
    let mut more = false;
    for entry in entries {
        let entry = entry.map_err(|error| place.refused(error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        if found.len() == MAX_ENTRIES {
            more = true;
            break;
        }
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&folder, entry.file_name(), flags).ok();
        let kind = match stat.as_ref().map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode)) {
            Some(rustix::fs::FileType::RegularFile) => "file",
            Some(rustix::fs::FileType::Directory) => "folder",
            Some(rustix::fs::FileType::Symlink) => "link",
            _ => "other",
        };
        let modified = stat.as_ref().and_then(|stat| jiff::Timestamp::from_second(stat.st_mtime).ok());
        found.push(json!({
            "name": name, "kind": kind, "bytes": stat.as_ref().map(|stat| stat.st_size),
            "modified": modified.map(|at| at.to_string()),
        }));
    }
    found.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(json!({"path": place.shown(), "entries": found, "truncated": more}))
}

/// What was opened, if it is a regular file.
fn regular(place: &Place, file: &File) -> Result<std::fs::Metadata, ToolError> {
    let about = file.metadata().map_err(io(place))?;
    match about.is_file() {
        true => Ok(about),
        false => Err(ToolError::Failed(format!("`{}` is not a regular file", place.shown()))),
    }
}

fn read(place: &Place, most: usize) -> Result<Value, ToolError> {
    let file = place.open(&place.inside, OFlags::RDONLY).map_err(|error| place.refused(error))?;
    let about = regular(place, &file)?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes).map_err(io(place))?;
    let truncated = about.len() > bytes.len() as u64;
    Ok(json!({
        "path": place.shown(), "text": String::from_utf8_lossy(&bytes), "bytes": about.len(), "truncated": truncated,
    }))
}

fn write(place: &Place, text: &str, append: bool, most: usize, config: &Path) -> Result<Value, ToolError> {
    if text.len() > most {
        return Err(ToolError::Arguments(format!(
            "`text` has {} bytes, and {most} are the most",
            text.len()
        )));
    }
    let whole = place.folder.join(&place.inside);
    let never = |part: Component<'_>| {
        let name = part.as_os_str().to_string_lossy().to_lowercase();
        NEVER.contains(&name.as_str())
    };
    let refused = || ToolError::Failed(format!("`{}` is never written by an agent", place.shown()));
    if whole.components().any(never) || config == whole {
        return Err(refused());
    }
    let Some(name) = place.inside.file_name() else {
        return Err(ToolError::Failed(format!("`{}` names no file", place.shown())));
    };
    let folder = place.parent().map_err(|error| place.refused(error))?;
    // what is there already must be a file of its own: not a link, and no second name of another one
    let mut before = Vec::new();
    let mut old = None;
    match place.open(&place.inside, OFlags::RDONLY) {
        Ok(file) => {
            let about = regular(place, &file)?;
            // the configuration may be a link to it
            let is_it =
                |config: std::fs::Metadata| (config.dev(), config.ino()) == (about.dev(), about.ino());
            if std::fs::metadata(config).is_ok_and(is_it) {
                return Err(refused());
            }
            if about.nlink() > 1 {
                return Err(ToolError::Failed(format!("`{}` is another file's second name", place.shown())));
            }
            if append {
                if about.len() + text.len() as u64 > 16 << 20 {
                    return Err(ToolError::Failed(format!("`{}` would grow past 16 MiB", place.shown())));
                }
                (&file).read_to_end(&mut before).map_err(io(place))?;
            }
            old = Some((file, about));
        }
        Err(Errno::NOENT) => {}
        Err(error) => return Err(place.refused(error)),
    }
    before.extend_from_slice(text.as_bytes());
    let fresh = format!(".{}.{}.new", name.to_string_lossy(), uuid::Uuid::now_v7().simple());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // A new file gets what the umask leaves of this; one that takes another's place is nobody else's until
    // it is like that.
    let mode = Mode::from_raw_mode(if old.is_some() { 0o600 } else { 0o644 });
    let file = rustix::fs::openat(&folder, &*fresh, flags, mode).map_err(|error| place.refused(error))?;
    let mut file = File::from(file);
    let put = |file: &mut File| -> std::io::Result<()> {
        file.write_all(&before)?;
        if let Some((old, about)) = &old {
            make_like(file, old, about)?;
        }
        file.sync_all()
    };
    let written = put(&mut file).map_err(io(place)).and_then(|()| {
        rustix::fs::renameat(&folder, &*fresh, &folder, name).map_err(|error| place.refused(error))
    });
    if let Err(error) = written {
        let _ = rustix::fs::unlinkat(&folder, &*fresh, rustix::fs::AtFlags::empty());
        return Err(error);
    }
    let _ = folder.sync_all();
    Ok(json!({"path": place.shown(), "bytes": before.len()}))
}

/// Gives a file that takes the place of `old` its owner and attributes, as far as the system lets us, and its
/// mode. Nobody may do more with it than before.
fn make_like(file: &File, old: &File, about: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::fchown;
    let now = file.metadata()?;
    if now.uid() != about.uid() {
        let _ = fchown(file, Some(about.uid()), None);
    }
    let same_group = now.gid() == about.gid() || fchown(file, None, Some(about.gid())).is_ok();
    let same_list = copy_attributes(file, old).is_ok();
    // What is new never runs as somebody else.
    let mut mode = about.mode() & 0o777;
    if !same_group || !same_list {
        // Its group is another: that may do what everybody may.
        mode = (mode & 0o707) | (mode & ((mode & 0o007) << 3));
    }
    // Not through rustix: its type of a mode is another one on each system.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// The attributes that people set, and the list of those who may use the file (acl(5)).
fn copy_attributes(file: &File, old: &File) -> Result<(), Errno> {
    const LIST: &str = "system.posix_acl_access";
    let mut names = vec![0; 64 << 10];
    let count = rustix::fs::flistxattr(old, &mut names[..]).unwrap_or(0);
    for name in names[..count].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        if name != LIST && !name.starts_with("user.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let copied = rustix::fs::fgetxattr(old, name, &mut value[..]).and_then(|length| {
            rustix::fs::fsetxattr(file, name, &value[..length], rustix::fs::XattrFlags::empty())
        });
        if name == LIST {
            copied?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Tests of paths that want out, and of what stays.
    use super::*;
    use crate::domain::ToolMode;
    use std::fs;
    use std::os::unix::fs::symlink;

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
            let settings =
                FilesSettings { roots: vec![root], mode, max_bytes, config: "/no/agents.toml".into() };
            Self { folder, settings }
        }

        fn root(&self) -> PathBuf {
            self.folder.path().join("root")
        }

        fn ask(&self, args: Value) -> Result<Value, ToolError> {
            work(&args, &self.settings)
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
        for (old, new) in [(0o600, 0o600), (0o640, 0o640), (0o664, 0o664), (0o755, 0o755), (0o4755, 0o755)] {
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
        for name in [".ssh/authorized_keys", "sub/.git", ".bashrc", ".SSH", "agents.toml"] {
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
        assert_eq!(bench.ask(json!({"op": "read", "path": "a.txt"})).unwrap()["text"], "inside");
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
}
