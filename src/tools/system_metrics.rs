//! `system_metrics`: the state of this machine, measured now.
use super::contract::{About, Call, ToolOutput};
use super::mounts::{self, Mounted};
use crate::blocking::{self, panic_text};
use crate::domain::{MetricsArgs, ToolError, ToolSettings, size};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Networks, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System,
};

/// Timeout for a file system to report its space.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);
/// Time over which CPU usage is measured.
const CPU_SAMPLE_TIME: Duration = Duration::from_millis(200);

/// File systems that store nothing.
const PSEUDO_FILE_SYSTEMS: &[&str] = &[
    "autofs",
    "tmpfs",
    "iso9660",
    "rootfs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fuse.lxcfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Describes an instance. Names of processes, mount points and interfaces are chosen by others.
pub(super) fn about() -> About {
    About { untrusted: true, ..About::local() }
}

/// Measures. File systems that do not respond in time are left out, and listed: one whose server is down does
/// not block the rest.
pub(super) async fn call(call: Call) -> Result<ToolOutput, ToolError> {
    let mut asked = call.arguments::<MetricsArgs>()?;
    if let ToolSettings::SystemMetrics(fixed) = &*call.settings {
        asked = fixed.clone().or(&asked);
    }
    let top = size(asked.top.unwrap_or(MetricsArgs::TOP));
    let with_disks = asked.disks.unwrap_or(MetricsArgs::DISKS);
    let failed = |error: String| ToolError::Failed(format!("can't measure: {error}"));
    let bound = DISK_TIMEOUT.min(call.bound / 2);
    let disks = async { if with_disks { Some(disks(bound).await) } else { None } };
    // The kernel answers these itself, so many calls may measure concurrently.
    let machine = tokio::task::spawn_blocking(move || measure(top));
    let (machine, disks) = tokio::join!(machine, disks);
    let machine = machine.map_err(|error| failed(panic_text(error)))?;
    let mut result = machine.map_err(|error| failed(error.to_string()))?;
    let Some(disks) = disks else { return Ok(ToolOutput::of(result)) };
    let disks = disks.map_err(failed)?;
    result["disks"] = disks.rows.into();
    let warnings = disks.unresponsive.iter().map(|disk| {
        format!("{} does not answer: it is left out", disk["mount"].as_str().unwrap_or_default())
    });
    let warnings = warnings.collect();
    if !disks.unresponsive.is_empty() {
        result["not_answering"] = disks.unresponsive.into();
    }
    Ok(ToolOutput { warnings, ..ToolOutput::of(result) })
}

fn measure(top: usize) -> Result<Value, sysinfo::Error> {
    let mut system = System::new_with_specifics(
        RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::everything()),
    )?;
    let of_processes = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    let look = |system: &mut System| {
        system.refresh_cpu_usage();
        if top > 0 {
            system.refresh_processes_specifics(ProcessesToUpdate::All, true, of_processes);
        }
    };
    look(&mut system);
    std::thread::sleep(CPU_SAMPLE_TIME.max(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL));
    look(&mut system);

    let load = System::load_average()?;
    let (total, available) = (system.total_memory(), system.available_memory());
    let mut network: Vec<Value> = Vec::new();
    for (name, data) in &Networks::new_with_refreshed_list()? {
        network.push(json!({"name": name.to_string_lossy(), "rx_bytes": data.total_received(), "tx_bytes": data.total_transmitted()}));
    }
    network.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Ok(json!({
        "hostname": System::host_name().ok(),
        "uptime_s": System::uptime()?,
        "cpu": {"cores": system.cpus().len(), "usage_percent": tenth(f64::from(system.global_cpu_usage()))},
        "load": {"1": tenth(load.one), "5": tenth(load.five), "15": tenth(load.fifteen)},
        "memory": {
            "total": total,
            "available": available,
            "used_percent": tenth(percent(total.saturating_sub(available), total)),
        },
        "swap": {
            "total": system.total_swap(),
            "used": system.used_swap(),
            "used_percent": tenth(percent(system.used_swap(), system.total_swap())),
        },
        "network": network,
        "top": busiest(&system, top),
    }))
}

fn busiest(system: &System, top: usize) -> Vec<Value> {
    let mut processes: Vec<_> = system.processes().values().collect();
    processes.sort_by(|a, b| b.cpu_usage().total_cmp(&a.cpu_usage()).then(b.memory().cmp(&a.memory())));
    processes
        .into_iter()
        .take(top)
        .map(|process| {
            json!({
                "pid": process.pid().as_u32(),
                "name": process.name().to_string_lossy(),
                "cpu_percent": tenth(f64::from(process.cpu_usage())),
                "memory_bytes": process.memory(),
            })
        })
        .collect()
}

/// Results for disks.
#[derive(Default)]
struct DiskReport {
    rows: Vec<Value>,
    /// Disks that did not respond in time.
    unresponsive: Vec<Value>,
}

