//! Every path below the data directory, relative to it. Nothing else in Pierhead spells one.

use std::path::PathBuf;

use crate::digest::{Algorithm, Digest};

/// Names the format and its version; written last when a store is made.
pub const FORMAT: &str = "FORMAT";
/// The highest level of a program that used the store ([`store::LEVEL`](crate::store::LEVEL)): no part of the store, for whoever
/// may put an earlier program in the place of the one that is there.
pub const LEVEL: &str = ".store-level";
/// Held with an exclusive lock by the process that owns the store.
pub const LOCK: &str = "LOCK";
/// Where the process that owns the store is administered, unless it is set to be elsewhere; a socket
/// without content, left behind by a crash and replaced by the next start.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// Space kept back for metadata and deletes; removed when the disk is full, made again later.
pub const BALLAST: &str = "ballast";
/// The keys that secrets in rows are sealed under, unless the settings put them elsewhere.
pub const KEY_FILE: &str = "secret.key";
/// Published blobs.
pub const BLOBS: &str = "blobs";
/// Uploads under way.
pub const UPLOADS: &str = "uploads";
/// The log of small blobs that were just published.
pub const SMALL: &str = "small";
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
/// Under which circumstances the index was last let go of, or opened; may be deleted while nobody
/// owns the store.
pub const INDEX_MARK: &str = "meta/index-mark";

/// A copy of the index that `fsck` looks into and removes again; left over, it may be deleted.
pub const INDEX_CHECKED: &str = "meta/index-checked";

/// The audit trail: a folder a day.
pub const AUDIT: &str = "audit";

/// What a restore under way has still to put in its place; with it there is no store yet.
pub const RESTORE: &str = "restore";

/// The certificate of the appliance's own CA: what clients are given to trust it. Public.
pub const TLS_CA: &str = "tls/ca.crt";
/// That CA's private key.
pub const TLS_CA_KEY: &str = "tls/ca.key";
/// The server's certificate, issued by that CA, and its private key in one file.
pub const TLS_SERVER: &str = "tls/server.pem";
const OUTBOARD: &str = "b3";

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

/// `blobs/<algorithm>/<first two hex digits>/<hex>.b3`: the outboard of a blob.
pub fn outboard(digest: &Digest) -> PathBuf {
    blob(digest).with_extension(OUTBOARD)
}

/// The digest whose blob's outboard belongs at `path`, spelled as for [`parse_blob`].
pub fn parse_outboard(path: &str) -> Option<Digest> {
    parse_blob(path.strip_suffix(OUTBOARD)?.strip_suffix('.')?)
}

/// The digest whose blob belongs at `path`, a path below the data directory with `/` between parts.
pub fn parse_blob(path: &str) -> Option<Digest> {
    let mut parts = path.strip_prefix(BLOBS)?.strip_prefix('/')?.splitn(3, '/');
    let (algorithm, first, hex) = (parts.next()?, parts.next()?, parts.next()?);
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    hex.get(..2).is_some_and(|two| two == first).then_some(digest)
}

/// `uploads/<id>`; `id` is 32 lower-case hex digits.
pub fn upload_dir(id: &str) -> PathBuf {
    PathBuf::from(UPLOADS).join(id)
}

/// `uploads/<id>/data`: the bytes received so far.
pub fn upload_data(id: &str) -> PathBuf {
    upload_dir(id).join("data")
}

/// `uploads/<id>/journal`: whose upload it is, and up to where its bytes are known durable.
pub fn upload_journal(id: &str) -> PathBuf {
    upload_dir(id).join("journal")
}

