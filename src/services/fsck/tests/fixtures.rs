//! One sick store a breach.

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{
    BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, OrganisationKey,
    ReferrerKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey, TagKey,
};
use pierhead_storage_format::records::{
    CounterRecord, ManifestKind, Present, ReferenceRecord, ReferenceRole, ReferrerRecord, RepositoryRecord,
    TagRecord,
};

use pierhead_storage_format::identity::keys::{TextKey, TextOwner};
use pierhead_storage_format::identity::records::TextRecord;
use pierhead_storage_format::outboard::CHUNK;
use pierhead_storage_format::retention::{
    RetentionKey, RetentionKind, RetentionLogKey, RetentionLogRecord, RetentionRecord, RetentionStateKey,
    RetentionStateRecord,
};

use super::{
    CONFIG, LAYER, OTHER, Store, WEB, blob, digest_of, image, image_names, outboard, outboard_of, path_of,
    signature, tag, web_blob, web_manifest,
};

/// Name, the id that names it, and how a healthy store gets it.
pub(super) type Fixture = (&'static str, &'static str, fn(&mut Store));

/// What makes a store sick, the id that names it, and how to make it so.
pub(super) const METADATA_ROWS: &[Fixture] = &[
    ("a tag of no manifest", "R1", |store| {
        store.tag(1, "gone", digest_of(b"gone"));
    }),
    ("a tag without its mirror", "R2", |store| {
        let digest = digest_of(image().as_bytes());
        store.drop(&ManifestTagKey { repository: 1, digest, tag: "v1".into() });
    }),
    ("a mirror without its tag", "R2", |store| {
        let digest = digest_of(image().as_bytes());
        store.put(&ManifestTagKey { repository: 1, digest, tag: "old".into() }, &Present {});
    }),
    ("a mirror of a tag that moved on", "R2", |store| {
        let digest = digest_of(signature().as_bytes());
        store.put(&ManifestTagKey { repository: 1, digest, tag: "v1".into() }, &Present {});
    }),
    ("a layer that is not in the repository", "R3", |store| {
        store.drop(&web_blob(LAYER));
        store.drop(&BlobRepositoryKey { digest: digest_of(LAYER), name: WEB.into() });
        store.change(&blob(LAYER), |blob| blob.references -= 1);
        store.change(&RepositoryCountersKey { repository: 1 }, |counters| {
            counters.blobs -= 1;
            counters.bytes -= LAYER.len() as u64;
        });
    }),
    ("too few references in a repository", "R4", |store| {
        store.change(&web_blob(CONFIG), |row| row.references -= 1);
    }),
    ("references of nothing in a repository", "R4", |store| {
        store
            .change(&RepositoryBlobKey { repository: 2, digest: digest_of(OTHER) }, |row| row.references = 1);
    }),
    ("too few references to a blob", "R5", |store| {
        store.change(&blob(LAYER), |blob| blob.references -= 1);
    }),
    ("references to a manifest's blob that are not there", "R5", |store| {
        store.change(&blob(image().as_bytes()), |blob| blob.references += 1);
    }),
    ("a blob of a repository without its mirror", "R6", |store| {
        store.drop(&BlobRepositoryKey { digest: digest_of(LAYER), name: WEB.into() });
    }),
    ("a mirror for a repository that lacks the blob", "R6", |store| {
        store.put(&BlobRepositoryKey { digest: digest_of(OTHER), name: WEB.into() }, &Present {});
    }),
    ("a mirror for a repository that is not there", "R6", |store| {
        store.put(&BlobRepositoryKey { digest: digest_of(OTHER), name: "acme/gone".into() }, &Present {});
    }),
    ("a subject without its referrer", "R7", |store| {
        let (digest, subject) = (digest_of(signature().as_bytes()), digest_of(image().as_bytes()));
        store.drop(&ReferrerKey { repository: 1, subject, digest });
    }),
    ("a referrer of another type", "R7", |store| {
        let (digest, subject) = (digest_of(signature().as_bytes()), digest_of(image().as_bytes()));
        store.change(&ReferrerKey { repository: 1, subject, digest }, |row| row.artifact_type = None);
    }),
    ("a referrer that names no subject", "R7", |store| {
        let (digest, subject) = (digest_of(image().as_bytes()), digest_of(b"x"));
        store.put(&ReferrerKey { repository: 1, subject, digest }, &ReferrerRecord { artifact_type: None });
    }),
    ("a wrong number of tags", "R8", |store| {
        store.change(&RepositoryCountersKey { repository: 1 }, |counters| counters.tags += 1);
    }),
    ("a wrong number of bytes", "R8", |store| {
        store.change(&RepositoryCountersKey { repository: 2 }, |counters| counters.bytes -= 1);
    }),
    ("no counters", "R8", |store| store.drop(&RepositoryCountersKey { repository: 1 })),
    ("a counter that would number a repository again", "R9", |store| {
        store.change(&CounterKey { name: "repository".into() }, |counter| counter.next = 2);
    }),
    ("no counter", "R9", |store| store.drop(&CounterKey { name: "repository".into() })),
    ("no organisation", "R10", |store| store.drop(&OrganisationKey { name: "acme-two".into() })),
    ("a row of no repository", "R11", |store| {
        let digest = digest_of(image().as_bytes());
        store.put(&TagKey { repository: 9, tag: "v1".into() }, &TagRecord { digest, pushed_at: 1 });
    }),
    ("two repositories of one number", "R11", |store| {
        store.put(&CounterKey { name: "repository".into() }, &CounterRecord { next: 9 });
        for name in ["acme/a", "acme/b"] {
            store.put(&RepositoryKey { name: name.into() }, &RepositoryRecord { id: 3, created_at: 1 });
        }
    }),
    ("a key that does not parse", "R12", |store| {
        let value = Present {}.encode().expect("small");
        store.rows.insert((Table::ManifestTag, vec![0; 9]), value);
    }),
    ("a record that does not decode", "R12", |store| {
        let value = store.rows.get_mut(&(Table::Tag, tag("v1").encode())).expect("there");
        value.pop();
    }),
    ("a record of a later version", "R12", |store| {
        let value = store.rows.get_mut(&(Table::Blob, blob(LAYER).encode())).expect("there");
        value[0] = 200;
    }),
    ("a blob of a repository with another size", "R13", |store| {
        store.change(&web_blob(LAYER), |row| row.size += 1);
        store.change(&RepositoryCountersKey { repository: 1 }, |counters| counters.bytes += 1);
    }),
    ("a manifest of another size than its blob", "R13", |store| {
        store.change(&web_manifest(&image()), |row| row.size += 1);
        store.change(&RepositoryCountersKey { repository: 1 }, |counters| counters.bytes += 1);
    }),
    ("a layer without a blob row", "R13", |store| {
        store.drop(&blob(LAYER));
        store.files.insert(outboard_of(&digest_of(LAYER)), Vec::new());
    }),
    ("a manifest without a blob row", "R13", |store| store.drop(&blob(signature().as_bytes()))),
    ("a layer without a blob row, of other bytes", "R13", |store| {
        store.drop(&blob(LAYER));
        store.files.insert(path_of(&digest_of(LAYER)), b"other bytes".to_vec());
    }),
    ("a manifest without a blob row or a file", "R13", |store| {
        store.drop(&blob(signature().as_bytes()));
        store.files.remove(&path_of(&digest_of(signature().as_bytes())));
    }),
    ("an image that does not parse", "R14", |store| {
        let key = ManifestKey { repository: 2, digest: digest_of(b"not even JSON") };
        store.change(&key, |row| row.kind = ManifestKind::Image);
    }),
    ("a subject that the bytes do not name", "R14", |store| {
        let subject = digest_of(b"made up");
        let key = web_manifest(&image());
        store.change(&key, |row| row.subject = Some(subject));
        let referrer = ReferrerKey { repository: 1, subject, digest: key.digest };
        store.put(&referrer, &ReferrerRecord { artifact_type: None });
    }),
    ("a reference without its row", "R15", |store| store.drop(&image_names(LAYER))),
    ("a reference of another role", "R15", |store| {
        store.change(&image_names(LAYER), |row| row.role = ReferenceRole::Foreign);
    }),
    ("a blob noted as absent but counted", "R4", |store| {
        store.change(&image_names(LAYER), |row| row.role = ReferenceRole::Absent);
    }),
    ("a foreign layer noted as absent", "R15", |store| {
        store.change(&image_names(b"foreign"), |row| row.role = ReferenceRole::Absent);
    }),
    ("a row for what a manifest does not name", "R15", |store| {
        store.put(&image_names(OTHER), &ReferenceRecord { role: ReferenceRole::Child });
    }),
    ("a row of a manifest that is not there", "R15", |store| {
        let key = ManifestReferenceKey { manifest: digest_of(b"gone"), ..image_names(LAYER) };
        store.put(&key, &ReferenceRecord { role: ReferenceRole::Blob });
    }),
];

