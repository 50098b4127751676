//! Builds the sandbox of a program: from the configuration to what the kernel enforces ([`crate::sandbox`]).
use super::installation;
use super::remove::remove_folder;
use crate::domain::{ProgramOwner, Sandbox, SandboxLimits};
use crate::proxy::meter::Meter;
use crate::proxy::{self, Pass};
use crate::sandbox::{Access, Limit, Walls};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The system's programs and libraries. Missing ones are skipped.
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
/// System files that most programs read at startup: libraries, name resolution, certificates, time zones, terminals, and shell
/// startup files. None of them is secret: private keys are stored beside certificates, so those folders are not included as a
/// whole.
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
/// Where dynamic loaders are, which the kernel executes with each program.
const LOADERS: &[&str] =
    &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"];

/// Paths that are never accessible in a sandbox.
#[derive(Clone, Debug)]
struct KeptOut {
    state: PathBuf,
    config: PathBuf,
}

static KEPT_OUT: OnceLock<KeptOut> = OnceLock::new();

/// Excludes the state folder and the configuration from all sandboxes, and puts private folders into the state folder. Called
/// once, before anything is started.
pub fn keep_apart(state: &Path, config: &Path) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (state, config) = (real(state), real(config));
    // only tests have a second daemon in one process
    let _ = KEPT_OUT.set(KeptOut { state, config });
}

/// The state folder, as the real path; `None`: no daemon runs in this process.
pub(super) fn state_folder() -> Option<&'static Path> {
    KEPT_OUT.get().map(|kept_out| kept_out.state.as_path())
}

/// Removes the private folders that a daemon which was killed has left. They are out of the way when this returns, and
/// gone a while later: programs may have left millions of files.
pub fn remove_private_folders(state: &Path) {
    let aside = state.join(OLD_TMP_FOLDER);
    let fresh = aside.join(std::process::id().to_string());
    let moved = std::fs::create_dir_all(&aside).and_then(|()| std::fs::rename(state.join(TMP_FOLDER), fresh));
    match moved {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => removed(&state.join(TMP_FOLDER)),
    }
    let removing = std::thread::Builder::new().name("removal".into());
    let _ = removing.spawn(move || removed(&aside));
}

/// Removes a private folder, or says why not.
pub(super) fn removed(folder: &Path) {
    if let Err(error) = remove_folder(folder) {
        tracing::warn!("the private folder {} can't be removed: {error}", folder.display());
    }
}

/// Name, in the state folder, of the folder with earlier daemons' private folders that wait for deletion.
const OLD_TMP_FOLDER: &str = "tmp.old";
/// Name, in the state folder, of the folder with private folders.
const TMP_FOLDER: &str = "tmp";
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

/// An owned [`Confinement`], for a thread.
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
    /// Returns an owned copy, for a thread that may outlive its caller.
    pub fn owned(self) -> OwnedConfinement {
        let Self { sandbox, owner, named, own_home, own_temporary, folders, executes, meter } = self;
        let (sandbox, owner, named) = (sandbox.clone(), owner.clone(), named.to_vec());
        let (folders, executes, meter) = (folders.to_vec(), executes.to_vec(), meter.cloned());
        OwnedConfinement { sandbox, owner, named, own_home, own_temporary, folders, executes, meter }
    }

    /// Adds folders of its run, which are always writable, and folders whose files it may execute.
    #[must_use]
    pub fn with_folders(self, folders: &'a [PathBuf], executes: &'a [PathBuf]) -> Self {
        Self { folders, executes, ..self }
    }

    /// Adds a meter in its own network namespace, where models are reached. It then has such a namespace even if it may not
    /// reach any other host.
    #[must_use]
    pub fn with_meter(self, meter: Option<&'a Arc<Meter>>) -> Self {
        Self { meter, ..self }
    }

    /// Creates the confinement. `owner`: the run or table that the program belongs to. `named`: arguments as configured; those
    /// that are files become readable. They must not contain anything from elsewhere. `variables`: names of configured
    /// variables; a `HOME` or `TMPDIR` among them is kept.
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

    /// Creates a private folder for the program.
    ///
    /// # Errors
    /// A sentence: why there is none.
    pub(super) fn private(self) -> io::Result<Private> {
        Private::new(!self.own_home, !self.own_temporary)
    }

    /// Returns the sandbox for `program`, which runs in `cwd` with this `PATH` and this private folder.
    ///
    /// # Errors
    /// A sentence: what is not available, where, and what to write.
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

    /// Returns the network access of `program`, if it has any.
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

    /// Returns what is accessible to every program.
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

    /// Returns whether the program, or an earlier attempt of its run, can write to this path. Then a link there may be its own,
    /// with any target.
    fn can_write(&self, path: &Path) -> bool {
        self.sandbox.write.iter().chain(self.folders).any(|root| {
            path.starts_with(root) || root.canonicalize().is_ok_and(|root| path.starts_with(root))
        })
    }

    /// Returns whether the program could have replaced this configured path by a link.
    fn is_its_own_link(&self, path: &Path) -> bool {
        self.can_write(path) && path.canonicalize().is_ok_and(|real| !self.can_write(&real))
    }

    /// Returns its limits, including those enforced by a control group.
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

/// Resolves a configured path: links are followed here, so that their targets are checked.
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

/// Returns why this is never accessible in a sandbox.
fn refused(path: &Path, writes: bool) -> Option<&'static str> {
    let kept_out = KEPT_OUT.get()?;
    if kept_out.state.starts_with(path) || path.starts_with(&kept_out.state) {
        return Some("which is or holds the daemon's state folder; name a folder that does not");
    }
    if kept_out.config.starts_with(path) {
        return Some("which is or holds the configuration; name a folder that does not");
    }
    let folder = kept_out.config.parent()?;
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

/// A folder for the files of one program, removed with it.
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
            Some(kept_out) => kept_out.state.join(TMP_FOLDER),
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

    /// Returns the environment variables for it.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        let home = self.home.then(|| ("HOME", self.folder.join("home").into_os_string()));
        let temporary = self.temporary.then(|| ("TMPDIR", self.folder.join("tmp").into_os_string()));
        home.into_iter().chain(temporary)
    }
}
