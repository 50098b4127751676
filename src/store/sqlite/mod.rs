//! SQLite in WAL mode: a file, its log and the files beside them. The default, which needs no server.
pub(super) mod copy;
mod examine;
mod files;
mod link;
mod migrations;
mod open;
mod place;
mod room;
#[cfg(test)]
pub(super) mod testing;
mod writer;

pub(super) use examine::is_there;
pub(super) use files::is_no_file;
pub(super) use open::{made, make, open, open_alone, put_in_place};
pub(super) use place::{Place, read_only};
pub(super) use writer::FileWriter;
