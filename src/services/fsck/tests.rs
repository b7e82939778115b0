//! A healthy store in memory is clean; a store with one sickness is named by exactly its id.

use std::collections::{BTreeMap, BTreeSet};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestTagKey, OrganisationKey, ReferrerKey,
    RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey, TagKey,
};
use pierhead_storage_format::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferrerRecord,
    RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};
use pierhead_storage_format::{Algorithm, Digest, paths};
use sha2::{Digest as _, Sha256};

use super::*;

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(Algorithm::Sha256, &Sha256::digest(bytes)).expect("length matches")
}

fn path_of(digest: &Digest) -> String {
    paths::blob(digest).to_str().expect("UTF-8").to_owned()
}

/// A store that is changed as pushes would change it, or made sick.
#[derive(Clone, Default)]
struct Store {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    intents: BTreeSet<Digest>,
    unreadable: bool,
}

impl Store {
    fn put<K: TableKey>(&mut self, key: &K, record: &K::Record) {
        self.rows.insert((K::TABLE, key.encode()), record.encode().expect("small"));
    }

    fn get<K: TableKey>(&self, key: &K) -> Option<K::Record> {
        self.rows.get(&(K::TABLE, key.encode())).map(|value| K::Record::decode(value).expect("valid"))
    }

    fn drop<K: TableKey>(&mut self, key: &K) {
        assert!(self.rows.remove(&(K::TABLE, key.encode())).is_some(), "the fixture removes what is there");
    }

    fn change<K: TableKey>(&mut self, key: &K, change: impl FnOnce(&mut K::Record)) {
        let mut record = self.get(key).expect("the fixture changes what is there");
        change(&mut record);
        self.put(key, &record);
    }

    fn repository(&mut self, name: &str, id: u64) {
        let organisation = name.split('/').next().expect("one part").to_owned();
        self.put(&OrganisationKey { name: organisation }, &OrganisationRecord { created_at: 1 });
        self.put(&RepositoryKey { name: name.into() }, &RepositoryRecord { id, created_at: 1 });
        self.put(&RepositoryCountersKey { repository: id }, &RepositoryCounters::default());
    }

    /// A file, and one more reference to its blob.
    fn keep(&mut self, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        self.files.insert(path_of(&digest), bytes.to_vec());
        let old = self.get(&BlobKey { digest }).map_or(0, |blob| blob.references);
        let size = bytes.len() as u64;
        self.put(&BlobKey { digest }, &BlobRecord { size, references: old + 1, changed_at: 1 });
        digest
    }

    fn link(&mut self, name: &str, repository: u64, bytes: &[u8]) -> Digest {
        let digest = self.keep(bytes);
        let size = bytes.len() as u64;
        self.put(
            &RepositoryBlobKey { repository, digest },
            &RepositoryBlobRecord { size, linked_at: 1, references: 0 },
        );
        self.put(&BlobRepositoryKey { digest, name: name.into() }, &Present {});
        self.change(&RepositoryCountersKey { repository }, |counters| {
            counters.blobs += 1;
            counters.bytes += size;
        });
        digest
    }

    fn manifest(&mut self, repository: u64, kind: ManifestKind, text: &str) -> Digest {
        let digest = self.keep(text.as_bytes());
        let found = references::references(kind, text.as_bytes()).expect("a manifest");
        let artifact_type = found.subject.map(|_| "application/vnd.example".to_owned());
        let size = text.len() as u64;
        for blob in found.blobs {
            self.change(&RepositoryBlobKey { repository, digest: blob }, |row| row.references += 1);
        }
        if let Some(subject) = found.subject {
            let record = ReferrerRecord { artifact_type: artifact_type.clone() };
            self.put(&ReferrerKey { repository, subject, digest }, &record);
        }
        let record = ManifestRecord {
            media_type: "application/json".into(),
            size,
            kind,
            pushed_at: 1,
            subject: found.subject,
            artifact_type,
        };
        self.put(&ManifestKey { repository, digest }, &record);
        self.change(&RepositoryCountersKey { repository }, |counters| {
            counters.manifests += 1;
            counters.bytes += size;
            counters.pushed_at = 1;
        });
        digest
    }

