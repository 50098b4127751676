//! `system_metrics`: the state of this machine, measured now.
use super::{ToolError, ToolOutput, blocking, dispatch};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use sysinfo::{
    CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, ProcessRefreshKind,
    ProcessesToUpdate, RefreshKind, System,
};

/// Over which the use of the processor is measured.
const WINDOW: Duration = Duration::from_millis(200);

/// File systems that store nothing.
const PSEUDO: &[&str] = &[
    "autofs",
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

/// JSON Schema of its arguments.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "top": {
                "type": "integer", "minimum": 0, "maximum": 50, "default": 5,
                "description": "How many of the busiest processes are listed.",
            },
            "disks": {"type": "boolean", "default": true, "description": "Whether disks are listed."},
        },
    })
}

/// Measures. A file system that does not answer holds this up until the caller's time bound; `disks`
/// set to false leaves them out.
pub(super) async fn call(args: &Value) -> Result<ToolOutput, ToolError> {
    // Numbers such as 5.0 are whole too.
    let top = args.get("top").and_then(Value::as_f64).unwrap_or(5.0) as usize;
    let with_disks = args.get("disks").and_then(Value::as_bool).unwrap_or(true);
    let failed = |error: String| ToolError::Failed(format!("can't measure: {error}"));
    // The kernel answers these itself, so that many calls may measure at the same time.
    let machine = tokio::task::spawn_blocking(move || measure(top)).await;
    let machine = machine.map_err(|error| failed(dispatch::panic_text(error)))?;
    let mut result = machine.map_err(|error| failed(error.to_string()))?;
    if with_disks {
        let disks = blocking::one_at_a_time("disks", disks).await.map_err(failed)?;
        result["disks"] = disks.map_err(|error| failed(error.to_string()))?;
    }
    Ok(ToolOutput::of(result))
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
    std::thread::sleep(WINDOW.max(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL));
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

fn disks() -> Result<Value, sysinfo::Error> {
    let mut seen = HashSet::new();
    let mut rows: Vec<Value> = Vec::new();
    for disk in &Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing())? {
        let fs = disk.file_system().to_string_lossy();
        // A device that is mounted at several places is listed at the first.
        let again = disk.name().to_string_lossy().starts_with('/') && !seen.insert(disk.name().to_owned());
        if again || PSEUDO.contains(&fs.as_ref()) {
            continue;
        }
        let Ok(space) = Space::of(disk.mount_point()) else { continue };
        if space.total == 0 {
            continue;
        }
        rows.push(json!({
            "mount": disk.mount_point().to_string_lossy(),
            "fs": fs,
            "total": space.total,
            "available": space.available,
            "used_percent": tenth(space.used_percent),
            "inodes_used_percent": space.inodes_used_percent.map(tenth),
        }));
    }
    rows.sort_by(|a, b| a["mount"].as_str().cmp(&b["mount"].as_str()));
    Ok(Value::Array(rows))
}

/// Room on a file system, as df(1) tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Bytes.
    pub(super) total: u64,
    /// Bytes that an ordinary user may still write.
    pub(super) available: u64,
    /// Of what an ordinary user may use.
    pub(super) used_percent: f64,
    /// `None`: it makes inodes as it needs them.
    pub(super) inodes_used_percent: Option<f64>,
}

impl Space {
    /// Blocks as long as the file system likes.
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

/// `part` of `whole`; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Rounded to one decimal.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
