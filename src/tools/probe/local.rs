//! Checks of this machine: disks, memory, load, processes.
use super::level::Thresholds;
use super::measured::{Measured, plain};
use super::mount;
use crate::blocking;
use crate::domain::{DiskMetric, Level};
use crate::tools::system_metrics::{Space, percent, tenth};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate,
    RefreshKind, System, UpdateKind,
};

pub(super) async fn disk(
    path: &Path,
    metric: DiskMetric,
    mounted: Option<bool>,
    thresholds: &Thresholds,
) -> Measured {
    let shown = path.display();
    let place = format!("disk:{shown}");
    let of = path.to_owned();
    let look = move || {
        let space = Space::of(&of)?;
        Ok((space, mount::missing(&of, mounted)))
    };
    let space = match blocking::one_at_a_time(&place, look).await {
        Ok(Ok((_, Some(missing)))) => return Measured::failed(format!("{shown} can't be read: {missing}")),
        Ok(Ok((space, None))) => space,
        Ok(Err::<_, std::io::Error>(cause)) => {
            return Measured::failed(format!("{shown} can't be read: {cause}"));
        }
        Err(error) => return Measured::failed(format!("{shown} can't be read: {error}")),
    };
    match (metric, space.inodes_used_percent) {
        (DiskMetric::Used, _) => {
            let used = space.used_percent;
            Measured::judged(thresholds, used, "%", format!("{shown} is {} % full", plain(tenth(used))))
        }
        (DiskMetric::Inodes, Some(used)) => Measured::judged(
            thresholds,
            used,
            "%",
            format!("{shown} has {} % of its inodes in use", plain(tenth(used))),
        ),
        (DiskMetric::Inodes, None) => Measured {
            level: Level::Ok,
            value: None,
            unit: None,
            title: format!("{shown} has no bound on inodes"),
        },
    }
}

pub(super) async fn memory(thresholds: &Thresholds) -> Measured {
    let look = || {
        let system = System::new_with_specifics(
            RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()),
        )?;
        Ok((system.available_memory(), system.total_memory()))
    };
    match on_a_thread(look).await {
        Ok((available, total)) if total > 0 => {
            let used = percent(total.saturating_sub(available), total);
            Measured::judged(thresholds, used, "%", format!("memory is {} % used", plain(tenth(used))))
        }
        Ok(_) => Measured::failed("memory can't be measured: the system does not report its size"),
        Err(error) => Measured::failed(format!("memory can't be measured: {error}")),
    }
}

pub(super) async fn load(thresholds: &Thresholds) -> Measured {
    let look = || {
        // The load covers all cores, including those that this process may not use.
        let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()))?;
        Ok((System::load_average()?.one, system.cpus().len().max(1)))
    };
    match on_a_thread(look).await {
        Ok((load, cores)) => {
            let each = load / cores as f64;
            let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
            Measured::judged(
                thresholds,
                each,
                "per core",
                format!("load is {} per core ({load:.2} on {cores})", plain(each)),
            )
        }
        Err(error) => Measured::failed(format!("load can't be measured: {error}")),
    }
}

pub(super) async fn process(name: &str, min: u64, thresholds: &Thresholds) -> Measured {
    let wanted = name.to_owned();
    // Reading a process's command line may block on that process.
    let count = match blocking::one_at_a_time("processes", move || count(&wanted)).await {
        Ok(Ok(count)) => count,
        Ok(Err(error)) => return Measured::failed(format!("processes can't be counted: {error}")),
        Err(error) => return Measured::failed(format!("processes can't be counted: {error}")),
    };
    let there = match count {
        0 => format!("{name} is not running"),
        1 => format!("{name} is running"),
        _ => format!("{name} is running {count} times"),
    };
    let value = count as f64;
    if count < min {
        let title = if min == 1 { there } else { format!("{there}; there must be {min}") };
        return Measured { level: Level::Crit, value: Some(value), unit: Some("processes"), title };
    }
    Measured::judged(thresholds, value, "processes", there)
}

fn count(wanted: &str) -> Result<u64, sysinfo::Error> {
    let mut system = System::new()?;
    let what = ProcessRefreshKind::nothing()
        .with_cmd(UpdateKind::Always)
        .with_exe(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    Ok(system.processes().values().filter(|process| is_named(process, wanted)).count() as u64)
}

fn is_named(process: &Process, wanted: &str) -> bool {
    if matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead) {
        return false;
    }
    let exe = process.exe().filter(|exe| !exe.as_os_str().is_empty());
    is_called(process.name(), process.cmd(), exe, wanted)
}

