//! Where a pull's bytes come from, and that they are the same from everywhere.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use proptest::prelude::{any, prop_assert, proptest};

use super::super::BlobError;
use super::super::pool::{Block, Pool};
use super::super::source::{Source, Way};
use super::{Bytes, Digest, Reading, Scratch, noise, open, paths, pull, push, sha256};
use crate::stores::disk::DiskReader;
use crate::stores::disk::FileReader;
use crate::stores::disk::faulty::FaultyDisk;

const SIZE: usize = (9 << 20) + 4096 + 123;
const WAYS: [Way; 4] = [Way::Small, Way::Mapped, Way::Buffered, Way::Direct];

/// A file of noise on a disk, and one in memory, where there may be no way past the cache.
fn shelf() -> &'static (Vec<(tempfile::TempDir, PathBuf)>, Bytes) {
    static SHELF: OnceLock<(Vec<(tempfile::TempDir, PathBuf)>, Bytes)> = OnceLock::new();
    SHELF.get_or_init(|| {
        let bytes = noise(7, SIZE);
        let folders = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        let files = folders.iter().filter(|folder| folder.is_dir()).map(|folder| {
            let folder = tempfile::tempdir_in(folder).expect("a scratch folder");
            let path = folder.path().join("blob");
            std::fs::write(&path, &bytes).expect("a file in scratch");
            (folder, path)
        });
        (files.collect(), bytes)
    })
}

fn source(path: &Path, way: Way, end: usize, pool: &Arc<Pool>) -> Source {
    let file = FileReader::new(File::open(path).expect("opens"));
    if way == Way::Direct {
        file.past_cache();
    }
    Source { file: Box::new(file), digest: sha256(b"any"), way, end: end as u64, pool: Arc::clone(pool) }
}

fn all(source: &Source, range: Range<usize>) -> Result<Vec<u8>, BlobError> {
    let (mut rest, mut bytes) = (range.start as u64..range.end as u64, Vec::new());
    while !rest.is_empty() {
        bytes.extend_from_slice(&source.piece(source.next_piece(&mut rest))?);
    }
    Ok(bytes)
}

/// So many blocks in use that buffers are scarce.
fn scarce() -> (Arc<Pool>, Vec<Block>) {
    let pool = Pool::new();
    let taken = std::iter::from_fn(|| pool.is_plenty().then(|| pool.block())).collect();
    (pool, taken)
}

