//! The protocol of copying and deleting, for objects. See "Theory of operation" in the parent.
use super::object::{
    About, Manifest, fresh_id, head, id_of, lines, manifest_name, object_name, pack, successor, unpack,
};
use super::row::Row;
use super::shelf::Shelf;
use super::source::{Db, Table};
use super::{failed, point};
use crate::tools::ToolError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the archive as a whole is.
const ARCHIVE: &str = "archive.json";
/// Where intents stand.
const PENDING: &str = "pending/";
/// Where is put what nobody knows.
const UNCLAIMED: &str = "unclaimed/";

/// How the name under `PENDING` begins by which somebody says that the place is about to be theirs.
const CLAIM: &str = "claim-";

/// Whose the place is, as `ARCHIVE` says it.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    #[serde(flatten)]
    about: About,
    /// What tells the database from others that have its address.
    #[serde(default)]
    database: String,
}

/// What is about to happen to the rows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Doing {
    /// They are being deleted from the database.
    Archive,
    /// They are being put back into it.
    Restore,
}

/// An intent: as long as it stands, the database decides which rows of its object are archived.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    doing: Doing,
    manifest: Manifest,
}

/// What was found undone, and mended.
#[derive(Debug, Default, Serialize)]
pub(super) struct Mended {
    /// Chunks that turned out to be archived.
    pub(super) finished: u64,
    /// Chunks that turned out not to be.
    pub(super) undone: u64,
    /// What a person should know.
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
}

/// The objects of one archive.
pub(super) struct Objects {
    pub(super) shelf: Shelf,
    pub(super) level: i32,
}

impl Objects {
    /// Makes the place ours: one archive is of one table of one database.
    pub(super) async fn claim(&self, about: &About, database: &str) -> Result<(), ToolError> {
        self.shelf.prepare().await?;
        let owner = Owner { about: about.clone(), database: database.to_owned() };
        if self.is_owned(&owner).await? {
            return Ok(());
        }
        // Two may come at the same time: each of them says so first, and then looks for the other.
        let text = serde_json::to_vec_pretty(&owner).expect("texts are JSON");
        let ours = format!("{CLAIM}{}", fresh_id());
        self.shelf.put(&format!("{PENDING}{ours}"), text.clone()).await?;
        let claimed = self.claim_alone(&owner, &ours, text).await;
        let gone = self.shelf.delete(&format!("{PENDING}{ours}")).await;
        claimed.and(gone)
    }

    /// A place that has rows, as the state database knows, is not begun anew when nothing is seen there.
    pub(super) async fn must_be_there(&self) -> Result<(), ToolError> {
        match self.shelf.get(ARCHIVE).await? {
            Some(_) => Ok(()),
            None => Err(failed(&format!(
                "{}: rows were archived here, and now there is no {ARCHIVE}: is it mounted, or was it moved? Nothing \
                 was begun anew. If it is gone for good, give the archive another folder or prefix",
                self.shelf.place()
            ))),
        }
    }

    async fn claim_alone(&self, owner: &Owner, ours: &str, text: Vec<u8>) -> Result<(), ToolError> {
        for name in self.shelf.list(PENDING).await? {
            if name == *ours || !name.starts_with(CLAIM) {
                continue;
            }
            let at = format!("{PENDING}{name}");
            let Some(bytes) = self.shelf.get(&at).await? else { continue };
            let other: Owner =
                serde_json::from_slice(&bytes).map_err(|error| self.unreadable(&at, &error))?;
            if other.database != owner.database || other.about.table != owner.about.table {
                return Err(failed(&format!(
                    "{}: another archive, of table {} of {}, begins here at the same time: give each table of each \
                     database a place of its own. If that one was broken off and does not come back, remove {at}",
                    self.shelf.place(),
                    other.about.table,
                    other.about.source
                )));
            }
            // our own, from a run that was broken off: only one works on a table at a time
            self.shelf.delete(&at).await?;
        }
        if self.is_owned(owner).await? {
            return Ok(());
        }
        self.shelf.put(ARCHIVE, text).await
    }

    /// Is the place this table's? False: it is nobody's yet; an error: it is another one's.
    async fn is_owned(&self, by: &Owner) -> Result<bool, ToolError> {
        let Some(bytes) = self.shelf.get(ARCHIVE).await? else { return Ok(false) };
        let known: Owner =
            serde_json::from_slice(&bytes).map_err(|error| self.unreadable(ARCHIVE, &error))?;
        let of = |owner: &Owner| {
            let about = &owner.about;
            (about.kind, about.source.clone(), about.table.clone(), owner.database.clone())
        };
        if of(&known) == of(by) {
            return Ok(true);
        }
        Err(failed(&format!(
            "{} is the archive of table {} of {} (database {:?}), and this is table {} of {} (database {:?}): give \
             each table of each database a place of its own. If it is the same table that has moved, change \
             `source`, `table` and `database` in {ARCHIVE}",
            self.shelf.place(),
            known.about.table,
            known.about.source,
            known.database,
            by.about.table,
            by.about.source,
            by.database
        )))
    }

