//! A healthy store in memory is clean; a store with one sickness is named by exactly its id.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::housekeeping::{CollectedKey, CollectedRecord};
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, ReferrerKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey,
    TagKey,
};
use pierhead_storage_format::outboard::CHUNK;
use pierhead_storage_format::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferenceRecord,
    ReferenceRole, ReferrerRecord, RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};
use pierhead_storage_format::{Algorithm, Digest, paths};
use sha2::{Digest as _, Sha256};

use super::report::{Counts, INVARIANTS};
use super::*;
use fixtures::{FILES, METADATA_ROWS, RETENTION, RETENTION_LEFTOVERS};

mod fixtures;
mod holdings;
mod housekeeping;
mod identity;
mod repairing;
mod telling;

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(Algorithm::Sha256, &Sha256::digest(bytes)).expect("length matches")
}

fn path_of(digest: &Digest) -> String {
    paths::blob(digest).to_str().expect("UTF-8").to_owned()
}

fn outboard_of(digest: &Digest) -> String {
    paths::outboard(digest).to_str().expect("UTF-8").to_owned()
}

/// Whole, and of two chunks.
fn outboard(digest: Digest) -> Vec<u8> {
    Outboard::new(digest, CHUNK + 1, vec![[1; 32]; 2]).expect("one hash a chunk").encode()
}