/// Compares the kernel's name, the program file, the first argument, and the script that an interpreter runs;
/// if `wanted` has a space or a slash, also any part of the command line that ends at a word boundary.
fn is_called(name: &OsStr, cmd: &[OsString], exe: Option<&Path>, wanted: &str) -> bool {
    let file_name = |path: &OsStr| Path::new(path).file_name().is_some_and(|name| name == wanted);
    if name == wanted
        || cmd.first().is_some_and(|first| file_name(first))
        || exe.is_some_and(|exe| file_name(exe.as_os_str()))
        || script(cmd).is_some_and(|script| script == wanted || file_name(script.as_ref()))
    {
        return true;
    }
    if wanted.contains([' ', '/']) {
        let line = cmd.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        return has_words(&line, wanted);
    }
    // Linux keeps 15 bytes of a name. If nothing else is readable, they are compared.
    let unknown = cmd.is_empty() && exe.is_none();
    unknown && wanted.len() > 15 && name.as_encoded_bytes() == &wanted.as_bytes()[..15]
}

/// Returns whether this is part of a line, beginning and ending at boundaries of words or path components.
fn has_words(line: &str, wanted: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c == ' ' || c == '/');
    line.match_indices(wanted).any(|(at, _)| {
        let after = line[at + wanted.len()..].chars().next();
        (wanted.starts_with('/') || edge(line[..at].chars().next_back())) && edge(after)
    })
}

/// Returns what an interpreter runs: a file, or a module of Python.
fn script(cmd: &[OsString]) -> Option<&str> {
    const INTERPRETERS: &[&str] = &[
        "sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "python", "perl", "ruby", "node",
        "nodejs", "deno", "bun", "php", "java", "lua", "tclsh", "Rscript", "pwsh", "env",
    ];
    let mut words = cmd.iter().map(|word| word.to_str().unwrap_or_default());
    let first = Path::new(words.next()?).file_name()?.to_str()?;
    // python3.12, php8
    let first = first.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&first) {
        return None;
    }
    while let Some(word) = words.next() {
        match word {
            "-m" | "-jar" => return words.next(),
            // Code on the command line, not in a file.
            "-c" => return None,
            _ if word.starts_with('-') || (first == "env" && word.contains('=')) => {}
            _ => return Some(word),
        }
    }
    None
}

async fn on_a_thread<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, sysinfo::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(look).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(crate::blocking::panic_text(error)),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of how processes are matched.
    use super::*;

    #[test]
    fn processes_are_known_by_what_they_run() {
        for (name, line, wanted, is) in [
            ("nginx", "nginx: worker process", "nginx", true),
            ("nightly-backup-", "/bin/sh ./nightly-backup-runner.sh", "nightly-backup-runner.sh", true),
            ("sh", "/bin/sh -c nightly.sh", "nightly.sh", false),
            ("bash", "bash -x /opt/jobs/nightly.sh --fast", "nightly.sh", true),
            ("python3", "/usr/bin/python3.12 -u /opt/worker.py", "worker.py", true),
            ("python3", "python3 -m http.server 80", "http.server", true),
            ("java", "java -Xmx2g -jar /srv/app.jar", "app.jar", true),
            ("env", "env A=1 worker", "worker", true),
            ("vim", "vim worker.py", "worker.py", false),
            ("grep", "grep worker.py", "worker.py", false),
            ("python3", "python3 manage.py celery worker", "manage.py celery worker", true),
            ("python3", "python3 manage.py celery workers", "celery worker", false),
            ("worker", "/opt/app/bin/worker --queue mail", "/opt/app/bin/worker", true),
            ("worker", "/opt/app/bin/worker --queue mail", "worker --queue mail", true),
            ("worker", "/opt/app/bin/worker --queue mail", "worker --queue", true),
            ("worker", "/opt/app/bin/worker --queue mail", "orker --queue", false),
            ("a-very-long-nam", "", "a-very-long-name-indeed", true),
        ] {
            let cmd: Vec<OsString> =
                line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
            assert_eq!(is_called(name.as_ref(), &cmd, None, wanted), is, "{line}: {wanted}");
        }
    }
}