async fn disks(bound: Duration) -> Result<DiskReport, String> {
    // The list comes from the kernel alone.
    let listed = tokio::task::spawn_blocking(mounted).await.map_err(panic_text)?;
    Ok(measured(listed.map_err(|error| error.to_string())?, bound, Space::of).await)
}

fn mounted() -> std::io::Result<Vec<Mounted>> {
    let (mut seen, mut places) = (HashSet::new(), HashSet::new());
    let mut all = mounts::list()?;
    all.retain(|disk| {
        // A device that is mounted at several places is listed once, at the first one.
        let first = !disk.device.starts_with('/') || seen.insert(disk.device.clone());
        first && !PSEUDO_FILE_SYSTEMS.contains(&disk.fs.as_str()) && places.insert(disk.mount.clone())
    });
    Ok(all)
}

/// Queries the space of all, concurrently.
async fn measured(
    all: Vec<Mounted>,
    bound: Duration,
    look: impl Fn(&Path) -> std::io::Result<Space> + Clone + Send + 'static,
) -> DiskReport {
    let asked = all.into_iter().map(|disk| {
        let (look, path) = (look.clone(), disk.mount.clone());
        let place = format!("disk:{}", disk.mount.display());
        async move { (blocking::within(bound, &place, move || look(&path)).await, disk) }
    });
    let mut found = DiskReport::default();
    for (space, disk) in join_all(asked).await {
        let mount = disk.mount.to_string_lossy();
        match space {
            None => found.unresponsive.push(json!({
                "mount": mount,
                "fs": disk.fs,
                "error": format!("no answer within {:.0} s", bound.as_secs_f64().max(1.0)),
            })),
            Some(Ok(Ok(space))) if space.total > 0 => found.rows.push(json!({
                "mount": mount,
                "fs": disk.fs,
                "total": space.total,
                "available": space.available,
                "used_percent": tenth(space.used_percent),
                "inodes_used_percent": space.inodes_used_percent.map(tenth),
            })),
            // It stores nothing, or can't be accessed.
            Some(_) => {}
        }
    }
    found.rows.sort_by(|a, b| a["mount"].as_str().cmp(&b["mount"].as_str()));
    found
}

/// Space on a file system, as df(1) reports it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    pub(super) total: u64,
    /// Bytes that an unprivileged user may still write.
    pub(super) available: u64,
    /// Percentage of what an unprivileged user may use.
    pub(super) used_percent: f64,
    /// `None` if the file system creates inodes as needed.
    pub(super) inodes_used_percent: Option<f64>,
}

impl Space {
    /// Queries a file system. Blocks as long as it takes to respond.
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let inodes_used = stat.f_files.saturating_sub(stat.f_ffree);
        Ok(Self {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            used_percent: percent(used, used.saturating_add(stat.f_bavail)),
            inodes_used_percent: (stat.f_files > 0).then(|| percent(inodes_used, stat.f_files)),
        })
    }
}

/// Returns `part` as a percentage of `whole`; 0 if `whole` is 0.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Rounds to one decimal.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    //! Tests of disks that don't answer.
    use super::*;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_disk_that_hangs_is_left_out_named_and_asked_once() {
        let (release, hang) = mpsc::channel::<()>();
        let (hang, asked) = (Arc::new(Mutex::new(hang)), Arc::new(Mutex::new(0)));
        let count = asked.clone();
        let look = move |path: &Path| {
            if path.ends_with("hangs") {
                *count.lock().unwrap() += 1;
                let _ = hang.lock().unwrap().recv();
            }
            Ok(Space { total: 100, available: 50, used_percent: 50.0, inodes_used_percent: None })
        };
        let disk = |name: &str| Mounted {
            mount: format!("/test-of-disks/{name}").into(),
            fs: "nfs4".into(),
            device: "nas:/x".into(),
        };
        for _ in 0..3 {
            let all = vec![disk("hangs"), disk("good"), disk("also")];
            let found = measured(all, Duration::from_millis(200), look.clone()).await;
            let mounts: Vec<_> = found.rows.iter().map(|row| row["mount"].as_str().unwrap()).collect();
            assert_eq!(mounts, ["/test-of-disks/also", "/test-of-disks/good"]);
            assert_eq!(found.unresponsive.len(), 1);
            assert_eq!(found.unresponsive[0]["mount"], "/test-of-disks/hangs");
        }
        assert_eq!(*asked.lock().unwrap(), 1, "the others wait for the first");
        release.send(()).unwrap();
        // It responds again, and is listed again.
        loop {
            let found = measured(vec![disk("hangs")], Duration::from_secs(60), |_: &Path| {
                Ok(Space { total: 1, available: 1, used_percent: 0.0, inodes_used_percent: None })
            });
            if found.await.unresponsive.is_empty() {
                break;
            }
        }
    }
}