    fn tag(&mut self, repository: u64, tag: &str, digest: Digest) {
        self.put(&TagKey { repository, tag: tag.into() }, &TagRecord { digest, pushed_at: 1 });
        self.put(&ManifestTagKey { repository, digest, tag: tag.into() }, &Present {});
        self.change(&RepositoryCountersKey { repository }, |counters| counters.tags += 1);
    }
}

impl Blobs for Store {
    fn files(&self, visit: &mut dyn FnMut(BlobFile<'_>) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        if self.unreadable {
            let source = std::io::Error::other("the disk is gone").into();
            return Err(Unreadable { what: "blobs".into(), source });
        }
        self.files.iter().try_for_each(|(path, bytes)| visit(BlobFile { path, size: bytes.len() as u64 }))
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Unreadable> {
        Ok(self.files.get(&path_of(digest)).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, digest: &Digest) -> Result<Content<Vec<u8>>, Unreadable> {
        Ok(match self.files.get(&path_of(digest)) {
            None => Content::Missing,
            Some(bytes) if digest_of(bytes) == *digest => Content::Good(bytes.clone()),
            Some(_) => Content::Damaged,
        })
    }

    fn verify(&self, digest: &Digest) -> Result<Content<()>, Unreadable> {
        Ok(match self.read(digest)? {
            Content::Good(_) => Content::Good(()),
            Content::Missing => Content::Missing,
            Content::Damaged => Content::Damaged,
        })
    }

    fn is_intended(&self, digest: &Digest) -> Result<bool, Unreadable> {
        Ok(self.intents.contains(digest))
    }
}

const WEB: &str = "acme/web";
const CONFIG: &[u8] = b"config";
const LAYER: &[u8] = b"a layer";
const OTHER: &[u8] = b"another layer";

fn image() -> String {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    format!(
        r#"{{"config":{{"digest":"{}"}},"layers":[{{"digest":"{}"}},{{"mediaType":"{foreign}","digest":"{}"}}]}}"#,
        digest_of(CONFIG),
        digest_of(LAYER),
        digest_of(b"foreign")
    )
}

fn signature() -> String {
    format!(
        r#"{{"config":{{"digest":"{}"}},"subject":{{"digest":"{}"}}}}"#,
        digest_of(CONFIG),
        digest_of(image().as_bytes())
    )
}

/// Two repositories that share a layer; tags, an index, a referrer, an opaque manifest, a blob no
/// manifest names and one no row names any more.
fn healthy() -> Store {
    let mut store = Store::default();
    store.put(&CounterKey { name: "repository".into() }, &CounterRecord { next: 3 });
    store.repository(WEB, 1);
    store.repository("acme-two/web", 2);
    store.link(WEB, 1, CONFIG);
    store.link(WEB, 1, LAYER);
    store.link("acme-two/web", 2, LAYER);
    store.link("acme-two/web", 2, OTHER);
    let v1 = store.manifest(1, ManifestKind::Image, &image());
    store.tag(1, "v1", v1);
    store.tag(1, "latest", v1);
    store.manifest(1, ManifestKind::Image, &signature());
    let index = store.manifest(1, ManifestKind::Index, r#"{"manifests":[{"digest":"sha256:absent"}]}"#);
    store.tag(1, "all", index);
    let opaque = store.manifest(2, ManifestKind::Opaque, "not even JSON");
    store.tag(2, "v1", opaque);
    store.keep(b"waits for the collector");
    store.change(&BlobKey { digest: digest_of(b"waits for the collector") }, |blob| blob.references = 0);
    store
}

fn web_blob(bytes: &[u8]) -> RepositoryBlobKey {
    RepositoryBlobKey { repository: 1, digest: digest_of(bytes) }
}

fn blob(bytes: &[u8]) -> BlobKey {
    BlobKey { digest: digest_of(bytes) }
}

fn web_manifest(text: &str) -> ManifestKey {
    ManifestKey { repository: 1, digest: digest_of(text.as_bytes()) }
}

fn tag(name: &str) -> TagKey {
    TagKey { repository: 1, tag: name.into() }
}

fn run(store: &Store, deep: bool, tally: usize) -> Result<Report, Unreadable> {
    let mut rows = Packed::default();
    for ((table, key), value) in &store.rows {
        rows.push(*table, key, value).expect("in order");
    }
    let progress = &mut |_, _| {};
    let report = Report::default();
    Check { rows: &rows, blobs: store, options: Options { deep }, tally, progress, report }.run()
}

fn ids(report: &Report) -> Vec<&'static str> {
    report.by_id.keys().copied().collect()
}

#[test]
fn a_healthy_store_is_clean_and_everything_was_looked_at() {
    let store = healthy();
    for tally in [1, 2, TALLY] {
        let report = run(&store, true, tally).expect("readable");
        assert_eq!(report.findings, []);
        assert!(report.is_clean());
        let expected = Counts {
            rows: store.rows.len() as u64,
            repositories: 2,
            manifests: 4,
            blobs: 8,
            bytes: store.files.values().map(|f| f.len() as u64).sum(),
            files: 8,
            hashed: 8,
        };
        assert_eq!(report.counts, expected);
    }
    assert_eq!(run(&Store::default(), true, TALLY).expect("readable").findings, []);
}

type Fixture = (&'static str, &'static str, fn(&mut Store));

/// What makes a store sick, the id that names it, and how to make it so.
const METADATA: &[Fixture] = &[
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
    ("no organisation", "R10", |store| store.drop(&OrganisationKey { name: "acme".into() })),
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
    ("a manifest without a blob row", "R13", |store| {
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
];

const FILES: &[Fixture] = &[
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
    ("a manifest with a flipped bit", "B3", |store| {
        store.files.get_mut(&path_of(&digest_of(image().as_bytes()))).expect("there")[3] ^= 1;
    }),
];

#[test]
fn every_sickness_is_named_by_exactly_its_id() {
    for (name, id, make_sick) in METADATA.iter().chain(FILES) {
        for (deep, tally) in [(false, TALLY), (true, 1)] {
            let mut store = healthy();
            make_sick(&mut store);
            let report = run(&store, deep, tally).expect("readable");
            assert_eq!(ids(&report), [*id], "{name}, deep {deep}: {:?}", report.findings);
            assert!(!report.is_clean(), "{name}");
        }
    }
}

#[test]
fn every_invariant_has_a_sick_store() {
    for invariant in INVARIANTS {
        let shown = METADATA.iter().chain(FILES).any(|(_, id, _)| *id == invariant.id);
        assert!(shown, "{} has none", invariant.id);
    }
}

#[test]
fn a_damaged_layer_is_found_only_by_a_deep_check() {
    let mut store = healthy();
    store.files.get_mut(&path_of(&digest_of(LAYER))).expect("there")[0] ^= 1;
    assert_eq!(ids(&run(&store, false, TALLY).expect("readable")), [""; 0]);
    let report = run(&store, true, TALLY).expect("readable");
    assert_eq!(ids(&report), ["B3"]);
    assert!(report.findings[0].what.contains(&digest_of(LAYER).to_string()));
}

#[test]
fn a_file_that_start_up_will_clear_is_only_noted() {
    let mut store = healthy();
    store.files.insert(path_of(&digest_of(b"extra")), b"extra".to_vec());
    store.intents.insert(digest_of(b"extra"));
    let report = run(&store, false, TALLY).expect("readable");
    assert_eq!(ids(&report), ["B2"]);
    assert!(report.is_clean());
}

#[test]
fn a_finding_names_repository_tag_and_digest() {
    let mut store = healthy();
    store.tag(1, "gone", digest_of(b"gone"));
    let report = run(&store, false, TALLY).expect("readable");
    let what = &report.findings[0].what;
    for part in ["acme/web:gone", &digest_of(b"gone").to_string()] {
        assert!(what.contains(part), "{part} in {what}");
    }
}

#[test]
fn a_store_that_cannot_be_read_gives_no_report() {
    let store = Store { unreadable: true, ..healthy() };
    assert!(run(&store, false, TALLY).is_err());
}

#[test]
fn findings_beyond_the_limit_are_counted_but_not_kept() {
    let mut report = Report::default();
    for _ in 0..=MAX_FINDINGS {
        report.find(&report::R1, "a tag".into());
    }
    assert_eq!(report.findings.len() as u64, MAX_FINDINGS);
    assert_eq!(report.by_id.get("R1"), Some(&(MAX_FINDINGS + 1)));
}

#[test]
fn format_md_states_every_invariant_word_for_word() {
    let text =
        include_str!("../../../storage-format/FORMAT.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for invariant in INVARIANTS {
        let stated = format!("**{}** {}", invariant.id, invariant.holds);
        assert!(text.contains(&stated), "{stated}");
    }
}
