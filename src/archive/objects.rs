//! The protocol of copying and deleting, for objects. See "Theory of operation" in the parent module.
use super::object::{
    About, FORMAT, Manifest, fresh_id, head, id_of, lines, manifest_name, object_name, pack, successor,
    unpack,
};
use super::point::point;
use super::row::Row;
use super::shelf::ObjectStorage;
use super::source::Db;
use super::source::table::Table;
use super::trouble::failed;
use crate::domain::{ToolError, counted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Folder of intents.
pub(super) const PENDING: &str = "pending/";
/// Quarantine for objects and intents that can't be accounted for.
pub(super) const QUARANTINE: &str = "unclaimed/";

/// What is about to happen to the rows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IntentKind {
    /// They are being deleted from the database.
    Archive,
    /// They are being restored into it.
    Restore,
}

/// An intent: as long as it exists, the database decides which rows of its object are archived.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    doing: IntentKind,
    manifest: Manifest,
}

/// The result of recovering interrupted steps.
#[derive(Debug, Default, Serialize)]
pub(super) struct Mended {
    /// Chunks that turned out to be archived.
    pub(super) finished: u64,
    /// Chunks that turned out not to be.
    pub(super) undone: u64,
    /// Warnings for the result of the run.
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
}

/// The objects of one archive.
pub(super) struct Objects {
    pub(super) shelf: ObjectStorage,
    pub(super) level: i32,
}

impl Objects {
    /// Fails for an unknown format: a newer one may mean something else.
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

    /// Checks that a manifest belongs to the name that it is stored under, since operations go by its name.
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

    /// Writes rows as an object, reads it back and verifies it. It does not count yet.
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

    /// Durably records that the rows of the object are about to be deleted.
    pub(super) async fn intend(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.write_intent(IntentKind::Archive, manifest).await
    }

    /// Durably records that rows of the object are about to be restored.
    pub(super) async fn intend_restore(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.write_intent(IntentKind::Restore, manifest).await
    }

    async fn write_intent(&self, doing: IntentKind, manifest: &Manifest) -> Result<(), ToolError> {
        let intent = Intent { doing, manifest: manifest.clone() };
        let text = serde_json::to_vec_pretty(&intent).expect("texts are JSON");
        self.shelf.put(&format!("{PENDING}{}", manifest_name(id(manifest))), text).await
    }

    async fn remove_intent(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.shelf.delete(&format!("{PENDING}{}", manifest_name(id(manifest)))).await
    }

    /// Makes the object count, with all its rows.
    pub(super) async fn seal(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.put_manifest(manifest).await?;
        point("sealed");
        self.remove_intent(manifest).await
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), ToolError> {
        let text = serde_json::to_vec_pretty(manifest).expect("texts are JSON");
        self.shelf.put(&manifest_name(id(manifest)), text).await
    }

    /// Removes an object whose rows are not archived. The intent goes first: an object without an intent is
    /// examined again, whereas an intent without its object could not be interpreted.
    pub(super) async fn discard(&self, manifest: &Manifest) -> Result<(), ToolError> {
        self.remove_intent(manifest).await?;
        point("unmarked");
        self.shelf.delete(&manifest.object).await
    }

    /// Replaces an object after some of its rows were restored: the remaining rows become a new object, and
    /// the old one is deleted.
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

    /// Finishes or undoes interrupted steps, depending on what the database contains.
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
            self.recover_one(db, table, &intent, &mut mended).await?;
        }
        self.recover_strays(db, table, &mut mended).await?;
        Ok(mended)
    }

    async fn recover_one(
        &self,
        db: &Db,
        table: &Table,
        intent: &Intent,
        mended: &mut Mended,
    ) -> Result<(), ToolError> {
        let manifest = &intent.manifest;
        let sealed = self.shelf.get(&manifest_name(id(manifest))).await?.is_some();
        if intent.doing == IntentKind::Archive && sealed {
            mended.finished += 1;
            return self.remove_intent(manifest).await;
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
        // Deletion is all or nothing: a row that is still there unchanged proves that nothing was deleted.
        // Without such a row, a different row may have taken its key after the deletion.
        let undeleted = intent.doing == IntentKind::Archive && rows.iter().zip(&there).any(is_same);
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
            let name = format!("{QUARANTINE}{}", manifest.object);
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

    /// Removes objects without a manifest or intent: they were interrupted before their rows were touched, so
    /// all of these are in the database. If that is not so, the object is kept in quarantine.
    async fn recover_strays(&self, db: &Db, table: &Table, mended: &mut Mended) -> Result<(), ToolError> {
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
                     {QUARANTINE}, and is not counted"
                ));
            }
        }
        Ok(())
    }

    /// Returns whether each row of an object without a manifest or intent is either unchanged in the table,
    /// or in the object's successor. The latter happens when a restore was interrupted at its very end.
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
            self.shelf.put(&format!("{QUARANTINE}{flat}"), bytes).await?;
        }
        self.shelf.delete(name).await
    }

    /// Verifies an object and returns its rows.
    pub(super) fn rows(&self, manifest: &Manifest, bytes: &[u8]) -> Result<Vec<Row>, ToolError> {
        let rows = || -> Result<Vec<Row>, ToolError> {
            let unpacked = manifest.check(bytes)?;
            lines(&unpacked).map(|line| manifest.about.row(line)).collect()
        };
        // Names the archive; if the object is damaged, the message already contains the object's name.
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

    /// Returns the manifests of all objects that count by their names, oldest first; an error for each that
    /// can't be used.
    pub(super) async fn each_manifest(
        &self,
    ) -> Result<Vec<(String, Result<Manifest, ToolError>)>, ToolError> {
        // While an interrupted step is pending, the successor of its object does not count.
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

    /// Returns objects without a manifest or intent.
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

    /// Returns the ids of objects with interrupted steps, which the next run finishes or undoes.
    pub(super) async fn pending(&self) -> Result<BTreeSet<String>, ToolError> {
        let names = self.shelf.list(PENDING).await?;
        Ok(names.iter().filter_map(|name| id_of(name, ".json")).map(str::to_owned).collect())
    }
}

pub(super) fn id(manifest: &Manifest) -> &str {
    manifest.object.strip_suffix(".jsonl.zst").unwrap_or(&manifest.object)
}
