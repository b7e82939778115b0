//! The blob files of a data directory that no server has open, read without the blob store, so
//! that a defect there cannot hide itself from the check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::outboard::Outboard;
use pierhead_storage_format::{Algorithm, Digest, paths, small};
use sha2::{Digest as _, Sha256, Sha512};

use super::{BlobFile, Blobs, Content, MAX_MANIFEST, Standing, Unreadable, outboards};
use crate::stores::disk::Disk;

/// Bytes hashed at a time.
const CHUNK: usize = 1 << 20;
/// Folders below `blobs/` are two deep; anything much deeper is not walked.
const DEPTH: u32 = 8;

/// The files below `blobs/`, the intents below `uploads/` and the log of small blobs.
pub struct DiskBlobs {
    disk: Arc<dyn Disk>,
    intents: BTreeSet<Digest>,
    small: BTreeMap<Digest, Logged>,
}

/// Where the log has a blob.
struct Logged {
    segment: PathBuf,
    bytes: Range<usize>,
}

impl DiskBlobs {
    /// Reads the intents and the log that an earlier run left. What the disk does not give of them is not there: U1 and
    /// S1 say so, and a start leaves it alone, too.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, Unreadable> {
        Self::open_in(disk, Standing::AtRest)
    }

    /// The same of a store that is served: what is on its way to a row.
    pub fn under_way(disk: Arc<dyn Disk>) -> Result<Self, Unreadable> {
        Self::open_in(disk, Standing::Served)
    }

    fn open_in(disk: Arc<dyn Disk>, standing: Standing) -> Result<Self, Unreadable> {
        let mut intents = BTreeSet::new();
        let uploads = Path::new(paths::UPLOADS);
        for upload in disk.list(uploads).map_err(unreadable(uploads))?.into_iter().filter(|e| e.is_dir) {
            let folder = paths::upload_dir(&upload.name);
            let files = match disk.list(&folder) {
                Err(error) if !standing.finds(&error) => return Err(unreadable(&folder)(error)),
                files => files.unwrap_or_default(),
            };
            intents.extend(files.iter().filter_map(|file| paths::parse_intent(&file.name)));
        }
        let small = small_blobs(disk.as_ref(), standing)?;
        Ok(Self { disk, intents, small })
    }

    /// The files alone: while a store is served every blob has its file, and intents come and go.
    pub const fn of_files(disk: Arc<dyn Disk>) -> Self {
        Self { disk, intents: BTreeSet::new(), small: BTreeMap::new() }
    }

    /// The bytes that the log has of a blob: the next start makes its file of them.
    pub fn logged(&self, digest: &Digest) -> Option<Vec<u8>> {
        let logged = self.small.get(digest)?;
        let mut bytes = vec![0; logged.bytes.len()];
        let file = self.disk.open_read(&logged.segment).ok()?;
        file.read_exact_at(&mut bytes, logged.bytes.start as u64).ok()?;
        Some(bytes)
    }

    fn walk(
        &self,
        folder: &str,
        depth: u32,
        visit: &mut dyn FnMut(BlobFile<'_>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for entry in self.disk.list(Path::new(folder)).map_err(unreadable(Path::new(folder)))? {
            let path = format!("{folder}/{}", entry.name);
            if entry.is_dir && depth > 0 {
                self.walk(&path, depth - 1, visit)?;
            } else {
                visit(BlobFile { path: &path, size: entry.len })?;
            }
        }
        Ok(())
    }

    fn file(&self, digest: &Digest) -> Result<Option<File>, Unreadable> {
        self.open_at(&paths::blob(digest))
    }

    fn open_at(&self, path: &Path) -> Result<Option<File>, Unreadable> {
        match self.disk.open_read(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path)(error)),
        }
    }
}

