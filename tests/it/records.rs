//! Where the daemons of the tests keep their records: in a file, or with `BGAGENT_TEST_STORE=postgres` on a server that all
//! tests that run at a time share, in a schema of each.
use super::postgres::Server;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A schema for a daemon.
pub struct Records {
    pub server: Arc<Server>,
    pub schema: String,
}

impl Records {
    /// `None`: in a file, as ever.
    pub fn wanted() -> Option<Self> {
        let wanted = std::env::var("BGAGENT_TEST_STORE").is_ok_and(|value| value == "postgres");
        if wanted {
            Some(Self::on_a_server().expect("BGAGENT_TEST_STORE=postgres wants a PostgreSQL server"))
        } else {
            None
        }
    }

    /// `None`: there is no server on this machine, and that was said.
    pub fn on_a_server() -> Option<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = match shared.upgrade() {
            Some(server) => server,
            None => {
                let server = Arc::new(Server::start_with(&["-c", "fsync=on", "-c", "max_connections=200"])?);
                server.wait_until_up();
                *shared = Arc::downgrade(&server);
                server
            }
        };
        Some(Self { server, schema: format!("fleet_{}", COUNT.fetch_add(1, Ordering::Relaxed)) })
    }

    /// The table of the configuration; its password is a file in `folder`.
    pub fn table(&self, folder: &Path) -> String {
        use std::io::Write;
        let password = folder.join("store-password");
        let file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&password);
        file.and_then(|mut file| file.write_all(b"rooty")).expect("the folder can be written");
        format!(
            "\n[store]\nurl = \"postgres://boss@{}/postgres?sslmode=disable\"\npassword = {{ file = \"{}\" }}\nschema = \"{}\"\ndurability = \"single\"\n",
            self.server.address(),
            password.display(),
            self.schema
        )
    }

    /// All tables as they are now, in a database that tests read as they read a file.
    pub fn copy(&self, to: &Path) {
        let _ = std::fs::remove_file(to);
        let copy = rusqlite::Connection::open(to).expect("a file");
        let ask =
            |sql: &str| self.server.psql(&format!("SET search_path = {}; {sql}", self.schema)).expect(sql);
        copy.execute_batch("BEGIN").expect("a transaction");
        let tables = ask(&format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = '{}' AND tablename <> 'fleet'",
            self.schema
        ));
        for table in tables.lines() {
            let columns = ask(&format!(
                "SELECT column_name, data_type FROM information_schema.columns
                 WHERE table_schema = '{}' AND table_name = '{table}' ORDER BY ordinal_position",
                self.schema
            ));
            let columns: Vec<(&str, &str)> =
                columns.lines().filter_map(|line| line.split_once('|')).collect();
            let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            copy.execute_batch(&format!("CREATE TABLE {table}({})", names.join(", "))).expect("a table");
            let places = vec!["?"; names.len()].join(", ");
            let mut insert =
                copy.prepare(&format!("INSERT INTO {table} VALUES ({places})")).expect("a statement");
            for line in ask(&format!("SELECT to_jsonb(t) FROM {table} t")).lines() {
                let row: serde_json::Value = serde_json::from_str(line).expect("a row");
                let values = columns.iter().map(|(name, kind)| value(&row[name], *kind == "bytea"));
                insert.execute(rusqlite::params_from_iter(values)).expect("a row");
            }
        }
        copy.execute_batch("COMMIT").expect("a transaction");
    }
}

fn value(found: &serde_json::Value, is_bytes: bool) -> rusqlite::types::Value {
    use rusqlite::types::Value;
    match found {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Value::Real(number.as_f64().expect("a number")), Value::Integer)
        }
        serde_json::Value::String(text) if is_bytes => {
            let digits = text.trim_start_matches("\\x").as_bytes();
            let byte = |pair: &[u8]| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("a byte")
            };
            Value::Blob(digits.chunks(2).map(byte).collect())
        }
        other => Value::Text(other.as_str().expect("a text").to_owned()),
    }
}
