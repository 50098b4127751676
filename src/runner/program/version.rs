//! The version of an agent program, requested once per executable file.
use super::world::World;
use crate::child::{self, ChildError, Confinement, Inherit, Program};
use crate::domain::{ErrorKind, ProgramOwner, RunnerSpec, RunnerVersion};
use crate::runner::broken::Break;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

const VERSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum bytes of its output that are read.
const MAX_OUTPUT_BYTES: usize = 4 << 10;

/// A command, and the modification time and size of its file.
type AskedFile = (Vec<String>, Option<SystemTime>, u64);

static KNOWN: LazyLock<Mutex<HashMap<AskedFile, String>>> = LazyLock::new(Mutex::default);
/// Warnings that were given: each once in the daemon's lifetime.
static WARNED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Checks the version against the expected one. Returns a warning, once, if a different version is tolerated.
///
/// # Errors
/// A different version must not run, or the version is unknown.
pub(super) async fn expected(
    spec: &RunnerSpec,
    expected: &RunnerVersion,
    world: &World,
    owner: &ProgramOwner,
) -> Result<Option<String>, Break> {
    let found = version_of(spec, world, owner).await.map_err(|why| Break::failed(ErrorKind::Spawn, why))?;
    if expected.fits(&found) {
        return Ok(None);
    }
    let (table, wanted) = (&owner.table, &expected.expected);
    if expected.exact {
        let why = format!(
            "[{table}] allows version {wanted} only, and the program is {found}; try it with `bgagent runner test`, then \
             write version = \"={found}\""
        );
        return Err(Break::failed(ErrorKind::Config, why));
    }
    let warning = format!(
        "runner_changed: [{table}] expects version {wanted}, and the program is {found}; try it with `bgagent runner test`, \
         then write version = \"{found}\""
    );
    let is_new = WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
    Ok(is_new.then_some(warning))
}

/// Returns the version that a program reports, in its usual sandbox.
///
/// # Errors
/// A sentence: it can't be run, or its output contains no version.
pub(in crate::runner) async fn version_of(
    spec: &RunnerSpec,
    world: &World,
    owner: &ProgramOwner,
) -> Result<String, String> {
    let (folders, env, cwd) = (world.writable(), world.environment(), world.work());
    let own = Inherit::Basics.environment();
    let name = spec.command.first().map(String::as_str).unwrap_or_default();
    let path = own.get(OsStr::new("PATH")).map(std::ffi::OsString::as_os_str);
    let program = child::find(name, &cwd, path).map_err(|unfit| unfit.to_string())?;
    let found = std::fs::metadata(&program).ok();
    let modified = found.as_ref().and_then(|found| found.modified().ok());
    let flags = spec.preset().map_or(&["--version"][..], |preset| preset.version);
    // words before the first placeholder form the program: an interpreter with its script, say
    let fixed = spec.command.iter().take_while(|word| !word.contains('{'));
    let argv: Vec<String> = fixed.cloned().chain(flags.iter().map(|flag| (*flag).to_owned())).collect();
    let asked = (argv.clone(), modified, found.map_or(0, |found| found.len()));
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&asked) {
        return Ok(known.clone());
    }
    let sandbox = spec.sandbox.unless_off();
    let variables = env.iter().map(|(name, _)| name.as_str());
    let confinement = sandbox
        .as_deref()
        .map(|sandbox| Confinement::new(sandbox, owner, &argv, variables).with_folders(&folders, &[]));
    let asking = Program {
        argv: &argv,
        inherit: Inherit::Basics,
        env: &env,
        cwd: Some(&cwd),
        stdin: None,
        confinement,
        control: None,
        max_output: MAX_OUTPUT_BYTES,
    };
    let told = child::run(asking, VERSION_TIMEOUT).await.map_err(|error: ChildError| error.to_string())?;
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    let version = first_version(&said).ok_or_else(|| {
        let words = child::first_line(if told.stdout.is_empty() { &told.stderr } else { &told.stdout });
        format!("`{}` says no version, but: {words}", argv.join(" "))
    })?;
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, version.clone());
    Ok(version)
}

/// Returns the first word that looks like a version.
fn first_version(said: &str) -> Option<String> {
    let plain = |word: &str| {
        word.trim_start_matches('v').trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
    };
    let is_version = |word: &String| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    said.split_whitespace().map(plain).find(is_version)
}

#[cfg(test)]
mod tests {
    //! Tests of what programs say of themselves.
    use super::*;

    #[test]
    fn versions_are_found_among_other_words() {
        for (said, version) in [
            ("2.1.197 (Claude Code)\n", Some("2.1.197")),
            ("codex-cli 0.171.0\n", Some("0.171.0")),
            ("goose v1.2.3,\n", Some("1.2.3")),
            ("1.18.33", Some("1.18.33")),
            ("command not found", None),
            ("", None),
        ] {
            assert_eq!(first_version(said).as_deref(), version, "{said}");
        }
    }
}
