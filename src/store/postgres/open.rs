//! Opening a database for writing: its tables, its guarantees, and the lead.
use super::durability;
use super::fence::{self, Lead, Lease};
use super::migrations::{MIGRATIONS, latest};
use super::node;
use super::server::{Purpose, StoreServer, quoted};
use super::session::Session;
use crate::clock;
use crate::domain::{Durability, Seq, StoreSpec};
use crate::store::error::StoreError;
use crate::store::lead_time::LeadTime;
use crate::store::mark::{self, MarkFile};
use crate::store::reader::Reader;
use crate::store::sql::{Scope, Sql, SqlConnection, params};
use crate::store::types::{Restored, WentBack};
use crate::store::{meta, read, reader};
use std::path::Path;

/// A database that is ready for the writer.
pub(in crate::store) struct OpenedOnServer {
    pub(super) session: Session,
    pub(in crate::store) restored: Restored,
    pub(in crate::store) newest: Seq,
    pub(super) mark: MarkFile,
    pub(super) lead_time: LeadTime,
}

/// Opens the database for the writer. `beside` is where a SQLite database would be: the mark is
/// kept there for this one, too. Until all checks have passed, nothing is changed except that
/// tables are created.
pub(in crate::store) fn open(server: &StoreServer, beside: &Path) -> Result<OpenedOnServer, StoreError> {
    let session = prepared(server, Lease::Daemon, |db| may_lead(server, db))?;
    let lead_time = LeadTime::default();
    let asked = clock::boot();
    let db: &Sql = &session;
    let says = server.says("reading what was before");
    let mut restored = read::restored(db).map_err(&says)?;
    let newest = reader::newest_seq(db).map_err(&says)?;
    let known = mark::read_mark(beside);
    restored.unclean = meta::value(db, meta::CLEAN).map_err(&says)?.as_deref() == Some("no");
    let database = meta::value(db, meta::DATABASE).map_err(&says)?;
    let is_copy = meta::value(db, meta::COPIED_AT).map_err(&says)?.is_some();
    let behind = known.filter(|known| database.as_deref() == Some(&*known.database) && known.newest > newest);
    if is_copy || behind.is_some() {
        restored.went_back = Some(WentBack { newest, known: behind.map(|known| known.newest) });
    }
    meta::take_up(db, restored.went_back.as_ref()).map_err(server.says("marking the database as open"))?;
    lead_time.given(asked);
    restored.database = meta::identity(db).map_err(&says)?;
    restored.ancestors = meta::ancestors(db).map_err(&says)?;
    let mark = MarkFile::open(beside, restored.database.clone());
    mark.note_durably(newest, false);
    Ok(OpenedOnServer { session, restored, newest, mark, lead_time })
}

/// A side of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Side {
    Source,
    Target,
}

/// Opens a connection for reading or writing all records at once, while no daemon uses them.
pub(in crate::store) fn open_alone(
    spec: &StoreSpec,
    state_dir: &Path,
    side: Side,
) -> Result<Session, StoreError> {
    // replication is checked by the daemon
    let server = StoreServer::of(&StoreSpec { durability: Durability::Single, ..spec.clone() }, state_dir);
    let session = prepared(&server, Lease::Move, |db| match side {
        Side::Source => not_half_there(&server, db),
        Side::Target => Ok(()),
    })?;
    let no_timeouts = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
    session.batch(no_timeouts).map_err(server.says("setting up the connection"))?;
    session.disable_timeouts();
    Ok(session)
}

/// Opens a connection to a database with sufficient guarantees and our tables, and takes the lead.
/// Tables of an older release are migrated by the leader: a daemon that has to wait for the lead
/// changes nothing.
fn prepared(
    server: &StoreServer,
    lease: Lease,
    judge: impl Fn(&Sql) -> Result<(), StoreError>,
) -> Result<Session, StoreError> {
    let session = server.connect(Purpose::Write)?;
    let mut found = version(server, &session)?;
    durability::check(server, &session)?;
    if found.is_none() {
        migrate(server, &session)?;
        found = Some(latest());
    }
    judge(&session)?;
    let is_older = found != Some(latest());
    session.lead(lead_of(server, &session, if is_older { Lease::Move } else { lease })?);
    let ready = (|| {
        if is_older {
            migrate(server, &session)?;
        }
        // again, now that no other daemon can write
        let says = server.says("taking the lead");
        let db: &Sql = &session;
        let change = db.begin(Scope::Write).map_err(&says)?;
        judge(&*change)?;
        fence::extend(&*change, lease).and_then(|()| change.commit()).map_err(&says)
    })();
    match ready {
        Ok(()) => Ok(session),
        Err(error) => {
            let _ = session.part();
            Err(error)
        }
    }
}

