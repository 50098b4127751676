//! Probes: runs of ten checks each, against a server on this machine.
use super::{Client, Daemon, models, row};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::Instant;

/// Accepts each connection and says nothing; ends with the program.
fn listener() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream)
        }
    });
    address
}

/// Looked, recorded, compared with what was, and ended.
pub(super) fn probes_per_second() {
    const CHECKS: usize = 10;
    const RUNS: usize = 2000;
    let port = listener().port();
    let mut checks = String::new();
    for number in 0..CHECKS / 2 {
        write!(checks, "{{ type = \"tcp\", name = \"t{number}\", host = \"127.0.0.1\", port = {port} }}, ")
            .expect("a string");
        write!(checks, "{{ type = \"disk\", name = \"d{number}\", path = \"/\", warn = 101 }}, ")
            .expect("a string");
    }
    let daemon = Daemon::start(&format!(
        "[agents.a]\noverlap = \"parallel\"\ntool = \"probe\"\nargs = {{ checks = [{checks}] }}\n"
    ));
    let mut client: Client = daemon.client();
    let began = Instant::now();
    models::start(&mut client, RUNS);
    client.events("background_task_completed", 1, RUNS);
    let rate = RUNS as f64 / began.elapsed().as_secs_f64();
    row(
        &format!("probe runs of {CHECKS} checks each, 64 at a time; checks"),
        format!("{rate:.0} /s; {:.0} /s", rate * CHECKS as f64),
    );
}
