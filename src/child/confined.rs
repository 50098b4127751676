//! Which walls a program gets: from what the configuration names to what the kernel holds ([`crate::sandbox`]).
use super::installation;
use super::remove::remove_folder;
use crate::domain::{ProgramOwner, RunId, Sandbox, SandboxLimits};
use crate::proxy::meter::Meter;
use crate::proxy::{self, Pass};
use crate::sandbox::{Access, Limit, Walls};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The system's programs and libraries. Those that are not there are left out.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/snap",
];
/// What programs read of the system before they do anything: libraries, names, certificates, time zones, terminals,
/// and what shells begin with. None of it is a secret: beside certificates lie their private keys, so those folders are not
/// named whole.
const SYSTEM: &[&str] = &[
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-x86_64.path",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/python3",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/zoneinfo",
    "/proc",
    "/sys/devices/system/cpu",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where the loaders of programs lie, which the kernel executes with each.
const LOADERS: &[&str] =
    &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"];

/// What is never within the walls of a program.
#[derive(Clone, Debug)]
struct KeptOut {
    state: PathBuf,
    config: PathBuf,
}

static KEPT_OUT: OnceLock<KeptOut> = OnceLock::new();

/// From now on no walls hold the state folder or the configuration, and private folders lie in the state folder. Once,
/// before anything is started.
pub fn keep_apart(state: &Path, config: &Path) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (state, config) = (real(state), real(config));
    // a second daemon in the same process is one of tests
    let _ = KEPT_OUT.set(KeptOut { state, config });
}

/// Removes the private folders that a daemon which was killed has left. They are out of the way when this returns, and
/// gone a while later: programs may have left millions of files.
pub fn remove_private_folders(state: &Path) {
    let aside = state.join(ASIDE);
    let fresh = aside.join(std::process::id().to_string());
    let moved = std::fs::create_dir_all(&aside).and_then(|()| std::fs::rename(state.join(TEMPORARY), fresh));
    match moved {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => removed(&state.join(TEMPORARY)),
    }
    let removing = std::thread::Builder::new().name("removal".into());
    let _ = removing.spawn(move || removed(&aside));
}

fn removed(folder: &Path) {
    if let Err(error) = remove_folder(folder) {
        tracing::warn!("the private folder {} can't be removed: {error}", folder.display());
    }
}

/// Where private folders of earlier daemons wait to be removed, in the state folder.
const ASIDE: &str = "tmp.old";
/// Folder of private folders, in the state folder.
const TEMPORARY: &str = "tmp";
/// Folder of the folders of runs, in the state folder.
const OF_RUNS: &str = "runs";

/// Folder of what could not be brought back of runs, in the state folder.
const KEPT: &str = "kept";

/// Moves a folder of a run out of it, to where it stays when the run has ended. Returns the place, which is the attempt's.
///
/// # Errors
/// What the system says.
pub fn keep_of_run(run: RunId, attempt: u32, name: &str) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let kept = run_folders().with_file_name(KEPT);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&kept)?;
    let place = kept.join(format!("{run}-{attempt}"));
    std::fs::rename(run_folder(run).join(name), &place)?;
    Ok(place)
}

/// Where the folders of runs are.
fn run_folders() -> PathBuf {
    match KEPT_OUT.get() {
        Some(skipped_by_trigger) => skipped_by_trigger.state.join(OF_RUNS),
        None => std::env::temp_dir().join("bgagent-runs"),
    }
}

/// The folder of a run, which all its attempts share. It is made by who needs it.
pub fn run_folder(run: RunId) -> PathBuf {
    run_folders().join(run.to_string())
}

/// Makes folders in the folder of a run, which nobody else may look into.
///
/// # Errors
/// What the system says.
pub fn make_run_folders(run: RunId, names: &[&str]) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = run_folder(run);
    for name in names {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(name))?;
    }
    Ok(folder)
}

/// Removes the folder of a run that has ended, if it had one.
pub fn remove_run_folder(run: RunId) {
    let folder = run_folder(run);
    if folder.exists() {
        removed(&folder);
    }
}

