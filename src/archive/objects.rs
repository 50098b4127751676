//! The protocol of copying and deleting, for objects. See "Theory of operation" in the parent.
use super::object::{
    About, FORMAT, Manifest, fresh_id, head, id_of, lines, manifest_name, object_name, pack, successor,
    unpack,
};
use super::point::point;
use super::row::Row;
use super::shelf::Shelf;
use super::source::Db;
use super::source::table::Table;
use super::trouble::failed;
use crate::domain::{ToolError, counted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where intents stand.
pub(super) const PENDING: &str = "pending/";
/// Where is put what nobody knows.
pub(super) const UNCLAIMED: &str = "unclaimed/";

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
    /// A form that came later may mean something else.
    pub(super) fn knows(&self, name: &str, about: &About) -> Result<(), ToolError> {
        if about.format == FORMAT {
            return Ok(());
        }
        Err(failed(&format!(
            "{}: {name} is of the form {:?}, and this program knows {FORMAT:?}: a newer one has written it, or it was \
             altered",
            self.shelf.place(),
            about.format
        )))
    }

    /// A manifest under its own name: what is done with it is done by its name.
    fn is_named(&self, name: &str, manifest: &Manifest) -> Result<(), ToolError> {
        self.knows(name, &manifest.about)?;
        let known = name.strip_prefix(PENDING).unwrap_or(name);
        if id_of(known, ".json").is_some_and(|id| manifest.object == object_name(id)) {
            return Ok(());
        }
        Err(failed(&format!(
            "{}: {name} is about {:?}, and not about the object of its name: it was altered or renamed",
            self.shelf.place(),
            manifest.object
        )))
    }

    pub(super) fn unreadable(&self, name: &str, error: &serde_json::Error) -> ToolError {
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
        let joined = packing.await.map_err(|error| ToolError::Failed(crate::blocking::panic_text(error)))?;
        let (packed, rows) = joined?;
        let (bytes, manifest) = (packed.bytes, packed.manifest);
        self.shelf.put(&manifest.object, bytes).await?;
        point("written");
        let bytes = self.shelf.fetch(&manifest.object).await?;
        let checked = manifest.clone();
        let check = tokio::task::spawn_blocking(move || checked.check(&bytes).map(drop)).await;
        check.map_err(|error| ToolError::Failed(crate::blocking::panic_text(error)))?.map_err(|error| {
            failed(&format!(
                "what was read back from {} is wrong: {error}; nothing was deleted",
                self.shelf.place()
            ))
        })?;
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
            self.is_named(&at, &intent.manifest)?;
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
                "{} of {} changed before the deletion: the table has what is now, and {name}, which is not counted, \
                 what was",
                counted(changed, "row"),
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

    /// Objects that no manifest or intent names: broken off before their rows were touched, so that all of these are in
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

    /// Is each row of an object that no manifest or intent names in the table as it was, or in what follows the object? That is
    /// so where a way back was broken off at its very end.
    pub(super) async fn is_all_there(&self, db: &Db, table: &Table, name: &str) -> Result<bool, ToolError> {
        let Some(bytes) = self.shelf.get(name).await? else { return Ok(true) };
        let Some(about) = head(&bytes) else { return Ok(false) };
        let Ok(table) = table.as_archived(&about) else { return Ok(false) };
        let Ok(unpacked) = unpack(&bytes) else { return Ok(false) };
        let rows: Result<Vec<Row>, ToolError> = lines(&unpacked).map(|line| about.row(line)).collect();
        let Ok(rows) = rows else { return Ok(false) };
        let there = db.find(&table, &rows).await?;
        let is_same =
            |(row, now): &(&Row, &Option<Row>)| now.as_ref().is_some_and(|now| now.line == row.line);
        let missing: Vec<&Row> =
            rows.iter().zip(&there).filter(|pair| !is_same(pair)).map(|(row, _)| row).collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let Some(next) = id_of(name, ".jsonl.zst").map(successor) else { return Ok(false) };
        let Some(text) = self.shelf.get(&manifest_name(&next)).await? else { return Ok(false) };
        let Ok(manifest) = self.manifest(&manifest_name(&next), &text) else { return Ok(false) };
        let Some(bytes) = self.shelf.get(&manifest.object).await? else { return Ok(false) };
        let Ok(kept) = manifest.check(&bytes) else { return Ok(false) };
        let kept: BTreeSet<&[u8]> = lines(&kept).collect();
        Ok(missing.iter().all(|row| kept.contains(row.line.as_slice())))
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
        let rows = || -> Result<Vec<Row>, ToolError> {
            let unpacked = manifest.check(bytes)?;
            lines(&unpacked).map(|line| manifest.about.row(line)).collect()
        };
        // Of which archive it is; the object's own name is said already, where it is damaged.
        rows().map_err(|error: ToolError| match error {
            ToolError::Failed(text) if text.starts_with(&manifest.object) => {
                failed(&format!("{}: {text}", self.shelf.place()))
            }
            ToolError::Failed(text) => {
                failed(&format!("{}: {}: {text}", self.shelf.place(), manifest.object))
            }
            other => other,
        })
    }

    fn manifest(&self, name: &str, bytes: &[u8]) -> Result<Manifest, ToolError> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| self.unreadable(name, &error))?;
        self.is_named(name, &manifest)?;
        Ok(manifest)
    }

    /// Manifests of all objects that count by their names, oldest first, or what is wrong with one that can't be used.
    pub(super) async fn each_manifest(
        &self,
    ) -> Result<Vec<(String, Result<Manifest, ToolError>)>, ToolError> {
        // While a step stands that was broken off, what follows its object does not count.
        let followers: BTreeSet<String> = self.pending().await?.iter().map(|id| successor(id)).collect();
        let mut all = Vec::new();
        for name in self.shelf.list("").await? {
            if id_of(&name, ".json").is_none_or(|id| followers.contains(id)) {
                continue;
            }
            if let Some(bytes) = self.shelf.get(&name).await? {
                let manifest = self.manifest(&name, &bytes);
                all.push((name, manifest));
            }
        }
        Ok(all)
    }

    /// Objects that no manifest or intent names.
    pub(super) async fn strays(&self) -> Result<Vec<String>, ToolError> {
        let pending = self.pending().await?;
        let known: BTreeSet<String> = pending.iter().flat_map(|id| [id.clone(), successor(id)]).collect();
        let names: BTreeSet<String> = self.shelf.list("").await?.into_iter().collect();
        let is_stray = |name: &&String| {
            id_of(name, ".jsonl.zst")
                .is_some_and(|id| !names.contains(&manifest_name(id)) && !known.contains(id))
        };
        Ok(names.iter().filter(is_stray).cloned().collect())
    }

    /// Steps that were broken off, for the next run to finish or undo: the ids of their objects.
    pub(super) async fn pending(&self) -> Result<BTreeSet<String>, ToolError> {
        let names = self.shelf.list(PENDING).await?;
        Ok(names.iter().filter_map(|name| id_of(name, ".json")).map(str::to_owned).collect())
    }
}

pub(super) fn id(manifest: &Manifest) -> &str {
    manifest.object.strip_suffix(".jsonl.zst").unwrap_or(&manifest.object)
}
