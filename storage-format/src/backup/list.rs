//! The lists of a point: a line an entry, so that neither writer nor reader holds them.

use crate::digest::Digest;

/// The longest line of a list, its newline included.
pub const MAX_LINE: usize = 512;

/// A line of `blobs.list`: `<digest> <bytes>`, in the order of digests.
pub fn blob_line(digest: &Digest, size: u64) -> String {
    format!("{digest} {size}\n")
}

/// What [`blob_line`] wrote, without its newline.
pub fn parse_blob(line: &str) -> Option<(Digest, u64)> {
    let (digest, size) = line.split_once(' ')?;
    let (digest, size) = (digest.parse().ok()?, size.parse().ok()?);
    (blob_line(&digest, size).strip_suffix('\n') == Some(line)).then_some((digest, size))
}

/// A line of `missing.list`: `<digest> <why>`.
pub fn missing_line(digest: &Digest, why: &str) -> String {
    format!("{digest} {why}\n")
}

/// A line of `files.list`: `<64 hex of BLAKE3> <bytes> <path below the data directory>`.
pub fn file_line(hash: &str, size: u64, path: &str) -> String {
    format!("{hash} {size} {path}\n")
}

/// What [`file_line`] wrote, without its newline: hash, bytes, path. Only paths that a backup may bring.
pub fn parse_file(line: &str) -> Option<(&str, u64, &str)> {
    let mut parts = line.splitn(3, ' ');
    let (hash, size, path) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    (hash.len() == 64 && super::is_file(path)).then_some((hash, size, path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Algorithm;

    proptest! {
        #[test]
        fn a_line_says_what_was_written_and_any_other_text_says_nothing(
            raw in any::<[u8; 32]>(), size in any::<u64>(), text in ".{0,90}",
        ) {
            let digest = Digest::new(Algorithm::Sha256, &raw).expect("length matches");
            let line = blob_line(&digest, size);
            prop_assert_eq!(parse_blob(line.trim_end()), Some((digest, size)));
            prop_assert!(line.len() <= MAX_LINE);
            if let Some((digest, size)) = parse_blob(&text) {
                let line = blob_line(&digest, size);
                prop_assert_eq!(line.trim_end(), text);
            } else {
                let _ = parse_file(&text);
            }
        }
    }

    #[test]
    fn a_file_line_names_only_what_a_backup_may_bring() {
        let hash = "0".repeat(64);
        let line = file_line(&hash, 7, "tls/ca.crt");
        assert_eq!(parse_file(line.trim_end()), Some((hash.as_str(), 7, "tls/ca.crt")));
        for bad in ["../x", "/etc/passwd", "meta/journal/1", ""] {
            assert_eq!(parse_file(file_line(&hash, 7, bad).trim_end()), None, "{bad}");
        }
    }
}