/// `uploads/<id>/outboard`: of the blob that the upload became, before it gets its place.
pub fn upload_outboard(id: &str) -> PathBuf {
    upload_dir(id).join("outboard")
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

/// `small/<number, 20 digits>.log`.
pub fn small_segment(number: u64) -> PathBuf {
    PathBuf::from(SMALL).join(format!("{number:020}.log"))
}

/// `small/<algorithm>-<hex>.tmp`: a small blob's file before it gets its name.
pub fn small_part(digest: &Digest) -> PathBuf {
    PathBuf::from(SMALL).join(format!("{}-{}.tmp", digest.algorithm().name(), digest.hex()))
}

/// `quarantine/<algorithm>-<hex>-<id>`: a blob's damaged file; `id` is 32 lower-case hex digits.
pub fn quarantined(digest: &Digest, id: &str) -> PathBuf {
    PathBuf::from(QUARANTINE).join(format!("{}-{}-{id}", digest.algorithm().name(), digest.hex()))
}

/// The same with `.b3`: the outboard that was beside it.
pub fn quarantined_outboard(digest: &Digest, id: &str) -> PathBuf {
    quarantined(digest, id).with_extension(OUTBOARD)
}

/// Files of blobs that were collected, until they are unlinked.
pub const COLLECTED: &str = "quarantine/collected";

/// `quarantine/collected/<algorithm>-<hex>`.
pub fn collected(digest: &Digest) -> PathBuf {
    PathBuf::from(COLLECTED).join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
}

/// `meta/journal/<first sequence, 20 digits>.log`.
pub fn journal_segment(first: u64) -> PathBuf {
    PathBuf::from(JOURNAL).join(format!("{first:020}.log"))
}

/// `meta/snapshot/<sequence, 20 digits>.zst`.
pub fn snapshot(sequence: u64) -> PathBuf {
    PathBuf::from(SNAPSHOT).join(format!("{sequence:020}.zst"))
}

/// `audit/<yyyy-mm-dd>`: what was written to the trail on that day, UTC.
pub fn audit_day(day: &str) -> PathBuf {
    PathBuf::from(AUDIT).join(day)
}

/// `audit/<yyyy-mm-dd>/<number, 20 digits>.log`: events as they come.
pub fn audit_log(day: &str, number: u64) -> PathBuf {
    audit_day(day).join(format!("{number:020}.log"))
}

/// `audit/<yyyy-mm-dd>/<number, 20 digits>.seg`: the same events, sealed.
pub fn audit_segment(day: &str, number: u64) -> PathBuf {
    audit_day(day).join(format!("{number:020}.seg"))
}

/// The number in a segment's or snapshot's file name.
pub fn parse_numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_that_names_a_digest_or_number_gives_it_back(raw in any::<[u8; 64]>(), long in any::<bool>(), n in any::<u64>()) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::new(algorithm, &raw[..algorithm.raw_len()]).expect("length matches");
            prop_assert_eq!(blob(&digest).to_str().and_then(parse_blob), Some(digest));
            prop_assert_eq!(outboard(&digest).to_str().and_then(parse_outboard), Some(digest));
            prop_assert_eq!(outboard(&digest).to_str().and_then(parse_blob), None);
            prop_assert_eq!(parse_intent(&intent_name(&digest)), Some(digest));
            let name = journal_segment(n);
            let name = name.file_name().and_then(|f| f.to_str()).expect("a name");
            prop_assert_eq!(parse_numbered(name, ".log"), Some(n));
            let small = small_segment(n);
            let name = small.file_name().and_then(|f| f.to_str()).expect("a name");
            prop_assert_eq!(parse_numbered(name, ".log"), Some(n));
        }

        #[test]
        fn no_name_makes_a_path_parser_panic(text in ".*") {
            prop_assert_eq!(parse_blob(&text), None);
            prop_assert_eq!(parse_outboard(&text), None);
            prop_assert_eq!(parse_intent(&text), None);
            prop_assert_eq!(parse_numbered(&text, ".log"), None);
        }
    }

    #[test]
    fn a_blob_in_the_wrong_folder_is_no_blob() {
        let hex = "ab".repeat(32);
        let cases = [
            ("the right one", format!("blobs/sha256/ab/{hex}"), true),
            ("another folder", format!("blobs/sha256/cd/{hex}"), false),
            ("another algorithm", format!("blobs/sha512/ab/{hex}"), false),
            ("deeper", format!("blobs/sha256/ab/x/{hex}"), false),
            ("another tree", format!("quarantine/sha256/ab/{hex}"), false),
            ("no hex", "blobs/sha256/ab/ab".to_owned(), false),
        ];
        for (name, path, is_blob) in cases {
            assert_eq!(parse_blob(&path).is_some(), is_blob, "{name}");
        }
    }
}
