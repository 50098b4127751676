//! The limit of open files.

/// Raises the limit of open files (getrlimit(2)) as far as the system allows and the runs may need,
/// and warns if that is not enough.
pub(super) fn allow_open_files(max_parallel_runs: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// Files of the daemon itself: the database, clients, the watcher, MCP servers.
    const DAEMON_FILES: u64 = 1024;
    /// Files of a run, in usual cases at most: pipes, a process handle, connections.
    const FILES_PER_RUN: u64 = 16;
    let runs = u64::try_from(max_parallel_runs).unwrap_or(u64::MAX);
    let wanted = runs.saturating_mul(FILES_PER_RUN).saturating_add(DAEMON_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return;
    }
    let granted = limit.maximum.map_or(wanted, |most| most.min(wanted)).max(now);
    limit.current = Some(granted);
    let granted = setrlimit(Resource::Nofile, limit).map_or(now, |()| granted);
    if granted < runs.saturating_mul(FILES_PER_RUN / 2) {
        tracing::warn!(
            "only {granted} files may be open, which is little for max_parallel_runs = {runs}: raise the hard limit of open \
             files (`ulimit -Hn`, `LimitNOFILE` of the service), or lower `max_parallel_runs`"
        );
    }
}