fn lead_of(server: &StoreServer, session: &Session, lease: Lease) -> Result<Lead, StoreError> {
    let me = node::identity(&server.state_dir)?;
    let taken = fence::take(session, &me, lease).map_err(server.says("taking the lead"))?;
    taken.map_err(|holder| StoreError::Taken {
        place: server.place().display().to_string(),
        by: node::shown(&holder.leader).to_owned(),
        left_secs: holder.left.unsigned_abs(),
    })
}

/// Checks that the database holds all records of the fleet, and that they were not moved elsewhere.
fn may_lead(server: &StoreServer, db: &Sql) -> Result<(), StoreError> {
    not_moved(server, db)?;
    not_half_there(server, db)
}

/// Refuses a database to which a move was interrupted: it must be completed first, since it is
/// undecided which database continues.
fn not_half_there(server: &StoreServer, db: &Sql) -> Result<(), StoreError> {
    let says = server.says("reading what the database says of itself");
    match meta::value(db, meta::MOVING_FROM).map_err(says)? {
        None => Ok(()),
        Some(from) => Err(StoreError::HalfMoved { place: server.place().display().to_string(), from }),
    }
}

/// Opens a read-only connection to a database with our tables; `None`: there are none.
pub(in crate::store) fn to_read(spec: &StoreSpec, state_dir: &Path) -> Result<Option<Reader>, StoreError> {
    let server = StoreServer::of(spec, state_dir);
    let session = server.connect(Purpose::Read)?;
    if version(&server, &session)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Reader { db: Box::new(session), place: server.place().to_owned() }))
}

/// Returns the version of the tables; `None`: there are none. Refuses an unknown version.
pub(super) fn version(server: &StoreServer, db: &Sql) -> Result<Option<i64>, StoreError> {
    let says = server.says("reading the database's version");
    let encoding: String =
        db.one("SELECT current_setting('server_encoding')", &[], |row| row.get(0)).map_err(&says)?;
    if encoding != "UTF8" {
        return Err(StoreError::Rejected {
            place: server.place().display().to_string(),
            what: format!("the database has the encoding {encoding}: make one with ENCODING 'UTF8'"),
        });
    }
    let is_there = "SELECT 1 FROM pg_tables WHERE schemaname = ?1 AND tablename = 'fleet'";
    if !db.exists(is_there, params![server.schema()]).map_err(&says)? {
        return Ok(None);
    }
    let version = db.one("SELECT version FROM fleet", &[], |row| row.get(0)).map_err(&says)?;
    if version > latest() {
        return Err(StoreError::Newer { path: server.place().to_owned(), found: version, known: latest() });
    }
    Ok(Some(version))
}

/// Creates missing tables in one transaction, one daemon at a time.
pub(super) fn migrate(server: &StoreServer, session: &Session) -> Result<(), StoreError> {
    let says = server.says("making the tables");
    let db: &Sql = session;
    let change = db.begin(Scope::Write).map_err(&says)?;
    db.row(
        "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtext('bgagent'), hashtext(?1))) AS locked",
        params![server.schema()],
        |_| Ok(()),
    )
    .map_err(&says)?;
    let schema = "SELECT 1 FROM pg_namespace WHERE nspname = ?1";
    if !db.exists(schema, params![server.schema()]).map_err(&says)? {
        session.batch(&format!("CREATE SCHEMA {}", quoted(server.schema()))).map_err(&says)?;
    }
    let from = version(server, db)?.unwrap_or(0);
    if from == 0 {
        is_empty(server, db)?;
    }
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > from) {
        session.batch(sql).map_err(&says)?;
        db.run("UPDATE fleet SET version = ?1", params![*number]).map_err(&says)?;
    }
    change.commit().map_err(&says)
}

/// Refuses a schema that contains tables of other programs.
fn is_empty(server: &StoreServer, db: &Sql) -> Result<(), StoreError> {
    let others = "SELECT tablename FROM pg_tables WHERE schemaname = ?1 ORDER BY tablename LIMIT 1";
    let other = db
        .row(others, params![server.schema()], |row| row.get::<String>(0))
        .map_err(server.says("looking at the schema"))?;
    match other {
        None => Ok(()),
        Some(table) => Err(StoreError::Rejected {
            place: server.place().display().to_string(),
            what: format!(
                "the schema has tables of something else, such as `{table}`: name one of its own in `schema`"
            ),
        }),
    }
}

/// Refuses a database whose records were moved elsewhere.
fn not_moved(server: &StoreServer, db: &Sql) -> Result<(), StoreError> {
    let to =
        meta::value(db, meta::MOVED_TO).map_err(server.says("reading what the database says of itself"))?;
    match to {
        None => Ok(()),
        Some(to) => Err(StoreError::Moved { place: server.place().display().to_string(), to }),
    }
}
