//! Whose a place is: one archive is of one table of one database, and says so in `archive.json`.
use super::object::{About, fresh_id};
use super::objects::{Objects, PENDING};
use super::trouble::failed;
use crate::domain::ToolError;
use serde::{Deserialize, Serialize};

/// What the archive as a whole is.
const ARCHIVE: &str = "archive.json";
/// How the name under `PENDING` begins by which somebody says that the place is about to be theirs.
const CLAIM: &str = "claim-";

/// Whose the place is, as `ARCHIVE` says it.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    #[serde(flatten)]
    about: About,
    /// What distinguishes the database from others that have its address.
    #[serde(default)]
    database: String,
}

impl Objects {
    /// Makes the place ours: one archive is of one table of one database.
    pub(super) async fn claim(&self, about: &About, database: &str) -> Result<(), ToolError> {
        let owner = Owner { about: about.clone(), database: database.to_owned() };
        // What others may be writing here just now is not ours to remove.
        let is_ours = self.is_owned(&owner).await?;
        self.shelf.prepare(is_ours).await?;
        if is_ours {
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

    /// There is an archive, and it is of this table, if that is given.
    pub(super) async fn must_be_of(&self, about: Option<&About>) -> Result<(), ToolError> {
        let Some(known) = self.owner().await? else {
            return Err(failed(&format!(
                "{}: there is no archive here, for there is no {ARCHIVE}: nothing was archived to it yet, or it is not \
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
        let Some(bytes) = self.shelf.get(ARCHIVE).await? else { return Ok(None) };
        let owner: Owner =
            serde_json::from_slice(&bytes).map_err(|error| self.unreadable(ARCHIVE, &error))?;
        self.knows(ARCHIVE, &owner.about)?;
        Ok(Some(owner))
    }

    /// Is the place this table's? False: it is nobody's yet; an error: it is another one's.
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
}
