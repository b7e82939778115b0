//! Stores whose lists of what is to go, or can come back, are wrong.

use pierhead_storage_format::housekeeping::{
    DeletedManifestKey, DeletedManifestRecord, DeletedReferenceKey, RemovalKey, RemovalRecord,
    UnreferencedKey, UnreferencedRecord,
};
use pierhead_storage_format::keys::{CounterKey, RepositoryBlobKey};
use pierhead_storage_format::records::{CounterRecord, Present};

use super::fixtures::Fixture;
use super::{LAYER, OTHER, Store, WEB, blob, digest_of};

const WAITS: &[u8] = b"waits for the collector";

fn counter(name: &str) -> CounterKey {
    CounterKey { name: name.into() }
}

fn unkept(since: u64) -> UnreferencedKey {
    UnreferencedKey::of_store(since, digest_of(WAITS))
}

fn unnamed(name: &str) -> (UnreferencedKey, UnreferencedRecord) {
    let key = UnreferencedKey { since: 1, repository: 2, digest: digest_of(OTHER) };
    (key, UnreferencedRecord { name: Some(name.into()) })
}

/// Lists everything that belongs there.
pub(super) fn list(store: &mut Store) {
    store.put(&counter("unreferenced blobs listed"), &CounterRecord { next: 1 });
    store.put(&unkept(1), &UnreferencedRecord::default());
    let (key, record) = unnamed("acme-two/web");
    store.put(&key, &record);
    let layer = UnreferencedKey { digest: digest_of(LAYER), ..key };
    store.put(&layer, &record);
}

/// A deleted manifest that keeps itself and a layer.
pub(super) fn delete(store: &mut Store) {
    let digest = store.keep(b"a deleted manifest");
    store.put(&counter("deleted manifest"), &CounterRecord { next: 8 });
    let record = DeletedManifestRecord {
        repository: "acme/gone".into(),
        digest,
        media_type: "text/plain".into(),
        size: 18,
        deleted_at: 1,
        deleted_by: "somebody".into(),
        tags: Vec::new(),
        more_tags: 0,
    };
    store.put(&DeletedManifestKey { number: 7 }, &record);
    for digest in [digest, digest_of(LAYER)] {
        store.put(&DeletedReferenceKey { number: 7, digest }, &Present {});
    }
    store.change(&blob(LAYER), |layer| layer.references += 1);
}

/// What makes a store sick.
pub(super) const LISTS: &[Fixture] = &[
    ("a blob that nothing keeps, not listed", "R50", |store| {
        list(store);
        store.drop(&unkept(1));
    }),
    ("a blob that no manifest names, not listed", "R50", |store| {
        list(store);
        store.drop(&unnamed("").0);
    }),
    ("a blob listed at another time", "R50", |store| store.put(&unkept(2), &UnreferencedRecord::default())),
    ("a blob listed that something keeps", "R50", |store| {
        store.put(&UnreferencedKey::of_store(1, digest_of(LAYER)), &UnreferencedRecord::default());
    }),
    ("a blob listed at several other times", "R50", |store| {
        for since in 2..5 {
            store.put(&unkept(since), &UnreferencedRecord::default());
        }
    }),
    ("a blob listed under another name", "R50", |store| {
        let (key, record) = unnamed("acme/web");
        store.put(&key, &record);
    }),
    ("a deleted manifest that does not keep its layer as often as it says", "R5", |store| {
        delete(store);
        store.change(&blob(LAYER), |layer| layer.references -= 1);
    }),
    ("a deleted manifest that does not keep itself", "R51", |store| {
        delete(store);
        let digest = digest_of(b"a deleted manifest");
        store.drop(&DeletedReferenceKey { number: 7, digest });
        store.change(&blob(b"a deleted manifest"), |blob| blob.references -= 1);
    }),
    ("what a deleted manifest that is not there keeps", "R51", |store| {
        delete(store);
        store.put(&DeletedReferenceKey { number: 6, digest: digest_of(LAYER) }, &Present {});
        store.change(&blob(LAYER), |layer| layer.references += 1);
    }),
    ("a deleted manifest that keeps what is not there", "R51", |store| {
        delete(store);
        store.put(&DeletedReferenceKey { number: 7, digest: digest_of(b"nothing") }, &Present {});
    }),
    ("a number that would come twice", "R52", |store| {
        delete(store);
        store.put(&counter("deleted manifest"), &CounterRecord { next: 7 });
    }),
];

/// A count and the list that goes with it, both wrong: what puts the one right must not make the other wrong anew.
pub(super) fn miscounted_and_listed_wrongly(store: &mut Store) {
    list(store);
    store.change(&blob(LAYER), |layer| layer.references = 0);
    store.put(&UnreferencedKey::of_store(7, digest_of(LAYER)), &UnreferencedRecord::default());
    let key = RepositoryBlobKey { repository: 1, digest: digest_of(LAYER) };
    store.change(&key, |layer| layer.references = 0);
    let listed = UnreferencedKey { since: 7, repository: 1, digest: key.digest };
    store.put(&listed, &UnreferencedRecord { name: Some(WEB.into()) });
}

/// What is only left.
pub(super) const LEFT: &[Fixture] = &[("the removal of a repository that went", "R53", |store| {
    let record = RemovalRecord { name: "acme/web".into(), begun_at: 1, by: "somebody".into() };
    store.put(&RemovalKey { repository: 77 }, &record);
})];