/// A retention policy of repository 1, and what it removed.
pub(super) fn retained(store: &mut Store) {
    let log = |store: &mut Store, number| {
        let record = RetentionLogRecord {
            retention: 1,
            tag: "v0".into(),
            digest: digest_of(b"gone"),
            pushed_at: 1,
            removed_at: 2,
            rule: "{}".into(),
        };
        store.put(&RetentionLogKey { repository: 1, number }, &record);
    };
    let (kind, name) = (RetentionKind::Versions, WEB.to_owned());
    let policy = RetentionRecord { number: 1, name, kind, amount: 7, created_at: 1, updated_at: 1 };
    store.put(&RetentionKey { repository: 1 }, &policy);
    store.put(&CounterKey { name: "retention".into() }, &CounterRecord { next: 2 });
    let text = TextKey { owner: TextOwner::Retention(1), part: 0 };
    store.put(&text, &TextRecord { part: r#"[{"kind":"label","pattern":"v1"}]"#.into() });
    log(store, 3);
    log(store, 4);
    let state = RetentionStateRecord { retention: 1, next: 5, ..RetentionStateRecord::default() };
    store.put(&RetentionStateKey { repository: 1 }, &state);
}

/// What makes retention sick.
pub(super) const RETENTION: &[Fixture] = &[
    ("policies that are not counted", "R61", |store| store.drop(&CounterKey { name: "retention".into() })),
    ("selectors that do not parse", "R62", |store| {
        let text = TextKey { owner: TextOwner::Retention(1), part: 0 };
        store.put(&text, &TextRecord { part: r#"[{"kind":"regexp","pattern":"("}]"#.into() });
    }),
    ("a policy of another repository", "R62", |store| {
        store.change(&RetentionKey { repository: 1 }, |policy| policy.name = "acme/none".into());
    }),
    ("a gap in a log", "R63", |store| store.drop(&RetentionLogKey { repository: 1, number: 4 })),
    ("a log that goes on behind its end", "R63", |store| {
        store.change(&RetentionStateKey { repository: 1 }, |state| state.next = 4);
    }),
];

/// What retention left of something that went.
pub(super) const RETENTION_LEFTOVERS: &[Fixture] = &[
    ("the state of a repository that went", "R60", |store| {
        store.put(&RetentionStateKey { repository: 77 }, &RetentionStateRecord::default());
    }),
    ("a large layer without an outboard", "B5", |store| {
        let layer = vec![7; CHUNK as usize + 1];
        store.keep(&layer);
        store.change(&blob(&layer), |blob| blob.references = 0);
    }),
    ("selectors of no policy", "R22", |store| {
        let text = TextKey { owner: TextOwner::Retention(2), part: 0 };
        store.put(&text, &TextRecord { part: "[]".into() });
    }),
];

/// The same for files.
pub(super) const FILES: &[Fixture] = &[
    ("a layer without a file", "B1", |store| {
        store.files.remove(&path_of(&digest_of(LAYER)));
    }),
    ("a manifest without a file", "B1", |store| {
        store.files.remove(&path_of(&digest_of(image().as_bytes())));
    }),
    ("a file that was cut", "B1", |store| {
        store.files.get_mut(&path_of(&digest_of(LAYER))).expect("there").pop();
    }),
    ("a manifest that was cut", "B1", |store| {
        store.files.get_mut(&path_of(&digest_of(image().as_bytes()))).expect("there").pop();
    }),
    ("a file without a row", "B2", |store| {
        store.files.insert(path_of(&digest_of(b"extra")), b"extra".to_vec());
    }),
    ("a file that is not a blob's", "B2", |store| {
        store.files.insert("blobs/sha256/ab/readme".into(), Vec::new());
    }),
    ("an outboard without a row of its blob", "B2", |store| {
        store.files.insert(outboard_of(&digest_of(b"extra")), outboard(digest_of(b"extra")));
    }),
    ("an outboard that was cut", "B4", |store| {
        store.files.insert(outboard_of(&digest_of(LAYER)), outboard(digest_of(LAYER))[..40].to_vec());
    }),
    ("an outboard of another blob", "B4", |store| {
        store.files.insert(outboard_of(&digest_of(LAYER)), outboard(digest_of(OTHER)));
    }),
    ("an outboard of another length", "B4", |store| {
        store.files.insert(outboard_of(&digest_of(LAYER)), outboard(digest_of(LAYER)));
    }),
    ("a manifest with a flipped bit", "B3", |store| {
        store.files.get_mut(&path_of(&digest_of(image().as_bytes()))).expect("there")[3] ^= 1;
    }),
];
