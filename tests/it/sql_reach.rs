//! How a PostgreSQL server is reached: encrypted, and by whom it is signed; and through a pooler.
use crate::postgres::Server;
use crate::support::PATIENCE;
use bgagent::config::{self, Context};
use bgagent::tools::{CallContext, Tools};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn tools_of(folder: &Path, url: &str) -> Tools {
    let text = format!(
        "[tools.db]\ntype = \"sql\"\nurl = \"{url}\"\npassword = {{ file = \"pw\" }}\nmode = \"read_write\"\nddl = true\n\
         [tools.old]\ntype = \"archive_rows\"\n\
         from = {{ sql = \"db\", table = \"t\", key = [\"id\"], column = \"at\", older_than = \"90d\" }}\n\
         to = {{ folder = \"archive\" }}\n"
    );
    fs::write(folder.join("pw"), "rooty").expect("our folder");
    fs::set_permissions(folder.join("pw"), Permissions::from_mode(0o600)).expect("our folder");
    let context = Context::system("2026-06-01T12:00:00Z".parse().expect("a time"));
    let loaded = config::parse(text, &folder.join("agents.toml"), &context);
    Tools::new(&loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).fleet)
}

async fn call(tools: &Tools, name: &str, args: Value) -> Result<Value, String> {
    let output = tools.call(name, &args, &CallContext::default()).await;
    output.map(|output| output.result).map_err(|error| error.to_string())
}

async fn ask(url: &str, folder: &Path, sql: &str) -> Result<Value, String> {
    call(&tools_of(folder, url), "db", json!({"sql": sql})).await
}

