//! Records that another daemon writes: what is known of them now, and who wants to hear of new events.
use super::error::StoreError;
use super::reader::Reader;
use super::types::Restored;
use super::{meta, read};
use crate::domain::Seq;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks for new events. A look is one row of an index; a notification with each commit would cost the one that
/// leads more, whether anybody listens or not.
pub(super) const LOOK_FOR_EVENTS: Duration = Duration::from_millis(100);

/// Who wants to hear of new events.
pub(super) struct Following {
    pub(super) waiting: watch::Sender<usize>,
    pub(super) newest: watch::Sender<Seq>,
}

/// Somebody wants to hear of new events, as long as this lives.
pub struct Attention(Option<Arc<Following>>);

impl Attention {
    pub(super) fn to(following: Option<Arc<Following>>) -> Self {
        if let Some(following) = &following {
            following.waiting.send_modify(|waiting| *waiting += 1);
        }
        Self(following)
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        if let Some(following) = &self.0 {
            following.waiting.send_modify(|waiting| *waiting -= 1);
        }
    }
}

/// What is known now.
pub(super) fn restored(reader: &Reader) -> Result<Restored, StoreError> {
    reader.ask("reading what was", |db| {
        let unclean = meta::value(db, meta::CLEAN)?.as_deref() != Some("yes");
        Ok(Restored {
            unclean,
            database: meta::value(db, meta::DATABASE)?.unwrap_or_default(),
            ancestors: meta::ancestors(db)?,
            ..read::restored(db)?
        })
    })
}
