//! Ownership of an archive's location: one archive belongs to one table of one database, and `archive.json`
//! says to which.
use super::object::{About, fresh_id};
use super::objects::{Objects, PENDING};
use super::trouble::failed;
use crate::domain::ToolError;
use serde::{Deserialize, Serialize};

/// File that describes the archive as a whole.
const OWNER_FILE: &str = "archive.json";
/// Prefix of files under `PENDING` by which a process announces that it is about to take the location.
const CLAIM_PREFIX: &str = "claim-";

/// The owner of a location, as stored in `OWNER_FILE`.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    #[serde(flatten)]
    about: About,
    /// Distinguishes the database from others with the same address.
    #[serde(default)]
    database: String,
}

impl Objects {
    /// Claims the location: one archive belongs to one table of one database.
    pub(super) async fn claim(&self, about: &About, database: &str) -> Result<(), ToolError> {
        let owner = Owner { about: about.clone(), database: database.to_owned() };
        // Files that others may be writing here right now must not be removed.
        let is_ours = self.is_owned(&owner).await?;
        self.shelf.prepare(is_ours).await?;
        if is_ours {
            return Ok(());
        }
        // Two processes may arrive at the same time: each announces itself first, and then looks for the
        // other.
        let text = serde_json::to_vec_pretty(&owner).expect("texts are JSON");
        let ours = format!("{CLAIM_PREFIX}{}", fresh_id());
        self.shelf.put(&format!("{PENDING}{ours}"), text.clone()).await?;
        let claimed = self.claim_alone(&owner, &ours, text).await;
        let released = self.shelf.delete(&format!("{PENDING}{ours}")).await;
        claimed.and(released)
    }

    /// Fails if the archive is missing. Called where rows are known to have been archived: it must not be
    /// started afresh.
    pub(super) async fn require_present(&self) -> Result<(), ToolError> {
        match self.shelf.get(OWNER_FILE).await? {
            Some(_) => Ok(()),
            None => Err(failed(&format!(
                "{}: rows were archived here, and now there is no {OWNER_FILE}: is it mounted, or was it moved? Nothing \
                 was begun anew. If it is gone for good, give the archive another folder or prefix",
                self.shelf.place()
            ))),
        }
    }

    async fn claim_alone(&self, owner: &Owner, ours: &str, text: Vec<u8>) -> Result<(), ToolError> {
        for name in self.shelf.list(PENDING).await? {
            if name == *ours || !name.starts_with(CLAIM_PREFIX) {
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
            // Our own, from an interrupted run: only one process works on a table at a time.
            self.shelf.delete(&at).await?;
        }
        if self.is_owned(owner).await? {
            return Ok(());
        }
        self.shelf.put(OWNER_FILE, text).await
    }

    /// Checks that there is an archive and, if `about` is given, that it belongs to this table.
    pub(super) async fn require_owner(&self, about: Option<&About>) -> Result<(), ToolError> {
        let Some(known) = self.owner().await? else {
            return Err(failed(&format!(
                "{}: there is no archive here, for there is no {OWNER_FILE}: nothing was archived to it yet, or it is not \
                 mounted, or it was moved",
                self.shelf.place()
            )));
        };
        about.map_or(Ok(()), |about| {
            let by = Owner { about: about.clone(), database: known.database.clone() };
            self.is_same(&known, &by)
        })
    }

    async fn owner(&self) -> Result<Option<Owner>, ToolError> {
        let Some(bytes) = self.shelf.get(OWNER_FILE).await? else { return Ok(None) };
        let owner: Owner =
            serde_json::from_slice(&bytes).map_err(|error| self.unreadable(OWNER_FILE, &error))?;
        self.knows(OWNER_FILE, &owner.about)?;
        Ok(Some(owner))
    }

    /// Returns whether the location belongs to this table. `false`: it has no owner yet; an error: it belongs
    /// to another table.
    async fn is_owned(&self, by: &Owner) -> Result<bool, ToolError> {
        match self.owner().await? {
            Some(known) => self.is_same(&known, by).map(|()| true),
            None => Ok(false),
        }
    }

    fn is_same(&self, known: &Owner, by: &Owner) -> Result<(), ToolError> {
        let of = |owner: &Owner| {
            let about = &owner.about;
            (about.kind, about.source.clone(), about.table.clone(), owner.database.clone())
        };
        if of(known) == of(by) {
            return Ok(());
        }
        Err(failed(&format!(
            "{} is the archive of table {} of {} (database {:?}), and this is table {} of {} (database {:?}): give \
             each table of each database a place of its own. If it is the same table that has moved, change \
             `source`, `table` and `database` in {OWNER_FILE}",
            self.shelf.place(),
            known.about.table,
            known.about.source,
            known.database,
            by.about.table,
            by.about.source,
            by.database
        )))
    }
}
