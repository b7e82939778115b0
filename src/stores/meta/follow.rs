//! Views of some tables, kept by others in step with the store: whoever follows is told of every
//! change set once it is durable and before it is answered, in the order of commits.

use std::sync::{Arc, OnceLock, Weak};

use pierhead_storage_format::keys::Table;

use super::truth::{Overlay, split_row_key};
use super::{Inner, Meta};

/// A row that was set, or removed (`None`), by its encoded key.
pub type ChangedRow<'a> = (Table, &'a [u8], Option<&'a [u8]>);

/// Somebody who keeps a view. Called on the writer's thread: short, and without a commit.
pub trait Follow: Send + Sync + 'static {
    /// The tables it is told of.
    fn tables(&self) -> &'static [Table];
    /// What a group of change sets changed in them.
    fn changed(&self, rows: &[ChangedRow<'_>]);
    /// The index was wrong and has been rebuilt: everything may differ from what was read.
    fn rebuilt(&self, meta: &Meta);
}

/// Who follows; nobody at first.
#[derive(Default)]
pub(super) struct Follower(OnceLock<(Weak<Inner>, Box<dyn Follow>)>);

impl Follower {
    /// Tells of what a group of change sets left of the rows that are followed.
    pub(super) fn tell(&self, overlay: &Overlay) {
        let Some((_, follow)) = self.0.get() else { return };
        let tables = follow.tables();
        let rows: Vec<ChangedRow<'_>> = overlay
            .iter()
            .filter_map(|(row, value)| {
                let (table, key) = split_row_key(row)?;
                tables.contains(&table).then_some((table, key, value.as_deref()))
            })
            .collect();
        if !rows.is_empty() {
            follow.changed(&rows);
        }
    }

    /// Tells that the index is another one.
    pub(super) fn rebuilt(&self) {
        if let Some((store, follow)) = self.0.get()
            && let Some(inner) = store.upgrade()
        {
            follow.rebuilt(&Meta { inner });
        }
    }
}

impl Meta {
    /// Has `follow` told of changes from now on. Only the first to ask follows; whether this was he.
    pub fn follow(&self, follow: impl Follow) -> bool {
        self.inner.shared.follower.0.set((Arc::downgrade(&self.inner), Box::new(follow))).is_ok()
    }
}