/// Removes the folders of all runs but these. At the start of a daemon: what an earlier one has left.
pub fn remove_run_folders_but(live: &HashSet<RunId>) {
    let Ok(folders) = std::fs::read_dir(run_folders()) else { return };
    let is_live = |name: &OsStr| {
        name.to_str().and_then(|name| name.parse().ok()).is_some_and(|run| live.contains(&run))
    };
    for folder in folders.flatten().filter(|entry| !is_live(&entry.file_name())) {
        removed(&folder.path());
    }
}

/// Walls as the configuration names them, for one program.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    sandbox: &'a Sandbox,
    owner: &'a ProgramOwner,
    named: &'a [String],
    own_home: bool,
    own_temporary: bool,
    folders: &'a [PathBuf],
    executes: &'a [PathBuf],
    meter: Option<&'a Arc<Meter>>,
}

/// A [`Confinement`] of its own, for a thread.
#[derive(Clone, Debug)]
pub struct OwnedConfinement {
    sandbox: Sandbox,
    owner: ProgramOwner,
    named: Vec<String>,
    own_home: bool,
    own_temporary: bool,
    folders: Vec<PathBuf>,
    executes: Vec<PathBuf>,
    meter: Option<Arc<Meter>>,
}

impl OwnedConfinement {
    pub(super) fn borrowed(&self) -> Confinement<'_> {
        let Self { sandbox, owner, named, own_home, own_temporary, folders, executes, meter } = self;
        let (own_home, own_temporary) = (*own_home, *own_temporary);
        let meter = meter.as_ref();
        Confinement { sandbox, owner, named, own_home, own_temporary, folders, executes, meter }
    }
}

impl<'a> Confinement<'a> {
    /// The same, for a thread that may live on when its caller does not.
    pub fn owned(self) -> OwnedConfinement {
        let Self { sandbox, owner, named, own_home, own_temporary, folders, executes, meter } = self;
        let (sandbox, owner, named) = (sandbox.clone(), owner.clone(), named.to_vec());
        let (folders, executes, meter) = (folders.to_vec(), executes.to_vec(), meter.cloned());
        OwnedConfinement { sandbox, owner, named, own_home, own_temporary, folders, executes, meter }
    }

    /// With folders of its run, which it may change wherever they lie, and with files that it may execute beneath others.
    #[must_use]
    pub fn with_folders(self, folders: &'a [PathBuf], executes: &'a [PathBuf]) -> Self {
        Self { folders, executes, ..self }
    }

    /// With a meter in its own network, where models are asked. It has such a network then, whether it may reach others or
    /// not.
    #[must_use]
    pub fn with_meter(self, meter: Option<&'a Arc<Meter>>) -> Self {
        Self { meter, ..self }
    }

