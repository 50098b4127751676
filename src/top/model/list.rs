//! A list whose cursor belongs to an item.
use super::rowkey::RowKey;

/// The rows of a view as shown, with the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::top) struct CursorList {
    rows: Vec<RowKey>,
    cursor: Option<usize>,
    offset: usize,
}

impl CursorList {
    /// Returns the rows, in order.
    pub(in crate::top) fn rows(&self) -> &[RowKey] {
        &self.rows
    }

    /// Returns the index of the first visible row.
    pub(in crate::top) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the selected item.
    pub(in crate::top) fn current(&self) -> Option<&RowKey> {
        self.rows.get(self.cursor?)
    }

    /// Returns the index of the selected row.
    pub(in crate::top) fn cursor(&self) -> Option<usize> {
        self.cursor
    }

    /// Returns the visible rows on a screen of this height.
    pub(in crate::top) fn visible(&self, height: usize) -> &[RowKey] {
        let start = self.offset.min(self.rows.len());
        &self.rows[start..(start + height).min(self.rows.len())]
    }

    /// Replaces the rows. The cursor stays on its item, and the item at its screen position, unless the first row is
    /// visible: then it stays visible, since new rows appear there. If the item was removed, the cursor moves to the
    /// row that took its position.
    pub(in crate::top) fn set(&mut self, rows: Vec<RowKey>, height: usize) {
        let before = self.cursor;
        let kept = self.current().and_then(|key| rows.iter().position(|row| row == key));
        self.rows = rows;
        self.cursor = match (kept, before) {
            (Some(at), Some(was)) => {
                if self.offset > 0 {
                    self.offset = (self.offset + at).saturating_sub(was).max(1);
                }
                Some(at)
            }
            (_, at) => self.nearest(at.unwrap_or(0)),
        };
        self.keep_in_sight(height);
    }

    /// Moves the cursor by this many rows.
    pub(in crate::top) fn step(&mut self, by: isize, height: usize) {
        let Some(at) = self.cursor else { return };
        let last = self.rows.len().saturating_sub(1);
        let mut to = at.saturating_add_signed(by).min(last);
        // skips headings, in the direction of movement
        while !self.rows[to].takes_cursor() {
            let next = to.saturating_add_signed(by.signum());
            if next == to || next > last {
                break;
            }
            to = next;
        }
        self.go(to, height);
    }

    /// Moves the cursor to this row, or to the nearest one that can be selected.
    pub(in crate::top) fn go(&mut self, to: usize, height: usize) {
        self.cursor = self.nearest(to);
        self.keep_in_sight(height);
    }

    /// Moves the cursor to the next or previous row that satisfies the predicate, wrapping around.
    pub(in crate::top) fn seek(&mut self, forward: bool, height: usize, holds: impl Fn(&RowKey) -> bool) {
        let (Some(at), count) = (self.cursor, self.rows.len()) else { return };
        let place = |by: usize| if forward { (at + by) % count } else { (at + count - by) % count };
        if let Some(to) = (1..=count).map(place).find(|to| holds(&self.rows[*to])) {
            self.go(to, height);
        }
    }

    fn nearest(&self, to: usize) -> Option<usize> {
        let takes = |at: &usize| self.rows.get(*at).is_some_and(RowKey::takes_cursor);
        let to = to.min(self.rows.len().saturating_sub(1));
        (to..self.rows.len()).find(takes).or_else(|| (0..to).rev().find(takes))
    }

    fn keep_in_sight(&mut self, height: usize) {
        let most = self.rows.len().saturating_sub(height.max(1));
        let Some(at) = self.cursor else {
            self.offset = self.offset.min(most);
            return;
        };
        // the heading above the first item stays visible with it
        if self.rows[..at].iter().all(|row| !row.takes_cursor()) {
            self.offset = 0;
        }
        if at >= self.offset + height.max(1) {
            self.offset = at + 1 - height.max(1);
        }
        self.offset = self.offset.min(at).min(most);
    }
}
