//! What organisations of the healthy store hold, and one sick store a breach of that.

use std::collections::BTreeMap;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::{
    CounterKey, ManifestKey, OrganisationKey, RepositoryBlobKey, RepositoryKey, TableKey,
};
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationBlobRecord, OrganisationQuotaKey, OrganisationUsageKey,
    OrganisationUsageRecord, QuotaRecord,
};
use pierhead_storage_format::records::CounterRecord;

use super::fixtures::Fixture;
use super::{LAYER, Store, digest_of};

const ACME: u64 = 1;
const GONE: Id = Id::from_bytes([9; 16]);

impl Store {
    pub(super) fn all<K: TableKey>(&self) -> Vec<(K, K::Record)> {
        let rows = self.rows.keys().filter(|(table, _)| *table == K::TABLE);
        let keys = rows.map(|(_, key)| K::decode(key).expect("valid"));
        keys.map(|key| (K::decode(&key.encode()).expect("valid"), self.get(&key).expect("there"))).collect()
    }
}

/// Has what the organisations hold counted, as a start does.
pub(super) fn count(store: &mut Store) {
    let mut held: BTreeMap<(u64, _), OrganisationBlobRecord> = BTreeMap::new();
    for (RepositoryKey { name }, repository) in store.all::<RepositoryKey>() {
        let organisation = name.split('/').next().expect("one part").to_owned();
        let number = store.get(&OrganisationKey { name: organisation }).expect("there").number;
        let blobs = store.all::<RepositoryBlobKey>().into_iter();
        let blobs = blobs.map(|(key, row)| (key.repository, key.digest, row.size));
        let manifests = store.all::<ManifestKey>().into_iter();
        let manifests = manifests.map(|(key, row)| (key.repository, key.digest, row.size));
        for (_, digest, size) in blobs.chain(manifests).filter(|(id, ..)| *id == repository.id) {
            let row = held.entry((number, digest)).or_default();
            row.size = size;
            row.references += 1;
        }
    }
    for ((organisation, digest), row) in held {
        store.put(&OrganisationBlobKey { organisation, digest }, &row);
        let key = OrganisationUsageKey { organisation };
        let before = store.get(&key).unwrap_or_default();
        let sum = OrganisationUsageRecord { bytes: before.bytes + row.size, blobs: before.blobs + 1 };
        store.put(&key, &sum);
    }
    for (OrganisationKey { .. }, record) in store.all::<OrganisationKey>() {
        let usage = store.get(&OrganisationUsageKey { organisation: record.number });
        if let (Some(owner), Some(usage)) = (record.owner, usage) {
            let key = CounterKey { name: format!("bytes of {owner}") };
            let before = store.get(&key).map_or(0, |counter| counter.next);
            store.put(&key, &CounterRecord { next: before + usage.bytes });
        }
    }
    store.put(&CounterKey { name: "organisation usage".into() }, &CounterRecord { next: 1 });
}

fn layer() -> OrganisationBlobKey {
    OrganisationBlobKey { organisation: ACME, digest: digest_of(LAYER) }
}

/// What makes a store sick, the id that names it, and how to make it so.
pub(super) const HOLDINGS: &[Fixture] = &[
    ("held too often", "R40", |store| {
        count(store);
        store.change(&layer(), |row| row.references += 1);
    }),
    ("held by nobody", "R40", |store| {
        count(store);
        let digest = digest_of(b"nobody's");
        store.put(
            &OrganisationBlobKey { organisation: ACME, digest },
            &OrganisationBlobRecord { size: 0, references: 1 },
        );
        store.change(&OrganisationUsageKey { organisation: ACME }, |usage| usage.blobs += 1);
    }),
    ("held, and not counted", "R40", |store| {
        count(store);
        store.drop(&layer());
        let size = LAYER.len() as u64;
        store.change(&OrganisationUsageKey { organisation: ACME }, |usage| {
            usage.blobs -= 1;
            usage.bytes -= size;
        });
        store.change(&bytes_of_owner(), |counter| counter.next -= size);
    }),
    ("held by an organisation that is not there", "R40", |store| {
        count(store);
        let key = OrganisationBlobKey { organisation: 99, ..layer() };
        store.put(&key, &OrganisationBlobRecord { size: 1, references: 1 });
    }),
    ("a wrong sum", "R41", |store| {
        count(store);
        store.change(&OrganisationUsageKey { organisation: ACME }, |usage| usage.bytes += 1);
    }),
    ("a sum of nothing", "R41", |store| {
        count(store);
        store.put(&OrganisationUsageKey { organisation: 99 }, &OrganisationUsageRecord::default());
    }),
    ("a wrong sum of an account", "R42", |store| {
        count(store);
        store.change(&bytes_of_owner(), |counter| counter.next += 1);
    }),
];

/// What is left of what went.
pub(super) const LEFT: &[Fixture] = &[
    ("a quota of an organisation that is not there", "R43", |store| {
        store.put(&OrganisationQuotaKey { organisation: 99 }, &QuotaRecord { bytes: 1 });
    }),
    ("a quota of an account that is not there", "R43", |store| {
        store.put(&AccountQuotaKey { account: GONE }, &QuotaRecord { bytes: 1 });
    }),
];

/// Of the account that owns `acme`.
fn bytes_of_owner() -> CounterKey {
    CounterKey { name: format!("bytes of {}", Id::from_bytes([1; 16])) }
}