    /// `owner`: whose program it is. `named`: arguments as they stand in the configuration; those that are files may be read.
    /// Nothing that came from elsewhere may be among them. `variables`: names of those that are set there; a `HOME` or
    /// `TMPDIR` among them stays.
    pub fn new<'n>(
        sandbox: &'a Sandbox,
        owner: &'a ProgramOwner,
        named: &'a [String],
        variables: impl Iterator<Item = impl AsRef<str> + 'n>,
    ) -> Self {
        let (mut own_home, mut own_temporary) = (false, false);
        for name in variables {
            own_home |= name.as_ref() == "HOME";
            own_temporary |= name.as_ref() == "TMPDIR";
        }
        let (folders, executes, meter) = (&[][..], &[][..], None);
        Self { sandbox, owner, named, own_home, own_temporary, folders, executes, meter }
    }

    /// A private folder for the program.
    ///
    /// # Errors
    /// A sentence: why there is none.
    pub(super) fn private(self) -> io::Result<Private> {
        Private::new(!self.own_home, !self.own_temporary)
    }

    /// The walls around `program`, which runs in `cwd`, is given this `PATH` and has this private folder.
    ///
    /// # Errors
    /// A sentence: what can't be had, where, and what to write.
    pub(super) fn walls(
        self,
        program: &Path,
        cwd: &Path,
        path: &OsStr,
        private: &Private,
    ) -> io::Result<Walls> {
        let mut paths = self.system(program, cwd, path);
        paths.push((Access::Write, private.folder.clone()));
        for folder in self.folders {
            paths.extend([(Access::Write, folder.clone()), (Access::Execute, folder.clone())]);
        }
        for folder in
            self.executes.iter().filter(|folder| !self.folders.iter().any(|own| folder.starts_with(own)))
        {
            paths.push((Access::Execute, root(folder, "dir", true)?));
        }
        for (access, list, key) in [
            (Access::Read, &self.sandbox.read, "read"),
            (Access::Write, &self.sandbox.write, "write"),
            (Access::Connect, &self.sandbox.unix, "unix"),
        ] {
            for path in list {
                if access != Access::Write && self.is_its_own_link(path) {
                    return Err(its_own_link(path, key));
                }
                paths.push((access, root(path, key, access == Access::Write)?));
            }
        }
        if self.is_its_own_link(program) {
            return Err(its_own_link(program, "command"));
        }
        for path in self.sandbox.exec.iter().flatten() {
            if self.is_its_own_link(path) {
                return Err(its_own_link(path, "exec"));
            }
            paths.push((Access::Execute, root(path, "exec", false)?));
        }
        self.fits_this_machine()?;
        let network = self.has_network().then_some(proxy::PORT);
        Ok(Walls { paths, limits: self.limits(), network })
    }

    /// What `program` may reach of the network, if it may reach any of it.
    pub(super) fn pass(self, program: &Path) -> Option<Pass> {
        let pass = || Pass::new(&self.sandbox.net, self.owner.clone(), program);
        self.has_network().then(|| match self.meter {
            Some(meter) => pass().with_meter(meter),
            None => pass(),
        })
    }

    fn has_network(&self) -> bool {
        self.meter.is_some() || !self.sandbox.net.is_empty()
    }

    /// What each program gets.
    fn system(&self, program: &Path, cwd: &Path, path: &OsStr) -> Vec<(Access, PathBuf)> {
        let programs = if self.sandbox.exec.is_none() { Access::Execute } else { Access::Read };
        let mut paths = vec![(Access::Execute, program.to_owned())];
        let existing =
            |list: &[&str]| list.iter().map(PathBuf::from).filter(|path| path.exists()).collect::<Vec<_>>();
        paths.extend(existing(PROGRAMS).into_iter().map(|path| (programs, path)));
        paths.extend(existing(SYSTEM).into_iter().map(|path| (Access::Read, path)));
        paths.extend(existing(DEVICES).into_iter().map(|path| (Access::Device, path)));
        if self.sandbox.exec.is_some() {
            paths.extend(loaders().into_iter().map(|path| (Access::Execute, path)));
        }
        let parts = installation::parts(program, path, |file| self.can_write(file));
        for path in parts.into_iter().filter(|path| refused(path, false).is_none()) {
            paths.push((if path.is_dir() { programs } else { Access::Read }, path));
        }
        let files = self.named.iter().map(|argument| cwd.join(argument)).filter(|path| !self.can_write(path));
        let files = files.filter_map(|path| path.canonicalize().ok());
        let files = files.filter(|path| path.is_file() && refused(path, false).is_none());
        paths.extend(files.map(|path| (Access::Read, path)));
        paths
    }

    /// Is it beneath what the program, or an earlier attempt of its run, can write? Then a link there is of its own making,
    /// and leads where it likes.
    fn can_write(&self, path: &Path) -> bool {
        self.sandbox.write.iter().chain(self.folders).any(|root| {
            path.starts_with(root) || root.canonicalize().is_ok_and(|root| path.starts_with(root))
        })
    }

    /// A path of the configuration that the program could have put something else in the place of.
    fn is_its_own_link(&self, path: &Path) -> bool {
        self.can_write(path) && path.canonicalize().is_ok_and(|real| !self.can_write(&real))
    }

    /// Those of its limits that a control group holds are among these.
    pub(super) fn all_limits(&self) -> SandboxLimits {
        self.sandbox.limits
    }

    fn limits(&self) -> Vec<(Limit, u64)> {
        let limits = &self.sandbox.limits;
        let cpu = limits.cpu.map(|span| span.as_secs().unsigned_abs().max(1));
        [(Limit::OpenFiles, limits.open_files), (Limit::FileSize, limits.file_size), (Limit::Cpu, cpu)]
            .into_iter()
            .filter_map(|(limit, value)| Some((limit, value?)))
            .collect()
    }

    fn fits_this_machine(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if !self.sandbox.unix.is_empty()
            && crate::sandbox::support::landlock() < crate::sandbox::support::SOCKETS
        {
            return Err(io::Error::other(
                "`unix` of the sandbox needs a kernel whose Landlock knows sockets by path (version 9); leave it out, or write `sandbox = false`",
            ));
        }
        Ok(())
    }
}

