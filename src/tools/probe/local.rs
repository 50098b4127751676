//! Checks of this machine: disks, memory, load, processes.
use super::level::Thresholds;
use super::spec::Metric;
use super::{Measured, plain};
use crate::domain::Level;
use crate::tools::blocking;
use crate::tools::system_metrics::{Space, percent, tenth};
use std::ffi::OsStr;
use std::path::Path;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate,
    RefreshKind, System, UpdateKind,
};

pub(super) async fn disk(path: &Path, metric: Metric, thresholds: &Thresholds) -> Measured {
    let shown = path.display();
    let place = format!("disk:{shown}");
    let of = path.to_owned();
    let space = match blocking::one_at_a_time(&place, move || Space::of(&of)).await {
        Ok(Ok(space)) => space,
        Ok(Err(cause)) => return Measured::failed(format!("{shown} can't be read: {cause}")),
        Err(error) => return Measured::failed(format!("{shown} can't be read: {error}")),
    };
    match (metric, space.inodes_used_percent) {
        (Metric::Used, _) => {
            let used = space.used_percent;
            Measured::judged(thresholds, used, "%", format!("{shown} is {} % full", plain(tenth(used))))
        }
        (Metric::Inodes, Some(used)) => Measured::judged(
            thresholds,
            used,
            "%",
            format!("{shown} has {} % of its inodes in use", plain(tenth(used))),
        ),
        (Metric::Inodes, None) => Measured {
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
        Ok(_) => Measured::failed("memory can't be measured: the system does not tell its size"),
        Err(error) => Measured::failed(format!("memory can't be measured: {error}")),
    }
}

pub(super) async fn load(thresholds: &Thresholds) -> Measured {
    let look = || {
        // The load counts all cores, also those that we may not use.
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
    // Reading what a process was started with may wait for that process.
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

/// By the name that the kernel knows, the program file, or the first argument.
fn is_named(process: &Process, wanted: &str) -> bool {
    if matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead) {
        return false;
    }
    let file_name = |path: &OsStr| Path::new(path).file_name().is_some_and(|name| name == wanted);
    let exe = process.exe().filter(|exe| !exe.as_os_str().is_empty());
    if process.name() == wanted
        || process.cmd().first().is_some_and(|first| file_name(first))
        || exe.is_some_and(|exe| file_name(exe.as_os_str()))
    {
        return true;
    }
    // Linux keeps 15 bytes of a name. Where nothing else is readable, they have to do.
    let unknown = process.cmd().is_empty() && exe.is_none();
    unknown && wanted.len() > 15 && process.name().as_encoded_bytes() == &wanted.as_bytes()[..15]
}

async fn on_a_thread<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, sysinfo::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(look).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(crate::tools::dispatch::panic_text(error)),
    }
}
