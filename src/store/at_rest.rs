//! Records that no daemon has, to be read.
use super::error::StoreError;
use super::health::to_read;
use super::place::Where;
use super::reader::Reader;
use super::readers::ReaderSource;

/// Records that no daemon has.
pub(super) struct AtRest(pub(super) Where);

impl ReaderSource for AtRest {
    fn open(&self) -> Result<Reader, StoreError> {
        let gone =
            || StoreError::Other { doing: format!("reading {}", self.0.place()), what: "it is gone".into() };
        to_read(&self.0)?.ok_or_else(gone)
    }

    fn confirm(&self, error: StoreError) -> StoreError {
        error
    }
}
