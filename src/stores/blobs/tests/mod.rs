//! Tests of the room; one file a topic.

mod faults;
mod full_disk;
mod looks;
mod mends;
mod outboards;
mod reading;
mod resuming;
mod sources;
mod unsure;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::{Algorithm, Digest, paths};

use super::{Blobs, CHECKPOINT_EVERY, Found, Leftover, Options, Reading, hash};
use crate::seams::TestRandom;
use crate::stores::disk::{Disk, RealDisk};

/// A store in a scratch folder.
struct Scratch {
    blobs: Blobs,
    leftovers: Vec<Leftover>,
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (blobs, leftovers) = open(Arc::new(RealDisk::new(folder.path())));
        Self { blobs, leftovers, folder }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// As after a restart: ids go on where a new counter does not meet old ones.
    fn reopen(&self) -> (Blobs, Vec<Leftover>) {
        open(Arc::new(RealDisk::new(self.root())))
    }

    fn path(&self, digest: &Digest) -> std::path::PathBuf {
        self.root().join(paths::blob(digest))
    }

    fn uploads(&self) -> usize {
        std::fs::read_dir(self.root().join(paths::UPLOADS)).expect("uploads/").count()
    }
}

fn open(disk: Arc<dyn Disk>) -> (Blobs, Vec<Leftover>) {
    let (blobs, found) = open_every(disk, CHECKPOINT_EVERY);
    (blobs, found.leftovers)
}

/// With checkpoints every so many bytes.
fn open_every(disk: Arc<dyn Disk>, checkpoint_every: u64) -> (Blobs, Found) {
    let options = Options { disk, random: Arc::new(TestRandom::default()), checkpoint_every };
    Blobs::open(options).expect("the store opens")
}

/// `len` bytes that look random and differ by `seed`.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

fn sha256(bytes: &[u8]) -> Digest {
    hash::of(Algorithm::Sha256, bytes)
}

/// Uploads `bytes` in frames of `frame` and publishes them as sha256.
async fn push(blobs: &Blobs, bytes: &Bytes, frame: usize) -> Digest {
    let digest = sha256(bytes);
    let mut upload = blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    for frame in bytes.chunks(frame) {
        upload.append(Bytes::copy_from_slice(frame)).await.expect("appends");
    }
    assert_eq!(upload.settle().await.expect("settles"), bytes.len() as u64);
    let published = upload.publish(&digest).await.expect("publishes");
    assert_eq!(published.size, bytes.len() as u64);
    published.settled().await;
    digest
}

/// The whole blob through a reader.
async fn pull(blobs: &Blobs, digest: &Digest, size: u64, how: Reading) -> Vec<u8> {
    let mut reader = blobs.read(digest, size, 0..size, how).await.expect("opens");
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await {
        bytes.extend_from_slice(&piece.expect("reads"));
    }
    bytes
}
