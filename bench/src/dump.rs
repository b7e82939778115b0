//! The metadata of a store too large to be pushed, as `pierhead import-metadata` takes it: tagged images of nine
//! layers each, in repositories of ten images. Digests are made up: there are no files behind them.
//! This and `trail` alone name a crate of Pierhead's: a layout that changes is then an error of the compiler.
//!
//! Blob `n` is in repository `n` modulo their count, so that what is together in one table is apart in the other;
//! digests sort as `n` does. Blobs 0, 10, 20, ... of a repository are manifests, and the nine after each its layers.

use std::io::{self, Write};
use std::path::Path;

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::digest::{Algorithm, Digest};
use pierhead_storage_format::dump::{Encoder, Header};
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, TableKey, TagKey,
};
use pierhead_storage_format::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferenceRecord,
    ReferenceRole, RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};

use crate::error::BenchError;

const ORGANISATION: &str = "bench";
const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Blobs of a repository, manifests included.
const IN_REPOSITORY: u64 = 100;
/// Blobs of an image, its manifest included.
const IN_IMAGE: u64 = 10;
/// Images of a repository, each with a tag.
pub const IMAGES: u64 = IN_REPOSITORY / IN_IMAGE;
/// Bytes each blob is said to have.
const SIZE: u64 = 10 << 20;
/// When all of it was pushed: any time will do.
const PUSHED_AT: u64 = 1_790_000_000_000;

/// A store's content, by numbers alone.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    repositories: u64,
}

impl Store {
    /// Of at least so many blobs.
    pub fn of(blobs: u64) -> Self {
        Self { repositories: blobs.div_ceil(IN_REPOSITORY).max(1) }
    }

    /// Blobs there are, manifests included.
    pub fn blobs(self) -> u64 {
        self.repositories * IN_REPOSITORY
    }

    /// The name of one of its repositories.
    pub fn repository(self) -> String {
        name(self.repositories)
    }

    /// Writes the metadata into a new file; returns the number of rows.
    pub fn write(self, path: &Path) -> Result<u64, BenchError> {
        let what = format!("writing {}", path.display());
        let file = std::fs::File::create(path).map_err(BenchError::io(what.as_str()))?;
        // Level 1: quick; nobody keeps this file.
        let output = zstd::Encoder::new(file, 1).map_err(BenchError::io(what.as_str()))?;
        let (encoder, first) = Encoder::start(&Header::new(1, PUSHED_AT)).map_err(BenchError::Format)?;
        let mut rows = Rows { encoder, output: io::BufWriter::new(output), what };
        rows.line(&first)?;
        self.names(&mut rows)?;
        self.images(&mut rows)?;
        self.blob_tables(&mut rows)?;
        rows.row(&CounterKey { name: "organisation".to_owned() }, &CounterRecord { next: 2 })?;
        let next = CounterRecord { next: self.repositories + 1 };
        rows.row(&CounterKey { name: "repository".to_owned() }, &next)?;
        self.references(&mut rows)?;
        rows.finish()
    }

    fn names<W: Write>(self, rows: &mut Rows<W>) -> Result<(), BenchError> {
        let organisation = OrganisationKey { name: ORGANISATION.to_owned() };
        rows.row(
            &organisation,
            &OrganisationRecord { number: 1, created_at: PUSHED_AT, owner: None, creator: None },
        )?;
        for id in 1..=self.repositories {
            rows.row(&RepositoryKey { name: name(id) }, &RepositoryRecord { id, created_at: PUSHED_AT })?;
        }
        let counters = RepositoryCounters {
            tags: IMAGES,
            manifests: IMAGES,
            blobs: IN_REPOSITORY - IMAGES,
            bytes: IN_REPOSITORY * SIZE,
            pushed_at: PUSHED_AT,
        };
        (1..=self.repositories)
            .try_for_each(|id| rows.row(&RepositoryCountersKey { repository: id }, &counters))
    }

    /// Tags, manifests, and tags by manifest.
    fn images<W: Write>(self, rows: &mut Rows<W>) -> Result<(), BenchError> {
        let images = || self.places().filter(|place| place.is_manifest());
        for Place { repository, index } in images() {
            let record = TagRecord { digest: self.digest(repository, index), pushed_at: PUSHED_AT };
            rows.row(&TagKey { repository, tag: tag(index) }, &record)?;
        }
        let record = ManifestRecord {
            media_type: MEDIA_TYPE.to_owned(),
            size: SIZE,
            kind: ManifestKind::Image,
            pushed_at: PUSHED_AT,
            subject: None,
            artifact_type: Some(CONFIG_TYPE.to_owned()),
        };
        for Place { repository, index } in images() {
            rows.row(&ManifestKey { repository, digest: self.digest(repository, index) }, &record)?;
        }
        images().try_for_each(|Place { repository, index }| {
            let digest = self.digest(repository, index);
            rows.row(&ManifestTagKey { repository, digest, tag: tag(index) }, &Present {})
        })
    }

