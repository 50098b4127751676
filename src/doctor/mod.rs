//! Escapes from the sandbox, tried for real: what is put there for them, the process that tries, and what came of it.
mod escapes;
mod stage;
mod within;

pub use crate::child::groups::{DELEGATED, GroupSupport};
pub use within::{Within, keep_apart, run_within};

use crate::child::{Confinement, Ended, Inherit, StartOrder, start};
use crate::domain::{NetTarget, ProgramOwner, Sandbox};
use escapes::{BY_NETWORK, ESCAPES, Escape, OUTLIVING};
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

/// The word by which this program becomes the one that tries.
const WORD: &str = "__escape";
/// The variable with the [`Stage`], as JSON.
const STAGE: &str = "BGAGENT_STAGE";
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one escape.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// What it was.
    pub escape: &'static str,
    /// What the system said to it; `None`: it got through.
    pub refused: Option<String>,
}

/// What this machine can't hold, as sentences.
pub fn gaps(tried: &[Tried]) -> Vec<&'static str> {
    let mut gaps = Vec::new();
    #[cfg(target_os = "linux")]
    {
        use crate::sandbox::support::{SIGNALS, landlock};
        if landlock() < SIGNALS {
            gaps.push("signals to other processes of the same user; Linux 6.12 and later keep them in");
        }
    }
    if tried.iter().any(|one| one.escape == escapes::NEEDS_A_VIEW && one.refused.is_none()) {
        gaps.push(
            "modes, owners, times and attributes of files of the same user, wherever they lie; that needs namespaces of users \
             and mounts: see `sysctl kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns`; a \
             service that was installed before 0.2 needs `bgagent service install` again; within a container, its rules",
        );
    }
    gaps
}

/// What a daemon would have of control groups that is started where this process is.
pub fn control_groups() -> GroupSupport {
    crate::child::groups::prospect()
}

/// Tries, if this process was started for it. `None`: it was not.
pub fn try_if_asked(word: Option<&OsStr>) -> Option<io::Result<()>> {
    if word != Some(OsStr::new(WORD)) {
        return None;
    }
    let stage = std::env::var(STAGE).ok().and_then(|text| serde_json::from_str(&text).ok());
    Some(match stage {
        Some(stage) => escapes::try_all(&stage),
        None => Err(io::Error::other("nothing to try it on")),
    })
}

/// What was tried on this machine.
#[derive(Clone, Debug)]
pub struct Findings {
    pub tried: Vec<Tried>,
    /// Why a sandbox has no network here.
    pub no_network: Option<String>,
}

/// Tries all escapes from within a sandbox that gives nothing but a folder to write to, and those by the network from
/// within one that also may connect to one place.
///
/// # Errors
/// What could not be prepared or started; also why there is no sandbox on this system.
pub async fn tried() -> io::Result<Findings> {
    crate::child::keep_descriptors();
    let set = Set::up()?;
    let sandbox = Sandbox { write: vec![set.stage.inside.clone()], ..Sandbox::default() };
    let mut tried = within(&sandbox, &set.stage, ESCAPES).await?.map_err(io::Error::other)?;
    tried.extend(OUTLIVING.iter().enumerate().map(|(at, (escape, _))| {
        let lives = lives(&set.stage.lasting(at).to_string());
        Tried { escape, refused: (!lives).then(|| "ended with it".to_owned()) }
    }));
    let target = NetTarget::parse(escapes::ALLOWED).map_err(|(what, _)| io::Error::other(what))?;
    let sandbox = Sandbox { net: vec![target], ..sandbox };
    let stage = Stage { has_network: true, ..set.stage.clone() };
    let no_network = match within(&sandbox, &stage, BY_NETWORK).await? {
        Ok(more) => {
            tried.extend(more);
            None
        }
        Err(why) => Some(why),
    };
    Ok(Findings { tried, no_network })
}

/// Has a process within the walls try all of these. The inner error: why there are no such walls here.
async fn within(
    sandbox: &Sandbox,
    stage: &Stage,
    escapes: &[(&'static str, Escape)],
) -> io::Result<Result<Vec<Tried>, String>> {
    let owner = ProgramOwner::default();
    let own = std::env::current_exe()?;
    let argv = [own.display().to_string(), WORD.to_owned()];
    let mut environment = Inherit::Basics.environment();
    environment.insert(STAGE.into(), serde_json::to_string(stage)?.into());
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
    let ended =
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| io::Error::other("the escapes did not end"))?;
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

/// Is there a process with this argument?
fn lives(argument: &str) -> bool {
    let folder = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folder.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).any(|line| {
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|name| name.ends_with(b"sleep"))
            && words.any(|word| word == argument.as_bytes())
    })
}

/// A stage with all that stands on it, which goes with it.
struct Set {
    stage: Stage,
    victim: Child,
    _folder: tempfile::TempDir,
    _open: (TcpListener, UnixListener, UnixDatagram, OwnedFd),
}

impl Set {
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

impl Drop for Set {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    //! With the kernel that there is.
    use super::*;

    #[test]
    fn there_are_many_and_each_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            ESCAPES.iter().chain(BY_NETWORK).map(|(name, _)| name).collect();
        assert_eq!(names.len(), ESCAPES.len() + BY_NETWORK.len());
        assert!(names.len() + OUTLIVING.len() >= 80);
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