    fn unreadable(&self, name: &str, error: &serde_json::Error) -> ToolError {
        failed(&format!("{}: {name} can't be read: {error}", self.shelf.place()))
    }

    /// Writes rows as an object, reads it back and checks it. It does not count yet.
    pub(super) async fn write(
        &self,
        about: &About,
        rows: Vec<Row>,
    ) -> Result<(Manifest, Vec<Row>), ToolError> {
        self.write_as(fresh_id(), about, rows).await
    }

    async fn write_as(
        &self,
        id: String,
        about: &About,
        rows: Vec<Row>,
    ) -> Result<(Manifest, Vec<Row>), ToolError> {
        let (about, level) = (about.clone(), self.level);
        let packing = tokio::task::spawn_blocking(move || {
            pack(&about, &object_name(&id), &rows, level).map(|packed| (packed, rows))
        });
        let joined =
            packing.await.map_err(|error| ToolError::Failed(crate::tools::dispatch::panic_text(error)))?;
        let (packed, rows) = joined?;
        let (bytes, manifest) = (packed.bytes, packed.manifest);
        self.shelf.put(&manifest.object, bytes).await?;
        point("written");
        let bytes = self.shelf.fetch(&manifest.object).await?;
        let checked = manifest.clone();
        let check = tokio::task::spawn_blocking(move || checked.check(&bytes).map(drop)).await;
        check.map_err(|error| ToolError::Failed(crate::tools::dispatch::panic_text(error)))?.map_err(
            |error| {
                failed(&format!(
                    "what was read back from {} is wrong: {error}; nothing was deleted",
                    self.shelf.place()
                ))
            },
        )?;
        point("verified");
        Ok((manifest, rows))
    }

    /// Says durably that the rows of the object are about to be deleted.
    pub(super) async fn intend(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.mark(Doing::Archive, manifest).await
    }

    /// Says durably that rows of the object are about to be put back.
    pub(super) async fn intend_restore(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.mark(Doing::Restore, manifest).await
    }

    async fn mark(&self, doing: Doing, manifest: &Manifest) -> Result<(), ToolError> {
        let intent = Intent { doing, manifest: manifest.clone() };
        let text = serde_json::to_vec_pretty(&intent).expect("texts are JSON");
        self.shelf.put(&format!("{PENDING}{}", manifest_name(id(manifest))), text).await
    }

    async fn unmark(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.shelf.delete(&format!("{PENDING}{}", manifest_name(id(manifest)))).await
    }

    /// Makes the object count, with all its rows.
    pub(super) async fn seal(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.put_manifest(manifest).await?;
        point("sealed");
        self.unmark(manifest).await
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), ToolError> {
        let text = serde_json::to_vec_pretty(manifest).expect("texts are JSON");
        self.shelf.put(&manifest_name(id(manifest)), text).await
    }

    /// Takes an object away whose rows are not archived. The intent goes first: an object without any is
    /// looked at again, an intent without its object would be a riddle.
    pub(super) async fn discard(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.unmark(manifest).await?;
        point("unmarked");
        self.shelf.delete(&manifest.object).await
    }

    /// After rows of the object were put back: the rest becomes an object of its own, and the old one goes.
    pub(super) async fn keep_rest(&self, manifest: &Manifest, rest: Vec<Row>) -> Result<(), ToolError> {
        let next = successor(id(manifest));
        if rest.is_empty() {
            self.shelf.delete(&manifest_name(&next)).await?;
            self.shelf.delete(&object_name(&next)).await?;
        } else {
            let (rest, _) = self.write_as(next, &manifest.about, rest).await?;
            self.put_manifest(&rest).await?;
        }
        point("rest");
        self.shelf.delete(&manifest_name(id(manifest))).await?;
        point("unsealed");
        self.discard(manifest).await
    }

    /// Finishes or undoes what was broken off, by what the database says.
    pub(super) async fn mend(&self, db: &Db, table: &Table) -> Result<Mended, ToolError> {
        let mut mended = Mended::default();
        for name in self.shelf.list(PENDING).await? {
            if id_of(&name, ".json").is_none() {
                continue;
            }
            let at = format!("{PENDING}{name}");
            let bytes = self.shelf.fetch(&at).await?;
            let intent: Intent =
                serde_json::from_slice(&bytes).map_err(|error| self.unreadable(&at, &error))?;
            self.mend_one(db, table, &intent, &mut mended).await?;
        }
        self.mend_strays(db, table, &mut mended).await?;
        Ok(mended)
    }

