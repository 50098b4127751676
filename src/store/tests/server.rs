//! The same store on a server of PostgreSQL: one server for all cases that run at a time, a schema for each.
use super::{Restored, Store, Where};
use crate::domain::{Durability, SecretRef, StoreSpec};
use crate::testing::postgres::Server;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

mod faults;
mod moves;
mod nodes;
mod work;

/// The server, as long as a case uses it.
pub(super) fn server() -> Option<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start_with(&["-c", "fsync=on"])?);
    server.wait_until_up();
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// A schema of its own, and the state folder of the daemon that uses it.
pub(super) struct Db {
    pub(super) folder: tempfile::TempDir,
    pub(super) server: Arc<Server>,
    pub(super) schema: String,
}

impl Db {
    /// Sixteen bytes, as an expression.
    pub(super) const ANY_ID: &str = "decode(md5(random()::text), 'hex')";

    /// `None`: there is no server on this machine, and that was said.
    pub(super) fn some() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("password"), "rooty").expect("our folder");
        private(&folder.path().join("password"));
        Some(Self { folder, server, schema: format!("fleet_{}", COUNT.fetch_add(1, Ordering::Relaxed)) })
    }

    pub(super) fn spec(&self) -> StoreSpec {
        StoreSpec {
            url: format!("postgres://boss@{}/postgres?sslmode=disable", self.server.address()),
            password: Some(SecretRef::File(self.folder.path().join("password"))),
            schema: self.schema.clone(),
            durability: Durability::Single,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("bgagent.db")
    }

    pub(super) fn place(&self) -> Where {
        Where { file: self.file(), server: Some(Arc::new(self.spec())) }
    }

    pub(super) fn open(&self) -> (Store, Restored) {
        Store::open_at(&self.place()).unwrap()
    }

    pub(super) fn number(&self, sql: &str) -> i64 {
        let text = self.server.psql(&format!("SET search_path = {}; {sql}", self.schema)).unwrap();
        text.lines()
            .last()
            .and_then(|line| line.trim().parse().ok())
            .unwrap_or_else(|| panic!("{sql}: {text}"))
    }

    pub(super) fn by_hand(&self, sql: &str) -> Result<(), String> {
        self.server.psql(&format!("SET search_path = {}; {sql}", self.schema)).map(drop)
    }
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("our file");
}
