//! Real escape attempts from the sandbox: the targets that are prepared for them, the process that attempts them, and
//! the results.
mod escapes;
mod stage;
mod within;

pub use crate::child::groups::{DELEGATED, GroupSupport};
pub use within::{SandboxTrial, keep_apart, run_within};

use crate::child::{Confinement, Ended, Inherit, StartOrder, start};
use crate::domain::{NetTarget, ProgramOwner, Sandbox};
use escapes::{ESCAPES, Escape, NETWORK_ESCAPES, OUTLIVING_COMMANDS};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use serde::Serialize;
use stage::Stage;
use std::ffi::OsStr;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The argument with which this program attempts the escapes.
const ESCAPE_ARGUMENT: &str = "__escape";
/// The variable with the [`Stage`], as JSON.
const STAGE_VARIABLE: &str = "BGAGENT_STAGE";
/// Timeout of all attempts together.
const ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(60);

/// The result of one escape attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub escape: &'static str,
    /// The system's error; `None`: the escape succeeded.
    pub refused: Option<String>,
}

/// Returns what this machine can't enforce, as sentences.
pub fn gaps(tried: &[Tried]) -> Vec<&'static str> {
    let mut gaps = Vec::new();
    #[cfg(target_os = "linux")]
    {
        use crate::sandbox::support::{SIGNALS, landlock};
        if landlock() < SIGNALS {
            gaps.push("signals to other processes of the same user; Linux 6.12 and later keep them in");
        }
    }
    if tried.iter().any(|one| one.escape == escapes::FILE_VIEW_ESCAPE && one.refused.is_none()) {
        gaps.push(
            "modes, owners, times and attributes of files of the same user, wherever they lie; that needs namespaces of users \
             and mounts: see `sysctl kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns`; a \
             service that was installed before 0.2 needs `bgagent service install` again; within a container, its rules",
        );
    }
    gaps
}

/// Returns the control group support that a daemon started from here would have.
pub fn control_groups() -> GroupSupport {
    crate::child::groups::prospect()
}

