//! Reading the records while no daemon has them open.
use super::error::StoreError;
use super::health::to_read;
use super::place::Where;
use super::reader::Reader;
use super::readers::ReaderSource;

/// The source of readers of records that no daemon has open.
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
