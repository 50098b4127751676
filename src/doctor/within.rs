//! Runs a program in a sandbox for a person.
use crate::child::{Confinement, Ended, Inherit, StartFailure, StartOrder, how_it_ended, start};
use crate::domain::{ProgramOwner, Sandbox};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Maximum bytes of each output that are searched for refusals.
const MAX_SCANNED_BYTES: usize = 1 << 20;

/// The outcome of the program.
#[derive(Clone, Debug)]
pub struct SandboxTrial {
    /// How it ended, in words, if not successfully.
    pub failure: Option<String>,
    /// Paths whose access was denied, by the program's output.
    pub refused: BTreeSet<String>,
    /// A description of each destination that it was not allowed to connect to.
    pub not_connected: Vec<String>,
}

/// Runs a program in a sandbox, and forwards its output.
///
/// # Errors
/// Why it could not be started: there is no such program (`NotFound`), or the sandbox is not available.
pub async fn run_within(
    sandbox: &Sandbox,
    owner: &ProgramOwner,
    argv: &[String],
    cwd: &Path,
) -> io::Result<SandboxTrial> {
    let environment = Inherit::Basics.environment();
    let name = argv.first().map_or("", String::as_str);
    let order = StartOrder {
        argv: argv.to_vec(),
        environment,
        cwd: cwd.to_owned(),
        // the command is from the command line, not from the configuration
        confinement: Some(Confinement::new(sandbox, owner, &[], std::iter::empty::<&str>()).owned()),
        control: None,
    };
    let (mut kept, (output, errors)) = start(order).await.map_err(|failure| match failure {
        StartFailure::Unfit(why) => io::Error::new(io::ErrorKind::NotFound, why),
        StartFailure::System { cause, .. } => cause,
    })?;
    kept.go(None)?;
    let ended = async {
        let ended = kept.ended().await;
        kept.end().await;
        ended
    };
    let (ended, out, err) = tokio::join!(ended, relay(output, io::stdout()), relay(errors, io::stderr()));
    match ended {
        Ended::NotStarted(why) => Err(io::Error::other(format!("`{name}` can't be executed: {why}"))),
        Ended::Ran { status, .. } => Ok(SandboxTrial {
            failure: (!status.success()).then(|| how_it_ended(status)),
            refused: refused_paths(&(out + &err)),
            not_connected: kept.refused(),
        }),
    }
}

/// Hides the state folder and the configuration from all sandboxed programs, as the daemon does.
pub fn keep_apart(state: &Path, config: &Path) {
    crate::child::keep_descriptors();
    crate::child::confined::keep_apart(state, config);
}

/// Forwards output as it arrives, and returns the beginning of it.
async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl Write) -> String {
    let (mut kept, mut piece) = (Vec::new(), vec![0; 8192]);
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let _ = to.write_all(&piece[..count]).and_then(|()| to.flush());
        let room = (MAX_SCANNED_BYTES - kept.len()).min(count);
        kept.extend_from_slice(&piece[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Returns the paths in lines that report a denied access, in the wording of the C library and of Node.
fn refused_paths(said: &str) -> BTreeSet<String> {
    /// For files outside, the last two are reported on attempts to change them.
    const DENIAL_PHRASES: [&str; 6] = [
        "Permission denied",
        "permission denied",
        "EACCES",
        "PermissionError",
        "Read-only file system",
        "EROFS",
    ];
    let lines = said.lines().filter(|line| DENIAL_PHRASES.iter().any(|word| line.contains(word)));
    lines
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "'\"`‘’:,()[]".contains(c)))
        .filter(|word| word.starts_with('/') && word.len() > 1)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    //! Tests of finding refusals in a program's output.
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_is_typed_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let owner = ProgramOwner::default();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let argv = ["cat".to_owned(), secret.display().to_string()];
        let within = run_within(&Sandbox::default(), &owner, &argv, folder.path()).await.unwrap();
        assert_eq!(within.failure.as_deref(), Some("exit status 1"));
        assert_eq!(within.refused, BTreeSet::from([argv[1].clone()]));
        let sandbox = Sandbox { read: vec![folder.path().to_owned()], ..Sandbox::default() };
        let within = run_within(&sandbox, &owner, &argv, folder.path()).await.unwrap();
        assert!(within.failure.is_none() && within.refused.is_empty(), "{within:?}");
        let missing =
            run_within(&sandbox, &owner, &["no-such-program-anywhere".to_owned()], folder.path()).await;
        assert!(missing.unwrap_err().to_string().contains("was not found in PATH"));
    }

    #[test]
    fn refused_paths_are_found_in_the_words_of_programs() {
        let said = "cat: /etc/shadow: Permission denied\n\
                    /bin/sh: 1: cannot create /srv/x: Permission denied\n\
                    ls: cannot open directory '/root': Permission denied\n\
                    Error: EACCES: permission denied, open '/home/a/b.txt'\n\
                    PermissionError: [Errno 13] Permission denied: '/data'\n\
                    touch: cannot touch '/srv/y': Read-only file system\n\
                    all is well at /fine\n";
        let found: Vec<String> = refused_paths(said).into_iter().collect();
        assert_eq!(found, ["/bin/sh", "/data", "/etc/shadow", "/home/a/b.txt", "/root", "/srv/x", "/srv/y"]);
    }
}