    /// Blobs by repository, blobs, and repositories by blob.
    fn blob_tables<W: Write>(self, rows: &mut Rows<W>) -> Result<(), BenchError> {
        let record = RepositoryBlobRecord { size: SIZE, linked_at: PUSHED_AT, references: 1 };
        for Place { repository, index } in self.places().filter(|place| !place.is_manifest()) {
            rows.row(&RepositoryBlobKey { repository, digest: self.digest(repository, index) }, &record)?;
        }
        let record = BlobRecord { size: SIZE, references: 1, changed_at: PUSHED_AT };
        for Place { repository, index } in self.by_digest() {
            rows.row(&BlobKey { digest: self.digest(repository, index) }, &record)?;
        }
        self.by_digest().filter(|place| !place.is_manifest()).try_for_each(|Place { repository, index }| {
            let digest = self.digest(repository, index);
            rows.row(&BlobRepositoryKey { digest, name: name(repository) }, &Present {})
        })
    }

    fn references<W: Write>(self, rows: &mut Rows<W>) -> Result<(), BenchError> {
        let record = ReferenceRecord { role: ReferenceRole::Blob };
        self.places().filter(|place| !place.is_manifest()).try_for_each(|Place { repository, index }| {
            let manifest = self.digest(repository, index - index % IN_IMAGE);
            let digest = self.digest(repository, index);
            rows.row(&ManifestReferenceKey { repository, manifest, digest }, &record)
        })
    }

    /// All blobs in the order of repositories.
    fn places(self) -> impl Iterator<Item = Place> {
        (1..=self.repositories)
            .flat_map(|repository| (0..IN_REPOSITORY).map(move |index| Place { repository, index }))
    }

    /// All blobs in the order of digests.
    fn by_digest(self) -> impl Iterator<Item = Place> {
        (0..IN_REPOSITORY)
            .flat_map(move |index| (1..=self.repositories).map(move |repository| Place { repository, index }))
    }

    fn digest(self, repository: u64, index: u64) -> Digest {
        let number = index * self.repositories + (repository - 1);
        let mut raw = [0; 32];
        // The number in front makes digests sort, spread over all of their space; the rest makes them look as usual.
        let spread = u64::MAX / self.blobs();
        for (part, bytes) in raw.chunks_exact_mut(8).enumerate() {
            let word = if part == 0 { number * spread } else { mixed(number ^ ((part as u64) << 56)) };
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        #[expect(clippy::expect_used, reason = "32 bytes are a SHA-256")]
        Digest::new(Algorithm::Sha256, &raw).expect("32 bytes are a SHA-256")
    }
}

/// A blob: of which repository, and its number there.
#[derive(Clone, Copy)]
struct Place {
    repository: u64,
    index: u64,
}

impl Place {
    fn is_manifest(self) -> bool {
        self.index.is_multiple_of(IN_IMAGE)
    }
}

fn name(repository: u64) -> String {
    format!("{ORGANISATION}/r{repository:08}")
}

fn tag(index: u64) -> String {
    format!("v{index:02}")
}

fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The rows on their way into the file.
struct Rows<W: Write> {
    encoder: Encoder,
    output: io::BufWriter<zstd::Encoder<'static, W>>,
    what: String,
}

impl<W: Write> Rows<W> {
    fn row<K: TableKey>(&mut self, key: &K, record: &K::Record) -> Result<(), BenchError> {
        let value = record.encode().map_err(BenchError::Format)?;
        let line = self.encoder.row(K::TABLE, &key.encode(), &value).map_err(BenchError::Dump)?;
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> Result<(), BenchError> {
        let written = self.output.write_all(line.as_bytes()).and_then(|()| self.output.write_all(b"\n"));
        written.map_err(BenchError::io(self.what.as_str()))
    }

    fn finish(self) -> Result<u64, BenchError> {
        let Self { encoder, mut output, what } = self;
        let (trailer, last) = encoder.finish().map_err(BenchError::Format)?;
        let ended = writeln!(output, "{last}").and_then(|()| output.flush());
        let ended =
            ended.and_then(|()| output.into_inner().map_err(io::IntoInnerError::into_error)?.finish());
        ended.map_err(BenchError::io(what))?;
        Ok(trailer.rows)
    }
}

#[cfg(test)]
mod tests {
    use pierhead_storage_format::dump::Decoder;

    use super::*;

    #[test]
    fn a_store_is_at_least_as_large_as_was_asked_and_has_whole_images() {
        let table = [(1, 100), (100, 100), (101, 200), (1_000_000, 1_000_000)];
        for (asked, blobs) in table {
            assert_eq!(Store::of(asked).blobs(), blobs, "{asked}");
        }
    }

    #[test]
    fn what_is_written_is_a_whole_export_with_a_row_for_everything() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let path = folder.path().join("export");
        let written = Store::of(300).write(&path).expect("a file in scratch");
        let text = zstd::decode_all(std::fs::File::open(&path).expect("it was written")).expect("zstd");
        let mut decoder = Decoder::new();
        for line in String::from_utf8(text).expect("UTF-8").lines() {
            decoder.line(line).expect("rows are in order and as the format has them");
        }
        let trailer = decoder.finish().expect("its trailer fits");
        let rows = |table: &str| trailer.tables[table];
        assert_eq!((trailer.rows, rows("blob"), rows("repository")), (written, 300, 3));
        assert_eq!((rows("tag"), rows("manifest"), rows("manifest-tag")), (30, 30, 30));
        assert_eq!((rows("repository-blob"), rows("blob-repository")), (270, 270));
        assert_eq!((rows("manifest-reference"), rows("repository-counters"), rows("counter")), (270, 3, 2));
    }
}
