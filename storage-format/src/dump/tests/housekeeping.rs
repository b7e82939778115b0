//! Rows of what is to go and what can come back.

use proptest::prelude::*;

use super::{digest, row, text};
use crate::dump::Row;
use crate::housekeeping::{
    CollectedKey, CollectedRecord, DeletedManifestKey, DeletedManifestRecord, DeletedReferenceKey,
    RemovalKey, RemovalRecord, UnreferencedKey, UnreferencedRecord,
};
use crate::records::Present;

/// A valid row of any table of this kind.
pub(super) fn any_row() -> impl Strategy<Value = Row> {
    let numbers = (any::<u64>(), any::<u64>());
    let tags = prop::collection::vec(text(), 0..4);
    (0..5usize, numbers, digest(), text(), text(), tags).prop_map(
        |(table, (a, b), digest, name, by, tags)| match table {
            0 => {
                let record = UnreferencedRecord { name: (b % 2 == 0).then_some(name) };
                row(&UnreferencedKey { since: a, repository: b, digest }, &record)
            }
            1 => {
                let record = DeletedManifestRecord {
                    repository: name,
                    digest,
                    media_type: "text/plain".to_owned(),
                    size: a,
                    deleted_at: b,
                    deleted_by: by,
                    tags,
                    more_tags: b,
                };
                row(&DeletedManifestKey { number: a }, &record)
            }
            2 => row(&CollectedKey { at: a, digest }, &CollectedRecord { size: b }),
            3 => row(&DeletedReferenceKey { number: a, digest }, &Present {}),
            _ => row(&RemovalKey { repository: a }, &RemovalRecord { name, begun_at: b, by }),
        },
    )
}
