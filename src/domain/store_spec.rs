//! Storage of a fleet's records on a server.
use super::secret_ref::SecretRef;
use super::words::words;

/// A schema of a PostgreSQL database, in `[store]`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSpec {
    /// Address of the server, without a password.
    pub url: String,
    /// Password of the user.
    pub password: Option<SecretRef>,
    /// The schema: one for each fleet.
    pub schema: String,
    /// What the server must guarantee.
    pub durability: Durability,
}

impl StoreSpec {
    /// Default of `schema`.
    pub const SCHEMA: &str = "bgagent";
    /// Maximum length of a schema name, in bytes: PostgreSQL truncates longer ones.
    pub const MAX_SCHEMA_BYTES: usize = 63;

    /// Returns the server, database and schema, without user, secrets and settings: `postgres://db.internal/fleet
    /// (schema bgagent)`.
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
