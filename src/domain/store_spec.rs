//! Where the records of a fleet are kept, where that is a server.
use super::secret_ref::SecretRef;
use super::words::words;

/// `[store]`: a schema of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSpec {
    /// The address, without a password.
    pub url: String,
    /// The password of its user.
    pub password: Option<SecretRef>,
    /// The schema: one for each fleet.
    pub schema: String,
    /// What the server has to promise.
    pub durability: Durability,
}

impl StoreSpec {
    /// `schema` where nothing is said of it.
    pub const SCHEMA: &str = "bgagent";
    /// Longest name of a schema, in bytes: PostgreSQL cuts longer ones.
    pub const LONGEST_SCHEMA: usize = 63;

    /// The server, the database and the schema, without a user, secrets and settings:
    /// `postgres://db.internal/fleet (schema bgagent)`.
    pub fn place(&self) -> String {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        let rest = rest.split_once('?').map_or(rest, |(place, _)| place);
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("postgres://{place} (schema {})", self.schema)
    }
}

words! {
    /// What a commit has to outlive.
    Durability {
        /// The loss of the server: a synchronous standby has it, too.
        Synchronous = "synchronous",
        /// A crash of the server: it is on its disk.
        Single = "single",
    }
}
