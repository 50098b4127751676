//! With the kernel's own tree, where this process may make a group in it.
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU32;

/// A group for one test. `None`, and said: this machine has none.
struct Base(PathBuf);

impl Base {
    fn made() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let made = || {
            let place = place::own()?;
            let folder = place.folder.join(format!("bgagent-test-{}-{number}", std::process::id()));
            std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
            Ok::<_, String>(Self(folder))
        };
        made().map_err(|why| eprintln!("skipped: {why}")).ok()
    }

    fn groups(&self, daemon: &str) -> Groups {
        Groups {
            folder: self.0.clone(),
            path: "/".into(),
            prefix: format!("run-{daemon}-"),
            made: AtomicU64::new(0),
            support: GroupSupport::default(),
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        Group::left(self.0.clone()).end();
    }
}

/// A shell that does this once it is in the group, and then says so.
fn within(group: &Group, script: &str) -> Child {
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("read go; {script} echo there; exec sleep 600")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    group.take(child.id()).unwrap();
    writeln!(child.stdin.as_ref().unwrap(), "go").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    child
}

#[test]
fn all_that_is_in_a_group_ends_with_it_and_it_is_removed() {
    let Some(base) = Base::made() else { return };
    let groups = base.groups("a");
    let group = groups.make(&SandboxLimits::default()).unwrap();
    let folder = base.0.join("run-a-0");
    let hides =
        "setsid env -i sleep 600 >/dev/null & (setsid sh -c 'trap \"\" TERM; sleep 600' >/dev/null &);";
    let mut child = within(&group, hides);
    // a group that the program makes is within its own
    std::fs::create_dir(folder.join("own")).unwrap();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    group::write(&folder.join("own"), "cgroup.procs", &other.id().to_string()).unwrap();
    let living = [place::members(&folder), place::members(&folder.join("own"))].concat();
    assert!(living.len() >= 4, "{living:?}");
    group.end();
    assert!(!folder.exists());
    for pid in living {
        let stat = crate::child::trampoline::process::stat(pid);
        assert!(stat.is_none_or(|stat| !stat.lives()), "{pid}: {stat:?}");
    }
    for child in [&mut child, &mut other] {
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }
}

#[test]
fn only_groups_of_this_daemon_are_cleared() {
    let Some(base) = Base::made() else { return };
    let (ours, others) = (base.groups("a"), base.groups("a-b"));
    let (group, other) =
        (ours.make(&SandboxLimits::default()).unwrap(), others.make(&SandboxLimits::default()).unwrap());
    let (mut child, mut theirs) = (within(&group, ""), within(&other, ""));
    std::mem::forget(group);
    for name in ["daemon", "run-a-", "run-a-x", "run-b-0"] {
        std::fs::create_dir(base.0.join(name)).unwrap();
    }
    assert_eq!(base.groups("a").clear(), ["run-a-0"]);
    assert!(!child.wait().unwrap().success());
    assert!(theirs.try_wait().unwrap().is_none());
    let mut left: Vec<String> = std::fs::read_dir(&base.0)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["daemon", "run-a-", "run-a-b-0", "run-a-x", "run-b-0"]);
    // a name that is taken is passed over
    std::fs::create_dir(base.0.join("run-a-0")).unwrap();
    assert!(base.groups("a").make(&SandboxLimits::default()).is_ok());
    drop(other);
    assert!(!theirs.wait().unwrap().success(), "a group that is dropped is killed");
}

#[test]
fn whose_group_a_process_is_in_is_read_of_its_line() {
    let groups = |path: &str| Groups {
        folder: "/nowhere".into(),
        path: path.into(),
        prefix: "run-a-".into(),
        made: AtomicU64::new(0),
        support: GroupSupport::default(),
    };
    for (path, line, name) in [
        ("/user.slice/b.service", "0::/user.slice/b.service/run-a-7\n", Some("run-a-7")),
        ("/user.slice/b.service", "3:pids:/x\n0::/user.slice/b.service/run-a-7/own/x\n", Some("run-a-7")),
        ("/", "0::/run-a-12\n", Some("run-a-12")),
        ("/user.slice/b.service", "0::/user.slice/b.service/daemon\n", None),
        ("/user.slice/b.service", "0::/user.slice/b.service\n", None),
        ("/user.slice/b.service", "0::/user.slice/b.service2/run-a-7\n", None),
        ("/user.slice/b.service", "0::/user.slice/b.service/run-a-b-7\n", None),
        ("/user.slice/b.service", "0::/user.slice/b.service/run-a-\n", None),
        ("/", "0::/../run-a-7\n", None),
        ("/", "4:memory:/run-a-7\n", None),
    ] {
        assert_eq!(groups(path).name_in(line), name, "{path} {line}");
    }
}

#[test]
fn a_limit_names_what_it_lacks() {
    let support = GroupSupport { no_memory_because: Some("x".into()), ..GroupSupport::default() };
    let limits = |memory, processes| SandboxLimits { memory, processes, ..SandboxLimits::default() };
    assert_eq!(support.lacks(&limits(Some(1), Some(1))), Some(("memory", "x")));
    assert_eq!((support.lacks(&limits(None, Some(1))), support.lacks(&limits(None, None))), (None, None));
    let none = GroupSupport::none("y");
    assert_eq!(none.lacks(&limits(None, Some(1))), Some(("processes", "y")));
}