    async fn mend_one(
        &self,
        db: &Db,
        table: &Table,
        intent: &Intent,
        mended: &mut Mended,
    ) -> Result<(), ToolError> {
        let manifest = &intent.manifest;
        let sealed = self.shelf.get(&manifest_name(id(manifest))).await?.is_some();
        if intent.doing == Doing::Archive && sealed {
            mended.finished += 1;
            return self.unmark(manifest).await;
        }
        let Some(bytes) = self.shelf.get(&manifest.object).await? else {
            mended.warnings.push(format!(
                "{} is missing, and an interrupted step was about it: if it was removed by hand, its {} rows are lost \
                 unless they are in the database",
                manifest.object, manifest.rows
            ));
            return self.set_aside(&format!("{PENDING}{}", manifest_name(id(manifest)))).await;
        };
        let rows = self.rows(manifest, &bytes)?;
        let there = db.find(&table.as_archived(&manifest.about)?, &rows).await?;
        let all = rows.len();
        let is_same = |(row, now): (&Row, &Option<Row>)| now.as_ref().is_some_and(|now| now.line == row.line);
        // Deleting is all or none: a row that is there as it was says that nothing was deleted. Without such a
        // one, a different row may have got its key after the deletion.
        let undeleted = intent.doing == Doing::Archive && rows.iter().zip(&there).any(is_same);
        let mut changed = 0;
        let mut archived = Vec::new();
        for (row, there) in rows.into_iter().zip(there) {
            match there {
                Some(now) if now.line == row.line => {}
                Some(_) if undeleted => changed += 1,
                _ => archived.push(row),
            }
        }
        if changed > 0 {
            let name = format!("{UNCLAIMED}{}", manifest.object);
            self.shelf.put(&name, bytes).await?;
            mended.warnings.push(format!(
                "{changed} rows of {} changed before they were deleted: they are in the table, as they are now, and \
                 the copy of what they were is {name}, which is not counted",
                manifest.object
            ));
        }
        if archived.is_empty() {
            mended.undone += 1;
            return self.keep_rest(manifest, archived).await;
        }
        mended.finished += 1;
        if archived.len() < all {
            return self.keep_rest(manifest, archived).await;
        }
        let next = successor(id(manifest));
        self.shelf.delete(&manifest_name(&next)).await?;
        self.shelf.delete(&object_name(&next)).await?;
        self.seal(manifest).await
    }

    /// Objects that nothing tells of: broken off before their rows were touched, so that all of these are in
    /// the database. Where that is not so, nothing is removed.
    async fn mend_strays(&self, db: &Db, table: &Table, mended: &mut Mended) -> Result<(), ToolError> {
        let names: BTreeSet<String> = self.shelf.list("").await?.into_iter().collect();
        for name in &names {
            if let Some(id) = id_of(name, ".json").filter(|id| !names.contains(&object_name(id))) {
                mended.warnings.push(format!("{} is missing, and {name} counts its rows", object_name(id)));
            }
            let Some(id) = id_of(name, ".jsonl.zst") else { continue };
            if names.contains(&manifest_name(id)) {
                continue;
            }
            if self.is_all_there(db, table, name).await? {
                mended.undone += 1;
                self.shelf.delete(name).await?;
            } else {
                self.set_aside(name).await?;
                mended.warnings.push(format!(
                    "{name} has no manifest, and not all of its rows are in the database as they were: it was moved to \
                     {UNCLAIMED}, and is not counted"
                ));
            }
        }
        Ok(())
    }

    async fn is_all_there(&self, db: &Db, table: &Table, name: &str) -> Result<bool, ToolError> {
        let Some(bytes) = self.shelf.get(name).await? else { return Ok(true) };
        let Some(about) = head(&bytes) else { return Ok(false) };
        let Ok(table) = table.as_archived(&about) else { return Ok(false) };
        let Ok(unpacked) = unpack(&bytes) else { return Ok(false) };
        let rows: Result<Vec<Row>, ToolError> = lines(&unpacked).map(|line| about.row(line)).collect();
        let Ok(rows) = rows else { return Ok(false) };
        let there = db.find(&table, &rows).await?;
        let is_same = |(row, now): (&Row, &Option<Row>)| now.as_ref().is_some_and(|now| now.line == row.line);
        Ok(rows.iter().zip(&there).all(is_same))
    }

    async fn set_aside(&self, name: &str) -> Result<(), ToolError> {
        if let Some(bytes) = self.shelf.get(name).await? {
            let flat = name.replace('/', ".");
            self.shelf.put(&format!("{UNCLAIMED}{flat}"), bytes).await?;
        }
        self.shelf.delete(name).await
    }

    /// The rows of an object that was checked.
    pub(super) fn rows(&self, manifest: &Manifest, bytes: &[u8]) -> Result<Vec<Row>, ToolError> {
        let unpacked = manifest.check(bytes)?;
        lines(&unpacked).map(|line| manifest.about.row(line)).collect()
    }

    /// Manifests of all objects that count, oldest first.
    pub(super) async fn manifests(&self) -> Result<Vec<Manifest>, ToolError> {
        let mut all = Vec::new();
        for name in self.shelf.list("").await? {
            if id_of(&name, ".json").is_none() {
                continue;
            }
            if let Some(bytes) = self.shelf.get(&name).await? {
                all.push(serde_json::from_slice(&bytes).map_err(|error| self.unreadable(&name, &error))?);
            }
        }
        Ok(all)
    }

    /// How many steps were broken off, for the next run to finish or undo.
    pub(super) async fn pending(&self) -> Result<usize, ToolError> {
        Ok(self.shelf.list(PENDING).await?.iter().filter(|name| id_of(name, ".json").is_some()).count())
    }
}

fn id(manifest: &Manifest) -> &str {
    manifest.object.strip_suffix(".jsonl.zst").unwrap_or(&manifest.object)
}
