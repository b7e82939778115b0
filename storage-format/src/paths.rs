//! Every path below the data directory, relative to it. Nothing else in Pierhead spells one.

use std::path::PathBuf;

use crate::digest::{Algorithm, Digest};

/// Names the format and its version; written last when a store is made.
pub const FORMAT: &str = "FORMAT";
/// Held with an exclusive lock by the process that owns the store.
pub const LOCK: &str = "LOCK";
/// Space kept back for metadata and deletes; removed when the disk is full, made again later.
pub const BALLAST: &str = "ballast";
/// Published blobs.
pub const BLOBS: &str = "blobs";
/// Uploads under way.
pub const UPLOADS: &str = "uploads";
/// Damaged files set aside.
pub const QUARANTINE: &str = "quarantine";
/// The truth about metadata: committed change sets.
pub const JOURNAL: &str = "meta/journal";
/// The whole of the metadata, from time to time.
pub const SNAPSHOT: &str = "meta/snapshot";
/// The index everything is read from; rebuilt from the two above when in doubt.
pub const INDEX: &str = "meta/index";
/// Indexes that were found wrong, kept for the operator: `meta/index-set-aside/<UTC ms>`.
pub const INDEX_SET_ASIDE: &str = "meta/index-set-aside";

/// `blobs/<algorithm>`.
pub fn algorithm_dir(algorithm: Algorithm) -> PathBuf {
    PathBuf::from(BLOBS).join(algorithm.name())
}

/// `blobs/<algorithm>/<first two hex digits>`.
pub fn blob_dir(algorithm: Algorithm, first: u8) -> PathBuf {
    algorithm_dir(algorithm).join(format!("{first:02x}"))
}

/// `blobs/<algorithm>/<first two hex digits>/<hex>`.
pub fn blob(digest: &Digest) -> PathBuf {
    blob_dir(digest.algorithm(), digest.raw()[0]).join(digest.hex())
}

/// `uploads/<id>`; `id` is 32 lower-case hex digits.
pub fn upload_dir(id: &str) -> PathBuf {
    PathBuf::from(UPLOADS).join(id)
}

/// `uploads/<id>/data`: the bytes received so far.
pub fn upload_data(id: &str) -> PathBuf {
    upload_dir(id).join("data")
}

/// `uploads/<id>/publish-<algorithm>-<hex>`: made empty before `data` becomes that blob, so that
/// start-up knows which blobs to look for a record of.
pub fn upload_intent(id: &str, digest: &Digest) -> PathBuf {
    upload_dir(id).join(intent_name(digest))
}

/// The file name of [`upload_intent`].
pub fn intent_name(digest: &Digest) -> String {
    format!("publish-{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest in an intent's file name.
pub fn parse_intent(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("publish-")?.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// `meta/journal/<first sequence, 20 digits>.log`.
pub fn journal_segment(first: u64) -> PathBuf {
    PathBuf::from(JOURNAL).join(format!("{first:020}.log"))
}

/// `meta/snapshot/<sequence, 20 digits>.zst`.
pub fn snapshot(sequence: u64) -> PathBuf {
    PathBuf::from(SNAPSHOT).join(format!("{sequence:020}.zst"))
}

/// The number in a segment's or snapshot's file name.
pub fn parse_numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}
