//! Rows of a PostgreSQL table that are archived to a folder, against `COPY … TO` and `zstd` on the same table.
use super::postgres::Server;
use super::{Daemon, row};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `psql`, beside the server's programs or on the path.
fn psql() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let beside = debian.map(|entry| entry.path().join("bin/psql")).find(|path| path.exists());
    beside.unwrap_or_else(|| "psql".into())
}

fn sql(url: &str, text: &str) -> bool {
    let mut command = Command::new(psql());
    command
        .args([url, "-q", "-v", "ON_ERROR_STOP=1", "-c", text])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `COPY` piped into `zstd -3`; seconds.
fn copy(url: &str, folder: &Path) -> f64 {
    let out = folder.join("copy.zst");
    let line =
        format!("'{}' {url} -c 'COPY orders TO STDOUT' | zstd -q -3 -o {}", psql().display(), out.display());
    let began = Instant::now();
    let status = Command::new("sh").args(["-c", &line]).status().expect("a shell");
    assert!(status.success(), "COPY | zstd failed; are psql and zstd installed?");
    began.elapsed().as_secs_f64()
}

pub fn rows_per_second(rows: u64) {
    let Some(server) = Server::start() else { return };
    let url = format!("postgres://boss:rooty@{}/postgres", server.address());
    let began = Instant::now();
    while !sql(&url, "SELECT 1") {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the server does not come up, or there is no psql"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let make = format!(
        "CREATE TABLE orders(id bigint PRIMARY KEY, created_at timestamptz NOT NULL, customer text, total numeric(12,2), data jsonb);
         INSERT INTO orders SELECT i, now() - interval '200 days' + i * interval '1 s', 'customer ' || i % 9973, i % 100000 / 100.0,
           jsonb_build_object('items', i % 7, 'note', md5(i::text)) FROM generate_series(1, {rows}) AS i;
         VACUUM ANALYZE orders"
    );
    for part in make.split(';') {
        assert!(sql(&url, part), "{part}");
    }
    let seconds = copy(&url, server.folder.path());
    let plain = rows as f64 / seconds;
    row(
        "archive: `COPY … TO STDOUT` piped into `zstd -3`, 1,000,000 rows of PostgreSQL",
        format!("{plain:.0} rows/s"),
    );
    let password = server.folder.path().join("boss.pw");
    std::fs::write(&password, "rooty").expect("our folder");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("our folder");
    let daemon = Daemon::start(&format!(
        "[tools.old]\ntype = \"archive_rows\"\n\
         from = {{ url = \"postgres://boss@{}/postgres\", password = {{ file = \"{}\" }}, table = \"orders\", key = [\"id\"], \
         column = \"created_at\", older_than = \"90d\" }}\nto = {{ folder = \"archive\" }}\n\
         [agents.archive]\ntool = \"old\"\ntimeout = \"1h\"\n",
        server.address(),
        password.display()
    ));
    let mut client = daemon.client();
    let began = Instant::now();
    client.call("run_agent", json!({"agent_id": "archive"}));
    let done = client.events("background_task_completed", 1, 1);
    let seconds = began.elapsed().as_secs_f64();
    assert!(
        done[0]["payload"]["result"].to_string().contains(&format!("\\\"moved\\\":{rows}")),
        "{}",
        done[0]
    );
    let moved = rows as f64 / seconds;
    row(
        "archive: copied, read back, verified and deleted, 1,000,000 rows of the same table",
        format!("{moved:.0} rows/s: {:.2} of COPY", moved / plain),
    );
    row("archive: the daemon's memory after it", format!("{:.0} MiB", daemon.memory()));
}
