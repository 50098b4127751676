//! How many files may be open.

/// Raises the limit of open files (getrlimit(2)) as far as the system lets us and the runs may need, and says so if that
/// is not enough.
pub(super) fn allow_open_files(max_parallel_runs: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// Of the daemon itself: the database, clients, the watcher, MCP servers.
    const OURS: u64 = 1024;
    /// Of a run, at the most that is usual: pipes, a process handle, connections.
    const OF_A_RUN: u64 = 16;
    let runs = u64::try_from(max_parallel_runs).unwrap_or(u64::MAX);
    let wanted = runs.saturating_mul(OF_A_RUN).saturating_add(OURS);
    let mut limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return;
    }
    let may = limit.maximum.map_or(wanted, |most| most.min(wanted)).max(now);
    limit.current = Some(may);
    let may = setrlimit(Resource::Nofile, limit).map_or(now, |()| may);
    if may < runs.saturating_mul(OF_A_RUN / 2) {
        tracing::warn!(
            "only {may} files may be open, which is little for max_parallel_runs = {runs}: raise the hard limit of open \
             files (`ulimit -Hn`, `LimitNOFILE` of the service), or lower `max_parallel_runs`"
        );
    }
}
