//! What the golden files are made from: a row a table, and more where a record has more shapes.

#[path = "audit_samples.rs"]
pub mod audit;
#[path = "housekeeping_samples.rs"]
mod housekeeping;
#[path = "identity_samples.rs"]
mod identity;
#[path = "quota_samples.rs"]
mod quota;
#[path = "retention_samples.rs"]
mod retention;

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::dump::{Encoder, Header};
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, ReferrerKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey,
    TagKey,
};
use pierhead_storage_format::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferenceRecord,
    ReferenceRole, ReferrerRecord, RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};
use pierhead_storage_format::{Algorithm, Digest};

/// A row, and the shape it shows.
pub struct Sample {
    /// Its table.
    pub table: Table,
    /// Which shape, if the table has several.
    pub case: Option<&'static str>,
    /// The encoded key.
    pub key: Vec<u8>,
    /// The encoded record.
    pub value: Vec<u8>,
}

pub fn sample<K: TableKey>(case: Option<&'static str>, key: &K, record: &K::Record) -> Sample {
    let value = record.encode().expect("samples are small");
    Sample { table: K::TABLE, case, key: key.encode(), value }
}

pub(super) fn digest(algorithm: Algorithm, first: u8) -> Digest {
    let raw: Vec<u8> = (0..64).map(|i| first.wrapping_add(i)).collect();
    Digest::new(algorithm, &raw[..algorithm.raw_len()]).expect("length matches")
}

pub const REPOSITORY: u64 = 0x0102_0304_0506_0708;
pub const TIME: u64 = 1_795_000_000_000;

fn manifest(kind: ManifestKind, full: bool) -> ManifestRecord {
    ManifestRecord {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: 1234,
        kind,
        pushed_at: TIME,
        subject: full.then(|| digest(Algorithm::Sha256, 0x40)),
        artifact_type: full.then(|| "application/vnd.example.sbom".into()),
    }
}

/// An organisation as version 1 wrote it.
fn old_organisation() -> Sample {
    let mut value = vec![1];
    value.extend_from_slice(&TIME.to_le_bytes());
    Sample { table: Table::Organisation, case: None, key: b"acme".to_vec(), value }
}

/// What whole files (segment, snapshot) are made of: never changed.
pub fn whole_files() -> Vec<Sample> {
    std::iter::once(old_organisation()).chain(names()).collect()
}

fn names() -> Vec<Sample> {
    let counters = RepositoryCounters { tags: 3, manifests: 4, blobs: 5, bytes: 1 << 33, pushed_at: TIME };
    vec![
        sample(
            None,
            &RepositoryKey { name: "acme/web/front".into() },
            &RepositoryRecord { id: REPOSITORY, created_at: TIME },
        ),
        sample(None, &RepositoryCountersKey { repository: REPOSITORY }, &counters),
        sample(None, &CounterKey { name: "repository".into() }, &CounterRecord { next: 258 }),
    ]
}

fn organisations() -> Vec<Sample> {
    let record = |full: bool| OrganisationRecord {
        number: if full { 7 } else { 0 },
        created_at: TIME,
        owner: full.then(|| identity::id(0x10)),
        creator: full.then(identity::creator),
    };
    vec![
        sample(None, &OrganisationKey { name: "acme".into() }, &record(true)),
        sample(Some("unowned"), &OrganisationKey { name: "library".into() }, &record(false)),
    ]
}

fn manifests() -> Vec<Sample> {
    let image = digest(Algorithm::Sha256, 0x10);
    let long = digest(Algorithm::Sha512, 0x20);
    let key = |digest| ManifestKey { repository: REPOSITORY, digest };
    vec![
        sample(
            None,
            &TagKey { repository: REPOSITORY, tag: "v1.0".into() },
            &TagRecord { digest: image, pushed_at: TIME },
        ),
        sample(
            Some("sha512"),
            &TagKey { repository: REPOSITORY, tag: "latest".into() },
            &TagRecord { digest: long, pushed_at: TIME },
        ),
        sample(None, &key(image), &manifest(ManifestKind::Image, true)),
        sample(Some("index"), &key(long), &manifest(ManifestKind::Index, false)),
        sample(Some("opaque"), &key(digest(Algorithm::Sha256, 0x30)), &manifest(ManifestKind::Opaque, false)),
        sample(
            None,
            &ManifestTagKey { repository: REPOSITORY, digest: image, tag: "v1.0".into() },
            &Present {},
        ),
        sample(
            None,
            &ReferrerKey { repository: REPOSITORY, subject: digest(Algorithm::Sha256, 0x40), digest: image },
            &ReferrerRecord { artifact_type: Some("application/vnd.example.sbom".into()) },
        ),
        sample(
            Some("untyped"),
            &ReferrerKey { repository: REPOSITORY, subject: long, digest: image },
            &ReferrerRecord { artifact_type: None },
        ),
    ]
}

fn references() -> Vec<Sample> {
    let key = |first| ManifestReferenceKey {
        repository: REPOSITORY,
        manifest: digest(Algorithm::Sha256, 0x10),
        digest: digest(Algorithm::Sha256, first),
    };
    vec![
        sample(None, &key(0x50), &ReferenceRecord { role: ReferenceRole::Blob }),
        sample(Some("foreign"), &key(0x51), &ReferenceRecord { role: ReferenceRole::Foreign }),
        sample(Some("child"), &key(0x52), &ReferenceRecord { role: ReferenceRole::Child }),
        sample(Some("absent"), &key(0x53), &ReferenceRecord { role: ReferenceRole::Absent }),
    ]
}

fn blobs() -> Vec<Sample> {
    let layer = digest(Algorithm::Sha256, 0x50);
    vec![
        sample(
            None,
            &RepositoryBlobKey { repository: REPOSITORY, digest: layer },
            &RepositoryBlobRecord { size: 10 << 30, linked_at: TIME, references: 2 },
        ),
        sample(
            None,
            &BlobKey { digest: layer },
            &BlobRecord { size: 10 << 30, references: 3, changed_at: TIME },
        ),
        sample(None, &BlobRepositoryKey { digest: layer, name: "acme/web/front".into() }, &Present {}),
    ]
}

/// Every sample.
pub fn samples() -> Vec<Sample> {
    let images = [organisations(), names(), manifests(), references(), blobs()];
    let others = [
        identity::samples(),
        audit::samples(),
        quota::samples(),
        housekeeping::samples(),
        retention::samples(),
    ];
    images.into_iter().chain(others).flatten().collect()
}

/// The samples as a dump.
pub fn dump() -> String {
    let mut rows = samples();
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    let (mut encoder, first) = Encoder::start(&Header::new(77, TIME)).expect("header");
    let mut lines = vec![first];
    for row in rows {
        lines.push(encoder.row(row.table, &row.key, &row.value).expect("samples are valid"));
    }
    lines.push(encoder.finish().expect("trailer").1);
    lines.join("\n") + "\n"
}
