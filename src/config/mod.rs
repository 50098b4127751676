//! `agents.toml`: read, validated, resolved. All errors are reported at once, each with its position.
//!
//! What a valid configuration means is left to `engine`; this room only ensures that an invalid
//! [`crate::domain::Fleet`] can't exist.
mod agents;
mod amend;
mod applied;
mod approval;
mod at;
mod calendars;
mod call_args;
mod checks;
mod conceal;
mod context;
mod deliver;
mod diagnostic;
mod document;
mod duration;
mod email;
mod environment;
mod files;
mod guarded;
mod keys;
mod lint;
mod loaded;
mod machine;
mod mcp_events;
mod models;
mod nodes;
mod notify;
mod own_part;
mod owner;
mod params;
mod parse;
mod paths;
mod ping;
mod prices;
mod programs;
mod reach;
mod redis;
mod reference;
mod render;
mod resolve;
mod resume;
mod runners;
mod sandbox;
mod schedule;
mod schema;
mod skills;
mod spans;
mod store;
mod telemetry;
mod tools;
mod trust;
mod values;
mod walk;
mod way;
mod webhooks;

#[cfg(test)]
mod tests;

pub use amend::{Amended, NotAmended, amend, table_of};
pub use applied::{ConfigChanges, changes_of, with_applied};
pub use conceal::{mask_secrets, secret_at};
pub use context::{Context, Entry, Found, system_zone};
pub use diagnostic::Diagnostic;
pub use duration::parse_duration;
pub use loaded::{Loaded, Rejected, RejectedFor};
pub use own_part::OwnPart;
pub use parse::parse;
pub use paths::Paths;
pub use reference::{Section as ReferenceSection, VALUES, markdown, reference};
pub use render::render;
pub use schema::schema;
pub use store::store_from_flags;
pub use trust::{Asked, TrustBook, Trusted, not_trusted, rights_beyond, shell_word, untrusted_skills};
pub use way::Way;

use owner::{NotOurs, OpenError};
use std::io::Read;
use std::path::Path;

/// Maximum size of a configuration; a larger file is something else.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// The commented starter file that `bgagent init` writes; the same as `agents.example.toml`.
pub const STARTER: &str = include_str!("../../agents.example.toml");

/// Reads, validates and resolves a file that nobody else can have written. All errors are reported at once.
pub fn load(path: &Path, context: &Context<'_>) -> Result<Loaded, Box<Rejected>> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    parse(read(&path)?, &path, context)
}

/// The text of a file that nobody else can have written.
pub fn read(path: &Path) -> Result<String, Box<Rejected>> {
    let reject = |message: String, hint: &str| {
        let diagnostics = vec![Diagnostic::of_file(message, Some(hint.to_owned()))];
        let (path, why) = (path.to_owned(), RejectedFor::Errors);
        Box::new(Rejected { path, text: String::new(), shown: String::new(), diagnostics, why })
    };
    let unreadable = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => RejectedFor::Missing,
            _ => RejectedFor::Errors,
        };
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "is the path right? `bgagent init` writes a commented starter file"
            }
            std::io::ErrorKind::IsADirectory => "name the file, not its folder",
            std::io::ErrorKind::NotADirectory => "a part of its path is not a folder",
            std::io::ErrorKind::PermissionDenied => {
                "check the owner and the mode of the file and of its folders"
            }
            _ => "is the disk healthy? The log of the system may say",
        };
        let rejected = reject(format!("{} can't be read: {error}", path.display()), hint);
        Box::new(Rejected { why, ..*rejected })
    };
    let mut file = owner::open(path).map_err(|error| match error {
        OpenError::Io(error) => unreadable(error),
        OpenError::NotOurs(NotOurs { what, hint }) => {
            Box::new(Rejected { why: RejectedFor::Owner, ..*reject(what, &hint) })
        }
    })?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let most = MAX_CONFIG_BYTES >> 20;
        return Err(reject(
            format!("{} has more than {most} MiB: that is no configuration", path.display()),
            "name another file with --config",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        reject(
            format!("{} is not UTF-8 text: line {line} has other bytes", path.display()),
            "save it as UTF-8",
        )
    })
}