/// A store that is changed as pushes would change it, or made sick.
#[derive(Clone, Default)]
struct Store {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    intents: BTreeSet<Digest>,
    /// What the log of small blobs has; it has no bytes here.
    logged: BTreeSet<Digest>,
    /// What goes, row first, as soon as it may.
    goes: BTreeSet<Digest>,
    is_going: Cell<bool>,
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
        self.put(
            &OrganisationKey { name: organisation },
            &OrganisationRecord { number: 0, created_at: 1, owner: None, creator: None },
        );
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
        let found = references::references(kind, TYPE, text.as_bytes()).expect("a manifest");
        let artifact_type = found.subject.map(|_| "application/vnd.example".to_owned());
        let size = text.len() as u64;
        for (named, role) in found.named {
            if role == ReferenceRole::Blob {
                self.change(&RepositoryBlobKey { repository, digest: named }, |row| row.references += 1);
            }
            let key = ManifestReferenceKey { repository, manifest: digest, digest: named };
            self.put(&key, &ReferenceRecord { role });
        }
        if let Some(subject) = found.subject {
            let record = ReferrerRecord { artifact_type: artifact_type.clone() };
            self.put(&ReferrerKey { repository, subject, digest }, &record);
        }
        let record = ManifestRecord {
            media_type: TYPE.into(),
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

    /// The file of a blob, if it has not gone.
    fn file(&self, digest: &Digest) -> Option<&Vec<u8>> {
        let has_gone = self.is_going.get() && self.goes.contains(digest) && !self.intents.contains(digest);
        self.files.get(&path_of(digest)).filter(|_| !has_gone)
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
        Ok(self.file(digest).map(|bytes| bytes.len() as u64))
    }

    fn may_go(&self) {
        self.is_going.set(true);
    }

    fn is_still_needed(&self, digest: &Digest) -> Result<bool, Unreadable> {
        Ok(!self.is_going.get() || !self.goes.contains(digest))
    }

    fn read(&self, digest: &Digest) -> Result<Content<Vec<u8>>, Unreadable> {
        Ok(match self.file(digest) {
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

    fn outboard(&self, digest: &Digest) -> Result<Content<Outboard>, Unreadable> {
        let Some(bytes) = self.files.get(&outboard_of(digest)) else { return Ok(Content::Missing) };
        Ok(Outboard::decode(bytes).map_or(Content::Damaged, Content::Good))
    }

    fn damaged_parts(&self, _: &Digest, outboard: &Outboard) -> Result<Vec<Range<u64>>, Unreadable> {
        Ok(vec![outboard.place(1)])
    }

    fn is_intended(&self, digest: &Digest) -> Result<bool, Unreadable> {
        Ok(self.intents.contains(digest) || self.logged.contains(digest))
    }

    fn each_logged(
        &self,
        visit: &mut dyn FnMut(&Digest) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.logged.iter().try_for_each(visit)
    }
}

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
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

/// Of a manifest that is not there.
fn an_index() -> String {
    format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, digest_of(b"absent"))
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
    let index = store.manifest(1, ManifestKind::Index, &an_index());
    store.tag(1, "all", index);
    let opaque = store.manifest(2, ManifestKind::Opaque, "not even JSON");
    store.tag(2, "v1", opaque);
    store.keep(b"waits for the collector");
    store.change(&BlobKey { digest: digest_of(b"waits for the collector") }, |blob| blob.references = 0);
    identity::people(&mut store);
    fixtures::retained(&mut store);
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

fn image_names(bytes: &[u8]) -> ManifestReferenceKey {
    let manifest = digest_of(image().as_bytes());
    ManifestReferenceKey { repository: 1, manifest, digest: digest_of(bytes) }
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
    let (without_rows, miscounted) = (BTreeSet::new(), BTreeSet::new());
    let options = Options { deep, fixes: true };
    Check { rows: &rows, blobs: store, options, tally, progress, report, without_rows, miscounted }.run()
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

#[test]
fn what_organisations_hold_is_recounted() {
    let mut store = healthy();
    holdings::count(&mut store);
    for tally in [1, 2, TALLY] {
        assert_eq!(run(&store, true, tally).expect("readable").findings, []);
    }
}

#[test]
fn every_sickness_is_named_by_exactly_its_id() {
    for (name, id, make_sick) in METADATA_ROWS
        .iter()
        .chain(FILES)
        .chain(identity::RIGHTS)
        .chain(holdings::HOLDINGS)
        .chain(RETENTION)
        .chain(housekeeping::LISTS)
    {
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
fn what_is_left_of_an_account_that_is_being_removed_is_no_sickness() {
    for (name, _, make_sick) in identity::RIGHTS.iter().filter(|(_, id, _)| *id == "R18") {
        let mut store = healthy();
        make_sick(&mut store);
        identity::being_removed(&mut store);
        assert_eq!(run(&store, false, TALLY).expect("readable").findings, [], "{name}");
    }
}

#[test]
fn every_leftover_is_noted_by_exactly_its_id() {
    for (name, id, leave) in
        identity::LEFTOVERS.iter().chain(holdings::LEFT).chain(RETENTION_LEFTOVERS).chain(housekeeping::LEFT)
    {
        let mut store = healthy();
        leave(&mut store);
        let report = run(&store, false, TALLY).expect("readable");
        assert_eq!(ids(&report), [*id], "{name}: {:?}", report.findings);
        assert!(report.is_clean(), "{name}");
    }
}

#[test]
fn every_invariant_has_a_sick_store() {
    for invariant in INVARIANTS {
        let all = METADATA_ROWS.iter().chain(FILES).chain(identity::RIGHTS).chain(identity::LEFTOVERS);
        let all = all.chain(holdings::HOLDINGS).chain(holdings::LEFT);
        let all = all.chain(housekeeping::LISTS).chain(housekeeping::LEFT);
        let mut all = all.chain(RETENTION).chain(RETENTION_LEFTOVERS);
        let shown = all.any(|(_, id, _)| *id == invariant.id);
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
fn a_deep_check_names_the_parts_of_a_damaged_blob_that_has_an_outboard() {
    let mut store = healthy();
    let digest = digest_of(LAYER);
    store.files.get_mut(&path_of(&digest)).expect("there")[0] ^= 1;
    store.files.insert(outboard_of(&digest), outboard(digest));
    let report = run(&store, true, TALLY).expect("readable");
    let found = &report.findings.iter().find(|finding| finding.id == "B3").expect("found").what;
    assert!(found.ends_with("is damaged: bytes 1048576-1048576"), "{found}");
}

#[test]
fn a_layer_noted_as_absent_need_not_be_there() {
    let mut store = healthy();
    store.change(&image_names(LAYER), |row| row.role = ReferenceRole::Absent);
    store.change(&web_blob(LAYER), |row| row.references -= 1);
    for tally in [1, TALLY] {
        assert_eq!(run(&store, true, tally).expect("readable").findings, []);
    }
    store.drop(&web_blob(LAYER));
    store.drop(&BlobRepositoryKey { digest: digest_of(LAYER), name: WEB.into() });
    store.change(&blob(LAYER), |blob| blob.references -= 1);
    store.change(&RepositoryCountersKey { repository: 1 }, |counters| {
        counters.blobs -= 1;
        counters.bytes -= LAYER.len() as u64;
    });
    for tally in [1, TALLY] {
        assert_eq!(run(&store, true, tally).expect("readable").findings, []);
    }
}

#[test]
fn what_is_listed_and_what_was_deleted_is_no_sickness() {
    let mut store = healthy();
    housekeeping::list(&mut store);
    housekeeping::delete(&mut store);
    for tally in [1, TALLY] {
        assert_eq!(run(&store, true, tally).expect("readable").findings, []);
    }
    let digest = digest_of(b"collected");
    store.files.insert(path_of(&digest), b"collected".to_vec());
    store.put(&CollectedKey { at: 1, digest }, &CollectedRecord { size: 9 });
    let report = run(&store, false, TALLY).expect("readable");
    assert_eq!((ids(&report), report.is_clean()), (vec!["B2"], true), "it goes");
}

#[test]
fn a_blob_that_goes_while_blobs_are_read_is_no_finding_and_none_goes_before() {
    for (name, goes) in [("a layer", digest_of(LAYER)), ("a manifest", digest_of(image().as_bytes()))] {
        let mut store = healthy();
        store.goes = [goes].into();
        let report = run(&store, true, TALLY).expect("readable");
        assert_eq!(report.findings, [], "{name}: its file and its row went");
        // Its row went, and the file that is still there is damaged.
        let mut store = Store { goes: [goes].into(), intents: [goes].into(), ..healthy() };
        store.files.get_mut(&path_of(&goes)).expect("there")[0] ^= 1;
        let found = ids(&run(&store, true, TALLY).expect("readable"));
        assert_eq!(found, [""; 0], "{name}: its row went");
    }
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
fn a_store_that_cannot_be_read_gives_no_report() {
    let store = Store { unreadable: true, ..healthy() };
    assert!(run(&store, false, TALLY).is_err());
}
