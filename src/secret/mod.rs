//! Secrets: resolved when used, never written, never shown. Which program or request gets one is left to the callers; output
//! that may contain secrets passes through [`redact()`].
use crate::child::{self, Inherit, Program};
use crate::domain::{SecretRef, TextOrSecret};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

mod forms;
mod redact;
mod value;
mod wrapped;

pub use redact::{REDACTED, Redactor, redact, redact_json};
pub use value::Secret;

/// Maximum length of a secret, in bytes.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// Why a secret is not available. Never contains its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

/// Resolves a secret. [`redact()`] knows it from now on.
pub async fn resolve(secret: &SecretRef, timeout: Duration) -> Result<Secret, SecretError> {
    let value = match secret {
        SecretRef::Env(name) => from_env(name),
        SecretRef::File(path) => from_file(path.clone(), Guard::Private, timeout).await,
        SecretRef::Credential(name) => {
            from_credential(std::env::var_os("CREDENTIALS_DIRECTORY"), name, timeout).await
        }
        SecretRef::Command(argv) => from_command(argv, timeout).await,
    }?;
    redact::remember(&value);
    Ok(value)
}

/// Time limit for learning all secrets of a configuration.
const LEARN_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the values of these known to [`redact()`] before anything uses them: a program can find a secret where the daemon
/// found it. Errors are ignored here, and reported to whoever uses the secret. Secrets that are provided by a program are known
/// from their first use on.
pub async fn learn(secrets: &[SecretRef]) {
    let all = async {
        let mut values = Vec::new();
        for secret in secrets {
            let value = match secret {
                SecretRef::Env(name) => from_env(name),
                // Others may be able to read it. It is a secret all the same.
                SecretRef::File(path) => from_file(path.clone(), Guard::Given, LEARN_TIMEOUT).await,
                SecretRef::Credential(name) => {
                    from_credential(std::env::var_os("CREDENTIALS_DIRECTORY"), name, LEARN_TIMEOUT).await
                }
                SecretRef::Command(_) => continue,
            };
            values.extend(value);
        }
        values
    };
    match tokio::time::timeout(LEARN_TIMEOUT, all).await {
        Ok(values) => redact::remember_all(values.iter().map(|value| &**value)),
        Err(_) => tracing::warn!(
            "not all files with secrets could be read within {} s: what is in them is left out of records from its first \
             use on",
            LEARN_TIMEOUT.as_secs()
        ),
    }
}

/// Returns a plain text as it is, or resolves a secret.
pub async fn value_of(value: &TextOrSecret, timeout: Duration) -> Result<Secret, SecretError> {
    match value {
        TextOrSecret::Text(text) => Ok(text.clone().into()),
        TextOrSecret::Secret(secret) => resolve(secret, timeout).await,
    }
}

fn from_env(name: &str) -> Result<Secret, SecretError> {
    let place = format!("the variable {name}");
    match std::env::var(name) {
        Ok(text) => text_of(text.into_bytes(), &place),
        Err(std::env::VarError::NotPresent) => Err(SecretError(format!(
            "{place} is not set in the daemon's environment (a shell's own variables do not reach a service)"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError(format!("{place} is not UTF-8"))),
    }
}

/// Requirements on the access to a file.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    /// Only the owner may read it: its mode is checked.
    Private,
    /// Protected by the service that provides it.
    Given,
}

async fn from_file(path: PathBuf, guard: Guard, timeout: Duration) -> Result<Secret, SecretError> {
    let shown = path.display().to_string();
    let reading = tokio::task::spawn_blocking(move || read_file(&path, guard));
    match tokio::time::timeout(timeout, reading).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(SecretError(format!("reading {shown} broke off"))),
        Err(_) => Err(SecretError(format!("{shown} can't be read in time"))),
    }
}

fn read_file(path: &Path, guard: Guard) -> Result<Secret, SecretError> {
    let shown = path.display();
    let cannot = |cause: std::io::Error| SecretError(format!("can't read the secret file {shown}: {cause}"));
    // The checks apply to the opened file. Without O_NONBLOCK, opening a pipe would wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() {
        return Err(SecretError(format!("the secret file {shown} is not a regular file")));
    }
    if guard == Guard::Private {
        let mode = about.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretError(format!(
                "others may read the secret file {shown} (mode {mode:04o}): run `chmod 600 {shown}`"
            )));
        }
        let me = rustix::process::geteuid().as_raw();
        if about.uid() != me && about.uid() != 0 {
            return Err(SecretError(format!(
                "the secret file {shown} belongs to user {}: it must be ours (user {me}) or root's; \
                 run `chown {me} {shown}` and `chmod 600 {shown}`",
                about.uid()
            )));
        }
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    text_of(std::mem::take(&mut bytes), &format!("the secret file {shown}"))
}

async fn from_credential(
    folder: Option<OsString>,
    name: &str,
    timeout: Duration,
) -> Result<Secret, SecretError> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(SecretError(format!(
            "`{name}` can't name a credential: it is the name of a file, without folders"
        )));
    }
    let Some(folder) = folder.filter(|folder| !folder.is_empty()) else {
        return Err(SecretError(format!(
            "there are no credentials: $CREDENTIALS_DIRECTORY is not set; add `LoadCredential={name}:PATH` to the service"
        )));
    };
    from_file(Path::new(&folder).join(name), Guard::Given, timeout).await
}

async fn from_command(argv: &[String], timeout: Duration) -> Result<Secret, SecretError> {
    // A password store needs parts of the environment (agent, keyring, home), and was chosen by the owner of the configuration:
    // it gets all of it. Its standard error may contain anything and is not shown.
    let program = Program {
        argv,
        inherit: Inherit::Everything,
        env: &[],
        cwd: None,
        stdin: None,
        confinement: None,
        control: None,
        max_output: MAX_SECRET_BYTES + 1,
    };
    let finished =
        child::run(program, timeout).await.map_err(|error| SecretError(format!("no secret: {error}")))?;
    let name = argv.first().map_or("", String::as_str);
    if !finished.status.success() {
        return Err(SecretError(format!(
            "`{name}` gave no secret: it ended with {}; run it by hand to see why",
            child::how_it_ended(finished.status)
        )));
    }
    text_of(finished.stdout, &format!("the output of `{name}`"))
}

/// Returns the secret: without the one newline that editors and `echo` append.
fn text_of(bytes: Vec<u8>, place: &str) -> Result<Secret, SecretError> {
    if bytes.len() > MAX_SECRET_BYTES {
        drop(Zeroizing::new(bytes));
        return Err(SecretError(format!("{place} is longer than {} KiB", MAX_SECRET_BYTES >> 10)));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        SecretError(format!("{place} is not UTF-8"))
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(SecretError(format!("{place} is empty")));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests;