/// Until it works.
async fn until_up(url: &str, folder: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = ask(url, folder, "SELECT 1").await {
        assert!(Instant::now() < deadline, "{url} does not come up: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A program that a test needs; `None`: there is none, and the test is skipped.
pub(super) fn program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: there is no {name} on this machine");
    }
    found
}

/// A certificate for `localhost`, signed by one of our own.
pub(super) fn sign(openssl: &Path, folder: &Path) {
    let run = |args: &str| {
        let done = Command::new(openssl).current_dir(folder).args(args.split(' ')).output().expect("it runs");
        assert!(done.status.success(), "{args}: {}", String::from_utf8_lossy(&done.stderr));
    };
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=ours"));
    run(&format!("req -x509 {KEY} -keyout other.key -out other.pem -days 2 -subj /CN=other"));
    run(&format!("req {KEY} -keyout server.key -out server.csr -subj /CN=localhost"));
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    run(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
    for name in ["server.key", "server.pem"] {
        // of the user that the server runs as
        let path = folder.join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signed_a_server_counts_as_the_address_says() {
    let Some(openssl) = program("openssl") else { return };
    let Some(server) = Server::start() else { return };
    let folder = server.folder.path().to_owned();
    sign(&openssl, &folder);
    let port = server.port;
    let url = |host: &str, more: &str| {
        format!("postgres://boss@{host}:{port}/postgres{}", more.replace('$', &folder.display().to_string()))
    };
    until_up(&url("127.0.0.1", ""), &folder).await;
    for set in ["ssl_cert_file = 'SERVER.pem'", "ssl_key_file = 'SERVER.key'", "ssl = on"] {
        let set = set.replace("SERVER", &folder.join("server").display().to_string());
        // ALTER SYSTEM runs in no transaction
        let (client, connection) = tokio_postgres::connect(
            &format!("postgres://boss:rooty@127.0.0.1:{port}/postgres"),
            tokio_postgres::NoTls,
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("ALTER SYSTEM SET {set}")).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }
    let is_on = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let deadline = Instant::now() + PATIENCE;
    let first = url("localhost", "?sslmode=verify-full&sslrootcert=$/ca.pem");
    while let Err(error) = ask(&first, &folder, is_on).await {
        assert!(Instant::now() < deadline, "no encryption: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (host, more, wanted) in [
        ("localhost", "?sslmode=verify-full&sslrootcert=$/ca.pem", Ok(true)),
        // the certificate is for another name
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=$/ca.pem", Err("not valid for name")),
        ("127.0.0.1", "?sslmode=verify-ca&sslrootcert=$/ca.pem", Ok(true)),
        ("127.0.0.1", "?sslmode=require&sslrootcert=$/ca.pem", Ok(true)),
        // another one has signed it
        ("localhost", "?sslmode=verify-full&sslrootcert=$/other.pem", Err("sslrootcert=/path/to/ca.pem")),
        ("localhost", "?sslmode=verify-ca&sslrootcert=$/other.pem", Err("sslrootcert=/path/to/ca.pem")),
        ("localhost", "?sslmode=verify-full", Err("certificate")),
        ("localhost", "?sslmode=require", Err("certificate")),
        ("localhost", "?sslmode=verify-full&sslrootcert=$/none.pem", Err("none.pem can't be read")),
        ("localhost", "?sslmode=disable", Ok(false)),
    ] {
        let found = ask(&url(host, more), &folder, is_on).await;
        match (found, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found["rows"][0]["ssl"], wanted, "{host} {more}"),
            (Err(error), Err(wanted)) => {
                assert!(
                    error.contains(wanted) && error.contains(host),
                    "{host} {more}: no `{wanted}` in: {error}"
                );
            }
            (found, wanted) => panic!("{host} {more}: {found:?}, and not {wanted:?}"),
        }
    }
}

/// It ends with this value.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pooler before the server, which lends its connections for a session or for a transaction. Gives its port.
fn pooler(program: &Path, server: &Server, mode: &str) -> (Pooler, u16) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let folder = server.folder.path();
    let file = folder.join(format!("pooler-{mode}.ini"));
    let users = folder.join("users.txt");
    fs::write(&users, "\"boss\" \"rooty\"\n").expect("our folder");
    fs::write(
        &file,
        format!(
            "[databases]\npostgres = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = plain\nauth_file = {}\npool_mode = {mode}\nunix_socket_dir =\nserver_round_robin = 0\n",
            server.port,
            users.display()
        ),
    )
    .expect("our folder");
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    let child = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    (Pooler(child), port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_for_a_transaction_is_refused_by_the_archive() {
    let Some(program) = program("pgbouncer") else { return };
    let Some(server) = Server::start() else { return };
    let folder = server.folder.path().to_owned();
    let direct = format!("postgres://boss@127.0.0.1:{}/postgres", server.port);
    until_up(&direct, &folder).await;
    for sql in [
        "CREATE TABLE t(id int PRIMARY KEY, at date)",
        "INSERT INTO t VALUES (1, '2020-01-01'), (2, '2020-01-01')",
    ] {
        ask(&direct, &folder, sql).await.unwrap();
    }
    let (_pooler, port) = pooler(&program, &server, "transaction");
    let lent = format!("postgres://boss@127.0.0.1:{port}/postgres");
    until_up(&lent, &folder).await;
    let error = call(&tools_of(&folder, &lent), "old", json!({})).await.unwrap_err();
    assert!(error.contains("a pooler stands between") && error.contains(&port.to_string()), "{error}");
    // statements of their own work, and leave nothing behind for whoever gets the connection next
    for _ in 0..5 {
        let count = ask(&lent, &folder, "SELECT count(*) AS n FROM t").await.unwrap();
        assert_eq!(count["rows"][0]["n"], 2);
    }
    let (client, connection) = tokio_postgres::connect(
        &format!("postgres://boss:rooty@127.0.0.1:{port}/postgres"),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    for (setting, wanted) in [("statement_timeout", "0"), ("default_transaction_read_only", "off")] {
        let found = client.simple_query(&format!("SHOW {setting}")).await.unwrap();
        let found = found.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(found, Some(wanted), "{setting}");
    }
    let (_other, port) = pooler(&program, &server, "session");
    let session = format!("postgres://boss@127.0.0.1:{port}/postgres");
    until_up(&session, &folder).await;
    assert_eq!(call(&tools_of(&folder, &session), "old", json!({})).await.unwrap()["moved"], 2);
}