#[test]
fn ranges_at_every_kind_of_border_are_the_same_from_everywhere() {
    let edges = [0, 1, 511, 4095, 4096, 4097, 131_072, 1 << 20, (1 << 20) + 1, (4 << 20) - 1, 8 << 20, SIZE];
    let (files, bytes) = shelf();
    let (scarce, _taken) = scarce();
    for (_folder, path) in files {
        for (pool, way) in WAYS.into_iter().flat_map(|way| [(Pool::new(), way), (Arc::clone(&scarce), way)]) {
            for (from, to) in edges.iter().flat_map(|from| edges.iter().map(|to| (*from, *to))) {
                if from < to && (way != Way::Small || to - from <= 65_536) {
                    let got = all(&source(path, way, to, &pool), from..to).expect("reads");
                    assert!(got == bytes[from..to], "{way:?} of {}: {from}..{to}", path.display());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_range_is_the_slice_it_names_from_everywhere(
        from in 0..SIZE, len in any::<proptest::sample::Index>(), way in 0..WAYS.len(), is_scarce in any::<bool>(),
    ) {
        let (files, bytes) = shelf();
        let way = WAYS[way];
        let most = if way == Way::Small { 65_536 } else { SIZE };
        let to = from + 1 + len.index(most.min(SIZE - from));
        let (pool, _taken) = if is_scarce { scarce() } else { (Pool::new(), Vec::new()) };
        for (_folder, path) in files {
            let got = all(&source(path, way, to, &pool), from..to).expect("reads");
            prop_assert!(got == bytes[from..to]);
        }
    }
}

#[test]
fn a_file_that_is_cut_is_damaged_wherever_it_is_read_from() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("blob");
    for cut in [0, 1, 4096, 65_000, (1 << 20) + 5, SIZE - 4097, SIZE - 1] {
        for way in [Way::Mapped, Way::Buffered, Way::Direct] {
            std::fs::write(&path, &shelf().1).expect("a file in scratch");
            let source = source(&path, way, SIZE, &Pool::new());
            OpenOptions::new().write(true).open(&path).expect("opens").set_len(cut as u64).expect("cuts");
            let got = all(&source, 0..SIZE);
            assert!(matches!(got, Err(BlobError::Damaged { .. })), "{way:?} cut at {cut}");
        }
    }
}

async fn way(store: &Scratch, digest: &Digest, range: Range<u64>, how: Reading) -> Way {
    store.blobs.read(digest, 8 << 20, range, how).await.expect("opens").source.way
}

#[tokio::test]
async fn what_was_just_pushed_is_read_past_the_cache_and_what_is_pulled_again_through_it() {
    let size = 8 << 20;
    for (how, cached) in [(Reading::Mapped, Way::Mapped), (Reading::Buffered, Way::Buffered)] {
        let store = Scratch::new();
        let bytes = noise(8, size as usize);
        let digest = push(&store.blobs, &bytes, 1 << 20).await;
        assert_eq!(way(&store, &digest, 5..1000, how).await, Way::Small);
        let first = way(&store, &digest, 0..4 << 20, how).await;
        if first == cached {
            return; // the scratch folder's filesystem has no way past its cache
        }
        assert_eq!(first, Way::Direct);
        assert_eq!(way(&store, &digest, 4 << 20..size, how).await, Way::Direct, "the other half");
        assert_eq!(way(&store, &digest, 0..size, how).await, cached, "again");
        assert!(pull(&store.blobs, &digest, size, how).await == bytes);
        let (reopened, _) = store.reopen();
        let reader = reopened.read(&digest, size, 0..size, how).await.expect("opens");
        assert_eq!(reader.source.way, cached, "nobody remembers it, but it is cached");
    }
}

#[tokio::test]
async fn a_byte_that_cannot_be_read_ends_the_pull_and_has_the_blob_set_aside() {
    let size: u64 = 8 << 20;
    let bytes = noise(9, size as usize);
    for (how, pulls_before) in
        [(Reading::Mapped, 0), (Reading::Mapped, 2), (Reading::Buffered, 0), (Reading::Buffered, 2)]
    {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (disk, faults) = FaultyDisk::new(folder.path());
        let (blobs, _) = open(Arc::new(disk));
        let digest = push(&blobs, &bytes, 1 << 20).await;
        for _ in 0..pulls_before {
            assert!(pull(&blobs, &digest, size, how).await == bytes);
        }
        faults.spoil(5_000_000..5_000_001);
        let mut reader = blobs.read(&digest, size, 0..size, how).await.expect("opens");
        let (mut read, mut last) = (0, None);
        while let Some(piece) = reader.next().await {
            if let Ok(piece) = &piece {
                assert!(*piece == bytes[read..read + piece.len()]);
                read += piece.len();
            }
            last = Some(piece);
        }
        assert!(matches!(last, Some(Err(BlobError::Io { .. }))), "{how:?} after {pulls_before}");
        // Pieces that are mapped at once are larger, and here are read into one buffer.
        assert!(read == 4 << 20, "all that is before it, not {read}");
        assert!(reader.next().await.is_none());
        assert!(blobs.quarantine(&digest).await.expect("moves"), "it cannot be read");
        assert!(!folder.path().join(paths::blob(&digest)).exists());
        assert!(faults.reads() > 0);
        faults.spoil(0..0);
        push(&blobs, &bytes, 1 << 20).await;
        assert!(pull(&blobs, &digest, size, how).await == bytes, "healed");
    }
}