/// Attempts the escapes, if this process was started for that. `None`: it was not.
pub fn run_if_requested(word: Option<&OsStr>) -> Option<io::Result<()>> {
    if word != Some(OsStr::new(ESCAPE_ARGUMENT)) {
        return None;
    }
    let stage = std::env::var(STAGE_VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    Some(match stage {
        Some(stage) => escapes::try_all(&stage),
        None => Err(io::Error::other("nothing to try it on")),
    })
}

/// The results on this machine.
#[derive(Clone, Debug)]
pub struct DoctorReport {
    pub tried: Vec<Tried>,
    /// Why sandboxes can't have a network here.
    pub no_network: Option<String>,
}

/// Attempts all escapes from a sandbox with nothing but a writable folder, and those by network from one that may also
/// connect to one destination.
///
/// # Errors
/// The preparation or the start failed; also if this system has no sandbox.
pub async fn tried() -> io::Result<DoctorReport> {
    crate::child::keep_descriptors();
    let set = PreparedStage::up()?;
    let sandbox = Sandbox { write: vec![set.stage.inside.clone()], ..Sandbox::default() };
    let mut tried = within(&sandbox, &set.stage, ESCAPES).await?.map_err(io::Error::other)?;
    tried.extend(OUTLIVING_COMMANDS.iter().enumerate().map(|(at, (escape, _))| {
        let lives = is_running(&set.stage.lasting(at).to_string());
        Tried { escape, refused: (!lives).then(|| "ended with it".to_owned()) }
    }));
    let target = NetTarget::parse(escapes::ALLOWED).map_err(|(what, _)| io::Error::other(what))?;
    let sandbox = Sandbox { net: vec![target], ..sandbox };
    let stage = Stage { has_network: true, ..set.stage.clone() };
    let no_network = match within(&sandbox, &stage, NETWORK_ESCAPES).await? {
        Ok(more) => {
            tried.extend(more);
            None
        }
        Err(why) => Some(why),
    };
    Ok(DoctorReport { tried, no_network })
}

/// Has a process in the sandbox attempt these escapes. The inner error: why this sandbox is not available here.
async fn within(
    sandbox: &Sandbox,
    stage: &Stage,
    escapes: &[(&'static str, Escape)],
) -> io::Result<Result<Vec<Tried>, String>> {
    let owner = ProgramOwner::default();
    let own = std::env::current_exe()?;
    let argv = [own.display().to_string(), ESCAPE_ARGUMENT.to_owned()];
    let mut environment = Inherit::Basics.environment();
    environment.insert(STAGE_VARIABLE.into(), serde_json::to_string(stage)?.into());
    let order = StartOrder {
        argv: argv.to_vec(),
        environment,
        cwd: stage.inside.clone(),
        confinement: Some(Confinement::new(sandbox, &owner, &[], std::iter::empty::<&str>()).owned()),
        control: None,
    };
    let (mut kept, (mut output, mut errors)) =
        start(order).await.map_err(|failure| io::Error::other(failure.to_string()))?;
    kept.go(None)?;
    let (mut said, mut complaints) = (String::new(), String::new());
    let reading =
        async { tokio::join!(output.read_to_string(&mut said), errors.read_to_string(&mut complaints)) };
    let ended = async {
        let ended = kept.ended().await;
        kept.end().await;
        ended
    };
    let all = async { tokio::join!(ended, reading).0 };
    let ended = tokio::time::timeout(ATTEMPTS_TIMEOUT, all)
        .await
        .map_err(|_| io::Error::other("the escapes did not end"))?;
    if let Ended::NotStarted(why) = ended {
        return Ok(Err(why));
    }
    let tried = results(&said, escapes);
    match escapes.get(tried.len()) {
        None => Ok(Ok(tried)),
        Some((missing, _)) => Err(io::Error::other(format!(
            "the process that tried ended at \"{missing}\": {}",
            complaints.trim()
        ))),
    }
}

fn results(said: &str, escapes: &[(&'static str, Escape)]) -> Vec<Tried> {
    let lines = said.lines().zip(escapes).enumerate();
    lines
        .filter_map(|(at, (line, (escape, _)))| {
            let (number, said) = line.split_once('\t')?;
            let refused = (!said.is_empty()).then(|| said.to_owned());
            (number == at.to_string()).then_some(Tried { escape, refused })
        })
        .collect()
}

/// Returns whether there is a process with this argument.
fn is_running(argument: &str) -> bool {
    let folder = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folder.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).any(|line| {
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|name| name.ends_with(b"sleep"))
            && words.any(|word| word == argument.as_bytes())
    })
}

/// A stage with its targets, which are removed on drop.
struct PreparedStage {
    stage: Stage,
    victim: Child,
    _folder: tempfile::TempDir,
    _open: (TcpListener, UnixListener, UnixDatagram, OwnedFd),
}

impl PreparedStage {
    fn up() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bgagent-doctor-").tempdir()?;
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        for path in [&inside, &outside] {
            std::fs::create_dir(path)?;
        }
        std::fs::write(outside.join("secret"), "secret")?;
        let port = TcpListener::bind(("127.0.0.1", 0))?;
        let victim = Command::new("sleep").arg("3600").current_dir(&outside).stdin(Stdio::null()).spawn()?;
        let stage = Stage {
            inside,
            home: std::env::home_dir().unwrap_or_else(|| "/root".into()),
            victim: victim.id(),
            port: port.local_addr()?.port(),
            outside,
            has_network: false,
        };
        let hidden = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        bind(&hidden, &SocketAddrUnix::new_abstract_name(stage.abstract_name().as_bytes())?)?;
        listen(&hidden, 1)?;
        let file = UnixListener::bind(stage.outside.join("socket"))?;
        let answering = UdpSocket::bind(("127.0.0.1", stage.port))?;
        std::thread::spawn(move || {
            // as long as this process lives
            while let Ok((_, from)) = answering.recv_from(&mut [0; 16]) {
                let _ = answering.send_to(b"x", from);
            }
        });
        let datagrams = UnixDatagram::bind(stage.outside.join("datagrams"))?;
        Ok(Self { stage, victim, _folder: folder, _open: (port, file, datagrams, hidden) })
    }
}

impl Drop for PreparedStage {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    //! Tests with the running kernel.
    use super::*;

    #[test]
    fn there_are_many_and_each_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            ESCAPES.iter().chain(NETWORK_ESCAPES).map(|(name, _)| name).collect();
        assert_eq!(names.len(), ESCAPES.len() + NETWORK_ESCAPES.len());
        assert!(names.len() + OUTLIVING_COMMANDS.len() >= 80);
    }

    #[test]
    fn what_came_of_each_is_read_in_order() {
        let tried = results("0\tPermission denied\n1\t\n2\tx\n", ESCAPES);
        assert_eq!(
            tried.iter().map(|one| one.refused.as_deref()).collect::<Vec<_>>(),
            [Some("Permission denied"), None, Some("x")]
        );
        assert!(
            results("7\tPermission denied\n", ESCAPES).is_empty(),
            "a line that is out of order counts for nothing"
        );
    }
}