/// What the log has, by digest: only records that their digests prove. A segment that is none has none.
fn small_blobs(disk: &dyn Disk, standing: Standing) -> Result<BTreeMap<Digest, Logged>, Unreadable> {
    let mut found = BTreeMap::new();
    let folder = Path::new(paths::SMALL);
    for entry in disk.list(folder).map_err(unreadable(folder))? {
        let Some(number) = paths::parse_numbered(&entry.name, ".log") else { continue };
        let segment = paths::small_segment(number);
        let mut bytes = Vec::new();
        // It may have gone since it was listed; of one that cannot be read to its end, what came before holds.
        let file = disk.open_read(&segment);
        match file.and_then(|file| file.take(small::MAX_SEGMENT as u64).read_to_end(&mut bytes)) {
            Err(error) if error.kind() != ErrorKind::NotFound && !standing.finds(&error) => {
                return Err(unreadable(&segment)(error));
            }
            _ => {}
        }
        let Ok((header, records)) = small::read(&bytes) else { continue };
        for record in records.into_iter().filter(|_| header.number == number) {
            let blob = bytes.get(record.bytes.clone()).unwrap_or_default();
            if hash(record.digest.algorithm(), blob).is_ok_and(|found| found == record.digest.raw()) {
                found.insert(record.digest, Logged { segment: segment.clone(), bytes: record.bytes });
            }
        }
    }
    Ok(found)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Unreadable {
    let what = path.display().to_string();
    move |error| Unreadable { what, source: error.into() }
}

impl Blobs for DiskBlobs {
    fn files(&self, visit: &mut dyn FnMut(BlobFile<'_>) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        self.walk(paths::BLOBS, DEPTH, visit)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Unreadable> {
        let path = paths::blob(digest);
        let file = self.disk.file_len(&path).map_err(unreadable(&path))?;
        Ok(self.small.get(digest).map(|logged| logged.bytes.len() as u64).or(file))
    }

    fn read(&self, digest: &Digest) -> Result<Content<Vec<u8>>, Unreadable> {
        if let Some(bytes) = self.logged(digest) {
            return Ok(Content::Good(bytes));
        }
        let Some(file) = self.file(digest)? else { return Ok(Content::Missing) };
        let mut bytes = Vec::new();
        let whole = file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes);
        let good =
            whole.is_ok() && hash(digest.algorithm(), bytes.as_slice()).is_ok_and(|h| h == digest.raw());
        Ok(if good { Content::Good(bytes) } else { Content::Damaged })
    }

    fn verify(&self, digest: &Digest) -> Result<Content<()>, Unreadable> {
        if self.small.contains_key(digest) {
            return Ok(Content::Good(()));
        }
        let Some(file) = self.file(digest)? else { return Ok(Content::Missing) };
        let good = hash(digest.algorithm(), file).is_ok_and(|found| found == digest.raw());
        Ok(if good { Content::Good(()) } else { Content::Damaged })
    }

    fn outboard(&self, digest: &Digest) -> Result<Content<Outboard>, Unreadable> {
        let (Some(size), Some(file)) = (self.size(digest)?, self.open_at(&paths::outboard(digest))?) else {
            return Ok(Content::Missing);
        };
        Ok(outboards::read(file, digest, size))
    }

    fn damaged_parts(&self, digest: &Digest, outboard: &Outboard) -> Result<Vec<Range<u64>>, Unreadable> {
        Ok(self.file(digest)?.map(|blob| outboards::compare(&blob, outboard)).unwrap_or_default())
    }

    fn each_logged(
        &self,
        visit: &mut dyn FnMut(&Digest) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.small.keys().try_for_each(visit)
    }

    fn is_intended(&self, digest: &Digest) -> Result<bool, Unreadable> {
        Ok(self.intents.contains(digest) || self.small.contains_key(digest))
    }
}

fn hash(algorithm: Algorithm, from: impl Read) -> io::Result<Vec<u8>> {
    match algorithm {
        Algorithm::Sha256 => hash_with(Sha256::new(), from),
        Algorithm::Sha512 => hash_with(Sha512::new(), from),
    }
}

fn hash_with(mut hasher: impl sha2::Digest, mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finalize().to_vec()),
            Ok(read) => hasher.update(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::disk::RealDisk;

    fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
        disk.create_dir(path.parent().expect("a folder")).expect("made");
        disk.create(path).expect("made").write_at(bytes, 0).expect("written");
    }

    fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        Digest::new(algorithm, &hash(algorithm, bytes).expect("memory reads")).expect("length matches")
    }

    #[test]
    fn files_on_the_disk_are_listed_read_and_verified() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (good, long) = (digest(Algorithm::Sha256, b"good"), digest(Algorithm::Sha512, b"long"));
        let (damaged, absent) = (digest(Algorithm::Sha256, b"damaged"), digest(Algorithm::Sha256, b"absent"));
        put(disk.as_ref(), &paths::blob(&good), b"good");
        put(disk.as_ref(), &paths::blob(&long), b"long");
        put(disk.as_ref(), &paths::blob(&damaged), b"dAmaged");
        put(disk.as_ref(), Path::new("blobs/sha256/readme"), b"");
        put(disk.as_ref(), &paths::upload_intent("00", &absent), b"");
        // Two that the log has: one without a file, one whose file is cut.
        let (logged, cut) = (digest(Algorithm::Sha256, b"logged"), digest(Algorithm::Sha512, b"cut"));
        put(disk.as_ref(), &paths::blob(&cut), b"c");
        let header = small::Header { number: 3, id: [1; 16] };
        let mut segment = header.encode().to_vec();
        for (digest, bytes) in [(logged, &b"logged"[..]), (damaged, b"no bytes of it"), (cut, b"cut")] {
            header.key().encode(&mut segment, 0, &digest, bytes).expect("small");
        }
        put(disk.as_ref(), &paths::small_segment(3), &segment);
        put(disk.as_ref(), &paths::small_segment(4), b"no segment");
        // Folders where files should be open, and cannot be read; so does a file where a folder should be.
        disk.create_dir(&paths::small_segment(5)).expect("made");
        disk.create_dir(&paths::upload_journal("01")).expect("made");

        let blobs = DiskBlobs::open(disk).expect("readable");
        let cases = [
            ("good", good, Content::Good(b"good".to_vec()), Some(4), false),
            ("long", long, Content::Good(b"long".to_vec()), Some(4), false),
            ("damaged", damaged, Content::Damaged, Some(7), false),
            ("absent", absent, Content::Missing, None, true),
            ("logged", logged, Content::Good(b"logged".to_vec()), Some(6), true),
            ("cut, but logged", cut, Content::Good(b"cut".to_vec()), Some(3), true),
        ];
        for (name, digest, content, size, intended) in cases {
            assert_eq!(blobs.read(&digest).expect("readable"), content, "{name}");
            let verified = match content {
                Content::Good(_) => Content::Good(()),
                Content::Missing => Content::Missing,
                Content::Damaged => Content::Damaged,
            };
            assert_eq!(blobs.verify(&digest).expect("readable"), verified, "{name}");
            assert_eq!(blobs.size(&digest).expect("readable"), size, "{name}");
            assert_eq!(blobs.is_intended(&digest).expect("readable"), intended, "{name}");
        }
        let mut logged_ones = Vec::new();
        blobs
            .each_logged(&mut |digest| {
                logged_ones.push(*digest);
                Ok(())
            })
            .expect("memory reads");
        logged_ones.sort();
        assert_eq!(logged_ones, BTreeSet::from([logged, cut]).into_iter().collect::<Vec<_>>());
        let mut found = Vec::new();
        blobs
            .files(&mut |file| {
                found.push((file.path.to_owned(), file.size));
                Ok(())
            })
            .expect("readable");
        assert_eq!(found.len(), 5);
        assert!(found.contains(&("blobs/sha256/readme".to_owned(), 0)));
        assert!(found.contains(&(paths::blob(&long).display().to_string(), 4)));
    }
}
