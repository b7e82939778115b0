//! Views of some tables, kept by others in step with the store: whoever follows is told of every
//! change set once it is durable and before it is answered, in the order of commits.

use std::sync::OnceLock;

use pierhead_storage_format::keys::Table;

use super::Meta;
use super::truth::{Overlay, split_row_key};

/// A row that was set, or removed (`None`), by its encoded key.
pub type ChangedRow<'a> = (Table, &'a [u8], Option<&'a [u8]>);

type Tell = Box<dyn Fn(&[ChangedRow<'_>]) + Send + Sync>;

/// Who follows; nobody at first.
#[derive(Default)]
pub(super) struct Follower(OnceLock<(&'static [Table], Tell)>);

impl Follower {
    /// Tells of what a group of change sets left of the rows that are followed.
    pub(super) fn tell(&self, overlay: &Overlay) {
        let Some((tables, tell)) = self.0.get() else { return };
        let rows: Vec<ChangedRow<'_>> = overlay
            .iter()
            .filter_map(|(row, value)| {
                let (table, key) = split_row_key(row)?;
                tables.contains(&table).then_some((table, key, value.as_deref()))
            })
            .collect();
        if !rows.is_empty() {
            tell(&rows);
        }
    }
}

impl Meta {
    /// Has `tell` called, on the writer's thread, with the rows of `tables` that a group of change
    /// sets changed. It must be short, and must not use the store. Only the first to ask follows;
    /// whether this was he.
    pub fn follow(
        &self,
        tables: &'static [Table],
        tell: impl Fn(&[ChangedRow<'_>]) + Send + Sync + 'static,
    ) -> bool {
        self.inner.shared.follower.0.set((tables, Box::new(tell))).is_ok()
    }
}