fn its_own_link(path: &Path, key: &str) -> io::Error {
    io::Error::other(format!(
        "`{key}` names `{}`, a link beneath what the program itself can write: it may lead anywhere; name what it leads to",
        path.display()
    ))
}

/// A path of the configuration as it really is now: links are followed here, so that what they lead to is judged.
fn root(path: &Path, key: &str, writes: bool) -> io::Result<PathBuf> {
    let shown = path.display();
    let real = path.canonicalize().map_err(|error| {
        io::Error::other(format!(
            "`{key}` of the sandbox names `{shown}`, which can't be opened: {error}; make it, or leave it out"
        ))
    })?;
    match refused(&real, writes) {
        Some(why) => Err(io::Error::other(format!("`{key}` of the sandbox names `{shown}`, {why}"))),
        None => Ok(real),
    }
}

/// Why no program within walls gets this.
fn refused(path: &Path, writes: bool) -> Option<&'static str> {
    let skipped_by_trigger = KEPT_OUT.get()?;
    if skipped_by_trigger.state.starts_with(path) || path.starts_with(&skipped_by_trigger.state) {
        return Some("which is or holds the daemon's state folder; name a folder that does not");
    }
    if skipped_by_trigger.config.starts_with(path) {
        return Some("which is or holds the configuration; name a folder that does not");
    }
    let folder = skipped_by_trigger.config.parent()?;
    (writes && path.starts_with(folder)).then_some(
        "which lies in the folder of the configuration, where nothing is written to; name one outside",
    )
}

fn loaders() -> Vec<PathBuf> {
    let is_loader = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("ld-") && name.contains(".so"))
    };
    let folders = LOADERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    folders.flatten().flatten().map(|entry| entry.path()).filter(is_loader).collect()
}

/// A folder for the files of one program, which goes with it.
#[derive(Debug)]
pub(super) struct Private {
    folder: PathBuf,
    home: bool,
    temporary: bool,
}

impl Drop for Private {
    fn drop(&mut self) {
        removed(&self.folder);
    }
}

impl Private {
    fn new(home: bool, temporary: bool) -> io::Result<Self> {
        let base = match KEPT_OUT.get() {
            Some(skipped_by_trigger) => skipped_by_trigger.state.join(TEMPORARY),
            None => std::env::temp_dir(),
        };
        let made = || -> io::Result<PathBuf> {
            std::fs::create_dir_all(&base)?;
            let guard = tempfile::Builder::new().prefix("bgagent-").tempdir_in(&base)?;
            std::fs::create_dir(guard.path().join("home"))?;
            std::fs::create_dir(guard.path().join("tmp"))?;
            Ok(guard.keep())
        };
        let folder = made().map_err(|error| {
            io::Error::other(format!("no private folder in `{}`: {error}", base.display()))
        })?;
        Ok(Self { folder, home, temporary })
    }

    /// Where it is.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        let home = self.home.then(|| ("HOME", self.folder.join("home").into_os_string()));
        let temporary = self.temporary.then(|| ("TMPDIR", self.folder.join("tmp").into_os_string()));
        home.into_iter().chain(temporary)
    }
}
